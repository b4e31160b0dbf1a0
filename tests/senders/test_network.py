"""No URL from outside reaches a private or special address, unless the operator allows it."""

import asyncio
import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from senders.network import (
    BLOCKED,
    ForbiddenUrlError,
    NetworkPolicy,
    Origin,
    parse_origin,
    resolve,
    unmapped,
)

POLICY = NetworkPolicy()

FORBIDDEN_URLS = [
    ("http://example.com/", "only https"),
    ("ftp://example.com/", "absolute http"),
    ("/relative", "not a URL"),
    ("", "not a URL"),
    ("https://user:pw@example.com/", "user information"),
    ("https://user@example.com/", "user information"),
    ("https://example.com./", "end with a dot"),
    ("https://example.com:22/", "port 22"),
    ("https://example.com:6379/", "port 6379"),
    # the same loopback in the spellings that parsers understand
    *(
        (f"https://{host}/", "127.0.0.1")
        for host in ("127.0.0.1", "127.1", "0x7f.1", "2130706433", "0177.0.0.1", "[::ffff:7f00:1]")
    ),
    ("https://[::1]/", "::1"),
    ("https://169.254.169.254/latest/meta-data/", "169.254.169.254"),
    ("https://[fd00:ec2::254]/", "fd00:ec2::254"),
    ("https://0.0.0.0/", "0.0.0.0"),
    ("https://[64:ff9b::7f00:1]/", "64:ff9b"),
    ("https://[2002:7f00:1::]/", "2002"),
]


@pytest.mark.parametrize(("url", "problem"), FORBIDDEN_URLS)
def test_forbidden_urls(url: str, problem: str) -> None:
    """Each is refused before anything is resolved or connected."""
    with pytest.raises(ForbiddenUrlError) as caught:
        POLICY.check_url(url)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Example.COM/x", Origin("https", "example.com", 443)),
        ("https://example.com:8443/x", Origin("https", "example.com", 8443)),
        ("https://8.8.8.8/", Origin("https", "8.8.8.8", 443)),
        ("https://[2606:4700::1111]/", Origin("https", "2606:4700::1111", 443)),
        ("https://bücher.example/", Origin("https", "xn--bcher-kva.example", 443)),
    ],
)
def test_public_urls_pass(url: str, origin: Origin) -> None:
    """Public https on an allowed port passes and is normalised."""
    assert origin == POLICY.check_url(url)


def test_origins_are_written_as_rfc_6454_says() -> None:
    """Default ports are left out, IPv6 addresses stand in brackets: VAPID's ``aud``."""
    assert "https://example.com" == str(parse_origin("https://example.com:443/x"))
    assert "https://example.com:8443" == str(parse_origin("https://example.com:8443/x"))
    assert "https://[::1]:9443" == str(parse_origin("https://[::1]:9443/"))


SPECIAL = [
    *("0.1.2.3", "10.0.0.1", "100.64.0.1", "127.9.9.9", "169.254.1.1", "172.16.0.1", "172.31.9.9"),
    *("192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1"),
    *("203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "64:ff9b::1", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "3fff::1"),
    *("2002::1", "5f00::1", "fc00::1", "fd12::1", "fe80::1", "fec0::1", "ff02::1"),
    *("::ffff:10.0.0.1", "::ffff:127.0.0.1"),
]


@pytest.mark.parametrize("address", SPECIAL)
def test_special_addresses_are_blocked(address: str) -> None:
    """One special address among public ones is enough to refuse the name."""
    with pytest.raises(ForbiddenUrlError, match="private or special"):
        POLICY.check_addresses("evil.example", ["8.8.8.8", address], is_endpoint=False)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_the_list_agrees_with_the_registries(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """Whatever Python's registry calls private, loopback, link-local or multicast is blocked."""
    address = unmapped(address)
    special = address.is_loopback or address.is_link_local or address.is_multicast
    if special or address.is_unspecified or (address.is_private and not _exempt(address)):
        with pytest.raises(ForbiddenUrlError):
            POLICY.check_addresses("host", [str(address)], is_endpoint=False)


def _exempt(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Globally reachable blocks inside 2001::/23, which newer Pythons take out of it."""
    return address.version == 6 and address in ipaddress.ip_network("2001::/23")


def test_the_operator_allows_hosts_and_networks() -> None:
    """A named host passes with any address and port; a network is taken out of the blocked ones."""
    policy = NetworkPolicy(allow_hosts=frozenset({"hooks"}), allow_networks=("10.1.0.0/16",))
    assert Origin("https", "hooks", 9000) == policy.check_url("https://hooks:9000/")
    assert "10.9.9.9" == policy.check_addresses("hooks", ["10.9.9.9"], is_endpoint=False)
    assert "10.1.2.3" == policy.check_addresses("other", ["10.1.2.3"], is_endpoint=False)
    assert 9000 == policy.check_url("https://10.1.2.3:9000/").port
    with pytest.raises(ForbiddenUrlError):
        policy.check_addresses("other", ["10.2.0.1"], is_endpoint=False)
    with pytest.raises(ForbiddenUrlError, match="port"):
        policy.check_url("https://8.8.8.8:9000/")
    assert "http" == NetworkPolicy(allow_http=True).check_url("http://x.example:443/").scheme


def test_a_credential_may_point_at_this_machine_only() -> None:
    """Its own endpoint may be loopback on any port; other private addresses stay forbidden."""
    endpoint = "https://127.0.0.1:9443"
    assert 9443 == POLICY.check_url(f"{endpoint}/wpush/1", endpoint=endpoint).port
    assert "::1" == POLICY.check_addresses("localhost", ["::1"], is_endpoint=True)
    with pytest.raises(ForbiddenUrlError):
        POLICY.check_url("https://127.0.0.1:9444/", endpoint=endpoint)
    with pytest.raises(ForbiddenUrlError):
        POLICY.check_addresses("localhost", ["10.0.0.1"], is_endpoint=True)
    strict = NetworkPolicy(allow_loopback_endpoints=False)
    with pytest.raises(ForbiddenUrlError):
        strict.check_url(endpoint, endpoint=endpoint)


def test_a_name_without_address_is_refused() -> None:
    """A failing look-up never counts as allowed."""
    with pytest.raises(ForbiddenUrlError, match="no address"):
        POLICY.check_addresses("x.example", [], is_endpoint=False)
    assert () == asyncio.run(resolve("nothing.invalid", 443))
    assert "127.0.0.1" in asyncio.run(resolve("localhost", 443))


def test_blocked_ranges_do_not_overlap_needlessly() -> None:
    """Each range is there for itself."""
    for one in BLOCKED:
        covering = [
            other
            for other in BLOCKED
            if other != one and other.version == one.version and one.subnet_of(other)  # type: ignore[arg-type]
        ]
        assert [] == covering
