"""A subscriber's webhook endpoint: ``POST /webhook/<name>``, signed by Standard Webhooks.

The signature is ``v1,<base64 of HMAC-SHA256 over "id.timestamp.body">``, several of them separated
by spaces while a secret is rotated. It is verified when the name's secret is registered; without
one only the form is judged.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping

from senders.sandbox.exchange import Accepted, Answer, Request, as_json, json_answer
from senders.sandbox.keys import Keys

PATH = "/webhook/"
TOLERANCE_S = 300
MAX_BODY_BYTES = 256 * 1024

_SECONDS = re.compile(r"\d{1,12}\Z")


class RefusedError(Exception):
    """A call that the subscriber does not take: status and why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Webhook:
    """The emulator."""

    provider = "webhook"
    outcomes: Mapping[str, tuple[int, str]] = {
        "unregistered": (410, "gone"),
        "expired": (404, "not found"),
        "invalid": (400, "bad request"),
        "mismatch": (422, "unprocessable"),
        "disallowed": (403, "forbidden"),
        "unauthorized": (401, "unauthorized"),
        "stale-credential": (401, "signature refused"),
        "throttled": (429, "too many requests"),
        "error": (500, "internal error"),
        "unavailable": (503, "unavailable"),
        "shutdown": (502, "bad gateway"),
    }

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def answer(self, request: Request) -> Answer:
        """Judge a call."""
        name = request.path[len(PATH) :]
        try:
            self._check(request, name)
        except RefusedError as refused:
            return self.refusal(refused.status, str(refused), request.at)
        headers = {
            key: value
            for key, value in request.headers.items()
            if key.startswith("webhook-") or key == "content-type"
        }
        accepted = Accepted(
            self.provider, name, headers["webhook-id"], request.at, headers, as_json(request.body)
        )
        return Answer(204, [], b"", accepted)

    def refusal(self, status: int, reason: str, at: int, since: int | None = None) -> Answer:
        """Say no with a JSON text."""
        return json_answer(status, {"error": reason})

    def _check(self, request: Request, name: str) -> None:
        if not name or request.method != "POST":
            raise RefusedError(404, "POST /webhook/<name>")
        if len(request.body) > MAX_BODY_BYTES:
            raise RefusedError(413, f"the body has more than {MAX_BODY_BYTES} bytes")
        headers = request.headers
        message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        if not message_id or "." in message_id:
            raise RefusedError(400, "webhook-id is required, without a dot")
        if not _SECONDS.match(timestamp):
            raise RefusedError(400, "webhook-timestamp is required: whole seconds")
        if abs(request.at // 1000 - int(timestamp)) > TOLERANCE_S:
            raise RefusedError(400, f"webhook-timestamp is more than {TOLERANCE_S} s off")
        signatures = headers.get("webhook-signature", "").split()
        if not signatures or any(not item.startswith(("v1,", "v1a,")) for item in signatures):
            raise RefusedError(401, "webhook-signature is required: v1,<base64>")
        secret = self._keys.secret("webhook", name)
        if secret is not None:
            signed = f"{message_id}.{timestamp}.".encode() + request.body
            _verify(secret, signed, signatures)


def _verify(secret: str, signed: bytes, signatures: list[str]) -> None:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        key = secret.encode()
    wanted = "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    if not any(hmac.compare_digest(wanted, item) for item in signatures):
        raise RefusedError(401, "no signature matches")
