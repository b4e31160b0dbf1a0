"""Firebase Cloud Messaging HTTP v1, and the OAuth token endpoint that its clients need.

``POST /token`` takes a service account's signed assertion (RFC 7523) and gives an access token;
``POST /v1/projects/<project>/messages:send`` takes one message. Errors have the real service's
shape: ``{"error": {"code", "message", "status", "details"}}``.
"""

import re
import secrets
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec

from senders.sandbox.exchange import NOT_JSON, Accepted, Answer, Request, json_answer, raw_json
from senders.sandbox.fcm_schema import Violation, check_request
from senders.sandbox.keys import Keys
from senders.sandbox.provider_token import REMEMBERED, InvalidToken, read_token

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SCOPES = (
    "https://www.googleapis.com/auth/firebase.messaging",
    "https://www.googleapis.com/auth/cloud-platform",
)
GOOGLE_TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
ACCESS_TOKEN_LIFETIME_S = 3599
MAX_ASSERTION_S = 3600
CLOCK_SKEW_S = 300
MAX_MESSAGE_BYTES = 4096
MAX_TOPIC_MESSAGE_BYTES = 2048
RESERVED_KEYS = ("from", "message_type")
RESERVED_PREFIXES = ("google.", "gcm.")

_SEND_PATH = re.compile(r"/v1/projects/([a-z0-9\-:.]{1,64})/messages:send\Z")
_REGISTRATION_TOKEN = re.compile(r"[A-Za-z0-9_:\-]{16,4096}\Z")
_TOPIC = re.compile(r"(?:/topics/)?[a-zA-Z0-9\-_.~%]{1,900}\Z")
_FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
_BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
_STATUS_NAME = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
_TEXT = {
    "INVALID_ARGUMENT": "The registration token is not a valid FCM registration token",
    "UNREGISTERED": "Requested entity was not found.",
    "SENDER_ID_MISMATCH": "SenderId mismatch",
    "QUOTA_EXCEEDED": "Quota exceeded for quota metric 'Messages per minute'.",
    "THIRD_PARTY_AUTH_ERROR": "Auth error from APNS or Web Push Service",
    "UNAVAILABLE": "The service is currently unavailable.",
    "INTERNAL": "Internal error encountered.",
    "PERMISSION_DENIED": "Permission 'cloudmessaging.messages.create' denied on resource.",
    "UNAUTHENTICATED": "Request had invalid authentication credentials. Expected OAuth 2 access "
    "token, login cookie or other valid authentication credential.",
}
_decode = msgspec.json.Decoder().decode


