"""Who is calling, and what they may do.

Model: every route is closed unless it says otherwise in its ``opt``:

* ``public``: no credential;
* ``scope``: one of these scopes (``manage`` includes ``read``);
* ``device_tokens``: device tokens are taken, too (intake and receipts);
* ``adapter``: a stock app's route, which also takes HTTP Basic (password = key), a key in the path
  parameter ``token`` or in the query parameter ``api_key``, and a bare key as ``Authorization``.

Without any of these, a session cookie of the console counts (see ``gateway/session.py``).

The tenant comes from the credential and from nowhere else.
"""

import asyncio
import base64
import binascii
import secrets
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from gateway import metrics
from gateway.errors import Problem
from gateway.keys import KeyRecord, KeyStore, digest_of, kid_of
from gateway.log import get_logger
from gateway.session import COOKIE, credential_in_cookie
from gateway.tokens import TokenError, TokenVerifier, looks_like_token

if TYPE_CHECKING:  # it needs Principal
    from gateway.ratelimit import RateLimiter

_log = get_logger(__name__)

REMEMBER_S = 10.0
REMEMBER_REFUSED_S = 1.0
MOST_REMEMBERED = 50_000
FOLLOW_INTERVAL_S = 1.0
NOTE_USED_INTERVAL_S = 15.0
MAX_CREDENTIAL_BYTES = 4096


class Principal(msgspec.Struct, frozen=True):
    """Who is calling: a key of a tenant, or one device of it."""

    tenant: str
    scopes: frozenset[str]
    key_id: str
    device_id: str | None = None  # set for device tokens, which speak for this device alone

    @property
    def receivers(self) -> frozenset[str] | None:
        """The only receivers this caller speaks for; None for any."""
        if self.device_id is not None:
            return frozenset()  # a phone is no store's receiver
        if "ingest" in self.scopes:
            return None
        return frozenset(s[9:] for s in self.scopes if s.startswith("receiver:"))

    def allows(self, scope: str) -> bool:
        """Whether the scope is granted. ``receiver`` means any ``receiver:<id>``."""
        if scope == "receiver":
            return any(granted.startswith("receiver:") for granted in self.scopes)
        return scope in self.scopes or (scope == "read" and "manage" in self.scopes)

    def require(self, *scopes: str) -> None:
        """Go on only with one of these scopes.

        Raises:
            Problem: ``forbidden``.
        """
        if not any(self.allows(scope) for scope in scopes):
            raise Problem("forbidden", f"This needs a key with the scope {' or '.join(scopes)}.")

    def require_device(self, device_id: str) -> None:
        """Go on only if the caller may speak for this device.

        Raises:
            Problem: ``forbidden``, for another device's token.
        """
        if self.device_id is not None and self.device_id != device_id:
            raise Problem(
                "forbidden", f"This token speaks for device {self.device_id!r} and for no other."
            )

    def require_receiver(self, receiver_id: str) -> None:
        """Go on only if the caller may speak for this receiver.

        Raises:
            Problem: ``forbidden``, for another receiver's key.
        """
        if self.receivers is not None and receiver_id not in self.receivers:
            raise Problem("forbidden", f"This needs a key with the scope receiver:{receiver_id}.")


