"""One backtest: the live pipeline over past traffic, on a store in memory and a clock of its own.

The clock is that of arrival. Before pings are taken, timers fire and pushes go at the instants at
which they are due, in order. Every trigger of the tenant takes part, because budgets and caps are
shared; one of them is counted.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

import msgspec
import numpy as np

from gateway.backtest.departures import Departures
from gateway.backtest.people import PeopleThen
from gateway.backtest.report import Ledger, Report, Traffic
from gateway.backtest.traffic import Arrival, is_sampled
from gateway.effects import Effects, budget_key
from gateway.people import People
from gateway.pipeline import Pipeline, Post
from gateway.privacy import LocationConsent
from gateway.sharding import subject_field
from gateway.tenant_view import TenantView
from gateway.times import rfc3339
from gateway.wire import Refusal
from triggers.model import Decision, Event
from triggers.state import HEADER_SIZE
from triggers.store import MemoryStore

BLOCK = 2000  # arrivals looked at together
TURN_S = 0.01  # processor time at a stretch; then a rest of the same length
SHARDS = 1
DAY_MS = 86_400_000

_event = msgspec.json.Decoder(Event).decode
_decision = msgspec.json.Decoder(Decision).decode


class Bounds(NamedTuple):
    """How much work a backtest may be.

    ``until`` is when it ends at the latest (epoch ms); without it timers and delayed pushes of a
    day after the last ping still count.
    """

    max_pings: int = 1_000_000
    budget_s: float = 30.0
    sample: float = 1.0
    until: int | None = None


class _View(NamedTuple):
    """One tenant's configuration, as it was when the backtest began."""

    only: TenantView

    def view(self, tenant: str) -> TenantView:
        return self.only


