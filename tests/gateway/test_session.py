"""Sessions: the key in a cookie, sealed, and only for our own pages."""

import os
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.session import COOKIE, LIFETIME_S, cookie, credential_in_cookie, seal, unseal
from senders.vault import Vault

NOW = 1_796_000_000_000
OURS = {"sec-fetch-site": "same-origin", "x-gateway-console": "1"}


@pytest.fixture
def vault() -> Vault:
    return Vault([os.urandom(32)])


def request_of(value: str, method: str, headers: dict[str, str]) -> Any:
    """What of a connection a session looks at."""
    return SimpleNamespace(cookies={COOKIE: value}, headers=headers, scope={"method": method})


def test_a_session_ends(vault: Vault) -> None:
    """It gives the key back until its time is over."""
    value = seal(vault, "gk_key", NOW)
    ends = NOW + LIFETIME_S * 1000
    assert "gk_key" == unseal(vault, value, NOW)
    assert "gk_key" == unseal(vault, value, ends - 1)
    assert unseal(vault, value, ends) is None


@pytest.mark.parametrize("value", ["", "A", "AAAA", "%%%", "gk_key", "é", "A" * 500])
def test_what_is_none_of_ours_opens_nothing(vault: Vault, value: str) -> None:
    """Neither rubbish nor another installation's cookie is a key."""
    assert unseal(vault, value, NOW) is None
    assert unseal(vault, seal(Vault([os.urandom(32)]), "gk_key", NOW), NOW) is None


@pytest.mark.parametrize(
    ("method", "headers", "is_taken"),
    [
        ("GET", OURS, True),
        ("POST", OURS, True),
        ("GET", {"sec-fetch-site": "same-origin"}, True),
        ("GET", {"sec-fetch-site": "none"}, True),
        ("POST", {"sec-fetch-site": "same-origin"}, False),
        ("DELETE", {"sec-fetch-site": "none", "x-gateway-console": "1"}, False),
        ("GET", {"sec-fetch-site": "same-site"}, False),
        ("POST", {**OURS, "sec-fetch-site": "cross-site"}, False),
        ("GET", {}, True),
        ("POST", {"x-gateway-console": "1"}, True),
        ("POST", {"x-gateway-console": "1", "origin": "http://a:1", "host": "a:1"}, True),
        ("POST", {"x-gateway-console": "1", "origin": "http://a:2", "host": "a:1"}, False),
        ("GET", {"origin": "null", "host": "a:1"}, False),
    ],
)
def test_only_our_own_pages_use_it(
    vault: Vault, method: str, headers: dict[str, str], is_taken: bool
) -> None:
    """By ``Sec-Fetch-Site``, else by ``Origin``; a change needs our header besides."""
    request = request_of(seal(vault, "gk_key", NOW), method, headers)
    assert ("gk_key" if is_taken else None) == credential_in_cookie(request, vault, NOW)


def test_the_cookie_is_for_browsers_alone() -> None:
    """No script reads it, no other site sends it; over https it never travels in the clear."""
    made = cookie("value", is_secure=True)
    for part in ("HttpOnly", "SameSite=Strict", "Secure", "Path=/", f"Max-Age={LIFETIME_S}"):
        assert part in made.split("; ")
    assert "Secure" not in cookie("value", is_secure=False)
    assert "Max-Age=0" in cookie("", is_secure=False)
