"""The durable queue of pushes, on Redis Streams.

Model: every shard has one stream per lane and tenant. Entries are claimed through a consumer group
and stay in their stream until they are settled, so a crashed process loses nothing: another one
takes its entries over once they have been idle long enough, and a restarted process of the same
name takes its own over at once. Settling moves an entry to its next place (nowhere, the delayed
set, back into a stream, the dead letters) and removes it from the old one in one script, so an
entry is in exactly one place. The payload is opaque.

An entry may be delivered more than once: when a process dies after sending and before settling,
or stalls for longer than ``takeover_ms``. It is never delivered zero times.

Every script touches one shard (one hash slot of Redis Cluster) and declares its keys. Needs Redis
6.2. Errors are those of the Redis client; every call may be repeated.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.typing import StreamIdT

from senders.model import Lane
from senders.settlement import (
    DEAD_LETTERS_PER_TENANT,
    GROUP,
    Claimed,
    Delay,
    Keys,
    Operations,
    Requeue,
    Settlement,
)
from senders.turns import Stream, Turns

TAKEOVER_MS = 35_000  # a sender's timeout (30 s) and 5 s
FORGET_CONSUMER_MS = 3_600_000
STREAMS_PER_CALL = 500
SCRIPTS = {
    path.stem: path.read_text("utf-8") for path in (Path(__file__).parent / "lua").glob("*.lua")
}

Client: TypeAlias = Redis | RedisCluster


class Room(NamedTuple):
    """How many entries may be claimed, by lane."""

    transactional: int
    marketing: int


class Depth(NamedTuple):
    """How much one stream holds, claimed entries included."""

    stream: Stream
    length: int
    oldest_at: int | None


class Outbox:
    """Claims, settles and recovers entries of all shards for one consumer.

    Args:
        client: a client that does not decode responses.
        shard_tags: the key tag of each shard, e.g. ``{s:00}``.
        consumer: a name that no other living process has; best the same after a restart.
        takeover_ms: how long an entry must lie untouched before another consumer takes it.
        dead_letters_max: how many dead letters a shard keeps of a tenant, about.
    """

    def __init__(
        self,
        client: Client,
        shard_tags: Sequence[str],
        consumer: str,
        takeover_ms: int = TAKEOVER_MS,
        dead_letters_max: int = DEAD_LETTERS_PER_TENANT,
    ) -> None:
        self.takeover_ms = takeover_ms
        self._dead_letters_max = dead_letters_max
        self.keys = [Keys(tag) for tag in shard_tags]
        self._client = client
        self._consumer = consumer
        self._scripts = {name: client.register_script(text) for name, text in SCRIPTS.items()}
        self._turns: dict[Lane, Turns] = {"transactional": Turns(), "marketing": Turns()}

    async def streams(self) -> list[Stream]:
        """The streams of all shards that may hold entries."""
        pipe = self._client.pipeline(transaction=False)
        for keys in self.keys:
            pipe.execute_command("SMEMBERS", keys.active)
        found = []
        for shard, members in enumerate(await pipe.execute()):
            found += [Stream(tenant, shard, lane) for lane, tenant in map(_parse_member, members)]
        return found

    async def claim(
        self,
        room: Room,
        places: Room | None = None,
        held: Mapping[Lane, Mapping[str, int]] | None = None,
    ) -> list[Claimed]:
        """New entries, transactional ones first, dealt fairly over the tenants.

        Args:
            room: how many may be claimed.
            places: how many the caller can have in flight; at first, as many as there is room.
            held: by lane, how many entries of each tenant the caller has in flight.
        """
        waiting: dict[Lane, list[Stream]] = {"transactional": [], "marketing": []}
        for stream in await self.streams():
            waiting[stream.lane].append(stream)
        counts: dict[Stream, int] = {}
        for lane, free, most in zip(waiting, room, places or room, strict=True):
            mine = held.get(lane, {}) if held else {}
            counts |= self._turns[lane].deal(waiting[lane], mine, free, most)
        if not counts:
            return []
        claimed = await asyncio.gather(
            *(self._claim_part(part, counts) for part in self._by_shard(counts))
        )
        entries = [entry for part in claimed for entry in part]
        entries.sort(key=lambda entry: entry.lane, reverse=True)
        return entries

    async def recover(self, limit: int, own: bool = False) -> list[Claimed]:
        """Entries that a consumer claimed and did not settle for ``takeover_ms``.

        Args:
            limit: at most so many from each shard.
            own: entries of this consumer's name instead, at once (once, at start).
        """
        idle_ms, owner = (0, self._consumer) if own else (self.takeover_ms, "")
        args = [GROUP, self._consumer, idle_ms, limit, owner]
        streams = await self.streams()
        entries = []
        for part in self._by_shard(streams):
            flat = await self._run("recover", [self._key(stream) for stream in part], args)
            entries += [
                Claimed(part[n - 1].shard, part[n - 1].lane, part[n - 1].tenant, entry, body, times)
                for n, entry, body, times in _rows(flat, 4)
            ]
        return entries

    async def refresh(self, claimed: Iterable[Claimed]) -> None:
        """Say that these entries are being worked on, so that nobody takes them over."""
        ids: dict[Stream, list[StreamIdT]] = defaultdict(list)
        for entry in claimed:
            ids[Stream(entry.tenant, entry.shard, entry.lane)].append(entry.entry_id)
        if not ids:
            return
        pipe = self._client.pipeline(transaction=False)
        for stream, entries in ids.items():
            pipe.xclaim(self._key(stream), GROUP, self._consumer, 0, entries, justid=True)
        await pipe.execute()

    async def settle(self, batch: Iterable[Settlement]) -> int:
        """Bring every entry to its next place; one script per shard.

        An entry that somebody else settled meanwhile is left alone. Returns how many were settled.
        """
        by_shard: dict[int, Operations] = {}
        for settlement in batch:
            shard = settlement.claimed.shard
            if shard not in by_shard:
                by_shard[shard] = Operations(self.keys[shard], self._dead_letters_max)
            by_shard[shard].add(settlement)
        counts = await asyncio.gather(
            *(self._run("settle", ops.keys, ops.arguments()) for ops in by_shard.values())
        )
        return sum(counts)

    async def enqueue(self, shard: int, lane: Lane, tenant: str, payloads: Sequence[bytes]) -> None:
        """Add new entries; the commit of pings does the same in its own script."""
        if payloads:
            await self.settle([Requeue(Claimed(shard, lane, tenant, b"", b""), tuple(payloads))])

    async def delay(
        self, shard: int, lane: Lane, tenant: str, *, push_id: str, due_at: int, payload: bytes
    ) -> None:
        """Add a new entry that becomes due later; replaces one of the same ``push_id``."""
        origin = Claimed(shard, lane, tenant, b"", b"")
        await self.settle([Delay(origin, push_id, due_at, payload)])

    async def cancel(self, shard: int, push_ids: Sequence[str]) -> list[str]:
        """Remove delayed entries; returns those that were still waiting."""
        if not push_ids:
            return []
        keys = self.keys[shard]
        removed = await self._run("cancel", [keys.delayed, keys.bodies], push_ids)
        return [push_id.decode() for push_id in removed]

    async def next_due_at(self) -> list[int | None]:
        """When the first delayed entry of each shard is due."""
        pipe = self._client.pipeline(transaction=False)
        for keys in self.keys:
            pipe.zrange(keys.delayed, 0, 0, withscores=True)
        return [int(first[0][1]) if first else None for first in await pipe.execute()]

    async def move_due(self, shard: int, now: int, limit: int = 1000) -> int:
        """Move delayed entries that are due into their streams; returns how many moved."""
        keys = self.keys[shard]
        found = await self._run("due", [keys.delayed, keys.bodies], [now, limit])
        streams: dict[bytes, int] = {}
        args: list[Any] = [now]
        for push_id, member in _rows(found, 2):
            number = streams.setdefault(member, len(streams) + 1) if member else 0
            args += [push_id, member, number]
        if not found:
            return 0
        targets = [keys.stream(*_parse_member(member)) for member in streams]
        moved = await self._run("move", [keys.active, keys.delayed, keys.bodies, *targets], args)
        return int(moved)

    async def forget_consumers(self) -> int:
        """Forget consumers that have been gone for an hour and own nothing; returns how many."""
        args = [GROUP, self._consumer, FORGET_CONSUMER_MS]
        forgotten = 0
        for part in self._by_shard(await self.streams()):
            keys = [self._key(stream) for stream in part]
            forgotten += await self._run("forget_consumers", keys, args)
        return forgotten

    async def depth(self) -> list[Depth]:
        """What the streams hold now, for metrics and back-pressure."""
        streams = await self.streams()
        pipe = self._client.pipeline(transaction=False)
        for stream in streams:
            pipe.execute_command("XLEN", self._key(stream))
            pipe.execute_command("XRANGE", self._key(stream), "-", "+", "COUNT", 1)
        replies = _rows(await pipe.execute() if streams else [], 2)
        return [
            Depth(stream, length, int(first[0][0].split(b"-")[0]) if first else None)
            for stream, (length, first) in zip(streams, replies, strict=True)
        ]

    async def delayed_count(self) -> int:
        """How many entries wait in the delayed sets."""
        pipe = self._client.pipeline(transaction=False)
        for keys in self.keys:
            pipe.execute_command("ZCARD", keys.delayed)
        return sum(await pipe.execute())

    async def _claim_part(
        self, part: Sequence[Stream], counts: Mapping[Stream, int]
    ) -> list[Claimed]:
        args: list[Any] = [GROUP, self._consumer]
        for stream in part:
            args += [f"{stream.lane}:{stream.tenant}", counts[stream]]
        keys = [self.keys[part[0].shard].active, *(self._key(stream) for stream in part)]
        flat = await self._run("claim", keys, args)
        return [
            Claimed(part[n - 1].shard, part[n - 1].lane, part[n - 1].tenant, entry_id, payload)
            for n, entry_id, payload in _rows(flat, 3)
        ]

    def _key(self, stream: Stream) -> str:
        return self.keys[stream.shard].stream(stream.lane, stream.tenant)

    def _by_shard(self, streams: Iterable[Stream]) -> list[list[Stream]]:
        by_shard: dict[int, list[Stream]] = defaultdict(list)
        for stream in streams:
            by_shard[stream.shard].append(stream)
        return [part for mine in by_shard.values() for part in _parts(mine)]

    async def _run(self, script: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        return await self._scripts[script](keys=keys, args=args)


def _parse_member(member: bytes) -> tuple[Lane, str]:
    lane, _, tenant = member.decode().partition(":")
    return "transactional" if lane == "transactional" else "marketing", tenant


def _rows(flat: Sequence[Any], width: int) -> Iterator[tuple[Any, ...]]:
    return zip(*[iter(flat)] * width, strict=True)


def _parts(streams: list[Stream]) -> Iterator[list[Stream]]:
    for start in range(0, len(streams), STREAMS_PER_CALL):
        yield streams[start : start + STREAMS_PER_CALL]