class Backtest:
    """Plays traffic once; ``run`` gives the report."""

    def __init__(
        self,
        view: TenantView,
        trigger_id: str,
        people: People,
        bounds: Bounds,
        *,
        assume_reachable: bool = False,
    ) -> None:
        self._view = view
        self._bounds = bounds
        self._assume_reachable = assume_reachable
        self._store = MemoryStore()
        self._holders: dict[str, str] = {}
        self._people = PeopleThen(
            people, self._store, self._holders, assume_reachable=assume_reachable
        )
        self._consent = LocationConsent(people)
        self._pipeline = Pipeline(
            _View(view),
            self._store,
            Effects(self._people, SHARDS),
            SHARDS,
            clock=lambda: self._now,
            is_rehearsal=True,
        )
        self._departures = Departures(view, self._store, self._people, self._spend_key)
        self._ledger = Ledger(trigger_id)
        self._trigger_id = trigger_id
        self._mark = f'"trigger_id":"{trigger_id}"'.encode()
        self._traffic = Traffic()
        self._devices: set[str] = set()
        self._now = 0
        self._deadline = 0.0
        self._worked_since = 0.0

    async def run(self, arrivals: AsyncIterator[Arrival]) -> Report:
        """Play everything within bounds; what was not played is told by ``stopped``."""
        started, self._worked_since = time.monotonic(), time.thread_time()
        self._deadline = started + self._bounds.budget_s
        stopped = await self._play(arrivals)
        self._traffic.until = rfc3339(self._now) if self._now else None
        if stopped is None:
            last = self._bounds.until or self._now + DAY_MS
            stopped = None if await self._pass_time(last) else "time"
        self._traffic.devices = len(self._devices)
        waiting = self._departures.count(self._trigger_id)
        report = self._ledger.report(self._traffic, waiting, stopped)
        report.took_ms = round((time.monotonic() - started) * 1000)
        return report

    # --- private ----------------------------------------------------------------------------

    async def _play(self, arrivals: AsyncIterator[Arrival]) -> str | None:
        """Take the arrivals block by block; why it was stopped, if it was."""
        block: list[Arrival] = []
        passed_over = 0
        async for arrival in arrivals:
            if not is_sampled(arrival.ping.device_id, self._bounds.sample):
                passed_over += 1
                if passed_over % BLOCK == 0 and not await self._rest():
                    return "time"
                continue
            if self._traffic.pings + len(block) >= self._bounds.max_pings:
                return "pings" if await self._take(block) else "time"
            block.append(arrival)
            if len(block) == BLOCK:
                if not await self._take(block):
                    return "time"
                block = []
        return None if await self._take(block) else "time"

    async def _take(self, block: list[Arrival]) -> bool:
        """Take a block of arrivals, those that matter at their instants; whether there was time."""
        if not block:
            return True
        self._traffic.since = self._traffic.since or rfc3339(block[0].received_at)
        quiet, busy = self._parted(await self._allowed(block))
        if not await self._rest():
            return False
        if quiet:
            await self._post(quiet)
        for at, group in groupby(busy, key=attrgetter("received_at")):
            if not await self._pass_time(at):
                return False
            await self._post(list(group))
            await self._drain()
        return await self._pass_time(block[-1].received_at)

    async def _allowed(self, block: list[Arrival]) -> list[Arrival]:
        """The arrivals of people who allow location, as precise as they do."""
        if self._assume_reachable:
            return block
        refusals: list[Refusal] = []
        pings, kept = await self._consent.apply(
            self._view.tenant, [one.ping for one in block], range(len(block)), refusals
        )
        self._traffic.pings += len(refusals)
        self._traffic.rejected += len(refusals)
        return [block[i]._replace(ping=ping) for ping, i in zip(pings, kept, strict=True)]

    def _parted(self, block: list[Arrival]) -> tuple[list[Arrival], list[Arrival]]:
        """Arrivals of devices that nothing can happen to in this block, and all others.

        The first are in no zone and come near none: for them neither instant nor order matters.
        """
        if self._view.detects_cross:
            return [], block
        lat = np.array([one.ping.lat for one in block])
        lon = np.array([one.ping.lon for one in block])
        near = {
            block[i].ping.device_id for i in set(self._view.index.locate(lat, lon).point.tolist())
        }
        for device_id in {one.ping.device_id for one in block} - near:
            record = self._store.records.get(subject_field(self._view.tenant, device_id))
            if record is not None and len(record) != HEADER_SIZE:
                near.add(device_id)
        quiet = [one for one in block if one.ping.device_id not in near]
        return quiet, [one for one in block if one.ping.device_id in near]

    async def _post(self, arrivals: list[Arrival]) -> None:
        """Put arrivals through the pipeline, and count them."""
        traffic = self._traffic
        traffic.pings += len(arrivals)
        for _, ping, _ in arrivals:
            self._devices.add(ping.device_id)
            if ping.user_id:
                self._holders[ping.device_id] = ping.user_id
        for tally in await self._pipeline.pings(_posts(self._view.tenant, arrivals)):
            traffic.accepted += tally.accepted
            traffic.duplicates += tally.duplicates
            traffic.late += tally.late
            traffic.held += tally.held
            traffic.rejected += len(tally.refused)

    async def _pass_time(self, until: int) -> bool:
        """Fire timers and let pushes go, each at its instant; whether there was time for it."""
        while True:
            timer_at = self._store.next_due_at(0)
            next_at = min(
                (at for at in (timer_at, self._departures.next_at) if at is not None), default=None
            )
            if not await self._rest():
                return False
            if next_at is None or next_at > until:
                self._set_clock(until)
                return True
            self._set_clock(next_at)
            if timer_at is not None and timer_at <= self._now:
                await self._pipeline.due(0, self._now)
                await self._drain()
            for one in await self._departures.depart(next_at):
                self._ledger.departed(one)

    async def _drain(self) -> None:
        """Count what the last commits wrote, and forget it."""
        store = self._store
        self._departures.add([*store.outbox, *store.delayed.values()])
        for event in store.events:
            self._departures.note(_event(event))
        for packed in store.decisions:
            if self._mark in packed and not (decision := _decision(packed)).pending:
                self._ledger.refused(decision)
        for written in (store.events, store.decisions, store.outbox, store.delayed):
            written.clear()

    async def _rest(self) -> bool:
        """Leave others their share of the event loop; whether there is time left."""
        worked_s = time.thread_time() - self._worked_since
        if worked_s >= TURN_S:
            await asyncio.sleep(worked_s)
            self._worked_since = time.thread_time()
        return time.monotonic() < self._deadline

    def _set_clock(self, at: int) -> None:
        self._now = self._people.now = max(self._now, at)

    def _spend_key(self, scope: str, owner: str | None) -> str:
        return budget_key(self._view.tenant, scope, owner, SHARDS)


def _posts(tenant: str, tick: list[Arrival]) -> list[Post]:
    """The arrivals as requests: one for each instant of arrival."""
    by_instant: dict[int, list[Arrival]] = {}
    for one in tick:
        by_instant.setdefault(one.received_at, []).append(one)
    return [Post(tenant, [one.ping for one in listed], at) for at, listed in by_instant.items()]
