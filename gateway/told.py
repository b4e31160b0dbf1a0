"""Custom events: told by the tenant's back end, decided and committed like those of zones.

They move no device state. What is told of a user without naming a device stands under ``~<user>``,
and its pushes go to all of that user's devices.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gateway.catalog import Catalog
from gateway.effects import Decided, Effects, People, stored
from gateway.sharding import USER_MARK, shard_of, subject_field
from gateway.tally import count_effects
from triggers.ids import event_id
from triggers.model import Event, EventKind
from triggers.store import DeviceCommit, QuietCommit, ShardCommit, Store, Told


class CustomEvent(NamedTuple):
    """One custom event of a user or of a device."""

    id: str
    name: str
    user_id: str | None
    device_id: str | None
    occurred_at: int
    properties: Mapping[str, Any]

    @property
    def subject_id(self) -> str:
        """The device, or the mark for a user of whom no device was named."""
        return self.device_id or f"{USER_MARK}{self.user_id}"


def custom_event_id(tenant: str, own_id: str) -> str:
    """The id of an event that its sender named."""
    return event_id(f"{tenant}:{own_id}", EventKind.CUSTOM)


class Tellings:
    """Takes custom events."""

    def __init__(
        self, catalog: Catalog, store: Store, effects: Effects, people: People, shard_count: int
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._effects = effects
        self._people = people
        self._shard_count = shard_count

    async def take(self, tenant: str, events: Sequence[CustomEvent], now: int) -> list[bool]:
        """Commit events, in order; whether each was new.

        Raises:
            StoreUnavailableError: nothing of the event at hand, or of those behind it, is stored.
        """
        return [await self._take(tenant, event, now) for event in events]

    async def _take(self, tenant: str, told: CustomEvent, now: int) -> bool:
        view = self._catalog.view(tenant)
        subjects = await self._people.subjects(tenant, [told.subject_id])
        subject = subjects[told.subject_id]
        user_id = told.user_id or subject.user_id
        event = Event(
            id=told.id,
            kind=EventKind.CUSTOM,
            tenant=tenant,
            device_id=told.subject_id,
            occurred_at=told.occurred_at,
            received_at=now,
            user_id=user_id,
            name=told.name,
            properties=dict(told.properties) or None,
        )
        decisions = self._effects.decide(view, [event], subject, now)
        field = subject_field(tenant, user_id or told.subject_id)
        shard = shard_of(field, self._shard_count)
        commit = DeviceCommit(
            field=field,
            old=None,
            new=b"",
            tenant=tenant,
            events=(self._effects.encoded(event),),
            decisions=tuple([stored(one) for one in decisions if one.push is None]),
            pushes=tuple(
                [self._effects.push_commit(one, shard) for one in decisions if one.push is not None]
            ),
            once=f"{tenant}:{told.id}",
            told=Told(told.name, told.id, told.occurred_at),
        )
        (done,) = await self._store.commit(
            [ShardCommit(shard, QuietCommit([], [], []), [commit])], now
        )
        if done.conflicts:
            return False
        if count_effects([Decided(commit, (event,), decisions)], done.refused):
            self._effects.on_pushes()
        return True
