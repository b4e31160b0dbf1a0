"""WhatsApp Cloud API: approved templates, and free-form messages inside the 24-hour window.

``overrides.whatsapp`` chooses the template: ``{"template": "lunch", "language": "de", "parameters":
["{{ user.first_name }}"], "header_image": "https://…"}``, or raw ``components``. Without it the
message goes as text, picture with caption, or reply buttons: WhatsApp takes them only inside the
window.
"""

import re
import time
from collections.abc import Callable
from typing import Any

import msgspec

from senders.credentials import WhatsAppCredential
from senders.http import Answer, Http, UnansweredError, UnsentError
from senders.model import Delivered, InvalidMessage, Outcome, Rejected, Rendered, Target
from senders.network import ForbiddenUrlError
from senders.outcomes import classify, from_failure
from senders.payload import Payload, first_image, fit, require_words
from senders.retry_after import retry_after_s

BASE_URL = "https://graph.facebook.com"
LIMIT_BYTES = 16_384
TEXT_CHARS = 4096
CAPTION_CHARS = 1024
BUTTON_CHARS = 20
_NUMBER = re.compile(r"\+?[1-9]\d{6,14}")


class _Error(msgspec.Struct):
    code: int = 0


class _ErrorBody(msgspec.Struct):
    error: _Error = msgspec.field(default_factory=_Error)


class _Message(msgspec.Struct):
    id: str = ""


class _Sent(msgspec.Struct):
    messages: list[_Message] = []


def check_target(target: Target) -> None:
    """Check a number when it is registered.

    Raises:
        ValueError: not E.164.
    """
    if not _NUMBER.fullmatch(target.address):
        raise ValueError("/address: must be a number in E.164, such as +4915112345678")


def whatsapp_body(rendered: Rendered, number: str) -> Payload:
    """The body of ``/messages``.

    Raises:
        InvalidMessage: too long, nothing to show, or the override names no template.
    """
    chosen = rendered.overrides.get("whatsapp")
    if not chosen:
        require_words(rendered)

    def shape(message: Rendered) -> dict[str, Any]:
        content = _template(chosen) if chosen else _free_form(message)
        return {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": number.removeprefix("+"),
            **content,
            "biz_opaque_callback_data": message.id,
        }

    body, degraded = fit(rendered, shape, LIMIT_BYTES)
    return Payload({"content-type": "application/json"}, body, len(body), degraded)


def _template(chosen: dict[str, Any]) -> dict[str, Any]:
    name = chosen.get("template")
    if not isinstance(name, str) or not name:
        raise InvalidMessage("/overrides/whatsapp/template", "is required")
    components = chosen.get("components")
    if components is None:
        components = []
        if image := chosen.get("header_image"):
            parameter = {"type": "image", "image": {"link": image}}
            components.append({"type": "header", "parameters": [parameter]})
        if words := chosen.get("parameters"):
            texts = [{"type": "text", "text": word} for word in words]
            components.append({"type": "body", "parameters": texts})
    language = {"code": chosen.get("language", "en")}
    template = {"name": name, "language": language, "components": components}
    return {"type": "template", "template": template}


def _free_form(rendered: Rendered) -> dict[str, Any]:
    lines = (f"*{rendered.title}*" if rendered.title else "", rendered.body, rendered.deep_link)
    text = "\n".join(line for line in lines if line)
    image = first_image(rendered)
    if rendered.actions:
        return {"type": "interactive", "interactive": _buttons(rendered, text, image)}
    if image and len(text) <= CAPTION_CHARS:
        return {"type": "image", "image": {"link": image, "caption": text}}
    has_link = rendered.deep_link.startswith("https://")
    return {"type": "text", "text": {"body": text[:TEXT_CHARS], "preview_url": has_link}}


def _buttons(rendered: Rendered, text: str, image: str) -> dict[str, Any]:
    """Reply buttons; what comes back is the action's token, else its id."""
    buttons = [
        {
            "type": "reply",
            "reply": {"id": action.token or action.id, "title": action.title[:BUTTON_CHARS]},
        }
        for action in rendered.actions
    ]
    found: dict[str, Any] = {
        "type": "button",
        "body": {"text": text[:CAPTION_CHARS]},
        "action": {"buttons": buttons},
    }
    if image:
        found["header"] = {"type": "image", "image": {"link": image}}
    return found


class WhatsAppSender:
    """Sends from one WhatsApp number."""

    def __init__(
        self,
        credential: WhatsAppCredential,
        http: Http,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        """Take a validated credential."""
        self._http, self._clock_s = http, clock_s
        base = credential.endpoint.rstrip("/") or BASE_URL
        self._url = f"{base}/{credential.api_version}/{credential.phone_number_id}/messages"
        self._authorization = f"Bearer {credential.access_token}"

    async def send(self, message: Rendered, target: Target) -> Outcome:
        """Send; see ``Sender``."""
        try:
            payload = whatsapp_body(message, target.address)
            head = {**payload.headers, "authorization": self._authorization}
            answer = await self._http.post(self._url, head, payload.body)
        except (UnsentError, UnansweredError, ForbiddenUrlError) as error:
            return from_failure(error)
        except InvalidMessage as error:
            return Rejected(str(error))
        if 200 <= answer.status < 300:
            return Delivered(_sent_id(answer))
        wait_s = retry_after_s(answer.headers, self._clock_s())
        return classify("whatsapp", answer.status, _code(answer), retry_after_s=wait_s)

    async def close(self) -> None:
        """Release connections."""
        await self._http.close()

    async def check(self) -> None:
        """Nothing is sent for trial."""


def _sent_id(answer: Answer) -> str:
    try:
        sent = msgspec.json.decode(answer.body, type=_Sent)
    except msgspec.DecodeError:
        return ""
    return sent.messages[0].id if sent.messages else ""


def _code(answer: Answer) -> str:
    try:
        return str(msgspec.json.decode(answer.body, type=_ErrorBody).error.code)
    except msgspec.DecodeError:
        return ""
