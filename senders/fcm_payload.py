"""What FCM gets: the message of ``messages:send``, for Android and for iOS and web apps of FCM.

Source: the FCM HTTP v1 reference (``projects.messages``).
"""

from typing import Any

import msgspec

from senders.model import Rendered
from senders.payload import Payload, collapse_id, extras, first_image, fit, merge, ttl_s

LIMIT_BYTES = 4096
MAX_TTL_S = 28 * 86_400
TAG_BYTES = 64
# `data` is flat: these keys are ours, and the others are FCM's own.
OWN_DATA_KEYS = frozenset(
    {"push_id", "receipt_token", "receipt_url", "deep_link", "media", "carousel", "actions"}
    | {"title", "body", "subtitle", "sound", "category", "group"}
)
RESERVED_DATA_KEYS = frozenset({"from", "message_type", "notification"})
RESERVED_DATA_PREFIXES = ("google.", "gcm.")
_PRIORITY = {"low": "NORMAL", "normal": "NORMAL", "high": "HIGH", "time_sensitive": "HIGH"}
_APNS_PRIORITY = {"low": "1", "normal": "5", "high": "10", "time_sensitive": "10"}
_encode = msgspec.json.Encoder().encode


def fcm_payload(rendered: Rendered, token: str, now: int) -> Payload:
    """The body of ``messages:send``; the message without its token has at most 4096 bytes.

    Buttons, carousels, films and sounds need the app, so such messages are data only and high
    priority; everything else is shown by the system.

    Args:
        rendered: the message.
        token: registration token.
        now: epoch ms; the lifetime left becomes ``ttl``.

    Raises:
        InvalidMessage: it does not fit.
    """
    override = rendered.overrides.get("fcm")

    def shape(message: Rendered) -> dict[str, Any]:
        shaped = _shape(message, now)
        return merge(shaped, override) if override else shaped

    message, degraded = fit(rendered, shape, LIMIT_BYTES)
    # The token is spliced in, so that it costs neither a second encoding nor a share of the limit.
    body = b'{"message":{"token":' + _encode(token) + b"," + message[1:] + b"}"
    return Payload({"content-type": "application/json"}, body, len(message), degraded)


def _shape(rendered: Rendered, now: int) -> dict[str, Any]:
    lifetime_s = min(ttl_s(rendered, now), MAX_TTL_S)
    by_app = is_data_only(rendered)
    android: dict[str, Any] = {
        "priority": "HIGH" if by_app and not rendered.is_silent else _PRIORITY[rendered.priority],
        "ttl": f"{lifetime_s}s",
    }
    if rendered.collapse_key:
        android["collapse_key"] = collapse_id(rendered, TAG_BYTES)
    shaped: dict[str, Any] = {"data": _data(rendered, by_app=by_app), "android": android}
    if not by_app:
        shaped["notification"] = _notification(rendered)
        android["notification"] = _android_notification(rendered)
    shaped["apns"] = _apns(rendered, by_app=by_app)
    shaped["webpush"] = _webpush(rendered, lifetime_s)
    return shaped


def is_data_only(rendered: Rendered) -> bool:
    """Whether the app itself must build the notification."""
    return (
        rendered.is_silent
        or bool(rendered.actions or rendered.carousel)
        or any(medium.type != "image" for medium in rendered.media)
    )


def _data(rendered: Rendered, *, by_app: bool) -> dict[str, str]:
    found = dict(rendered.data)
    for key, value in extras(rendered).items():
        if key != "data":
            found[key] = value if isinstance(value, str) else _encode(value).decode()
    if by_app and not rendered.is_silent:
        words = {
            "title": rendered.title,
            "body": rendered.body,
            "subtitle": rendered.subtitle,
            "sound": rendered.sound if rendered.sound != "default" else "",
            "category": rendered.category,
            "group": rendered.group,
        }
        found.update({key: text for key, text in words.items() if text})
    return found


def _notification(rendered: Rendered) -> dict[str, str]:
    found = {"title": rendered.title, "body": rendered.body}
    if image := first_image(rendered):
        found["image"] = image
    return {key: text for key, text in found.items() if text}


def _android_notification(rendered: Rendered) -> dict[str, Any]:
    found: dict[str, Any] = {"tag": collapse_id(rendered, TAG_BYTES)}
    if rendered.sound == "default":
        found["default_sound"] = True
    elif rendered.sound and rendered.sound != "none":
        found["sound"] = rendered.sound
    if rendered.category:
        found["click_action"] = rendered.category
    if rendered.badge is not None:
        found["notification_count"] = rendered.badge
    return found


def _apns(rendered: Rendered, *, by_app: bool) -> dict[str, Any]:
    """For iOS apps registered with FCM: the system must show what Android apps build themselves."""
    if rendered.is_silent:
        return {
            "headers": {"apns-priority": "5", "apns-push-type": "background"},
            "payload": {"aps": {"content-available": 1}},
        }
    aps: dict[str, Any] = {"mutable-content": 1}
    if by_app:
        aps["alert"] = {"title": rendered.title, "body": rendered.body}
    if rendered.sound and rendered.sound != "none":
        aps["sound"] = rendered.sound
    if rendered.badge is not None:
        aps["badge"] = rendered.badge
    if rendered.group:
        aps["thread-id"] = rendered.group
    if rendered.category:
        aps["category"] = rendered.category
    headers = {
        "apns-priority": _APNS_PRIORITY[rendered.priority],
        "apns-expiration": str(rendered.expires_at // 1000),
        "apns-collapse-id": collapse_id(rendered, TAG_BYTES),
    }
    return {"headers": headers, "payload": {"aps": aps}}


def _webpush(rendered: Rendered, lifetime_s: int) -> dict[str, Any]:
    found: dict[str, Any] = {"headers": {"TTL": str(lifetime_s)}}
    if rendered.deep_link.startswith("https://"):
        found["fcm_options"] = {"link": rendered.deep_link}
    return found
