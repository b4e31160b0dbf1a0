"""Apple Push Notification service: payload, provider token, sending.

Sources: Apple "Sending notification requests to APNs", "Generating a remote notification", and
"Establishing a token-based connection to APNs".
"""

import re
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import jwt
import msgspec

from senders.credentials import ApnsCredential, signing_key
from senders.http import Answer, Http, UnansweredError, UnsentError
from senders.model import (
    Delivered,
    InvalidMessage,
    Misconfigured,
    Outcome,
    Rejected,
    Rendered,
    Target,
)
from senders.network import ForbiddenUrlError
from senders.outcomes import classify, from_failure
from senders.payload import Payload, collapse_id, extras, fit, merge
from senders.retry_after import retry_after_s
from senders.token_cache import Token, TokenCache

LIMIT_BYTES = 4096
COLLAPSE_ID_BYTES = 64
TOKEN_REFRESH_S = 45 * 60
TOKEN_LIFE_S = 58 * 60  # Apple refuses tokens older than an hour
TOKEN_MIN_AGE_S = 20 * 60  # and more than one new token in 20 minutes
ACTIONS_CATEGORY = "gateway.actions"
HOSTS = {
    "production": "https://api.push.apple.com",
    "sandbox": "https://api.sandbox.push.apple.com",
}
HEADERS = ("apns-push-type", "apns-priority", "apns-expiration", "apns-collapse-id", "apns-topic")
TOPIC_SUFFIX = {
    "location": ".location-query",
    "voip": ".voip",
    "complication": ".complication",
    "fileprovider": ".pushkit.fileprovider",
    "pushtotalk": ".voip-ptt",
    "widgets": ".push-type.widgets",
    "liveactivity": ".push-type.liveactivity",
}
_PRIORITY = {"low": "1", "normal": "5", "high": "10", "time_sensitive": "10"}
_LEVEL = {"low": "passive", "time_sensitive": "time-sensitive"}
_TOKEN = re.compile(r"[0-9a-fA-F]{16,400}")
_TOPIC = re.compile(r"[A-Za-z0-9.-]{1,255}")
_NEW_CONNECTION = frozenset({"IdleTimeout", "Shutdown"})


class _ErrorBody(msgspec.Struct):
    reason: str = ""
    timestamp: int = 0


_decode_error = msgspec.json.Decoder(_ErrorBody).decode


def check_target(target: Target) -> None:
    """Check an address when it is registered.

    Raises:
        ValueError: token or app cannot be APNs'.
    """
    if not _TOKEN.fullmatch(target.address):
        raise ValueError("/address: an APNs device token is hexadecimal")
    if target.app is not None and not _TOPIC.fullmatch(target.app):
        raise ValueError("/app: is not a bundle id")


def apns_payload(rendered: Rendered) -> Payload:
    """The request's body (at most 4096 bytes) and the message's own headers.

    Raises:
        InvalidMessage: it does not fit.
    """
    override = rendered.overrides.get("apns") or {}
    head = _headers(rendered)
    if override:
        own = override.get("headers") or {}
        head.update({name: str(own[name]) for name in HEADERS if name in own})
        override = {key: value for key, value in override.items() if key != "headers"}
    if override:
        body, degraded = fit(rendered, lambda r: merge(_shape(r), override), LIMIT_BYTES)
    else:
        body, degraded = fit(rendered, _shape, LIMIT_BYTES)
    return Payload(head, body, len(body), degraded)


