"""The one place that builds HTTP clients.

Provider traffic runs over HTTP/2 with keep-alive pings, so that a half-open connection is found
within seconds; nothing follows redirects, nothing reads proxy settings from the environment. What
can go wrong on the way is one of three errors, told apart by whether the request may have arrived:
``UnsentError`` (it did not), ``UnansweredError`` (it may have), ``ForbiddenUrlError`` (the policy
refused).
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import NamedTuple, Protocol

import pyreqwest.exceptions as failures
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.response import Response

from senders.network import NetworkPolicy, Origin, Resolve, parse_origin, resolve

CONNECT_TIMEOUT_S = 5.0
SEND_TIMEOUT_S = 15.0
PING_INTERVAL_S = 15.0
PING_TIMEOUT_S = 10.0
PIN_S = 60.0  # how long a resolved address is used before the name is asked again
MAX_ANSWER_BYTES = 65_536
MAX_PINNED = 4096
RENEW_PAUSE_S = 5.0

# What hyper says when no connection came about, or the peer refused a stream before looking at it.
# The class of the exception does not tell: a connection lost or a keep-alive ping unanswered after
# writing is a ConnectError or ConnectTimeoutError as well.
_UNSENT = ("client error (Connect)", "refused stream", "refused before processing")
_PLAIN = re.compile(r"https://[a-z0-9.-]+(:[0-9]+)?/")


class UnsentError(Exception):
    """The request did not reach the peer; sending again cannot double it."""


class UnansweredError(Exception):
    """The request was written, no answer came; it may or may not have been processed."""


class Answer(NamedTuple):
    """What a peer said."""

    status: int
    headers: Mapping[str, str]  # lower-case names
    body: bytes  # at most MAX_ANSWER_BYTES


class Http(Protocol):
    """Something that posts."""

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post once.

        Raises:
            UnsentError: the peer cannot have seen the request.
            UnansweredError: it may have.
            ForbiddenUrlError: the network policy refused the URL.
        """
        ...

    def renew(self) -> None:
        """Use new connections from now on; requests in flight finish on the old ones.

        Asked again within RENEW_PAUSE_S it does nothing: many requests fail with one connection.
        """
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


def build_client(*, ca: str = "", pin: tuple[Origin, str] | None = None) -> Client:
    """An HTTP/2 client (HTTP/1.1 where the peer has no HTTP/2).

    Args:
        ca: PEM certificates trusted besides the system's.
        pin: an origin and the one address it resolves to.
    """
    builder = (
        ClientBuilder()
        .http2(True)
        .no_proxy()
        .follow_redirects(False)
        .referer(False)
        .user_agent("trigger-gateway")
        .connect_timeout(timedelta(seconds=CONNECT_TIMEOUT_S))
        .timeout(timedelta(seconds=SEND_TIMEOUT_S))
        .pool_idle_timeout(timedelta(seconds=300))
        .http2_keep_alive_interval(timedelta(seconds=PING_INTERVAL_S))
        .http2_keep_alive_timeout(timedelta(seconds=PING_TIMEOUT_S))
        .http2_keep_alive_while_idle(True)
        .http2_initial_stream_window_size(65_535)
        .tcp_nodelay(True)
    )
    if ca:
        builder = builder.add_root_certificate_pem(ca.encode())
    if pin is not None:
        builder = builder.resolve(pin[0].host, pin[1], pin[0].port)
    return builder.build()


class _Pause:
    """Tells whether the last renewal is long enough ago, and starts the next pause."""

    def __init__(self) -> None:
        self._until_s = 0.0

    def is_over(self) -> bool:
        now_s = time.monotonic()
        if now_s < self._until_s:
            return False
        self._until_s = now_s + RENEW_PAUSE_S
        return True


