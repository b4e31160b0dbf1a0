"""Apple Push Notification service: ``POST /3/device/<device token>``.

Rules: Apple's "Sending notification requests to APNs", "Establishing a token-based connection to
APNs" and "Handling error responses from APNs". Where Apple names no reason (a body that is not a
JSON object with ``aps``), ``PayloadEmpty`` is answered; HTTP/1.1, where Apple hangs up, gets 505.
"""

import re
import uuid
from collections import deque
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from senders.sandbox.exchange import NOT_JSON, Accepted, Answer, Request, json_answer
from senders.sandbox.keys import Keys
from senders.sandbox.provider_token import REMEMBERED, InvalidToken, read_token, token_key_id

TOKEN_LIFETIME_S = 3600
TOKEN_UPDATE_WINDOW_S = 20 * 60
CLOCK_SKEW_S = 300
MAX_PAYLOAD_BYTES = 4096
MAX_VOIP_PAYLOAD_BYTES = 5120
MAX_COLLAPSE_ID_BYTES = 64

TOPIC_SUFFIX = {
    "alert": "",
    "background": "",
    "controls": ".push-type.controls",
    "location": ".location-query",
    "voip": ".voip",
    "complication": ".complication",
    "fileprovider": ".pushkit.fileprovider",
    "mdm": "",
    "liveactivity": ".push-type.liveactivity",
    "pushtotalk": ".voip-ptt",
    "widgets": ".push-type.widgets",
}
MAY_LACK_APS = ("voip", "mdm", "fileprovider", "pushtotalk", "location", "complication")
RECORDED_HEADERS = (
    "apns-topic",
    "apns-push-type",
    "apns-priority",
    "apns-expiration",
    "apns-collapse-id",
)
STATUS = {
    "BadDeviceToken": 400,
    "DeviceTokenNotForTopic": 400,
    "TopicDisallowed": 400,
    "ExpiredProviderToken": 403,
    "InvalidProviderToken": 403,
    "MissingProviderToken": 403,
    "BadPath": 404,
    "MethodNotAllowed": 405,
    "Unregistered": 410,
    "PayloadTooLarge": 413,
    "TooManyProviderTokenUpdates": 429,
}

_DEVICE_TOKEN = re.compile(r"[0-9a-fA-F]{64,200}\Z")
_CANONICAL_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z")
_TEN_CHARACTERS = re.compile(r"[A-Za-z0-9]{10}\Z")
_TOPIC = re.compile(r"[A-Za-z0-9.-]{1,255}\Z")


class RefusedError(Exception):
    """A request that breaks a rule; the text is the reason that APNs gives."""


class Aps(msgspec.Struct, frozen=True):
    """The parts of ``aps`` that must agree with the push type."""

    alert: Any = None
    badge: Any = None
    sound: Any = None
    content_available: Any = msgspec.field(default=None, name="content-available")
    event: Literal["start", "update", "end"] | None = None
    timestamp: int | None = None
    content_state: dict[str, Any] | None = msgspec.field(default=None, name="content-state")


class Payload(msgspec.Struct, frozen=True):
    """A payload: ``aps`` and whatever the application adds."""

    aps: Aps | None = None


_decode_payload = msgspec.json.Decoder(Payload).decode


