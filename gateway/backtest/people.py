"""The people behind past traffic: as they are known now, with the visits of the traffic itself."""

from collections.abc import Mapping, Sequence

import msgspec

from gateway.people import CHANNEL_OF, People
from gateway.sharding import subject_field
from triggers.store import MemoryStore
from triggers.subject import Consents, Subject

EVERY_CHANNEL = frozenset(CHANNEL_OF.values())
MOST_KNOWN = 50_000


class PeopleThen:
    """Gives subjects to a rehearsal (``gateway.effects.People``).

    Attributes, tags, consents and addresses are those of now, custom events those up to ``now``,
    visits those in ``store``. Users that pings name (``holders``, by device) count in place of the
    recorded ones. Records are read once.
    """

    def __init__(
        self,
        people: People,
        store: MemoryStore,
        holders: Mapping[str, str],
        *,
        assume_reachable: bool = False,
    ) -> None:
        self._people = people
        self._store = store
        self._holders = holders
        self._assume_reachable = assume_reachable
        self._known: dict[tuple[str, str | None], Subject] = {}
        self.now = 0

    async def subjects(self, tenant: str, device_ids: Sequence[str]) -> dict[str, Subject]:
        """The subject of each device; a device without a record has an empty one."""
        if len(self._known) > MOST_KNOWN:
            self._known.clear()
        missing = [one for one in device_ids if self._name(one) not in self._known]
        if missing:
            found = await self._people.subjects(tenant, missing, self._holders)
            self._known |= {self._name(one): self._assumed(found[one]) for one in missing}
        return {one: self._then(tenant, self._known[self._name(one)]) for one in device_ids}

    def _name(self, device_id: str) -> tuple[str, str | None]:
        return device_id, self._holders.get(device_id)

    def _assumed(self, subject: Subject) -> Subject:
        if not self._assume_reachable:
            return subject
        return msgspec.structs.replace(
            subject, consents=Consents(push=True, location=True), channels=EVERY_CHANNEL
        )

    def _then(self, tenant: str, subject: Subject) -> Subject:
        field = subject_field(tenant, subject.device_id)
        events = {
            name: tuple([at for at in instants if at <= self.now])
            for name, instants in subject.events.items()
        }
        visits = dict(self._store.visits.get(field, {}))
        return msgspec.structs.replace(subject, events=events, visits=visits)
