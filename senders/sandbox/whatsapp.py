"""WhatsApp Cloud API: ``POST /v<N>.<N>/<phone number id>/messages``, Bearer auth and JSON.

Errors have the Graph API's shape: ``{"error": {"message", "type", "code", "error_data",
"fbtrace_id"}}``.
"""

import re
import uuid
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from senders.sandbox.exchange import NOT_JSON, Accepted, Answer, Request, json_answer
from senders.sandbox.keys import Keys

MAX_TEXT_CHARACTERS = 4096

_PATH = re.compile(r"/v\d+\.\d+/(\d{5,20})/messages\Z")
_NUMBER = re.compile(r"\+?[1-9]\d{6,14}\Z")
_TEMPLATE_NAME = re.compile(r"[a-z0-9_]{1,512}\Z")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:_[A-Za-z]{2,4})?\Z")
_TEXT = {
    "131026": "Message undeliverable",
    "131030": "Recipient phone number not in allowed list",
    "131047": "Re-engagement message",
    "131031": "Business Account locked",
    "132001": "Template name does not exist in the translation",
    "190": "Invalid OAuth access token.",
    "10": "Application does not have permission for this action",
    "130429": "Rate limit hit",
    "131056": "(Business Account, Consumer Account) pair rate limit hit",
    "131000": "Something went wrong",
    "131016": "Service unavailable",
}


class Language(msgspec.Struct, frozen=True):
    """A template's language."""

    code: str


class Template(msgspec.Struct, frozen=True):
    """A template message."""

    name: str
    language: Language
    components: list[dict[str, Any]] = []


class Text(msgspec.Struct, frozen=True):
    """A session message; allowed only within 24 hours after the customer wrote."""

    body: str
    preview_url: bool = False


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a send request."""

    messaging_product: Literal["whatsapp"]
    to: str
    type: Literal["template", "text", "image", "video", "audio", "document", "interactive"] = "text"
    recipient_type: Literal["individual", "group"] = "individual"
    template: Template | None = None
    text: Text | None = None
    image: dict[str, Any] | None = None
    video: dict[str, Any] | None = None
    audio: dict[str, Any] | None = None
    document: dict[str, Any] | None = None
    interactive: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    biz_opaque_callback_data: str | None = None


class InvalidParameterError(Exception):
    """A field that is wrong: Graph's code and what is wrong."""

    def __init__(self, code: int, details: str) -> None:
        super().__init__(details)
        self.code = code


class WhatsApp:
    """The emulator."""

    provider = "whatsapp"
    outcomes: Mapping[str, tuple[int, str]] = {
        "unregistered": (400, "131026"),
        "expired": (400, "131047"),
        "invalid": (400, "131030"),
        "mismatch": (404, "132001"),
        "disallowed": (403, "10"),
        "unauthorized": (401, "190"),
        "stale-credential": (401, "190"),
        "throttled": (429, "130429"),
        "error": (500, "131000"),
        "unavailable": (503, "131016"),
        "shutdown": (503, "131016"),
    }

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._decode = msgspec.json.Decoder(Message).decode

    def answer(self, request: Request) -> Answer:
        """Judge a message."""
        path = _PATH.match(request.path)
        if path is None or request.method != "POST":
            return _error(404, 100, "Unsupported post request.", "GraphMethodException")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        secret = self._keys.secret("whatsapp", path[1])
        is_unknown = secret is None and self._keys.is_strict("whatsapp")
        if scheme.lower() != "bearer" or not token or is_unknown or secret not in (None, token):
            return self.refusal(401, "190", request.at)
        try:
            message = self._decode(request.body)
            _check(message)
        except NOT_JSON as error:
            return _error(400, 100, "(#100) Invalid parameter", details=str(error))
        except InvalidParameterError as error:
            text = f"(#{error.code}) Parameter value is not valid"
            return _error(400, error.code, text, details=str(error))
        return self._accept(path[1], message, request)

    def refusal(self, status: int, reason: str, at: int, since: int | None = None) -> Answer:
        """Say no; ``reason`` is the Graph API's code."""
        code = int(reason) if reason.isdecimal() else 131000
        text = f"(#{code}) {_TEXT.get(reason, reason)}"
        return _error(status, code, text, details=_TEXT.get(reason, reason))

    def _accept(self, phone_number_id: str, message: Message, request: Request) -> Answer:
        message_id = "wamid." + uuid.uuid4().hex.upper()
        target = "+" + message.to.lstrip("+")
        accepted = Accepted(
            self.provider,
            target,
            message_id,
            request.at,
            {"phone_number_id": phone_number_id},
            msgspec.Raw(request.body),
        )
        document = {
            "messaging_product": "whatsapp",
            "contacts": [{"input": message.to, "wa_id": target[1:]}],
            "messages": [{"id": message_id, "message_status": "accepted"}],
        }
        return json_answer(200, document)._replace(accepted=accepted)


def _check(message: Message) -> None:
    """Check what the types cannot say."""
    if not _NUMBER.match(message.to):
        raise InvalidParameterError(100, "to must be a telephone number with country code")
    if getattr(message, message.type) is None:
        raise InvalidParameterError(131009, f"{message.type} is required for type {message.type}")
    if message.text is not None and not 1 <= len(message.text.body) <= MAX_TEXT_CHARACTERS:
        raise InvalidParameterError(100, f"text.body must have 1 to {MAX_TEXT_CHARACTERS} letters")
    template = message.template
    if template is not None and not _TEMPLATE_NAME.match(template.name):
        raise InvalidParameterError(132001, "template.name must be of a-z, 0-9 and _")
    if template is not None and not _LANGUAGE.match(template.language.code):
        raise InvalidParameterError(132001, "template.language.code must be such as en_US")


def _error(
    status: int, code: int, text: str, kind: str = "OAuthException", details: str = ""
) -> Answer:
    error: dict[str, Any] = {
        "message": text,
        "type": kind,
        "code": code,
        "fbtrace_id": uuid.uuid4().hex[:23],
    }
    if details:
        error["error_data"] = {"messaging_product": "whatsapp", "details": details}
    return json_answer(status, {"error": error})
