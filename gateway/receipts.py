"""What phones say of pushes: delivered, shown, opened, dismissed, or a button pressed.

A receipt is taken once for each push and kind. It becomes a step in the delivery history; a
``delivered`` one also cancels the fallback to the next channel.
"""

from typing import Any, Literal, NamedTuple, get_args

import msgspec

from gateway import metrics
from gateway.delivery import fallback_id
from gateway.delivery_log import DELIVERIES_CAP, DeliveryRecord
from gateway.document import Client
from gateway.history import History
from gateway.sharding import shard_tag
from senders.outbox import Outbox
from triggers.model import Decision

ReceiptKind = Literal["delivered", "shown", "opened", "dismissed", "action"]
KINDS: tuple[ReceiptKind, ...] = get_args(ReceiptKind)
REMEMBERED_MS = 30 * 86_400_000
_decision = msgspec.json.Decoder(Decision).decode


class Receipt(NamedTuple):
    """One receipt; ``detail`` is the id of the pressed button."""

    push_id: str
    kind: ReceiptKind
    at: int
    channel: str | None = None
    detail: str = ""


class Receipts:
    """Takes receipts."""

    def __init__(self, client: Client, history: History, outbox: Outbox) -> None:
        self._client: Any = client
        self._history = history
        self._outbox = outbox

    async def take(self, tenant: str, device_id: str, receipt: Receipt) -> bool:
        """Record a receipt; whether it was new."""
        shard = self._history.shard(tenant, device_id)
        tag = shard_tag(shard)
        name = f"{tag}:receipt:{tenant}/{receipt.push_id}/{receipt.kind}/{receipt.detail}"
        if not await self._client.set(name, b"1", nx=True, px=REMEMBERED_MS):
            return False
        decision = await self._decision_of(tenant, device_id, receipt.push_id)
        record = DeliveryRecord(
            push_id=receipt.push_id,
            device_id=device_id,
            trigger_id=decision.trigger_id if decision else "",
            event_id=decision.event_id if decision else "",
            state=receipt.kind,
            at=receipt.at,
            lane="",
            user_id=decision.user_id if decision else None,
            variant=(decision.variant or 0) if decision else 0,
            channel=receipt.channel,
            reason=receipt.detail,
        )
        key = f"{tag}:deliveries:{tenant}"
        fields = {"r": msgspec.json.encode(record)}
        await self._client.xadd(key, fields, maxlen=DELIVERIES_CAP, approximate=True)
        if receipt.kind != "dismissed":
            await self._outbox.cancel(shard, [fallback_id(receipt.push_id)])
        metrics.RECEIPTS.labels(receipt.kind).inc()
        return True

    async def _decision_of(self, tenant: str, device_id: str, push_id: str) -> Decision | None:
        trail = await self._history.trail(tenant, [device_id], "decisions", _decision)
        return next((decision for _, decision in trail if decision.id == push_id), None)
