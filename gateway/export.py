"""Everything that is kept about a person: the right of access, with the eyes of ``forget``.

What erasure would find is what is given: what has a name of its own is read by name, and entries of
shared streams are found by reading them. That takes time in proportion to the history of the tenant
on the shards concerned.
"""

import base64
from typing import Any

import msgspec

from gateway.consents import ConsentLog
from gateway.document import Client
from gateway.forget import CHUNK, Trace
from gateway.inbox import CAP, Inboxes
from gateway.people import Family, People, Stored
from gateway.person import to_document
from gateway.quarantine import quarantine_key
from gateway.sharding import USER_MARK, shard_tag, subject_field
from gateway.times import rfc3339
from triggers.state import decode, seen_at

STREAMS = ("events", "decisions", "deliveries", "history", "dead")
WORDS = {"history": "recorded_pings", "dead": "dead_letters"}
E7 = 1e7


class Exporter:
    """Collects what is kept. ``now`` is epoch ms and always an argument."""

    def __init__(
        self, client: Client, people: People, consent_log: ConsentLog, shard_count: int
    ) -> None:
        self._client: Any = client
        self._people = people
        self._consent_log = consent_log
        self._inboxes = Inboxes(client, shard_count)
        self._shard_count = shard_count

    async def user(self, tenant: str, user_id: str, *, now: int) -> dict[str, Any] | None:
        """All that is kept about a user and the user's devices; None for nobody."""
        stored = await self._people.user(tenant, user_id)
        devices = await self._people.devices_of(tenant, user_id)
        if stored is None and not devices:
            return None
        every = list(range(self._shard_count))
        trace = Trace(device_id=f"{USER_MARK}{user_id}", user_id=user_id)
        return {
            "exported_at": rfc3339(now),
            "user": {
                "record": _record(stored),
                **await self._named(tenant, "users", user_id, now),
                **await self._told(tenant, every, trace),
            },
            "devices": [await self._device(tenant, device.id, now) for device in devices],
        }

    async def _device(self, tenant: str, device_id: str, now: int) -> dict[str, Any]:
        trace = Trace(device_id=device_id)
        quarantined = await self._entries(quarantine_key(tenant, self._shard_count), trace)
        return {
            "record": _record(await self._people.device(tenant, device_id)),
            "state": await self._state(tenant, device_id),
            **await self._named(tenant, "devices", device_id, now),
            **await self._told(tenant, [self._people.shard(tenant, device_id)], trace),
            "quarantined": quarantined,
        }

    async def _state(self, tenant: str, device_id: str) -> dict[str, Any] | None:
        """Where the device was last, and since when it is in how many zones."""
        tag = shard_tag(self._people.shard(tenant, device_id))
        record = await self._client.hget(f"{tag}:state", subject_field(tenant, device_id))
        if record is None:
            return None
        state = decode(record)
        at = seen_at(record)
        return {
            "last_seen_at": rfc3339(at) if at > 0 else None,
            "position": {"lat": state.lat_e7 / E7, "lon": state.lon_e7 / E7},
            "visits": [{"since": rfc3339(one.since_at)} for one in state.entries],
        }

    async def _named(self, tenant: str, family: Family, person_id: str, now: int) -> dict[str, Any]:
        tag = shard_tag(self._people.shard(tenant, person_id))
        visits = await self._client.hgetall(f"{tag}:visits:{tenant}/{person_id}")
        recent = await self._client.zrange(
            self._people.recent_key(tenant, person_id), 0, -1, withscores=True
        )
        consents = await self._consent_log.entries(tenant, family, person_id)
        items = await self._inboxes.items(tenant, person_id, now=now, limit=CAP)
        return {
            "consents": msgspec.to_builtins(consents),
            "visits_by_zone": {zone.decode(): int(count) for zone, count in visits.items()},
            "recent_events": [
                {"name": member.partition(b"\n")[0].decode(), "at": rfc3339(int(at))}
                for member, at in recent
            ],
            "inbox": [
                {**msgspec.to_builtins(item), "message": msgspec.json.decode(item.message)}
                for item in items
            ],
        }

    async def _told(self, tenant: str, shards: list[int], trace: Trace) -> dict[str, Any]:
        found: dict[str, list[Any]] = {WORDS.get(name, name): [] for name in STREAMS}
        for shard in shards:
            for name in STREAMS:
                key = f"{shard_tag(shard)}:{name}:{tenant}"
                found[WORDS.get(name, name)] += await self._entries(key, trace)
        return found

    async def _entries(self, key: str, trace: Trace) -> list[Any]:
        found, start = [], b"-"
        while chunk := await self._client.xrange(key, start, b"+", count=CHUNK):
            for _, fields in chunk:
                if trace.is_in(fields.values()):
                    found += [_readable(value) for value in fields.values()]
            start = b"(" + chunk[-1][0]
        return found


def _record(stored: Stored[Any] | None) -> dict[str, Any] | None:
    return to_document(stored.person) if stored else None


def _readable(value: bytes) -> Any:
    for decoded in (msgspec.json.decode, msgspec.msgpack.decode):
        try:
            return decoded(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return base64.b64encode(value).decode()
