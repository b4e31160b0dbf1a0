"""The loop that empties the outbox: claim, prepare, send, settle.

Model: one dispatcher per process. It claims as much as it has places in flight, lets the
application prepare the batch, queues each push at the gate of its credential, and sends what the
gates let through. Outcomes become verdicts (``retry``), verdicts become next places (``conclude``),
and the settler writes them down in batches.

Nothing is lost: an entry stays in the outbox until its next place is written. An entry may be sent
twice when the process dies between a provider's answer and the settling, a few milliseconds.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Sequence
from random import random as uniform
from typing import NamedTuple, TypeVar

from senders.conclude import Work, bury, conclude_unsent
from senders.model import Lane
from senders.outbox import Outbox, Room
from senders.pushes import Observer, Prepared, Pushes, Ready, Settled
from senders.retry import Random
from senders.sending import Clock, Sending, SendLimits
from senders.settlement import Claimed, Requeue
from senders.settler import Settler

T = TypeVar("T")

PAUSE_AFTER_FAILURE_S = 0.5
DUE_POLL_S = 0.25
OWN_ENTRIES = 100_000


class Limits(NamedTuple):
    """The bounds of one dispatcher."""

    most_in_flight: int = 4096  # entries claimed and not settled
    marketing_share: float = 0.75  # of them, at most, in the marketing lane
    batch: int = 256  # entries claimed and prepared at once
    most_deliveries: int = 5  # an entry that outlived so many processes is poison
    poll_s: float = 0.1  # for what other processes add; own additions wake at once
    drain_s: float = 10.0
    send: SendLimits = SendLimits()


DEFAULT_LIMITS = Limits()
FEW = 32  # a claim that brought no more is followed by a short rest
REST_S = 0.003
PREPARE_PAUSES_S = (0.1, 0.4, 0.0)  # after a batch that failed as a whole


def wall_clock() -> int:
    """Now, in epoch milliseconds."""
    return time.time_ns() // 1_000_000


class Dispatcher:
    """Dispatches until stopped.

    Args:
        outbox: the queue, under a consumer name of this process.
        pushes: the application's side.
        limits: bounds; the defaults suit one core.
        clock: now in epoch milliseconds.
        random: uniform in [0, 1), for jitter.
        observer: hooks for metrics and logs.
    """

    def __init__(
        self,
        outbox: Outbox,
        pushes: Pushes,
        *,
        limits: Limits = DEFAULT_LIMITS,
        clock: Clock = wall_clock,
        random: Random = uniform,
        observer: Observer | None = None,
    ) -> None:
        self._outbox = outbox
        self._pushes = pushes
        self._limits = limits
        self._clock = clock
        self._observer = observer or Observer()
        self._settler = Settler(outbox, pushes, self._observer, self._release)
        self._sending = Sending(
            pushes,
            self._settler.add,
            limits=limits.send,
            clock=clock,
            random=random,
            observer=self._observer,
        )
        self._ours: dict[tuple[int, str, str, bytes], Claimed] = {}
        self._held: dict[Lane, Counter[str]] = {"transactional": Counter(), "marketing": Counter()}
        self._places = Room(
            limits.most_in_flight, int(limits.most_in_flight * limits.marketing_share)
        )
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()

    @property
    def in_flight(self) -> int:
        """How many entries are claimed and not settled."""
        return len(self._ours)

    def nudge(self) -> None:
        """Something was added to the outbox: look now instead of at the next poll."""
        self._wake.set()

    def stop(self) -> None:
        """Let ``run`` finish what is in flight, hand back the rest, and return."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Dispatch until ``stop``; failures of storage are reported and tried again."""
        settler = asyncio.create_task(self._settler.run())
        settler.add_done_callback(lambda _: self.stop())
        try:
            async with asyncio.TaskGroup() as loops:
                for loop in (self._fetch, self._move_due, self._tend):
                    loops.create_task(loop())
            unsent = await self._sending.drain(self._limits.drain_s)
            back = [Requeue(entry, (entry.payload,)) for entry, _ in unsent]
            await self._attempt("hand back", self._outbox.settle(back))
        finally:
            self._settler.close()
            # With the storage gone this would take for ever; entries are taken over later instead.
            await asyncio.wait_for(settler, self._limits.drain_s)

    async def _fetch(self) -> None:
        own = await self._attempt("recover", self._outbox.recover(OWN_ENTRIES, own=True))
        await self._take(own or [])
        while not self._stopping.is_set():
            self._wake.clear()
            claimed = await self._claim()
            if claimed:
                await self._take(claimed)
                if len(claimed) <= FEW:  # under a light load, let some more come together
                    await asyncio.sleep(REST_S)
            else:
                await _wait(self._wake, self._limits.poll_s)

    async def _move_due(self) -> None:
        while not self._stopping.is_set():
            moved = await self._attempt("move due entries", self._move_all_due())
            if moved:
                self.nudge()
            else:
                await _wait(self._stopping, DUE_POLL_S)

    async def _move_all_due(self) -> int:
        moved, now = 0, self._clock()
        for shard, due_at in enumerate(await self._outbox.next_due_at()):
            if due_at is not None and due_at <= now:
                moved += await self._outbox.move_due(shard, now)
        return moved

    async def _tend(self) -> None:
        """Keep what is ours, take over what nobody works on, forget what is gone."""
        interval_s = self._outbox.takeover_ms / 4000
        while not await _wait(self._stopping, interval_s):
            await self._attempt("refresh", self._outbox.refresh(list(self._ours.values())))
            room = min(self._room())
            if room > 0:
                found = await self._attempt("recover", self._outbox.recover(room))
                await self._take(found or [])
            await self._attempt("forget consumers", self._outbox.forget_consumers())
            self._sending.forget_idle_gates()

    async def _claim(self) -> list[Claimed]:
        room = self._room()
        if not any(room):
            return []
        return (
            await self._attempt("claim", self._outbox.claim(room, self._places, self._held)) or []
        )

    def _room(self) -> Room:
        batch = self._limits.batch
        free = self._places.transactional - len(self._ours)
        marketing_free = self._places.marketing - self._held["marketing"].total()
        transactional = max(0, min(free, batch))
        marketing = min(transactional, marketing_free)
        # A few places at a time would cost a round trip each; wait until a claim is worth one.
        least = min(batch, self._places.marketing // 8)
        return Room(transactional, marketing if marketing >= max(1, least) else 0)

    async def _take(self, claimed: Sequence[Claimed]) -> None:
        fresh = [entry for entry in claimed if _name(entry) not in self._ours]
        for entry in fresh:
            self._ours[_name(entry)] = entry
            self._held[entry.lane][entry.tenant] += 1
        for start in range(0, len(fresh), self._limits.batch):
            await self._prepare(fresh[start : start + self._limits.batch])

    async def _prepare(self, batch: Sequence[Claimed]) -> None:
        usable: list[Claimed] = []
        for entry in batch:
            if entry.deliveries > self._limits.most_deliveries:
                reason = f"delivered {entry.deliveries} times and never settled"
                self._settler.add(bury(Settled(entry, None, "dead", reason)))
            else:
                usable.append(entry)
        for pause_s in PREPARE_PAUSES_S:
            usable = await self._prepare_some(usable)
            if not usable:
                return
            await _wait(self._stopping, pause_s)
        self._release(usable)

    async def _prepare_some(self, batch: Sequence[Claimed]) -> list[Claimed]:
        """Prepare a batch; returns what is worth another try at once.

        Where all fails, storage is away, and soon back. Where only some entries fail when they are
        prepared alone, these are let go: they come back by takeover, a few times.
        """
        try:
            self._accept(batch, await self._pushes.prepare(batch) if batch else [])
            return []
        except Exception as error:  # noqa: BLE001 - any failure of the application
            self._observer.failed("prepare", error)
        failed = []
        for entry in batch:
            try:
                self._accept([entry], await self._pushes.prepare([entry]))
            except Exception:  # noqa: BLE001 - reported above
                failed.append(entry)
        if len(failed) == len(batch):
            return failed
        self._release(failed)
        return []

    def _accept(self, batch: Sequence[Claimed], prepared: Sequence[Prepared]) -> None:
        if len(prepared) != len(batch):
            raise ValueError(f"{len(prepared)} answers for {len(batch)} entries")
        gates = set()
        for entry, answer in zip(batch, prepared, strict=True):
            if isinstance(answer, Ready):
                self._sending.join(Work(entry, answer))
                gates.add(answer.gate)
            else:
                self._settler.add(conclude_unsent(self._pushes, entry, answer))
        for gate in gates:
            self._sending.pump(gate)

    def _release(self, claimed: Sequence[Claimed]) -> None:
        for entry in claimed:
            if self._ours.pop(_name(entry), None):
                held = self._held[entry.lane]
                held[entry.tenant] -= 1
                if not held[entry.tenant]:
                    del held[entry.tenant]
        self._wake.set()

    async def _attempt(self, what: str, step: Awaitable[T]) -> T | None:
        try:
            return await step
        except Exception as error:  # noqa: BLE001 - a loop outlives any failure of storage
            self._observer.failed(what, error)
            await _wait(self._stopping, PAUSE_AFTER_FAILURE_S)
            return None


def _name(entry: Claimed) -> tuple[int, str, str, bytes]:
    return (entry.shard, entry.lane, entry.tenant, entry.entry_id)


async def _wait(event: asyncio.Event, timeout_s: float) -> bool:
    """Whether the event came within the time."""
    try:
        async with asyncio.timeout(timeout_s):
            return await event.wait()
    except TimeoutError:
        return False
