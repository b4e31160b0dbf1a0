"""What is sent, to whom, and what came of it.

A sender is ``async send(message, target) -> Outcome``. It never raises for what a provider can
answer, and never touches storage: the caller acts on the outcome (retry, drop the token, stop the
credential).

Error tree: ``SenderError`` (root), ``InvalidMessage`` (a message that no provider would take),
``InvalidCredential`` (a credential that cannot work).
"""

from typing import Any, Literal, Protocol

import msgspec

Channel = Literal[
    "app_push", "web_push", "inbox", "webhook", "whatsapp", "sms", "email"
]  # app_push: APNs or FCM, by the target
Provider = Literal["apns", "fcm", "webpush", "inbox", "webhook", "whatsapp", "sms", "email"]
Lane = Literal["transactional", "marketing"]


class SenderError(ValueError):
    """Root of this package's errors."""


class InvalidMessage(SenderError):
    """A message that cannot be sent: which field (JSON pointer), and why."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer}: {detail}")
        self.pointer = pointer
        self.detail = detail


class InvalidCredential(SenderError):
    """A credential that cannot work: which field (JSON pointer), and why."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer}: {detail}")
        self.pointer = pointer
        self.detail = detail


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a push goes: one address at one provider."""

    provider: Provider
    address: str  # device token, web-push endpoint, URL, E.164 number, mail address, inbox owner
    app: str | None = None  # APNs topic (bundle id) or FCM package
    environment: Literal["production", "sandbox"] = "production"
    keys: dict[str, str] | None = None  # web push: p256dh, auth (base64url)
    registered_at: int = 0  # epoch milliseconds


class Delivered(msgspec.Struct, frozen=True, tag="delivered"):
    """The provider took it."""

    provider_id: str = ""


class RetryAfter(msgspec.Struct, frozen=True, tag="retry"):
    """Try again, not before ``after_s`` (None: by the caller's own schedule)."""

    reason: str
    after_s: float | None = None
    scope: Literal["target", "credential"] = "credential"  # who must slow down
    is_counted: bool = True  # throttling is not an attempt


class Unregistered(msgspec.Struct, frozen=True, tag="unregistered"):
    """The address is dead; drop it if it was registered before ``since`` (epoch ms; 0 = now)."""

    reason: str
    since: int = 0


class Rejected(msgspec.Struct, frozen=True, tag="rejected"):
    """This message will never be taken; the address stays."""

    reason: str


class Misconfigured(msgspec.Struct, frozen=True, tag="misconfigured"):
    """The credential or topic is wrong: stop using it and tell a person."""

    reason: str


class Ambiguous(msgspec.Struct, frozen=True, tag="ambiguous"):
    """The request was written and no answer came: it may or may not have arrived."""

    reason: str


Outcome = Delivered | RetryAfter | Unregistered | Rejected | Misconfigured | Ambiguous


class Rendered(msgspec.Struct, frozen=True):
    """A message with every template filled, for one recipient."""

    id: str  # push id: apns-id, webhook-id, Topic, Message-ID derive from it
    title: str
    body: str
    expires_at: int  # epoch milliseconds
    lane: Lane = "marketing"
    subtitle: str = ""
    media: tuple["Media", ...] = ()
    carousel: tuple["Card", ...] = ()
    actions: tuple["Action", ...] = ()
    deep_link: str = ""
    sound: str = "default"
    badge: int | None = None
    data: dict[str, str] = {}
    optional_data: tuple[str, ...] = ()  # keys of data that may be left out to fit a size limit
    collapse_key: str = ""
    priority: Literal["low", "normal", "high", "time_sensitive"] = "high"
    group: str = ""
    category: str = ""
    receipt_token: str = ""
    receipt_url: str = ""
    is_silent: bool = False
    overrides: dict[str, dict[str, Any]] = {}


class Media(msgspec.Struct, frozen=True, omit_defaults=True):
    """A picture, film or sound, by its address."""

    type: Literal["image", "gif", "video", "audio"]
    url: str
    alt: str = ""


class Card(msgspec.Struct, frozen=True, omit_defaults=True):
    """One card of a carousel."""

    image_url: str
    title: str = ""
    body: str = ""
    deep_link: str = ""


class Action(msgspec.Struct, frozen=True, omit_defaults=True):
    """A button. ``token`` is filled when the message is rendered (signed, single use)."""

    id: str
    title: str
    deep_link: str = ""
    icon_url: str = ""
    token: str = ""
    url: str = ""  # where the press is posted


class Sender(Protocol):
    """One provider with one credential."""

    async def send(self, message: Rendered, target: Target) -> Outcome:
        """Send; never raises for what a provider or a network can do."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...
