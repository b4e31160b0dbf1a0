"""What a message becomes on every platform: the exact payload, its size, what was given up."""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from senders.apns import LIMIT_BYTES as APNS_LIMIT
from senders.apns import apns_payload
from senders.email import email_payload
from senders.fcm_payload import LIMIT_BYTES as FCM_LIMIT
from senders.fcm_payload import fcm_payload
from senders.inbox import LIMIT_BYTES as INBOX_LIMIT
from senders.inbox import inbox_item
from senders.model import InvalidMessage, Rendered
from senders.payload import Payload
from senders.sms import LIMIT_CHARS, sms_body
from senders.webhook import LIMIT_BYTES as WEBHOOK_LIMIT
from senders.webhook import webhook_body
from senders.webpush import webpush_payload
from senders.webpush_crypto import PLAINTEXT_BYTES
from senders.whatsapp import LIMIT_BYTES as WHATSAPP_LIMIT
from senders.whatsapp import whatsapp_body

NUMBER = "+491500000000"
TOKEN = "device-token"  # noqa: S105 - a placeholder


class Preview(msgspec.Struct, frozen=True, omit_defaults=True):
    """One platform's payload. ``error`` stands alone if the message cannot be sent there."""

    payload: Any = None
    headers: dict[str, str] = {}
    size: int = 0
    limit: int = 0
    unit: Literal["bytes", "characters"] = "bytes"
    degraded: tuple[str, ...] = ()
    error: str = ""


def preview(rendered: Rendered, now: int) -> dict[str, Preview]:
    """Every platform's payload for a rendered message; ``now`` in epoch ms."""
    made: dict[str, tuple[Callable[[], Payload], int]] = {
        "apns": (lambda: apns_payload(rendered), APNS_LIMIT),
        "fcm": (lambda: fcm_payload(rendered, TOKEN, now), FCM_LIMIT),
        "webpush": (lambda: webpush_payload(rendered, now), PLAINTEXT_BYTES),
        "inbox": (lambda: inbox_item(rendered), INBOX_LIMIT),
        "webhook": (lambda: webhook_body(rendered, now), WEBHOOK_LIMIT),
        "whatsapp": (lambda: whatsapp_body(rendered, NUMBER), WHATSAPP_LIMIT),
        "sms": (lambda: sms_body(rendered, NUMBER, {"From": NUMBER}, now), LIMIT_CHARS),
        "email": (lambda: _mail(rendered, now), 512_000),
    }
    return {name: _show(name, make, limit) for name, (make, limit) in made.items()}


def _mail(rendered: Rendered, now: int) -> Payload:
    address = "someone@example.com"
    return email_payload(rendered, sender="shop@example.com", recipient=address, now=now)


def _show(name: str, make: Callable[[], Payload], limit: int) -> Preview:
    try:
        made = make()
    except InvalidMessage as error:
        return Preview(limit=limit, error=str(error))
    try:
        payload = msgspec.json.decode(made.body)
    except msgspec.DecodeError:
        payload = made.body.decode()
    return Preview(
        payload=payload,
        headers=made.headers,
        size=made.size,
        limit=limit,
        unit="characters" if name == "sms" else "bytes",
        degraded=made.degraded,
    )
