"""Which addresses a sender may connect to: the guard against forged requests (SSRF).

Webhook URLs, web-push endpoints and provider endpoints come from outside. A URL is first judged by
itself (``check_url``), then every address its name resolves to is judged (``check_addresses``),
and the caller connects to an address that passed, so that a second look-up cannot give another
answer.

The blocked ranges are the IANA special-purpose registries (RFC 6890) as webhook senders block them,
including the IPv6 ranges that carry an IPv4 address inside.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import msgspec
from pyreqwest.http import Url

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

BLOCKED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(cidr)
    for cidr in (
        # IPv4: this network, private, shared, loopback, link-local (metadata), protocol,
        # documentation, 6to4 relay, benchmarking, multicast, reserved and broadcast
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        # IPv6: unspecified, loopback, NAT64 (two), discard, Teredo, documentation (two), 6to4,
        # SRv6, unique local, link-local, site-local, multicast
        *("::/128", "::1/128", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/32"),
        *("2001:db8::/32", "3fff::/20", "2002::/16", "5f00::/16", "fc00::/7", "fe80::/10"),
        *("fec0::/10", "ff00::/8"),
    )
)


class ForbiddenUrlError(ValueError):
    """A URL or address that the network policy refuses; the text says why."""


class Origin(NamedTuple):
    """Scheme, host (as browsers parse it) and port of a URL."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = {"https": 443, "http": 80}[self.scheme]
        return f"{self.scheme}://{host}" + ("" if self.port == default else f":{self.port}")


class NetworkPolicy(msgspec.Struct, frozen=True):
    """What the operator allows beyond public https.

    ``allow_hosts`` are names whose addresses and ports are not judged; ``allow_networks`` are CIDR
    ranges taken out of the blocked ones (an address in one may have any port); ``allow_ports`` are
    the ports of URLs that come from users; ``allow_loopback_endpoints`` lets a credential's own
    ``endpoint`` point at this machine (the sandbox).
    """

    allow_hosts: frozenset[str] = frozenset()
    allow_networks: tuple[str, ...] = ()
    allow_ports: frozenset[int] = frozenset({443, 8443})
    allow_http: bool = False
    allow_loopback_endpoints: bool = True

    def check_url(self, url: str, *, endpoint: str = "") -> Origin:
        """Return the origin of a URL that may be tried.

        Args:
            url: absolute URL.
            endpoint: the credential's own endpoint; its port needs no permission.

        Raises:
            ForbiddenUrlError: scheme, user information, port or literal address is not allowed.
        """
        origin = parse_origin(url)
        if origin.host in self.allow_hosts:
            return origin
        if origin.scheme != "https" and not self.allow_http:
            raise ForbiddenUrlError(f"only https is allowed, not {origin.scheme}")
        own = bool(endpoint) and origin == parse_origin(endpoint)
        literal = _literal(origin.host)
        if literal is not None:
            if self._is_allowed(unmapped(literal)):
                return origin
            self._check(origin.host, literal, is_endpoint=own)
        if not own and origin.port not in self.allow_ports:
            raise ForbiddenUrlError(f"port {origin.port} is not allowed")
        return origin

    def check_addresses(self, host: str, addresses: Sequence[str], *, is_endpoint: bool) -> str:
        """Return the address to connect to; every address of the name must be allowed.

        Raises:
            ForbiddenUrlError: there is none, or one of them is special.
        """
        if not addresses:
            raise ForbiddenUrlError(f"{host} has no address")
        if host not in self.allow_hosts:
            for text in addresses:
                self._check(host, ipaddress.ip_address(text), is_endpoint=is_endpoint)
        return addresses[0]

    def _is_allowed(self, address: Address) -> bool:
        networks = (ipaddress.ip_network(cidr, strict=False) for cidr in self.allow_networks)
        return _within(address, tuple(networks))

    def _check(self, host: str, address: Address, *, is_endpoint: bool) -> None:
        address = unmapped(address)
        if is_endpoint and self.allow_loopback_endpoints and address.is_loopback:
            return
        if self._is_allowed(address) or not _within(address, BLOCKED):
            return
        raise ForbiddenUrlError(
            f"{host} is at {address}, a private or special address; "
            "the operator may allow the host or the network"
        )


def parse_origin(url: str) -> Origin:
    """Parse as the HTTP client does (WHATWG), so that both always mean the same host.

    Raises:
        ForbiddenUrlError: not an absolute http(s) URL, or it carries user information.
    """
    try:
        parsed = Url.parse(url)
    except ValueError as error:
        raise ForbiddenUrlError(f"not a URL: {error}") from None
    host = parsed.host_str
    if parsed.scheme not in ("http", "https") or not host:
        raise ForbiddenUrlError("an absolute http(s) URL is needed")
    if parsed.username or parsed.password:
        raise ForbiddenUrlError("user information in the URL is not allowed")
    if host.endswith("."):  # another spelling of the same name would slip past the pinned address
        raise ForbiddenUrlError("the host must not end with a dot")
    port = parsed.port_or_known_default or 443
    return Origin(parsed.scheme, host.strip("[]"), port)


def unmapped(address: Address) -> Address:
    """The IPv4 address inside ``::ffff:0:0/96``, else the address itself."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


async def resolve(host: str, port: int) -> Sequence[str]:
    """All addresses of a host by the system resolver; empty if there is none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror:
        return ()
    return tuple(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _within(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
