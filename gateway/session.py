"""Sessions of the console: an API key, sealed into a cookie that no script can read.

Model: the cookie holds the key itself, encrypted under the master key together with when it ends.
So there is nothing to store, a session may do what its key may, and ends with it; every process
opens it. A cookie is sent by the browser unasked, therefore a request that is authenticated by it
must come from our own pages (``is_own_page``). A key in ``Authorization`` always goes first.

Source: draft-ietf-httpbis-rfc6265bis (SameSite), Fetch Metadata (``Sec-Fetch-Site``).
"""

import base64
import binascii
from typing import Any, Final
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection

from senders.vault import CannotOpen, Vault

COOKIE: Final = "gateway_session"
LIFETIME_S: Final = 12 * 3600
HEADER: Final = "x-gateway-console"  # a page of another origin cannot send it without being asked
SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
_BOUND_TO: Final = "console session"

Connection = ASGIConnection[Any, Any, Any, Any]


def seal(vault: Vault, credential: str, now: int) -> str:
    """The value of the cookie for a key; ``now`` in epoch ms."""
    secret = f"{now + LIFETIME_S * 1000} {credential}".encode()
    return base64.urlsafe_b64encode(vault.seal(secret, _BOUND_TO)).rstrip(b"=").decode()


def unseal(vault: Vault, value: str, now: int) -> str | None:
    """The key in a cookie; None if it has ended or is none of ours."""
    try:
        sealed = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
        ends, _, credential = vault.open(sealed, _BOUND_TO).decode().partition(" ")
    except (CannotOpen, binascii.Error, ValueError):
        return None
    return credential if int(ends) > now else None


def credential_in_cookie(connection: Connection, vault: Vault, now: int) -> str | None:
    """The key of the session that a request belongs to, if one of our own pages made it."""
    value = connection.cookies.get(COOKIE)
    if not value or not is_own_page(connection):
        return None
    return unseal(vault, value, now)


def is_own_page(connection: Connection) -> bool:
    """Whether a request was made by a page of this origin.

    Browsers say so in ``Sec-Fetch-Site`` (``none``: typed in, which can only read), older ones in
    ``Origin``. Whatever changes something needs our header besides, which a form cannot send.
    """
    headers, method = connection.headers, str(connection.scope.get("method", ""))
    is_safe = method in SAFE_METHODS
    if not is_safe and HEADER not in headers:
        return False
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin" or (site == "none" and is_safe)
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def cookie(value: str, *, is_secure: bool) -> str:
    """The ``Set-Cookie`` header; an empty value takes the cookie back."""
    lifetime_s = LIFETIME_S if value else 0
    parts = [f"{COOKIE}={value}", "Path=/", f"Max-Age={lifetime_s}", "HttpOnly", "SameSite=Strict"]
    return "; ".join([*parts, "Secure"] if is_secure else parts)
