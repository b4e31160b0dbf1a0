"""Forgetting a device or a user: every trace in every key family.

Model: what has a name of its own (record, state, timer, inbox, consents, ...) is deleted by name;
entries of shared streams (events, decisions, deliveries, dead letters, recordings, the outbox) and
delayed pushes are found by reading them, for an index of them would be one more trace. That takes
time in proportion to the history of the tenant on the shards concerned; it is for the right to be
forgotten, not for daily sweeping (``sweep`` is).
"""

from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec

from gateway.document import Client
from gateway.people import People
from gateway.quarantine import quarantine_key
from gateway.sharding import USER_MARK, shard_tag, subject_field

STREAMS = ("events", "decisions", "deliveries", "dead", "history")
LANES = ("transactional", "marketing")
OUTBOX_GROUP = "senders"
CHUNK = 500


class Trace:
    """Says whether a stored value speaks of somebody."""

    def __init__(self, device_id: str | None = None, user_id: str | None = None) -> None:
        self._device_id = device_id
        self._user_id = user_id
        self._needles = [one.encode() for one in (device_id, user_id) if one]

    def is_in(self, values: Iterable[bytes]) -> bool:
        """Whether one of the values (JSON or MessagePack) has the id where an id stands."""
        for value in values:
            if any(self._maybe(needle, value) for needle in self._needles):
                decoded = _decoded(value)
                # A recording is [device id, pings].
                if isinstance(decoded, list) and decoded and decoded[0] == self._device_id:
                    return True
                if self._stands_in(decoded):
                    return True
        return False

    def _maybe(self, needle: bytes, value: bytes) -> bool:
        # JSON may write an id with escapes, which the bytes do not show.
        return needle in value or (b"\\" in value and value[:1] in b"{[")

    def _stands_in(self, value: Any) -> bool:
        if isinstance(value, dict):
            if self._device_id and value.get("device_id") == self._device_id:
                return True
            if self._user_id and value.get("user_id") == self._user_id:
                return True
            return any(self._stands_in(inner) for inner in value.values())
        return isinstance(value, list) and any(self._stands_in(inner) for inner in value)


class Eraser:
    """Forgets. ``now`` is epoch ms and always an argument."""

    def __init__(self, client: Client, people: People, shard_count: int) -> None:
        self._client: Any = client
        self._people = people
        self._shard_count = shard_count

    async def forget_device(self, tenant: str, device_id: str, *, now: int) -> int:
        """Erase a device everywhere; how many traces there were."""
        shard = self._people.shard(tenant, device_id)
        device = await self._people.delete_device(tenant, device_id, now=now)
        erased = int(device is not None)
        erased += await self.forget_position(tenant, device_id)
        erased += await self._delete_named(tenant, shard, "devices", device_id)
        trace = Trace(device_id=device_id)
        erased += await self._forget_streams(tenant, [shard], trace)
        erased += await self._forget_entries(quarantine_key(tenant, self._shard_count), trace)
        return erased + await self._forget_budgets(tenant, f"device:{device_id}")

    async def forget_user(self, tenant: str, user_id: str, *, now: int) -> int:
        """Erase a user everywhere, and unlink the devices; how many traces there were."""
        stored = await self._people.user(tenant, user_id)
        unlinked = await self._people.delete_user(tenant, user_id, now=now)
        erased = int(stored is not None) + len(unlinked)
        shard = self._people.shard(tenant, user_id)
        erased += await self._delete_named(tenant, shard, "users", user_id)
        # What was told of the user without a device stands under this mark, in the user's shard.
        told_of = f"{USER_MARK}{user_id}"
        erased += await self._delete_named(tenant, shard, "users", told_of)
        every = list(range(self._shard_count))
        trace = Trace(device_id=told_of, user_id=user_id)
        erased += await self._forget_streams(tenant, every, trace)
        return erased + await self._forget_budgets(tenant, f"user:{user_id}")

    async def forget_position(self, tenant: str, device_id: str) -> int:
        """Erase where a device is and was: its state, and its timer. Its record stays."""
        tag = shard_tag(self._people.shard(tenant, device_id))
        field = subject_field(tenant, device_id)
        pipe = self._client.pipeline(transaction=True)
        pipe.hdel(f"{tag}:state", field)
        pipe.zrem(f"{tag}:timers", field)
        return sum(await pipe.execute())

    async def _delete_named(self, tenant: str, shard: int, family: str, person_id: str) -> int:
        tag, field = shard_tag(shard), f"{tenant}/{person_id}"
        names = ("trail", "visits", "recent", "inbox", "owned", "receipts", f"consents:{family}")
        keys = [f"{tag}:{name}:{field}" for name in names]
        keys += [f"{tag}:inbox:{field}:items", f"{tag}:inbox:{field}:body"]
        return sum([int(await self._client.delete(key)) for key in keys])

    async def _forget_streams(self, tenant: str, shards: list[int], trace: Trace) -> int:
        erased = 0
        for shard in shards:
            tag = shard_tag(shard)
            for name in STREAMS:
                erased += await self._forget_entries(f"{tag}:{name}:{tenant}", trace)
            for lane in LANES:
                erased += await self._forget_entries(f"{tag}:outbox:{lane}:{tenant}", trace)
            erased += await self._forget_delayed(tag, tenant, trace)
        return erased

    async def _forget_entries(self, key: str, trace: Trace) -> int:
        erased = 0
        async for chunk in self._entries(key):
            found = [entry_id for entry_id, fields in chunk if trace.is_in(fields.values())]
            if not found:
                continue
            if ":outbox:" in key:
                await self._client.xack(key, OUTBOX_GROUP, *found)
            erased += int(await self._client.xdel(key, *found))
        return erased

    async def _entries(self, key: str) -> AsyncIterator[list[tuple[bytes, dict[bytes, bytes]]]]:
        start = b"-"
        while True:
            chunk = await self._client.xrange(key, start, b"+", count=CHUNK)
            if not chunk:
                return
            yield chunk
            start = b"(" + chunk[-1][0]

    async def _forget_delayed(self, tag: str, tenant: str, trace: Trace) -> int:
        erased, suffix = 0, f":{tenant}".encode()
        async for push_id, body in self._client.hscan_iter(f"{tag}:delayed:body", count=CHUNK):
            member, _, payload = body.partition(b"\n")
            if member.endswith(suffix) and trace.is_in([payload]):
                pipe = self._client.pipeline(transaction=True)
                pipe.zrem(f"{tag}:delayed", push_id)
                pipe.hdel(f"{tag}:delayed:body", push_id)
                erased += (await pipe.execute())[1]
        return erased

    async def _forget_budgets(self, tenant: str, owner: str) -> int:
        pattern = f"{{s:*}}:spend:{tenant}:*:{_literal(owner)}:*"  # the last is its form
        found = [key async for key in self._client.scan_iter(match=pattern, count=CHUNK)]
        ending = f":{owner}".encode()
        keys = [key for key in found if key.rpartition(b":")[0].endswith(ending)]
        return sum([int(await self._client.delete(key)) for key in keys])


def _decoded(value: bytes) -> Any:
    for decode in (msgspec.json.decode, msgspec.msgpack.decode):
        try:
            return decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return None


def _literal(text: str) -> str:
    """The text as a pattern of SCAN that matches nothing else."""
    return "".join(f"\\{char}" if char in "*?[]\\^" else char for char in text)
