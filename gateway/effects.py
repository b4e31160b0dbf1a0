"""From what the state machine says to what is committed: decisions, serialised.

Pure but for one thing: the people behind the devices that have events are loaded, one call a shard,
and only when there are events.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from gateway.sharding import shard_of, shard_tag, subject_field
from gateway.tenant_view import TenantView
from triggers.decide import Occasion, decide_all, refusals
from triggers.model import Decision, Event, EventKind, Fix, Push, Spend
from triggers.store import DeviceCommit, PushCommit
from triggers.subject import Subject

COARSE_DIGITS = 2  # decimals of a degree kept of a coarse position: about a kilometre

_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.Encoder()


class People(Protocol):
    """Who is behind a device."""

    async def subjects(self, tenant: str, device_ids: Sequence[str]) -> dict[str, Subject]:
        """The subject of each device; a device without a record has an empty one."""
        ...


class Stepping(NamedTuple):
    """A device that the state machine moved: its record before and after, and what happened."""

    field: bytes
    device_id: str
    old: bytes | None
    new: bytes
    events: Sequence[Event] = ()
    due_at: int | None = None
    fixes: Sequence[Fix] = ()


class Decided(NamedTuple):
    """A device's effects, ready to commit, with what is to be counted once they are."""

    commit: DeviceCommit
    events: Sequence[Event]
    decisions: Sequence[Decision]


class Effects:
    """Decides about events and builds the commits of devices.

    ``on_pushes`` is called after every commit that wrote pushes: dispatch need not wait for its
    next look.
    """

    on_pushes: Callable[[], None] = staticmethod(lambda: None)

    def __init__(self, people: People, shard_count: int, *, is_cluster: bool = False) -> None:
        self._people = people
        self._shard_count = shard_count
        self._is_cluster = is_cluster

    async def of(self, view: TenantView, steppings: Sequence[Stepping], now: int) -> list[Decided]:
        """The effects of these devices, in order."""
        eventful = [s.device_id for s in steppings if s.events]
        subjects = await self._people.subjects(view.tenant, eventful) if eventful else {}
        return [self._device(view, s, subjects.get(s.device_id), now) for s in steppings]

    def _device(
        self, view: TenantView, stepping: Stepping, subject: Subject | None, now: int
    ) -> Decided:
        subject = subject or Subject(stepping.device_id)
        events = tuple(_finished(view, event, subject) for event in stepping.events)
        decisions = self.decide(view, events, subject, now) if events else []
        shard = shard_of(stepping.field, self._shard_count)
        no_timer = 0 if stepping.old is not None else None
        commit = DeviceCommit(
            field=stepping.field,
            old=stepping.old,
            new=stepping.new,
            due_at=no_timer if stepping.due_at is None else stepping.due_at,
            tenant=view.tenant,
            events=tuple([self.encoded(event) for event in events]),
            decisions=tuple([stored(one) for one in decisions if one.push is None]),
            pushes=tuple([self.push_commit(one, shard) for one in decisions if one.push]),
            visits=tuple(
                [e.zone_id for e in events if e.kind is EventKind.ENTER and e.zone_id is not None]
            ),
            history=_history(stepping) if view.rules.recording and stepping.fixes else None,
        )
        return Decided(commit, events, decisions)

    def decide(
        self, view: TenantView, events: Sequence[Event], subject: Subject, now: int
    ) -> list[Decision]:
        """The decisions of all events of one input, in the order in which budgets are taken."""
        occasions = []
        for event in events:
            facts = view.facts(event.zone_type, event.zone_id)
            listening = view.listening.for_event(event, facts.tags if facts else frozenset())
            occasions.append(Occasion(event, facts, listening))
        if not any(occasion.triggers for occasion in occasions):
            return []
        subject = _with_tag_visits(view, subject)

        def spend_key(scope: str, owner: str | None) -> str:
            return budget_key(view.tenant, scope, owner, self._shard_count)

        return decide_all(occasions, subject, now=now, tenant=view.rules, spend_key=spend_key)

    @staticmethod
    def encoded(event: Event) -> bytes:
        """An event as it is kept."""
        return _json.encode(event)

    def push_commit(self, decision: Decision, shard: int) -> PushCommit:
        """A decision to send, as the commit of this shard takes it.

        Budgets of other shards are taken in the same script, except on a cluster: there the push
        carries them, and dispatch takes them.
        """
        push = decision.push
        assert push is not None  # noqa: S101 - the caller chose decisions with a push
        taken: tuple[Spend, ...] = decision.spends
        left: tuple[Spend, ...] = ()
        if self._is_cluster:
            tag = shard_tag(shard)
            taken = tuple([s for s in decision.spends if s.key.startswith(tag)])
            left = tuple([s for s in decision.spends if not s.key.startswith(tag)])
        return PushCommit(
            id=push.id,
            spends=taken,
            accepted=stored(decision),
            refusals={result: stored(one) for result, one in refusals(decision).items()},
            lane=push.lane,
            tenant=push.tenant,
            payload=packed(msgspec.structs.replace(push, holds=left) if left else push),
            not_before=push.not_before,
        )


def budget_key(tenant: str, scope: str, owner: str | None, shard_count: int) -> str:
    """The Redis key of a budget: on its owner's shard, or on the tenant's own for shared ones."""
    shard = shard_of(subject_field(tenant, owner or ""), shard_count)
    return f"{shard_tag(shard)}:spend:{tenant}:{scope}" + (f":{owner}" if owner else "")


def stored(decision: Decision) -> bytes:
    """A decision as it is kept: JSON, without what only the commit needs."""
    return _json.encode(msgspec.structs.replace(decision, push=None, spends=()))


def packed(push: Push) -> bytes:
    """A push as the outbox holds it."""
    return _msgpack.encode(push)


def _finished(view: TenantView, event: Event, subject: Subject) -> Event:
    """The event with the user behind the device, and as coarse a position as the tenant wants."""
    changes: dict[str, object] = {}
    if event.user_id is None and subject.user_id is not None:
        changes["user_id"] = subject.user_id
    if view.rules.coarse_location and event.lat is not None and event.lon is not None:
        changes["lat"] = round(event.lat, COARSE_DIGITS)
        changes["lon"] = round(event.lon, COARSE_DIGITS)
    return msgspec.structs.replace(event, **changes) if changes else event


def _with_tag_visits(view: TenantView, subject: Subject) -> Subject:
    """The subject with its visits counted by zone tag, too."""
    counts: Counter[str] = Counter()
    for zone_id, visits in subject.visits.items():
        for tag in view.tags_of(zone_id):
            counts[tag] += visits
    return msgspec.structs.replace(subject, tag_visits=counts) if counts else subject


def _history(stepping: Stepping) -> bytes:
    """The raw pings of a device, as the recording keeps them."""
    return _msgpack.encode(
        [
            stepping.device_id,
            [[f.at, f.received_at, f.lat, f.lon, f.accuracy_m, f.is_mock] for f in stepping.fixes],
        ]
    )