def _headers(rendered: Rendered) -> dict[str, str]:
    return {
        "apns-id": rendered.id,
        "apns-push-type": "background" if rendered.is_silent else "alert",
        "apns-priority": "5" if rendered.is_silent else _PRIORITY[rendered.priority],
        "apns-expiration": str(rendered.expires_at // 1000),
        "apns-collapse-id": collapse_id(rendered, COLLAPSE_ID_BYTES),
    }


def _shape(rendered: Rendered) -> dict[str, Any]:
    more = extras(rendered)
    if rendered.is_silent:
        return {"aps": {"content-available": 1}, **more}
    alert = {"title": rendered.title, "body": rendered.body}
    if rendered.subtitle:
        alert["subtitle"] = rendered.subtitle
    aps: dict[str, Any] = {"alert": {key: text for key, text in alert.items() if text}}
    if rendered.sound and rendered.sound != "none":
        aps["sound"] = rendered.sound
    if rendered.badge is not None:
        aps["badge"] = rendered.badge
    if rendered.group:
        aps["thread-id"] = rendered.group
    if category := rendered.category or (ACTIONS_CATEGORY if rendered.actions else ""):
        aps["category"] = category
    if level := _LEVEL.get(rendered.priority):
        aps["interruption-level"] = level
    if len(more) > 1:  # more than the id: the app's service extension has work to do
        aps["mutable-content"] = 1
    return {"aps": aps, **more}


class ApnsSender:
    """Sends with one APNs key; its JWT is shared with every other sender of that key."""

    def __init__(
        self,
        credential: ApnsCredential,
        http: Http,
        tokens: TokenCache,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        """Take a validated credential.

        Raises:
            InvalidCredential: its private key cannot be read.
        """
        self._credential, self._http, self._tokens = credential, http, tokens
        self._clock_s = clock_s
        self._key = signing_key(credential)
        digest = sha256(credential.private_key.strip().encode()).hexdigest()[:16]
        self._name = f"apns:{credential.team_id}:{credential.key_id}:{digest}"

    async def send(self, message: Rendered, target: Target) -> Outcome:
        """Send; see ``Sender``."""
        topic = target.app or self._credential.topic
        if not topic:
            return Misconfigured("MissingTopic: neither target nor credential names an app")
        try:
            payload = apns_payload(message)
            return await self._send(payload, self._url(target), topic, target)
        except (UnsentError, UnansweredError, ForbiddenUrlError) as error:
            return from_failure(error)
        except InvalidMessage as error:
            return Rejected(str(error))

    async def close(self) -> None:
        """Release connections."""
        await self._http.close()

    async def check(self) -> None:
        """Make a provider token, as far as a credential can be tried without a device."""
        await self._tokens.get(self._name, self._mint)

    async def _send(self, payload: Payload, url: str, topic: str, target: Target) -> Outcome:
        head = payload.headers
        suffix = TOPIC_SUFFIX.get(head["apns-push-type"], "")
        head.setdefault("apns-topic", topic if topic.endswith(suffix) else topic + suffix)
        token = await self._tokens.get(self._name, self._mint)
        answer = await self._post(url, payload, token)
        if answer.status == 403:
            answer = await self._try_again(answer, url, payload, token)
        return self._outcome(answer, target)

    async def _post(self, url: str, payload: Payload, token: Token) -> Answer:
        head = {**payload.headers, "authorization": f"bearer {token.text}"}
        return await self._http.post(url, head, payload.body)

    async def _try_again(self, refused: Answer, url: str, payload: Payload, token: Token) -> Answer:
        """Once more over a new connection: a refused token leaves the old one unusable."""
        reason = _reason(refused).reason
        if reason == "UnrelatedKeyIdInToken":
            self._http.renew()
            return await self._post(url, payload, token)
        if reason != "ExpiredProviderToken":
            return refused
        if self._clock_s() - token.issued_at_s < TOKEN_MIN_AGE_S:
            return refused  # our clock is off; yet another token would only draw a 429
        token = await self._tokens.renew(self._name, token, self._mint)
        self._http.renew()
        return await self._post(url, payload, token)

    def _outcome(self, answer: Answer, target: Target) -> Outcome:
        if answer.status == 200:
            return Delivered(answer.headers.get("apns-id") or "")
        error = _reason(answer)
        if error.reason in _NEW_CONNECTION:
            self._http.renew()
        if error.reason == "DeviceTokenNotForTopic" and target.app is None:
            return Misconfigured(error.reason)  # the topic is ours, the token is not to blame
        return classify(
            "apns",
            answer.status,
            error.reason,
            retry_after_s=retry_after_s(answer.headers, self._clock_s()),
            since=error.timestamp if answer.status == 410 else 0,
        )

    def _url(self, target: Target) -> str:
        environment = self._credential.environment or target.environment
        base = self._credential.endpoint.rstrip("/") or HOSTS[environment]
        return f"{base}/3/device/{target.address}"

    async def _mint(self) -> Token:
        now_s = int(self._clock_s())
        text = jwt.encode(
            {"iss": self._credential.team_id, "iat": now_s},
            self._key,
            algorithm="ES256",
            headers={"kid": self._credential.key_id, "typ": None},
        )
        return Token(text, now_s, now_s + TOKEN_REFRESH_S, now_s + TOKEN_LIFE_S)


def _reason(answer: Answer) -> _ErrorBody:
    try:
        return _decode_error(answer.body)
    except msgspec.DecodeError:
        return _ErrorBody()