class Oauth:
    """The token endpoint: assertions in, access tokens out."""

    provider = "fcm-token"
    outcomes: Mapping[str, tuple[int, str]] = {}

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._expires_at: dict[str, int] = {}  # access token -> seconds

    def clear(self) -> None:
        """Take back every access token."""
        self._expires_at.clear()

    def is_good(self, access_token: str, now_s: int) -> bool:
        """Say whether an access token was issued here and has not run out."""
        return self._expires_at.get(access_token, 0) > now_s

    def answer(self, request: Request) -> Answer:
        """Exchange an assertion for an access token."""
        if request.method != "POST":
            return self.refusal(405, "invalid_request", request.at)
        form = parse_qs(request.body.decode("latin-1"))
        if form.get("grant_type") != [GRANT_TYPE]:
            return _oauth_error("unsupported_grant_type", f"grant_type must be {GRANT_TYPE}")
        try:
            self._check(form.get("assertion", [""])[0], request)
        except InvalidToken as error:
            return _oauth_error("invalid_grant", f"Invalid JWT: {error}")
        if len(self._expires_at) >= REMEMBERED:
            self._expires_at.clear()
        access_token = "ya29." + secrets.token_urlsafe(48)
        self._expires_at[access_token] = request.at // 1000 + ACCESS_TOKEN_LIFETIME_S
        return json_answer(
            200,
            {
                "access_token": access_token,
                "expires_in": ACCESS_TOKEN_LIFETIME_S,
                "token_type": "Bearer",
            },
        )

    def refusal(self, status: int, reason: str, at: int, since: int | None = None) -> Answer:
        """Say no as OAuth 2.0 does (RFC 6749 section 5.2)."""
        return json_answer(status, {"error": reason, "error_description": reason})

    def _check(self, assertion: str, request: Request) -> None:
        unverified = read_token(assertion, "RS256", None)
        account = unverified.claims.get("iss")
        if not isinstance(account, str) or "@" not in account:
            raise InvalidToken("iss must be the service account's client_email")
        key = self._keys.public_key("fcm", account)
        if key is None and self._keys.is_strict("fcm"):
            raise InvalidToken(f"no service account {account}")
        claims = read_token(assertion, "RS256", key).claims
        scopes = claims.get("scope")
        if not isinstance(scopes, str) or not set(scopes.split()) & set(SCOPES):
            raise InvalidToken(f"scope must hold {SCOPES[0]}")
        if claims.get("aud") not in (GOOGLE_TOKEN_URI, f"{request.origin}/token"):
            raise InvalidToken(f"aud must be the token_uri, {request.origin}/token")
        _check_times(claims, request.at // 1000)


def _check_times(claims: dict[str, Any], now_s: int) -> None:
    issued_at, expires_at = claims.get("iat"), claims.get("exp")
    if type(issued_at) is not int or type(expires_at) is not int:
        raise InvalidToken("iat and exp must be whole seconds")
    if not 0 < expires_at - issued_at <= MAX_ASSERTION_S:
        raise InvalidToken("exp must be within an hour after iat")
    if expires_at < now_s or issued_at > now_s + CLOCK_SKEW_S:
        raise InvalidToken("Token must be a short-lived token and in a reasonable timeframe")


def _oauth_error(code: str, description: str) -> Answer:
    return json_answer(400, {"error": code, "error_description": description})


class Fcm:
    """The send endpoint; takes access tokens that ``oauth`` gave."""

    provider = "fcm"
    outcomes: Mapping[str, tuple[int, str]] = {
        "unregistered": (404, "UNREGISTERED"),
        "expired": (404, "UNREGISTERED"),
        "invalid": (400, "INVALID_ARGUMENT"),
        "mismatch": (403, "SENDER_ID_MISMATCH"),
        "disallowed": (401, "THIRD_PARTY_AUTH_ERROR"),
        "unauthorized": (403, "PERMISSION_DENIED"),
        "stale-credential": (401, "UNAUTHENTICATED"),
        "throttled": (429, "QUOTA_EXCEEDED"),
        "error": (500, "INTERNAL"),
        "unavailable": (503, "UNAVAILABLE"),
        "shutdown": (503, "UNAVAILABLE"),
    }

    def __init__(self, oauth: Oauth) -> None:
        self._oauth = oauth

    def answer(self, request: Request) -> Answer:
        """Judge a message: credential, JSON, fields, target, sizes, token."""
        path = _SEND_PATH.match(request.path)
        if path is None or request.method != "POST":
            return _error(404, "Requested URL was not found on this server.", "NOT_FOUND")
        scheme, _, access_token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not self._oauth.is_good(access_token, request.at // 1000):
            return self.refusal(401, "UNAUTHENTICATED", request.at)
        try:
            document = _read(request.body)
            target = _check_message(document, len(request.body))
        except Violation as violation:
            return _violation(violation)
        if "token" in document["message"] and not _REGISTRATION_TOKEN.match(target):
            return self.refusal(400, "INVALID_ARGUMENT", request.at)
        return self._accept(path[1], target, document, request)

    def refusal(self, status: int, reason: str, at: int, since: int | None = None) -> Answer:
        """Say no: with ``FcmError`` for FCM's own codes, bare for the front end's."""
        status_name = _STATUS_NAME.get(status, "UNKNOWN")
        details = [] if reason == status_name and status in (401, 403) else [_fcm_error(reason)]
        return _error(status, _TEXT.get(reason, reason), status_name, *details)

    def _accept(
        self, project: str, target: str, document: dict[str, Any], request: Request
    ) -> Answer:
        message_id = str(uuid.uuid4())
        if document.get("validate_only"):
            return json_answer(200, {"name": f"projects/{project}/messages/fake_message_id"})
        accepted = Accepted(
            self.provider,
            target,
            message_id,
            request.at,
            {"project": project},
            raw_json(document["message"]),
        )
        return json_answer(200, {"name": f"projects/{project}/messages/{message_id}"})._replace(
            accepted=accepted
        )


def _read(body: bytes) -> dict[str, Any]:
    try:
        return check_request(_decode(body))
    except NOT_JSON as error:
        described = f"Invalid JSON payload received. {error}"
        raise Violation("", described, is_known_to_fcm=False) from error


def _check_message(document: dict[str, Any], body_bytes: int) -> str:
    """Check what the table cannot say; returns the target."""
    message = document.get("message")
    if message is None:
        raise Violation("message", "Request contains no message")
    targets = [name for name in ("token", "topic", "condition") if message.get(name)]
    if len(targets) != 1:
        raise Violation("message", "Exactly one of token, topic or condition is required")
    if targets[0] == "topic" and not _TOPIC.match(message["topic"]):
        raise Violation("message.topic", "Malformed topic name")
    _check_data(message)
    limit = MAX_MESSAGE_BYTES if targets[0] == "token" else MAX_TOPIC_MESSAGE_BYTES
    for platform in ("android", "apns", "webpush") if body_bytes > limit else ():
        if _size(message, platform) > limit:
            raise Violation(f"message.{platform}", f"{platform.title()} message is too big")
    return str(message[targets[0]])


def _check_data(message: dict[str, Any]) -> None:
    blocks = {"message": message, "message.android": message.get("android", {})}
    for path, block in blocks.items():
        for key in block.get("data", ()):
            if key in RESERVED_KEYS or key.startswith(RESERVED_PREFIXES) or not key:
                raise Violation(f"{path}.data", f"Invalid data payload key: {key}")


def _size(message: dict[str, Any], platform: str) -> int:
    """Bytes of what one platform's devices would get: data and notifications, or the payload."""
    block = message.get(platform, {})
    if platform == "apns":
        return len(msgspec.json.encode(block["payload"])) if "payload" in block else 0
    parts = (block.get("data", message.get("data")), message.get("notification"))
    own = block.get("notification")
    return sum(len(msgspec.json.encode(part)) for part in (*parts, own) if part)


def _fcm_error(code: str) -> dict[str, Any]:
    return {"@type": _FCM_ERROR, "errorCode": code}


def _violation(violation: Violation) -> Answer:
    """400 for our message: ``BadRequest`` names the field; FCM proper adds its own code."""
    field = {"field": violation.field, "description": violation.description}
    details: list[dict[str, Any]] = [{"@type": _BAD_REQUEST, "fieldViolations": [field]}]
    if violation.is_known_to_fcm:
        details.insert(0, _fcm_error("INVALID_ARGUMENT"))
    return _error(400, violation.description, "INVALID_ARGUMENT", *details)


def _error(code: int, message: str, status: str, *details: dict[str, Any]) -> Answer:
    error: dict[str, Any] = {"code": code, "message": message, "status": status}
    if details:
        error["details"] = list(details)
    return json_answer(code, {"error": error})
