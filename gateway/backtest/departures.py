"""The way of pushes after they were decided, without sending: delay, last look, budgets.

It follows ``gateway/delivery.py``: guard, then the caps of the person. A push that gets through
counts as sent; providers are taken to accept everything at once.
"""

from collections import defaultdict
from collections.abc import Iterable
from heapq import heappop, heappush
from typing import NamedTuple

import msgspec

from gateway.backtest.people import PeopleThen
from gateway.tenant_view import TenantView
from triggers import guard as guards
from triggers.budgets import SpendKey
from triggers.model import Event, EventKind, Push, Result
from triggers.store import MemoryStore, PushCommit
from triggers.subject import Subject

EVENT_MARK = "event:"

_decode = msgspec.msgpack.Decoder(Push).decode


class Departed(NamedTuple):
    """How a push ended, and when (epoch ms)."""

    push: Push
    at: int
    result: Result
    detail: str


class Departures:
    """Pushes that wait for their time."""

    def __init__(
        self, view: TenantView, store: MemoryStore, people: PeopleThen, spend_key: SpendKey
    ) -> None:
        self._view = view
        self._store = store
        self._people = people
        self._spend_key = spend_key
        self._waiting: list[tuple[int, str, Push]] = []
        self._revocable: defaultdict[str, dict[str, Push]] = defaultdict(dict)
        self._canceled: set[str] = set()

    def count(self, trigger_id: str) -> int:
        """How many pushes of a trigger still wait."""
        return sum(push.trigger_id == trigger_id for _, _, push in self._waiting)

    @property
    def next_at(self) -> int | None:
        """When the next push wants to go."""
        return self._waiting[0][0] if self._waiting else None

    def add(self, pushes: Iterable[PushCommit]) -> None:
        """Take what a commit wrote."""
        for commit in pushes:
            push = _decode(commit.payload)
            heappush(self._waiting, (max(push.not_before, push.created_at), push.id, push))
            if push.cancel_on is not None and not push.cancel_on.startswith(EVENT_MARK):
                self._revocable[push.device_id][push.id] = push

    def note(self, event: Event) -> None:
        """Take back the pushes that this event cancels."""
        for push in self._revocable.get(event.device_id, {}).values():
            if guards.cancels(push, event):
                self._canceled.add(push.id)

    async def depart(self, now: int) -> list[Departed]:
        """What became of the pushes whose time has come; those that must wait do."""
        done = []
        while self._waiting and self._waiting[0][0] <= now:
            at, _, push = heappop(self._waiting)
            ended = await self._judge(push, at)
            if ended is not None:
                self._revocable.get(push.device_id, {}).pop(push.id, None)
                self._canceled.discard(push.id)
                done.append(ended)
        return done

    async def _judge(self, push: Push, at: int) -> Departed | None:
        view, live = self._view, self._view.trigger(push.trigger_id)
        subject = (await self._people.subjects(view.tenant, [push.device_id]))[push.device_id]
        guarded = guards.guard(
            live.trigger if live else None,
            push,
            subject,
            zone=view.facts(push.event.zone_type, push.event.zone_id),
            now=at,
            tenant=view.rules,
            spend_key=self._spend_key,
            is_canceled=push.id in self._canceled or _was_told(push, subject, at),
        )
        match guarded:
            case guards.Wait(until):
                heappush(self._waiting, (until, push.id, push))
                return None
            case guards.Suppress(result, detail):
                return Departed(push, at, result, detail)
            case guards.Proceed(spends, _):
                refused = await self._store.reserve(push.id, (*push.holds, *spends), at)
                detail = "" if refused is None else "at dispatch"
                return Departed(push, at, refused or Result.SENT, detail)


def _was_told(push: Push, subject: Subject, now: int) -> bool:
    """Whether a custom event takes the push back."""
    if push.cancel_on is None or not push.cancel_on.startswith(EVENT_MARK):
        return False
    name = push.cancel_on.removeprefix(EVENT_MARK)
    return any(
        at <= now
        and guards.cancels(
            push,
            Event("", EventKind.CUSTOM, push.tenant, push.device_id, at, at, name=name),
        )
        for at in subject.events.get(name, ())
    )
