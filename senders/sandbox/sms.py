"""SMS in Twilio's shape: ``POST /2010-04-01/Accounts/<sid>/Messages.json``, Basic auth and a form.

Errors are ``{"code", "message", "more_info", "status"}`` with Twilio's own codes.
"""

import base64
import binascii
import re
import uuid
from collections.abc import Mapping
from urllib.parse import parse_qsl

from senders.sandbox.exchange import Accepted, Answer, Request, json_answer, raw_json
from senders.sandbox.keys import Keys

MAX_BODY_CHARACTERS = 1600
MAX_VALIDITY_S = 36_000
FORM_TYPE = "application/x-www-form-urlencoded"

_PATH = re.compile(r"/2010-04-01/Accounts/(AC[0-9a-zA-Z]{32})/Messages\.json\Z")
_SECONDS = re.compile(r"\d{1,6}\Z")
_NUMBER = re.compile(r"\+[1-9]\d{6,14}\Z")
_SENDER = re.compile(r"(?:\+[1-9]\d{6,14}|\d{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 ]{1,11})\Z")
_FIELDS = frozenset(
    {"To", "From", "MessagingServiceSid", "Body", "StatusCallback", "ValidityPeriod", "MediaUrl"}
)
_TEXT = {
    "21610": "Attempt to send to unsubscribed recipient",
    "21211": "The 'To' number is not a valid phone number.",
    "21408": "Permission to send an SMS has not been enabled for the region",
    "20003": "Authenticate",
    "20429": "Too Many Requests",
    "20500": "Internal Server Error",
    "20503": "Service unavailable",
    "21614": "'To' number is not a valid mobile number",
    "21606": "The 'From' phone number is not a valid message-capable number",
}


class RefusedError(Exception):
    """A message that breaks a rule: HTTP status, Twilio's code and text."""

    def __init__(self, status: int, code: str, text: str = "") -> None:
        super().__init__(text or _TEXT[code])
        self.status = status
        self.code = code


class Sms:
    """The emulator."""

    provider = "sms"
    outcomes: Mapping[str, tuple[int, str]] = {
        "unregistered": (400, "21610"),
        "expired": (400, "21614"),
        "invalid": (400, "21211"),
        "mismatch": (400, "21606"),
        "disallowed": (403, "21408"),
        "unauthorized": (401, "20003"),
        "stale-credential": (401, "20003"),
        "throttled": (429, "20429"),
        "error": (500, "20500"),
        "unavailable": (503, "20503"),
        "shutdown": (503, "20503"),
    }

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def answer(self, request: Request) -> Answer:
        """Judge a message."""
        path = _PATH.match(request.path)
        try:
            if path is None or request.method != "POST":
                raise RefusedError(404, "20404", "The requested resource was not found")  # noqa: TRY301 - as all others
            self._check_auth(path[1], request.headers.get("authorization", ""))
            form = _form(request)
            _check_form(form)
        except RefusedError as refused:
            return _error(refused.status, refused.code, str(refused))
        message_id = "SM" + uuid.uuid4().hex
        accepted = Accepted(
            self.provider,
            form["To"],
            message_id,
            request.at,
            {"account": path[1]},
            raw_json(form),
        )
        document = {
            "sid": message_id,
            "account_sid": path[1],
            "status": "queued",
            "to": form["To"],
            "from": form.get("From"),
            "messaging_service_sid": form.get("MessagingServiceSid"),
            "body": form["Body"],
            "num_segments": str(segments(form["Body"])),
            "direction": "outbound-api",
            "error_code": None,
            "error_message": None,
        }
        return json_answer(201, document)._replace(accepted=accepted)

    def refusal(self, status: int, reason: str, at: int, since: int | None = None) -> Answer:
        """Say no; ``reason`` is Twilio's code."""
        code = reason if reason.isdecimal() else "20500"
        return _error(status, code, _TEXT.get(code, reason))

    def _check_auth(self, account: str, authorization: str) -> None:
        scheme, _, encoded = authorization.partition(" ")
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise RefusedError(401, "20003") from error
        secret = self._keys.secret("sms", user)
        is_unknown = secret is None and self._keys.is_strict("sms")
        is_wrong = secret is not None and secret != password
        is_other = user.startswith("AC") and user != account
        if scheme.lower() != "basic" or not password or is_unknown or is_wrong or is_other:
            raise RefusedError(401, "20003")


def segments(text: str) -> int:
    """Return how many parts a text takes: 160/153 of GSM 7-bit (taken as ASCII), else 70/67."""
    single, part = (160, 153) if text.isascii() else (70, 67)
    units = len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2
    return 1 if units <= single else -(-units // part)


def _form(request: Request) -> dict[str, str]:
    if not request.headers.get("content-type", "").startswith(FORM_TYPE):
        raise RefusedError(400, "20001", f"Content-Type must be {FORM_TYPE}")
    form = dict(parse_qsl(request.body.decode("latin-1"), keep_blank_values=True))
    unknown = form.keys() - _FIELDS
    if unknown:
        raise RefusedError(400, "20001", f"Unknown parameter {min(unknown)}")
    return form


def _check_form(form: dict[str, str]) -> None:
    if not form.get("To"):
        raise RefusedError(400, "21604", "A 'To' phone number is required.")
    if not _NUMBER.match(form["To"]):
        raise RefusedError(400, "21211")
    if not form.get("From") and not form.get("MessagingServiceSid"):
        raise RefusedError(400, "21603", "A 'From' phone number is required.")
    if form.get("From") and not _SENDER.match(form["From"]):
        raise RefusedError(400, "21212", "The 'From' number is not a valid phone number.")
    if not form.get("Body"):
        raise RefusedError(400, "21602", "Message body is required.")
    if len(form["Body"]) > MAX_BODY_CHARACTERS:
        raise RefusedError(400, "21617", "The concatenated message body exceeds the 1600 limit")
    validity = form.get("ValidityPeriod", "1")
    if not _SECONDS.match(validity) or not 1 <= int(validity) <= MAX_VALIDITY_S:
        raise RefusedError(400, "20001", f"ValidityPeriod must be 1 to {MAX_VALIDITY_S}")


def _error(status: int, code: str, text: str) -> Answer:
    document = {
        "code": int(code),
        "message": text,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return json_answer(status, document)
