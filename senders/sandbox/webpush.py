"""A web push service and the browser behind it: ``POST /wpush/<subscription>``.

Checks RFC 8030 (TTL, Urgency, Topic, size), RFC 8292 (VAPID) and, unlike a real push service,
decrypts the message as the browser would (RFC 8291), so that a message nobody could read is refused
here. Error bodies have the shape of Mozilla's autopush: ``{"code", "errno", "error", "message"}``.
"""

import re
import secrets
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from senders.sandbox.aes128gcm import UndecryptableError, decrypt, public_bytes
from senders.sandbox.exchange import Accepted, Answer, Request, as_json, json_answer
from senders.sandbox.provider_token import (
    REMEMBERED,
    InvalidToken,
    decode_base64url,
    read_token,
)

MAX_BODY_BYTES = 4096
MAX_TTL_S = 2_592_000
MAX_VAPID_S = 24 * 3600
RECORDED_HEADERS = ("ttl", "urgency", "topic", "content-encoding")
PATH = "/wpush/"

_SECONDS = re.compile(r"\d{1,10}\Z")
_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")
_SUBJECT = re.compile(r"(?:mailto:[^\s<>@]+@(?!localhost$)[^\s<>@]+|https://[^\s<>]+)\Z")
_VAPID = re.compile(r"(?:vapid|WebPush)\s+(.*)\Z", re.IGNORECASE)
_URGENCIES = ("very-low", "low", "normal", "high")


class Subscription(NamedTuple):
    """One browser's subscription, with the private key that only a browser has."""

    id: str
    key: ec.EllipticCurvePrivateKey
    auth: bytes
    application_key: str | None  # base64url; None takes any VAPID key


class SubscriptionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to subscribe: ``outcome`` names what pushes to it shall meet (docs/sandbox.md)."""

    outcome: str | None = None
    application_server_key: str | None = None


class RefusedError(Exception):
    """A push that breaks a rule: status, autopush's errno, and what is wrong."""

    def __init__(self, status: int, errno: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.errno = errno


class WebPush:
    """The emulator; ``subscribe`` is the browser's side of it."""

    provider = "webpush"
    outcomes: Mapping[str, tuple[int, str]] = {
        "unregistered": (410, "Gone"),
        "expired": (404, "Not Found"),
        "invalid": (400, "Bad Request"),
        "mismatch": (403, "VapidPkHashMismatch"),
        "disallowed": (403, "Forbidden"),
        "unauthorized": (401, "Unauthorized"),
        "stale-credential": (403, "BadJwtToken"),
        "throttled": (429, "Too Many Requests"),
        "error": (500, "Internal Server Error"),
        "unavailable": (503, "Service Unavailable"),
        "shutdown": (503, "Use exponential back-off for retries"),
    }

    def __init__(self) -> None:
        self._subscriptions: dict[str, Subscription] = {}
        self._claims: dict[str, tuple[dict[str, Any], str]] = {}  # header -> claims, key

    def clear(self) -> None:
        """Forget all subscriptions."""
        self._subscriptions.clear()
        self._claims.clear()

    def subscribe(self, wanted: SubscriptionRequest, origin: str) -> dict[str, Any]:
        """Make a subscription; returns what a browser's ``PushSubscription.toJSON()`` gives."""
        name = uuid.uuid4().hex
        if wanted.outcome is not None:
            name = f"sandbox-{wanted.outcome}-{name}"
        key, auth = ec.generate_private_key(ec.SECP256R1()), secrets.token_bytes(16)
        application_key = (wanted.application_server_key or "").rstrip("=") or None
        self._subscriptions[name] = Subscription(name, key, auth, application_key)
        keys = {"p256dh": _base64url(public_bytes(key.public_key())), "auth": _base64url(auth)}
        return {"endpoint": f"{origin}{PATH}{name}", "expirationTime": None, "keys": keys}

    def unsubscribe(self, name: str) -> bool:
        """End a subscription: later pushes to it get 410; false if there is none."""
        return self._subscriptions.pop(name, None) is not None

    def answer(self, request: Request) -> Answer:
        """Judge a push."""
        headers = request.headers
        try:
            subscription = self._subscription(request)
            self._check_vapid(request, subscription)
            _check_headers(headers)
            plaintext = _plaintext(request, subscription)
        except RefusedError as refused:
            return _error(refused.status, refused.errno, str(refused))
        message_id = uuid.uuid4().hex
        accepted = Accepted(
            self.provider,
            subscription.id,
            message_id,
            request.at,
            {name: headers[name] for name in RECORDED_HEADERS if name in headers},
            as_json(plaintext),
        )
        location = f"{request.origin}/m/{message_id}"
        ttl = str(min(int(headers["ttl"]), MAX_TTL_S))
        return Answer(201, [("location", location), ("ttl", ttl)], b"", accepted)

    def refusal(self, status: int, reason: str, at: int, since: int | None = None) -> Answer:
        """Say no in autopush's shape."""
        errno = {404: 102, 410: 106, 401: 109, 403: 109, 413: 104, 500: 999, 503: 201}
        return _error(status, errno.get(status, 0), reason)

    def _subscription(self, request: Request) -> Subscription:
        if request.method != "POST":
            raise RefusedError(405, 0, "only POST")
        subscription = self._subscriptions.get(request.path[len(PATH) :])
        if subscription is None:
            raise RefusedError(410, 106, "no such subscription: it was ended or never made")
        return subscription

    def _check_vapid(self, request: Request, subscription: Subscription) -> None:
        header = request.headers.get("authorization", "")
        known = self._claims.get(header)
        if known is None:
            if len(self._claims) >= REMEMBERED:
                self._claims.clear()
            known = self._claims[header] = _read_vapid(header)
        claims, key = known
        now_s = request.at // 1000
        expires_at, subject = claims.get("exp"), claims.get("sub")
        if claims.get("aud") != request.origin:
            raise RefusedError(403, 109, f"aud must be {request.origin}")
        if not isinstance(expires_at, int | float) or expires_at < now_s:
            raise RefusedError(403, 109, "exp is missing or past")
        if expires_at > now_s + MAX_VAPID_S:
            raise RefusedError(403, 109, "exp is more than 24 hours away")
        if not isinstance(subject, str) or not _SUBJECT.match(subject):
            raise RefusedError(403, 109, "sub must be a mailto: or https: contact")
        if subscription.application_key not in (None, key):
            raise RefusedError(403, 109, "VapidPkHashMismatch: subscribed with another key")


def _read_vapid(header: str) -> tuple[dict[str, Any], str]:
    """Read ``vapid t=<jwt>, k=<public key>`` and verify the token with that key."""
    found = _VAPID.match(header)
    if found is None:
        raise RefusedError(401, 109, "authorization must be: vapid t=<token>, k=<public key>")
    pairs = [part.strip().partition("=") for part in str(found[1]).split(",")]
    parts: dict[str, str] = {name: value for name, _, value in pairs}
    try:
        point = decode_base64url(parts.get("k", ""))
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
        token = read_token(parts.get("t", ""), "ES256", key)
    except InvalidToken as error:
        raise RefusedError(401, 109, f"VAPID token: {error}") from error
    except ValueError as error:
        raise RefusedError(401, 109, f"k is not a P-256 point: {error}") from error
    return token.claims, parts["k"].rstrip("=")


def _check_headers(headers: Mapping[str, str]) -> None:
    if not _SECONDS.match(headers.get("ttl", "")):
        raise RefusedError(400, 111, "TTL is required: whole seconds")
    if headers.get("urgency", "normal") not in _URGENCIES:
        raise RefusedError(400, 112, f"Urgency must be one of {', '.join(_URGENCIES)}")
    if "topic" in headers and not _TOPIC.match(headers["topic"]):
        raise RefusedError(400, 113, "Topic must be 1 to 32 characters of base64url")


def _plaintext(request: Request, subscription: Subscription) -> bytes:
    if len(request.body) > MAX_BODY_BYTES:
        raise RefusedError(413, 104, f"the body has more than {MAX_BODY_BYTES} bytes")
    if not request.body:
        return b""
    if request.headers.get("content-encoding") != "aes128gcm":
        raise RefusedError(400, 110, "Content-Encoding must be aes128gcm")
    try:
        return decrypt(request.body, subscription.key, subscription.auth)
    except UndecryptableError as error:
        raise RefusedError(400, 110, str(error)) from error


def _base64url(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def _error(status: int, errno: int, text: str) -> Answer:
    return json_answer(status, {"code": status, "errno": errno, "error": text, "message": text})
