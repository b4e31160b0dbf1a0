"""Web Push: Declarative Web Push JSON, encrypted (RFC 8291), signed (RFC 8292), posted (RFC 8030).

Browsers without Declarative Web Push get the same JSON as ordinary push data; the service worker
shows it. The VAPID signature is made once per push service and key and used for up to 12 hours.
"""

import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import jwt
import msgspec

from senders.credentials import WebPushCredential, signing_key, vapid_public_key
from senders.http import Answer, Http, UnansweredError, UnsentError
from senders.model import Delivered, InvalidMessage, Outcome, Rejected, Rendered, Target
from senders.network import ForbiddenUrlError, Origin, parse_origin
from senders.outcomes import classify, from_failure
from senders.payload import Payload, first_image, fit, merge, require_words, ttl_s
from senders.retry_after import retry_after_s
from senders.webpush_crypto import PLAINTEXT_BYTES, check_keys, decode_keys, encrypt

SIGNATURE_LIFE_S = 12 * 3600
MAX_TTL_S = 2_592_000  # autopush refuses more than 30 days
HEADERS = ("TTL", "Urgency", "Topic")
_URGENCY = {"low": "low", "normal": "normal", "high": "high", "time_sensitive": "high"}
_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")
_KEY_REFUSED = re.compile(rb"UnauthorizedRegistration|VapidPkHashMismatch")
_MAX_ORIGINS = 1024


class _Autopush(msgspec.Struct):
    errno: int = 0


def check_target(target: Target) -> None:
    """Check a subscription when it is registered; its address is judged again at every send.

    Raises:
        ValueError: endpoint or keys cannot be a subscription's.
    """
    if len(target.address) > 2048:
        raise ValueError("/address: longer than 2048 characters")
    try:
        origin = parse_origin(target.address)
    except ForbiddenUrlError as error:
        raise ValueError(f"/address: {error}") from None
    if origin.scheme != "https":
        raise ValueError("/address: must be https")
    check_keys(target.keys)


def webpush_payload(rendered: Rendered, now: int) -> Payload:
    """The plaintext (at most 3993 bytes) and the message's own headers.

    Raises:
        InvalidMessage: it does not fit, or has nothing to show.
    """
    require_words(rendered)
    override = rendered.overrides.get("webpush") or {}
    lifetime_s = min(ttl_s(rendered, now), MAX_TTL_S)
    head = {
        "TTL": str(lifetime_s),
        "Urgency": _URGENCY[rendered.priority],
        "Topic": topic(rendered),
    }
    own = override.get("headers") or {}
    head.update({name: str(own[name]) for name in HEADERS if name in own})
    more = {key: value for key, value in override.items() if key != "headers"}

    def shape(message: Rendered) -> Any:
        return merge(_shape(message), more) if more else _shape(message)

    body, degraded = fit(rendered, shape, PLAINTEXT_BYTES)
    return Payload(head, body, len(body), degraded)


def topic(rendered: Rendered) -> str:
    """The Topic (RFC 8030, section 5.4): a newer push replaces an undelivered one with the same."""
    key = rendered.collapse_key or rendered.id.replace("-", "")
    if _TOPIC.fullmatch(key):
        return key
    return urlsafe_b64encode(sha256(key.encode()).digest()[:24]).decode()


def _shape(rendered: Rendered) -> dict[str, Any]:
    notification: dict[str, Any] = {
        "title": rendered.title or rendered.body,
        "body": rendered.body if rendered.title else "",
        "tag": rendered.collapse_key or rendered.id,
        "data": _data(rendered),
    }
    if rendered.deep_link.startswith(("https://", "http://")):
        notification["navigate"] = rendered.deep_link
    if image := first_image(rendered):
        notification["image"] = image
    if rendered.sound in ("", "none"):
        notification["silent"] = True
    if rendered.priority == "time_sensitive":
        notification["requireInteraction"] = True
    if rendered.actions:
        notification["actions"] = [_action(action) for action in rendered.actions]
    shaped: dict[str, Any] = {"web_push": 8030, "notification": notification, "mutable": True}
    if rendered.badge is not None:
        shaped["app_badge"] = rendered.badge
    return shaped


def _action(action: Any) -> dict[str, str]:
    found = {"action": action.id, "title": action.title}
    if action.icon_url:
        found["icon"] = action.icon_url
    if action.deep_link.startswith(("https://", "http://")):
        found["navigate"] = action.deep_link
    return found