class Authenticator:
    """Turns credentials into principals, and remembers them for some seconds.

    A key that is made or revoked is known in every process within ``FOLLOW_INTERVAL_S``. Requests
    with the same unknown key share one look-up.
    """

    def __init__(self, keys: KeyStore, tokens: TokenVerifier) -> None:
        self._keys = keys
        self._tokens = tokens
        self._remembered: dict[str, tuple[Principal | None, float]] = {}
        self._pending: dict[str, asyncio.Future[Principal | None]] = {}
        self._used_at: dict[str, int] = {}
        self._version = -1

    async def authenticate(self, credential: str) -> Principal:
        """The caller behind an API key or a device token.

        Raises:
            Problem: ``unauthorized``, without telling what exactly was wrong with a key.
        """
        known = self._remembered.get(credential)
        if known is not None and known[1] > time.monotonic():
            principal = known[0]
        else:
            principal = await self._look_up_once(credential)
        if principal is None:
            metrics.AUTHENTICATIONS.labels("refused").inc()
            raise Problem(
                "unauthorized", "The credential is not known, or no longer valid. Make a new one."
            )
        if principal.device_id is None:
            self._used_at[principal.key_id] = time.time_ns() // 1_000_000
        return principal

    async def follow(self) -> None:
        """Drop what is remembered when keys change, and write down their use; ends by cancellation.

        Losing Redis for a while is no reason to end: what is remembered runs out by itself.
        """
        noted = time.monotonic()
        while True:
            await asyncio.sleep(FOLLOW_INTERVAL_S)
            try:
                version = await self._keys.version()
                if version != self._version:
                    self._version = version
                    self.forget()
                if time.monotonic() - noted > NOTE_USED_INTERVAL_S:
                    noted = time.monotonic()
                    await self.write_used()
            except Exception as error:  # noqa: BLE001 - the loop outlives any trouble
                metrics.FAILURES.labels("changes").inc()
                _log.warning("keys_not_followed", error=str(error))

    async def write_used(self) -> None:
        """Store when keys were last used."""
        used, self._used_at = self._used_at, {}
        await self._keys.note_used(used)

    def forget(self) -> None:
        """Drop everything remembered."""
        self._remembered.clear()

    async def _look_up_once(self, credential: str) -> Principal | None:
        pending = self._pending.get(credential)
        if pending is not None:
            return await asyncio.shield(pending)
        future: asyncio.Future[Principal | None] = asyncio.get_running_loop().create_future()
        self._pending[credential] = future
        try:
            principal = await self._look_up(credential)
        except BaseException as error:
            if not isinstance(error, Exception):
                future.cancel()
            else:
                future.set_exception(error)
                future.exception()  # nobody may be waiting
            raise
        else:
            future.set_result(principal)
            return principal
        finally:
            del self._pending[credential]

    async def _look_up(self, credential: str) -> Principal | None:
        if len(credential) > MAX_CREDENTIAL_BYTES:
            return None
        if looks_like_token(credential):
            return await self._by_token(credential)
        kid = kid_of(credential)
        if kid is None:
            return None  # refused without a question to Redis
        record = await self._keys.get(kid)
        now = time.time_ns() // 1_000_000
        principal = _principal(kid, record, credential, now)
        lifetime_s = REMEMBER_S if principal else REMEMBER_REFUSED_S
        if record and record.expires_at:
            lifetime_s = min(lifetime_s, (record.expires_at - now) / 1000)
        self._remember(credential, principal, lifetime_s)
        return principal

    async def _by_token(self, token: str) -> Principal | None:
        try:
            claims = await self._tokens.verify(token)
        except TokenError as error:
            raise Problem("unauthorized", f"The device token is refused: {error}.") from None
        principal = Principal(
            claims.tenant, frozenset({"ingest"}), f"jwt:{claims.key_id}", claims.device_id
        )
        self._remember(token, principal, min(REMEMBER_S, claims.expires_at / 1000 - time.time()))
        return principal

    def _remember(self, credential: str, principal: Principal | None, lifetime_s: float) -> None:
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[credential] = (principal, time.monotonic() + lifetime_s)


def credential_of(
    authorization: str | None, path_token: str | None = None, *, takes_basic: bool = False
) -> str | None:
    """The credential in a request; None if there is none of a form that the route takes."""
    if path_token:
        return path_token
    scheme, _, value = (authorization or "").partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer" and value:
        return value
    if not takes_basic:
        return None
    if scheme.lower() == "basic":
        try:
            _user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        return password or None
    # Ruuvi gateways send ``Token <key>``, thin clients of other services the bare key.
    return (value if scheme.lower() == "token" else scheme if not value else None) or None


async def authorize(
    connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
) -> None:
    """The guard of every route: closed unless its ``opt`` opens it (see the module).

    Raises:
        Problem: ``unauthorized`` or ``forbidden``.
    """
    opt = handler.opt
    if opt.get("public"):
        return
    takes_basic = bool(opt.get("adapter"))
    credential = credential_of(
        connection.headers.get("authorization"),
        _in_url(connection) if takes_basic else None,
        takes_basic=takes_basic,
    )
    services = connection.app.state.services
    if credential is None and COOKIE in connection.cookies:
        now = time.time_ns() // 1_000_000
        credential = credential_in_cookie(connection, services.vault, now)
    if credential is None:
        raise _missing(takes_basic)
    authenticator: Authenticator = services.authenticator
    try:
        principal = await authenticator.authenticate(credential)
    except Problem as problem:
        problem.headers.update(_challenge(takes_basic))
        raise
    metrics.AUTHENTICATIONS.labels("ok").inc()
    if principal.device_id is not None and not opt.get("device_tokens"):
        raise Problem("forbidden", "Device tokens are for intake and receipts only. Use a key.")
    principal.require(*_scopes(opt.get("scope")))
    if not (opt.get("device_tokens") or takes_basic):  # intake spends for each ping
        limits: RateLimiter = connection.app.state.services.limits
        await limits.spend_key(principal)
    connection.scope["user"] = principal


def _in_url(connection: ASGIConnection[Any, Any, Any, Any]) -> str | None:
    """The key of an app that can enter only a URL."""
    return connection.path_params.get("token") or connection.query_params.get("api_key")


def _principal(kid: str, record: KeyRecord | None, credential: str, now: int) -> Principal | None:
    if record is None or not secrets.compare_digest(record.digest, digest_of(credential)):
        return None
    if not record.is_active(now):
        return None
    return Principal(record.tenant, frozenset(record.scopes), kid)


def _scopes(scope: str | Iterable[str] | None) -> tuple[str, ...]:
    if scope is None:
        return ("manage",)
    return (scope,) if isinstance(scope, str) else tuple(scope)


def _missing(takes_basic: bool) -> Problem:
    return Problem(
        "unauthorized",
        "No credential. Send `Authorization: Bearer <key>`; make a key with `gateway keys create`.",
        headers=_challenge(takes_basic),
    )


def _challenge(takes_basic: bool) -> dict[str, str]:
    return {
        "WWW-Authenticate": 'Basic realm="gateway"' if takes_basic else 'Bearer realm="gateway"'
    }