class ProviderHttp:
    """Posts to a provider's own fixed host, over several multiplexed connections in turn."""

    def __init__(self, *, ca: str = "", connections: int = 1) -> None:
        self._ca = ca
        self._clients = [build_client(ca=ca) for _ in range(connections)]
        self._turn = 0
        self._pause = _Pause()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post once; see ``Http``."""
        self._turn = (self._turn + 1) % len(self._clients)
        return await _post(self._clients[self._turn], url, headers, body)

    def renew(self) -> None:
        """See ``Http``; requests in flight keep the old clients alive."""
        if self._pause.is_over():
            self._clients = [build_client(ca=self._ca) for _ in self._clients]

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(client.close() for client in self._clients))


class _Pinned(NamedTuple):
    client: Client
    address: str
    until_s: float


class GuardedHttp:
    """Posts to URLs from outside: every address is judged, then connected to, and no other.

    One client an origin, pinned to the address that passed; the name is asked again every minute,
    and only a changed answer costs a new connection.
    """

    def __init__(
        self,
        policy: NetworkPolicy,
        *,
        endpoint: str = "",
        ca: str = "",
        resolver: Resolve = resolve,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy, self._endpoint, self._ca = policy, endpoint, ca
        self._endpoint_origin = parse_origin(endpoint) if endpoint else None
        self._resolve, self._monotonic = resolver, monotonic
        self._pinned: dict[Origin, _Pinned] = {}
        self._plain: dict[str, _Pinned] = {}
        self._pause = _Pause()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post once; see ``Http``."""
        # A plain ``https://host/`` means the same to every parser, so what was found for it holds;
        # every other spelling is parsed anew.
        plain = _PLAIN.match(url)
        pinned = self._plain.get(plain[0]) if plain else None
        if pinned is None or self._monotonic() >= pinned.until_s:
            pinned = await self._pin(self._policy.check_url(url, endpoint=self._endpoint))
            if plain:
                self._plain[plain[0]] = pinned
        return await _post(pinned.client, url, headers, body)

    def renew(self) -> None:
        """See ``Http``."""
        if self._pause.is_over():
            self._pinned.clear()
            self._plain.clear()

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(pinned.client.close() for pinned in self._pinned.values()))

    async def _pin(self, origin: Origin) -> _Pinned:
        old = self._pinned.get(origin)
        if old is not None and self._monotonic() < old.until_s:
            return old
        found = await self._resolve(origin.host, origin.port)
        if not found:
            raise UnsentError(f"{origin.host} cannot be resolved")
        is_endpoint = origin == self._endpoint_origin
        first = self._policy.check_addresses(origin.host, found, is_endpoint=is_endpoint)
        if old is not None and old.address in found:
            client, address = old.client, old.address
        else:
            client, address = build_client(ca=self._ca, pin=(origin, first)), first
        if len(self._pinned) >= MAX_PINNED:
            self._pinned.clear()
            self._plain.clear()
        pinned = _Pinned(client, address, self._monotonic() + PIN_S)
        self._pinned[origin] = pinned
        return pinned


def build_http(
    policy: NetworkPolicy, *, endpoint: str = "", ca: str = "", connections: int = 1
) -> Http:
    """HTTP for a provider with fixed hosts: guarded only where the credential overrides them."""
    if endpoint:
        return GuardedHttp(policy, endpoint=endpoint, ca=ca)
    return ProviderHttp(ca=ca, connections=connections)


async def _post(client: Client, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
    request = client.post(url).headers(headers).body_bytes(body).build_streamed()
    try:
        async with request as response:
            return Answer(response.status, response.headers, await _read(response))
    except failures.BuilderError as error:
        raise UnsentError(_reason(error)) from error
    except failures.RequestError as error:
        reason = _reason(error)
        if any(phrase in reason for phrase in _UNSENT):
            raise UnsentError(reason) from error
        raise UnansweredError(reason) from error


async def _read(response: Response) -> bytes:
    parts, size = [], 0
    while size < MAX_ANSWER_BYTES and (part := await response.body_reader.read_chunk()) is not None:
        parts.append(bytes(part))
        size += len(part)
    return b"".join(parts)[:MAX_ANSWER_BYTES]


def _reason(error: failures.DetailedPyreqwestError) -> str:
    """The causes in words, without the first one: it names the URL, and with it the address."""
    causes = [cause["message"] for cause in error.details.get("causes") or ()]
    told = [cause for cause in causes if not cause.startswith("error sending request")]
    return ": ".join([type(error).__name__, *told])
