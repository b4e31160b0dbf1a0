"""One backtest: the live pipeline over past traffic, on a store in memory and a clock of its own.

The clock is that of arrival. Before the pings of a second are taken, timers fire and pushes go at
the instants at which they are due, in order. Every trigger of the tenant takes part, because
budgets and caps are shared; one of them is counted.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec

from gateway.backtest.departures import Departures
from gateway.backtest.people import PeopleThen
from gateway.backtest.report import Ledger, Report, Traffic
from gateway.backtest.traffic import Arrival, is_sampled
from gateway.effects import Effects, budget_key
from gateway.people import People
from gateway.pipeline import Pipeline, Post
from gateway.privacy import LocationConsent
from gateway.tenant_view import TenantView
from gateway.times import rfc3339
from gateway.wire import Refusal
from triggers.model import Decision, Event
from triggers.store import MemoryStore

TICK_MS = 1000
MOST_IN_TICK = 1000
TURN_S = 0.01  # work between two turns of the event loop, and rest for as long
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
        started = self._worked_since = time.monotonic()
        self._deadline = started + self._bounds.budget_s
        stopped = await self._play(arrivals)
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
        """Take the arrivals second by second; why it was stopped, if it was."""
        tick: list[Arrival] = []
        async for arrival in arrivals:
            if not is_sampled(arrival.ping.device_id, self._bounds.sample):
                continue
            if self._traffic.pings + len(tick) >= self._bounds.max_pings:
                return await self._take(tick) or "pings"
            is_later = tick and arrival.received_at >= tick[0].received_at + TICK_MS
            if is_later or len(tick) == MOST_IN_TICK:
                stopped = await self._take(tick)
                if stopped:
                    return stopped
                tick = []
            tick.append(arrival)
        return await self._take(tick) if tick else None

    async def _take(self, tick: list[Arrival]) -> str | None:
        """Let time pass up to these arrivals and take them."""
        if not await self._pass_time(tick[0].received_at):
            return "time"
        self._set_clock(tick[-1].received_at)
        self._note(tick)
        refusals: list[Refusal] = []
        if not self._assume_reachable:
            pings, kept = await self._consent.apply(
                self._view.tenant, [one.ping for one in tick], range(len(tick)), refusals
            )
            tick = [tick[i]._replace(ping=ping) for ping, i in zip(pings, kept, strict=True)]
        tallies = await self._pipeline.pings(_posts(self._view.tenant, tick))
        self._traffic.rejected += len(refusals)
        for tally in tallies:
            self._traffic.accepted += tally.accepted
            self._traffic.duplicates += tally.duplicates
            self._traffic.late += tally.late
            self._traffic.held += tally.held
            self._traffic.rejected += len(tally.refused)
        await self._drain()
        return None

    def _note(self, tick: list[Arrival]) -> None:
        traffic = self._traffic
        traffic.pings += len(tick)
        traffic.since = traffic.since or rfc3339(tick[0].received_at)
        traffic.until = rfc3339(self._now)
        for _, ping, _ in tick:
            self._devices.add(ping.device_id)
            if ping.user_id:
                self._holders[ping.device_id] = ping.user_id

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
        """Give the event loop its turns; whether there is time left."""
        now = time.monotonic()
        worked_s = now - self._worked_since
        if worked_s >= TURN_S:
            await asyncio.sleep(worked_s)
            self._worked_since = time.monotonic()
        return now < self._deadline

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
