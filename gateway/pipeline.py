"""The flow of one micro-batch, on one screen.

    ping -> locate (arrays) -> read states (1 call a shard) -> step (pure) -> decide (pure)
         -> commit (1 script a shard) -> answered

When ``pings`` returns, state, events and outbox entries of every ping it counts are committed.
A device that another process changed meanwhile conflicts, and goes round again with fresh state.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from gateway import metrics
from gateway.batch import Batch, FieldNames
from gateway.busy import Busy, find_busy, fixes_of
from gateway.columns import to_columns
from gateway.effects import Decided, Effects, Stepping
from gateway.tally import (
    CODES,
    Tally,
    count_effects,
    count_pings,
    tallies_of,
    tally_of,
    with_refusals,
)
from gateway.tenant_view import TenantView
from gateway.wire import Ping
from geo.model import Hits
from triggers import machine, quiet
from triggers.model import Heard, Verdict
from triggers.store import Committed, QuietCommit, ShardCommit, Store, StoreUnavailableError

MAX_ROUNDS = 50
LEASE_MS = 5_000
NOTHING_QUIET = QuietCommit([], [], [])

I64 = NDArray[np.int64]


class Post(NamedTuple):
    """The pings of one request."""

    tenant: str
    pings: Sequence[Ping]
    received_at: int

    def __len__(self) -> int:
        return len(self.pings)


class HeardPost(NamedTuple):
    """The sightings of one request, resolved: (device, evidence for one beacon zone)."""

    tenant: str
    heard: list[tuple[str, Heard]]
    received_at: int

    def __len__(self) -> int:
        return len(self.heard)


def now_ms() -> int:
    """The wall clock, epoch ms."""
    return time.time_ns() // 1_000_000


class Views(Protocol):
    """Where the configuration of tenants comes from."""

    def view(self, tenant: str) -> TenantView:
        """The tenant's configuration."""
        ...


