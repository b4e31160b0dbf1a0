"""What phones say of pushes: delivered, shown, opened, dismissed, or a button pressed.

A receipt is taken once for each push and kind (and button), and becomes a step in the delivery
history. Whatever it says, the push has arrived: the fallback to the next channel is taken back.

Keys, in the shard of the device: ``receipts:<tenant>/<device>`` zset of what was taken: push id,
kind and button by lines -> instant, and the id alone for each push that arrived.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from gateway import metrics
from gateway.delivery_log import DELIVERIES_CAP, DeliveryRecord
from gateway.document import Client
from gateway.fallback import fallback_id
from gateway.people import People
from gateway.sharding import USER_MARK, shard_tag
from senders.outbox import Outbox
from triggers.model import Decision

ReceiptKind = Literal["delivered", "shown", "opened", "dismissed", "action"]
KINDS: tuple[ReceiptKind, ...] = get_args(ReceiptKind)
REMEMBERED = 500  # members a device
REMEMBERED_MS = 90 * 86_400_000
CHUNK = 16  # decisions looked at together: most receipts are about one of the latest
_decision = msgspec.json.Decoder(Decision).decode
_encode = msgspec.json.Encoder().encode


class Receipt(NamedTuple):
    """One receipt; ``action_id`` names the pressed button."""

    push_id: str
    kind: ReceiptKind
    at: int
    channel: str | None = None
    action_id: str = ""

    @property
    def member(self) -> str:
        """What must not be taken twice."""
        return "\n".join((self.push_id, self.kind, self.action_id))


class Receipts:
    """Takes receipts. ``now`` is epoch ms and always an argument."""

    def __init__(self, client: Client, people: People, outbox: Outbox) -> None:
        self._client: Any = client
        self._people = people
        self._outbox = outbox
        source = (files("gateway") / "lua" / "receipts.lua").read_text()
        self._take: Any = client.register_script(source)

    async def take(
        self, tenant: str, device_id: str, receipts: Sequence[Receipt], *, now: int
    ) -> list[bool]:
        """Record receipts of one device; which were new."""
        key = receipts_key(tenant, device_id, self._people.shard(tenant, device_id))
        known = await self._client.zmscore(key, [receipt.member for receipt in receipts])
        fresh = [receipt for receipt, at in zip(receipts, known, strict=True) if at is None]
        subjects = await self._subjects(tenant, device_id)
        # Again for those known: who was killed right after taking one has not come to this.
        await self._cancel_fallbacks(tenant, subjects, {receipt.push_id for receipt in receipts})
        if not fresh:
            return [False] * len(receipts)
        about = await self._decisions(tenant, subjects, {receipt.push_id for receipt in fresh})
        args: list[Any] = [REMEMBERED, REMEMBERED_MS, DELIVERIES_CAP]
        for receipt in fresh:
            record = _record(device_id, receipt, about.get(receipt.push_id), now)
            args += [receipt.member, now, _encode(record)]
        tag = shard_tag(self._people.shard(tenant, device_id))
        taken = await self._take(keys=[key, f"{tag}:deliveries:{tenant}"], args=args)
        new = {id(receipt) for receipt, is_new in zip(fresh, taken, strict=True) if is_new}
        metrics.count(metrics.RECEIPTS, Counter(one.kind for one in fresh if id(one) in new))
        return [id(receipt) in new for receipt in receipts]

    async def was_taken(self, tenant: str, device_id: str, receipt: Receipt) -> bool:
        """Whether this receipt is known."""
        key = receipts_key(tenant, device_id, self._people.shard(tenant, device_id))
        return await self._client.zscore(key, receipt.member) is not None

    async def decision(self, tenant: str, device_id: str, push_id: str) -> Decision | None:
        """The decision that a push came from, while the device's trail has it."""
        subjects = await self._subjects(tenant, device_id)
        return (await self._decisions(tenant, subjects, {push_id})).get(push_id)

    async def _subjects(self, tenant: str, device_id: str) -> list[str]:
        """Where the push of a device may have been decided: with the device, or with its user."""
        if device_id.startswith(USER_MARK):
            return [device_id, device_id.removeprefix(USER_MARK)]
        device = (await self._people.devices(tenant, [device_id])).get(device_id)
        return [device_id, *([device.user_id] if device and device.user_id else ())]

    async def _decisions(
        self, tenant: str, subjects: Sequence[str], push_ids: set[str]
    ) -> dict[str, Decision]:
        found: dict[str, Decision] = {}
        for subject_id in subjects:
            tag = shard_tag(self._people.shard(tenant, subject_id))
            trail = await self._client.lrange(f"{tag}:trail:{tenant}/{subject_id}", 0, -1)
            ids = [mark[1:] for mark in reversed(trail) if mark[:1] == b"d"]
            for start in range(0, len(ids), CHUNK):
                if push_ids <= found.keys():
                    return found
                pipe = self._client.pipeline(transaction=False)
                for entry_id in ids[start : start + CHUNK]:
                    pipe.xrange(f"{tag}:decisions:{tenant}", entry_id, entry_id)
                for entries in await pipe.execute():
                    for _, fields in entries:
                        decision = _decision(fields[b"d"])
                        if decision.id in push_ids:
                            found.setdefault(decision.id, decision)
        return found

    async def _cancel_fallbacks(
        self, tenant: str, subjects: Sequence[str], push_ids: set[str]
    ) -> None:
        waiting = [fallback_id(push_id) for push_id in sorted(push_ids)]
        shards = {self._people.shard(tenant, subject_id) for subject_id in subjects}
        await asyncio.gather(*(self._outbox.cancel(shard, waiting) for shard in shards))


def receipts_key(tenant: str, device_id: str, shard: int) -> str:
    """The zset of what was taken of a device, in the device's shard."""
    return f"{shard_tag(shard)}:receipts:{tenant}/{device_id}"


def _record(
    device_id: str, receipt: Receipt, decision: Decision | None, now: int
) -> DeliveryRecord:
    """The step that a receipt is. A phone may be ahead of us; what it says is then true now."""
    return DeliveryRecord(
        push_id=receipt.push_id,
        device_id=device_id,
        trigger_id=decision.trigger_id if decision else "",
        event_id=decision.event_id if decision else "",
        state=receipt.kind,
        at=min(receipt.at, now),
        lane="",
        user_id=decision.user_id if decision else None,
        variant=(decision.variant or 0) if decision else 0,
        channel=receipt.channel,
        reason=receipt.action_id,
    )