class ProviderTokens:
    """Judges ``authorization`` headers; each token's text is read once."""

    def __init__(self, keys: Keys, updates_allowed: int) -> None:
        self._keys = keys
        self._version = keys.version
        self._updates_allowed = updates_allowed
        self._issued_at: dict[str, int] = {}  # token -> iat, seconds
        self._updates: dict[str, deque[int]] = {}  # team -> when it showed new tokens

    def check(self, authorization: str, now_s: int) -> None:
        """Raise what is wrong with an ``authorization`` header."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise RefusedError("MissingProviderToken")
        if self._version != self._keys.version:
            self._issued_at.clear()
            self._version = self._keys.version
        issued_at = self._issued_at.get(token)
        if issued_at is None:
            issued_at = self._read(token, now_s)
        if issued_at < now_s - TOKEN_LIFETIME_S:
            raise RefusedError("ExpiredProviderToken")

    def clear(self) -> None:
        """Forget all tokens and their updates."""
        self._issued_at.clear()
        self._updates.clear()

    def _read(self, token: str, now_s: int) -> int:
        key_id = token_key_id(token) or ""
        key = self._keys.public_key("apns", key_id)
        if not _TEN_CHARACTERS.match(key_id) or (key is None and self._keys.is_strict("apns")):
            raise RefusedError("InvalidProviderToken")
        try:
            claims = read_token(token, "ES256", key).claims
        except InvalidToken as error:
            raise RefusedError("InvalidProviderToken") from error
        team, issued_at = claims.get("iss"), claims.get("iat")
        is_team = isinstance(team, str) and _TEN_CHARACTERS.match(team)
        if not is_team or type(issued_at) is not int or issued_at > now_s + CLOCK_SKEW_S:
            raise RefusedError("InvalidProviderToken")
        if issued_at >= now_s - TOKEN_LIFETIME_S:
            self._count_update(str(team), now_s)
            if len(self._issued_at) >= REMEMBERED:
                self._issued_at.clear()
            self._issued_at[token] = issued_at
        return issued_at

    def _count_update(self, team: str, now_s: int) -> None:
        updates = self._updates.setdefault(team, deque())
        while updates and updates[0] <= now_s - TOKEN_UPDATE_WINDOW_S:
            updates.popleft()
        if len(updates) >= self._updates_allowed:
            raise RefusedError("TooManyProviderTokenUpdates")
        updates.append(now_s)


class Apns:
    """The emulator.

    ``updates_allowed`` new provider tokens a team may show in 20 minutes: Apple tolerates one
    update; a few more are left here for clients that are restarted.
    """

    provider = "apns"
    outcomes: Mapping[str, tuple[int, str]] = {
        "unregistered": (410, "Unregistered"),
        "expired": (410, "ExpiredToken"),
        "invalid": (400, "BadDeviceToken"),
        "mismatch": (400, "DeviceTokenNotForTopic"),
        "disallowed": (400, "TopicDisallowed"),
        "unauthorized": (403, "InvalidProviderToken"),
        "stale-credential": (403, "ExpiredProviderToken"),
        "throttled": (429, "TooManyRequests"),
        "error": (500, "InternalServerError"),
        "unavailable": (503, "ServiceUnavailable"),
        "shutdown": (503, "Shutdown"),
    }

    def __init__(self, keys: Keys, updates_allowed: int = 5) -> None:
        self._tokens = ProviderTokens(keys, updates_allowed)

    def clear(self) -> None:
        """Forget provider tokens."""
        self._tokens.clear()

    def answer(self, request: Request) -> Answer:
        """Judge a push; reasons in the order in which APNs looks."""
        headers = request.headers
        if not request.http_version.startswith("2"):
            return self.refusal(505, "HTTP/2 is required", request.at)
        try:
            target = _device_token(request)
            self._tokens.check(headers.get("authorization", ""), request.at // 1000)
            message_id = _check_headers(request)
            _check_payload(headers.get("apns-push-type", ""), request.body)
            _check_device_token(target)
        except RefusedError as refused:
            reason = str(refused)
            answer = self.refusal(STATUS.get(reason, 400), reason, request.at)
            answer.headers.append(("apns-id", headers.get("apns-id") or str(uuid.uuid4())))
            return answer
        accepted = Accepted(
            self.provider,
            target,
            message_id,
            request.at,
            {name: headers[name] for name in RECORDED_HEADERS if name in headers},
            msgspec.Raw(request.body),
        )
        return Answer(200, [("apns-id", message_id), ("apns-unique-id", message_id)], b"", accepted)

    def refusal(self, status: int, reason: str, at: int, since: int | None = None) -> Answer:
        """Say no: ``{"reason"}``, and ``timestamp`` (ms) on 410."""
        document: dict[str, Any] = {"reason": reason}
        if status == 410:
            document["timestamp"] = at if since is None else since
        return json_answer(status, document)


def _device_token(request: Request) -> str:
    if not request.path.startswith("/3/device"):
        raise RefusedError("BadPath")
    if request.method != "POST":
        raise RefusedError("MethodNotAllowed")
    token = request.path[len("/3/device") :]
    if token in ("", "/"):
        raise RefusedError("MissingDeviceToken")
    if not token.startswith("/") or "/" in token[1:]:
        raise RefusedError("BadPath")
    return token[1:]


def _check_device_token(token: str) -> None:
    if len(token) % 2 or not _DEVICE_TOKEN.match(token):
        raise RefusedError("BadDeviceToken")


def _check_headers(request: Request) -> str:
    """Check the ``apns-*`` headers; returns the message id, made if none was sent."""
    headers = request.headers
    if request.has_repeated_headers:
        raise RefusedError("DuplicateHeaders")
    message_id = headers.get("apns-id")
    if message_id is None:
        message_id = str(uuid.uuid4())
    elif not _CANONICAL_UUID.match(message_id):
        raise RefusedError("BadMessageId")
    if not headers.get("apns-expiration", "0").isdecimal():
        raise RefusedError("BadExpirationDate")
    if len(headers.get("apns-collapse-id", "").encode()) > MAX_COLLAPSE_ID_BYTES:
        raise RefusedError("BadCollapseId")
    push_type = headers.get("apns-push-type", "alert")
    if push_type not in TOPIC_SUFFIX:
        raise RefusedError("InvalidPushType")
    priority = headers.get("apns-priority", "5" if push_type == "background" else "10")
    if priority not in ("1", "5", "10") or (push_type == "background" and priority == "10"):
        raise RefusedError("BadPriority")
    topic = headers.get("apns-topic", "")
    if not topic:
        raise RefusedError("MissingTopic")
    if not _TOPIC.match(topic) or not topic.endswith(TOPIC_SUFFIX[push_type]):
        raise RefusedError("BadTopic")
    return message_id


def _check_payload(push_type: str, body: bytes) -> None:
    """Check size, form, and that the push type says what the payload is."""
    if not body:
        raise RefusedError("PayloadEmpty")
    if len(body) > (MAX_VOIP_PAYLOAD_BYTES if push_type == "voip" else MAX_PAYLOAD_BYTES):
        raise RefusedError("PayloadTooLarge")
    try:
        body.decode()
        aps = _decode_payload(body).aps
    except NOT_JSON as error:
        raise RefusedError("PayloadEmpty") from error
    if aps is None:
        if push_type in MAY_LACK_APS:
            return
        raise RefusedError("PayloadEmpty")
    is_visible = aps.alert is not None or aps.badge is not None or aps.sound is not None
    if push_type == "alert" and not is_visible:
        raise RefusedError("InvalidPushType")
    if push_type == "background" and (is_visible or aps.content_available != 1):
        raise RefusedError("InvalidPushType")
    if push_type == "liveactivity" and (aps.event is None or aps.timestamp is None):
        raise RefusedError("InvalidPushType")