class Pipeline:
    """Composes the pure cores with the store. Holds no state of devices.

    ``clock`` tells the instant of decisions. A rehearsal is not counted in the metrics.
    """

    def __init__(
        self,
        views: Views,
        store: Store,
        effects: Effects,
        shard_count: int,
        *,
        clock: Callable[[], int] = now_ms,
        is_rehearsal: bool = False,
    ) -> None:
        self._views = views
        self._store = store
        self._effects = effects
        self._names = FieldNames(shard_count)
        self._clock = clock
        self._is_rehearsal = is_rehearsal
        self._timed = _untimed if is_rehearsal else _timed

    async def pings(self, posts: Sequence[Post]) -> list[Tally]:
        """Take a micro-batch; the answer is per post, and given only after the commit."""
        by_tenant: dict[str, list[int]] = {}
        for position, post in enumerate(posts):
            by_tenant.setdefault(post.tenant, []).append(position)
        tallies = [Tally()] * len(posts)

        async def take(tenant: str, positions: list[int]) -> None:
            answers = await self._of_tenant(tenant, [posts[i] for i in positions])
            for position, tally in zip(positions, answers, strict=True):
                tallies[position] = tally

        await asyncio.gather(*(take(*item) for item in by_tenant.items()))
        if not self._is_rehearsal:
            count_pings(tallies)
        return tallies

    async def sightings(self, posts: Sequence[HeardPost]) -> list[Tally]:
        """Take resolved sightings, device by device in event time."""
        return [await self._take_heard(post) for post in posts]

    async def due(self, shard: int, now: int, limit: int = 1000) -> int:
        """Fire the timers of a shard that are due; how many devices were looked at."""
        claimed = await self._store.due(shard, now, limit, LEASE_MS)
        by_tenant: dict[str, list[tuple[bytes, bytes]]] = {}
        for field, record, due_at in claimed:
            by_tenant.setdefault(field.partition(b"/")[0].decode(), []).append((field, record))
            if not self._is_rehearsal:
                metrics.TIMER_LAG.observe(max(0, now - due_at) / 1000)
        for tenant, devices in by_tenant.items():
            await self._fire(self._views.view(tenant), shard, devices, now)
        return len(claimed)

    # --- pings ------------------------------------------------------------------------------

    async def _of_tenant(self, tenant: str, posts: Sequence[Post]) -> list[Tally]:
        pings = [ping for post in posts for ping in post.pings]
        post = np.repeat(np.arange(len(posts)), [len(post.pings) for post in posts])
        received_at = np.array([post.received_at for post in posts], np.int64)
        columns, refusals = to_columns(pings, received_at[post])
        if not len(columns.position):
            return with_refusals([Tally()] * len(posts), refusals, post)
        batch = Batch.of(tenant, columns, post[columns.position], received_at, self._names)
        with self._timed("total"):
            verdicts = await self._take(batch)
        if not self._is_rehearsal:
            metrics.BATCH_PINGS.observe(len(verdicts))
        return with_refusals(tallies_of(verdicts, batch.post, len(posts)), refusals, post)

    async def _take(self, batch: Batch) -> NDArray[np.uint8]:
        view = self._views.view(batch.tenant)
        with self._timed("locate"):
            hits = view.index.locate(batch.lat, batch.lon)
        verdicts = np.zeros(len(batch.device), np.uint8)
        slots = np.arange(len(batch.device_ids))
        for _ in range(MAX_ROUNDS):
            part, pings = batch.only(slots)
            part_hits = hits if part is batch else _hits_of(hits, pings)
            conflicts = await self._round(view, part, part_hits, verdicts, pings)
            slots = slots[conflicts]
            if not len(slots):
                return verdicts
            metrics.COMMIT_CONFLICTS.inc(len(slots))
        raise StoreUnavailableError("the same devices changed at every attempt")

    async def _round(
        self,
        view: TenantView,
        batch: Batch,
        hits: Hits,
        verdicts: NDArray[np.uint8],
        pings: I64,
    ) -> I64:
        """One attempt: read, step, decide, commit; the slots that conflicted."""
        with self._timed("read"):
            records = await self._read(batch)
        with self._timed("step"):
            judged = quiet.judge(records, batch.pings)
            busy = find_busy(view, batch, hits, records, judged)
            found = judged.verdicts
            steppings = self._step(view, batch, hits, records, busy, found)
            verdicts[pings] = found
        with self._timed("decide"):
            decided = await self._effects.of(view, steppings, self._clock())
        plain = np.flatnonzero(judged.changed & ~busy.is_busy)
        moved = judged.records[plain]
        with self._timed("commit"):
            return await self._commit(batch, records, (plain, moved), decided)

    async def _read(self, batch: Batch) -> list[bytes | None]:
        by_shard = _by_shard(batch.shards)
        found = await self._store.read(
            [(shard, [batch.fields[slot] for slot in slots]) for shard, slots in by_shard]
        )
        records: list[bytes | None] = [None] * len(batch.fields)
        for (_, slots), listed in zip(by_shard, found, strict=True):
            for slot, record in zip(slots, listed, strict=True):
                records[slot] = record
        return records

    def _step(
        self,
        view: TenantView,
        batch: Batch,
        hits: Hits,
        records: list[bytes | None],
        busy: Busy,
        verdicts: NDArray[np.uint8],
    ) -> list[Stepping]:
        """Run the state machine for the busy devices; their verdicts are written in place."""
        steppings = []
        all_fixes = fixes_of(view, batch, hits, records, busy)
        for slot, fixes in zip(busy.slots.tolist(), all_fixes, strict=True):
            device_id, old = batch.device_ids[slot], records[slot]
            context = view.context(device_id, batch.user_ids.get(device_id))
            ran = machine.run(old, fixes, view.zones, context)
            verdicts[batch.bounds[slot] : batch.bounds[slot + 1]] = [
                CODES[verdict] for verdict in ran.verdicts
            ]
            field = batch.fields[slot]
            if ran.record != old or view.rules.recording:
                steppings.append(
                    Stepping(field, device_id, old, ran.record, ran.events, ran.due_at, fixes)
                )
        return steppings

    async def _commit(
        self,
        batch: Batch,
        records: list[bytes | None],
        plain: tuple[I64, NDArray[np.uint8]],
        decided: Sequence[Decided],
    ) -> I64:
        """Commit to every shard at once; the slots that conflicted, ascending."""
        slots, moved = plain
        slot_of = {field: slot for slot, field in enumerate(batch.fields)} if decided else {}
        commits, chosen, devices = [], [], []
        for shard in np.unique(batch.shards).tolist():
            mine = np.flatnonzero(batch.shards[slots] == shard)
            listed = slots[mine].tolist()
            quiet_commit = QuietCommit(
                [batch.fields[slot] for slot in listed],
                [records[slot] for slot in listed],
                _rows(moved[mine]),
            )
            busy = [d for d in decided if batch.shards[slot_of[d.commit.field]] == shard]
            if listed or busy:
                commits.append(ShardCommit(shard, quiet_commit, [d.commit for d in busy]))
                chosen.append(listed)
                devices.append(busy)
        conflicts: list[int] = []
        for done, listed, busy in zip(
            await self._store.commit(commits, self._clock()) if commits else (),
            chosen,
            devices,
            strict=True,
        ):
            conflicts += [listed[i] for i in done.quiet_conflicts]
            conflicts += [slot_of[busy[i].commit.field] for i in done.conflicts]
            self._count(busy, done)
        return np.array(sorted(conflicts), np.int64)

    # --- sightings and timers ---------------------------------------------------------------

    async def _take_heard(self, post: HeardPost) -> Tally:
        by_device: dict[str, list[Heard]] = {}
        for device_id, heard in post.heard:
            by_device.setdefault(device_id, []).append(heard)
        found = await asyncio.gather(
            *(self._hear(post.tenant, one, heard) for one, heard in by_device.items())
        )
        return tally_of([verdict for verdicts in found for verdict in verdicts])

    async def _hear(self, tenant: str, device_id: str, heard: list[Heard]) -> Sequence[Verdict]:
        view = self._views.view(tenant)
        fields, shards = self._names.of(tenant, [device_id])
        shard = int(shards[0])
        for _ in range(MAX_ROUNDS):
            ((old,),) = await self._store.read([(shard, fields)])
            ran = machine.hear_run(old, heard, view.zones, view.context(device_id))
            stepping = Stepping(fields[0], device_id, old, ran.record, ran.events, ran.due_at)
            if ran.record == old:
                return ran.verdicts
            if not await self._settle(view, shard, [stepping], self._clock()):
                return ran.verdicts
        raise StoreUnavailableError("the same device changed at every attempt")

    async def _fire(
        self, view: TenantView, shard: int, devices: Sequence[tuple[bytes, bytes]], now: int
    ) -> None:
        """Let time pass for devices whose timer is due. Who lost a race is due again."""
        steppings = []
        for field, record in devices:
            device_id = field.partition(b"/")[2].decode()
            stepped = machine.advance(record, now, view.zones, view.context(device_id))
            steppings.append(
                Stepping(field, device_id, record, stepped.record, stepped.events, stepped.due_at)
            )
        await self._settle(view, shard, steppings, now)

    async def _settle(
        self, view: TenantView, shard: int, steppings: Sequence[Stepping], now: int
    ) -> Sequence[int]:
        """Decide and commit devices of one shard; the positions that conflicted."""
        decided = await self._effects.of(view, steppings, now)
        commit = ShardCommit(shard, NOTHING_QUIET, [d.commit for d in decided])
        (done,) = await self._store.commit([commit], now)
        self._count(decided, done)
        return done.conflicts

    def _count(self, decided: Sequence[Decided], done: Committed) -> None:
        """Count what was committed, and wake dispatch if there are pushes."""
        if self._is_rehearsal:
            return
        lost = set(done.conflicts)
        if count_effects([one for i, one in enumerate(decided) if i not in lost], done.refused):
            self._effects.on_pushes()


def _by_shard(shards: I64) -> list[tuple[int, list[int]]]:
    """Slots by shard."""
    return [(s, np.flatnonzero(shards == s).tolist()) for s in np.unique(shards).tolist()]


_STAGES = {stage: metrics.BATCH_DURATION.labels(stage) for stage in metrics.STAGES}


def _timed(stage: str) -> AbstractContextManager[object]:
    return _STAGES[stage].time()


def _untimed(_: str) -> AbstractContextManager[object]:
    return nullcontext()


def _rows(records: NDArray[np.uint8]) -> list[bytes]:
    """The rows of an array of bytes."""
    size = records.shape[1]
    joined = records.tobytes()
    return [joined[start : start + size] for start in range(0, len(joined), size)]


def _hits_of(hits: Hits, pings: I64) -> Hits:
    """The hits of some pings (positions ascending), numbered as those pings are."""
    place = np.searchsorted(pings, hits.point)
    place = np.minimum(place, len(pings) - 1)
    kept = pings[place] == hits.point
    return Hits(place[kept].astype(hits.point.dtype), hits.key[kept], hits.distance_m[kept])
