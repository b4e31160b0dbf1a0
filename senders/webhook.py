"""Signed webhooks: Standard Webhooks 1.0.0.

``webhook-id`` is the push id, the same on every retry, so receivers can tell repetitions; every
secret of the credential signs, so a secret is rotated by adding the new one first and removing the
old one later.
"""

import base64
import hmac
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from senders.credentials import WebhookCredential
from senders.http import Http, UnansweredError, UnsentError
from senders.inbox import item
from senders.key_material import webhook_secret
from senders.model import (
    Delivered,
    InvalidMessage,
    Misconfigured,
    Outcome,
    Rejected,
    Rendered,
    Target,
)
from senders.network import ForbiddenUrlError, parse_origin
from senders.outcomes import classify, from_failure
from senders.payload import Payload, fit, merge
from senders.retry_after import retry_after_s

LIMIT_BYTES = 20_000
TYPE = "push"


def check_target(target: Target) -> None:
    """Check a receiver's address when it is set; it is judged again at every send.

    Raises:
        ValueError: not an https URL.
    """
    try:
        origin = parse_origin(target.address)
    except ForbiddenUrlError as error:
        raise ValueError(f"/address: {error}") from None
    if origin.scheme != "https":
        raise ValueError("/address: must be https")


def webhook_body(rendered: Rendered, now: int) -> Payload:
    """``{"type", "timestamp", "data"}``; ``now`` in epoch ms.

    Raises:
        InvalidMessage: more than 20 kB.
    """
    override = rendered.overrides.get("webhook") or {}
    stamp = datetime.fromtimestamp(now / 1000, UTC).isoformat(timespec="milliseconds")

    def shape(message: Rendered) -> Any:
        body = {"type": TYPE, "timestamp": stamp.replace("+00:00", "Z"), "data": item(message)}
        return merge(body, override)

    body, degraded = fit(rendered, shape, LIMIT_BYTES)
    return Payload({"content-type": "application/json"}, body, len(body), degraded)


def sign(keys: Sequence[bytes], message_id: str, timestamp_s: int, body: bytes) -> str:
    """The ``webhook-signature`` header: one ``v1`` signature for every key."""
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    macs = (base64.b64encode(hmac.digest(key, signed, sha256)).decode() for key in keys)
    return " ".join(f"v1,{mac}" for mac in macs)


class WebhookSender:
    """Posts to the receivers of one credential."""

    def __init__(
        self,
        credential: WebhookCredential,
        http: Http,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        """Take a validated credential."""
        self._credential, self._http, self._clock_s = credential, http, clock_s
        self._keys = [webhook_secret(secret) for secret in credential.secrets]

    async def send(self, message: Rendered, target: Target) -> Outcome:
        """Send; see ``Sender``."""
        url = target.address or self._credential.url or self._credential.endpoint
        if not url:
            return Misconfigured("neither the target nor the credential has a URL")
        try:
            payload = webhook_body(message, int(self._clock_s() * 1000))
            return await self._send(url, message.id, payload)
        except (UnsentError, UnansweredError, ForbiddenUrlError) as error:
            return from_failure(error, scope="target")
        except InvalidMessage as error:
            return Rejected(str(error))

    async def close(self) -> None:
        """Release connections."""
        await self._http.close()

    async def check(self) -> None:
        """Nothing is posted to a receiver for trial."""

    async def _send(self, url: str, message_id: str, payload: Payload) -> Outcome:
        now_s = self._clock_s()
        head = {
            **self._credential.headers,
            **payload.headers,
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now_s)),
            "webhook-signature": sign(self._keys, message_id, int(now_s), payload.body),
        }
        answer = await self._http.post(url, head, payload.body)
        if 200 <= answer.status < 300:
            return Delivered()
        return classify(
            "webhook", answer.status, retry_after_s=retry_after_s(answer.headers, now_s)
        )
