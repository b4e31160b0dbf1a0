"""SMS over HTTP in Twilio's shape; another provider of that shape is reached by ``endpoint``.

Creating a message has no idempotency key, so an unanswered request is ambiguous, never repeated for
marketing.
"""

import re
import time
from base64 import b64encode
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import msgspec

from senders.credentials import SmsCredential
from senders.http import Answer, Http, UnansweredError, UnsentError
from senders.model import Delivered, InvalidMessage, Outcome, Rejected, Rendered, Target
from senders.network import ForbiddenUrlError
from senders.outcomes import classify, from_failure
from senders.payload import ELLIPSIS, MIN_BODY_CHARS, Payload, require_words, ttl_s
from senders.retry_after import retry_after_s

BASE_URL = "https://api.twilio.com"
LIMIT_CHARS = 1600
MAX_VALIDITY_S = 36_000
_NUMBER = re.compile(r"\+[1-9]\d{6,14}")


class _Body(msgspec.Struct):
    sid: str = ""
    code: int | None = None


def check_target(target: Target) -> None:
    """Check a number when it is registered.

    Raises:
        ValueError: not E.164.
    """
    if not _NUMBER.fullmatch(target.address):
        raise ValueError("/address: must be a number in E.164, such as +4915112345678")


def sms_text(rendered: Rendered) -> tuple[str, tuple[str, ...]]:
    """The text of at most 1600 characters, and what was given up for that.

    Raises:
        InvalidMessage: nothing to show, or what must stay does not fit.
    """
    if text := (rendered.overrides.get("sms") or {}).get("text"):
        return str(text)[:LIMIT_CHARS], ("body",) if len(text) > LIMIT_CHARS else ()
    require_words(rendered)
    link = rendered.deep_link if rendered.deep_link.startswith(("https://", "http://")) else ""
    text = "\n".join(part for part in (rendered.title, rendered.body, link) if part)
    excess = len(text) - LIMIT_CHARS
    if excess <= 0:
        return text, ()
    kept = len(rendered.body) - excess - len(ELLIPSIS)
    if kept < MIN_BODY_CHARS:
        raise InvalidMessage("", f"{len(text)} characters; an SMS has at most {LIMIT_CHARS}")
    body = rendered.body[:kept] + ELLIPSIS
    return "\n".join(part for part in (rendered.title, body, link) if part), ("body",)


def sms_body(rendered: Rendered, number: str, sender: dict[str, str], now: int) -> Payload:
    """The form of ``Messages.json``; ``sender`` is ``From`` or ``MessagingServiceSid``.

    Raises:
        InvalidMessage: see ``sms_text``.
    """
    text, degraded = sms_text(rendered)
    form: dict[str, Any] = {"To": number, **sender, "Body": text}
    form["ValidityPeriod"] = min(max(1, ttl_s(rendered, now)), MAX_VALIDITY_S)
    head = {"content-type": "application/x-www-form-urlencoded"}
    body = urlencode(form).encode()
    return Payload(head, body, len(text), degraded)


class SmsSender:
    """Sends from one account."""

    def __init__(
        self,
        credential: SmsCredential,
        http: Http,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        """Take a validated credential."""
        self._http, self._clock_s = http, clock_s
        base = credential.endpoint.rstrip("/") or BASE_URL
        self._url = f"{base}/2010-04-01/Accounts/{credential.account_sid}/Messages.json"
        secret = f"{credential.account_sid}:{credential.auth_token}".encode()
        self._authorization = f"Basic {b64encode(secret).decode()}"
        self._sender = (
            {"From": credential.sender}
            if credential.sender
            else {"MessagingServiceSid": credential.messaging_service_sid}
        )

    async def send(self, message: Rendered, target: Target) -> Outcome:
        """Send; see ``Sender``."""
        now_s = self._clock_s()
        try:
            payload = sms_body(message, target.address, self._sender, int(now_s * 1000))
            head = {**payload.headers, "authorization": self._authorization}
            answer = await self._http.post(self._url, head, payload.body)
        except (UnsentError, UnansweredError, ForbiddenUrlError) as error:
            return from_failure(error)
        except InvalidMessage as error:
            return Rejected(str(error))
        said = _read(answer)
        if 200 <= answer.status < 300 and not said.code:
            return Delivered(said.sid)
        # Some providers of this shape answer 200 with an error code in the body.
        status = answer.status if answer.status >= 300 else 400
        wait_s = retry_after_s(answer.headers, now_s)
        return classify("sms", status, str(said.code or ""), retry_after_s=wait_s)

    async def close(self) -> None:
        """Release connections."""
        await self._http.close()

    async def check(self) -> None:
        """Nothing is sent for trial."""


def _read(answer: Answer) -> _Body:
    try:
        return msgspec.json.decode(answer.body, type=_Body)
    except msgspec.DecodeError:
        return _Body()