def _data(rendered: Rendered) -> dict[str, Any]:
    """What the service worker needs besides the notification: link, receipt, buttons, data."""
    found: dict[str, Any] = {"push_id": rendered.id}
    if rendered.receipt_token:
        found["receipt_token"] = rendered.receipt_token
        found["receipt_url"] = rendered.receipt_url
    if rendered.deep_link:
        found["deep_link"] = rendered.deep_link
    buttons = {
        action.id: {"token": action.token, "url": action.url, "deep_link": action.deep_link}
        for action in rendered.actions
    }
    if buttons:
        found["actions"] = buttons
    if rendered.data:
        found["data"] = rendered.data
    if rendered.carousel:
        found["carousel"] = rendered.carousel
    if rest := [medium for medium in rendered.media if medium.type in ("video", "audio")]:
        found["media"] = rest
    return found


class WebPushSender:
    """Sends to any push service with one VAPID key."""

    def __init__(
        self,
        credential: WebPushCredential,
        http: Http,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        """Take a validated credential.

        Raises:
            InvalidCredential: its key cannot be read.
        """
        self._credential, self._http, self._clock_s = credential, http, clock_s
        self._key = signing_key(credential)
        self._public_key = vapid_public_key(credential)
        self._signed: dict[Origin, tuple[str, float]] = {}

    async def send(self, message: Rendered, target: Target) -> Outcome:
        """Send; see ``Sender``."""
        try:
            origin = parse_origin(target.address)
            if self._credential.allow_hosts and origin.host not in self._credential.allow_hosts:
                return Rejected(f"{origin.host} is not among the allowed push services")
            payload = webpush_payload(message, int(self._clock_s() * 1000))
            body = encrypt(payload.body, *decode_keys(target.keys))
            return await self._send(payload, body, origin, target.address)
        except (UnsentError, UnansweredError, ForbiddenUrlError) as error:
            return from_failure(error)
        except InvalidMessage as error:
            return Rejected(str(error))
        except ValueError as error:  # keys stored before they were checked
            return Rejected(f"subscription{error}")

    async def close(self) -> None:
        """Release connections."""
        await self._http.close()

    async def check(self) -> None:
        """Nothing more can be tried without a subscription."""

    async def _send(self, payload: Payload, body: bytes, origin: Origin, url: str) -> Outcome:
        head = {
            **payload.headers,
            "content-encoding": "aes128gcm",
            "content-type": "application/octet-stream",
            **_quirks(origin, payload),
        }
        answer = await self._http.post(url, {**head, "authorization": self._vapid(origin)}, body)
        if answer.status in (401, 403) and self._is_stale(origin):
            self._signed.pop(origin, None)
            answer = await self._http.post(
                url, {**head, "authorization": self._vapid(origin)}, body
            )
        if 200 <= answer.status < 300:
            return Delivered(answer.headers.get("location") or "")
        wait_s = retry_after_s(answer.headers, self._clock_s())
        return classify("webpush", answer.status, _code(answer), retry_after_s=wait_s)

    def _vapid(self, origin: Origin) -> str:
        """``Authorization`` for a push service; kept for half its life."""
        now_s = self._clock_s()
        found = self._signed.get(origin)
        if found is not None and now_s < found[1]:
            return found[0]
        claims = {
            "aud": str(origin),
            "exp": int(now_s) + SIGNATURE_LIFE_S,
            "sub": self._credential.subject,
        }
        signature = jwt.encode(claims, self._key, algorithm="ES256")
        text = f"vapid t={signature}, k={self._public_key}"
        while len(self._signed) >= _MAX_ORIGINS:
            self._signed.pop(next(iter(self._signed)))
        self._signed[origin] = (text, now_s + SIGNATURE_LIFE_S / 2)
        return text

    def _is_stale(self, origin: Origin) -> bool:
        """Whether a new signature could help: the one in use is older than a minute."""
        found = self._signed.get(origin)
        return found is None or found[1] - self._clock_s() < SIGNATURE_LIFE_S / 2 - 60


def _quirks(origin: Origin, payload: Payload) -> dict[str, str]:
    """WNS refuses a message whose lifetime and cache policy disagree."""
    if not origin.host.endswith(".notify.windows.com"):
        return {}
    policy = "no-cache" if payload.headers["TTL"] == "0" else "cache"
    return {"X-WNS-Type": "wns/raw", "X-WNS-Cache-Policy": policy}


def _code(answer: Answer) -> str:
    """The push service's own code where the status alone does not tell what to do."""
    if answer.status == 400 and (found := _KEY_REFUSED.search(answer.body)):
        return found.group().decode()
    if answer.status == 503:
        try:
            return str(msgspec.json.decode(answer.body, type=_Autopush).errno or "")
        except msgspec.DecodeError:
            return ""
    return ""
