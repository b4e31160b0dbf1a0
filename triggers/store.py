"""What the engine needs of a store, and a store in memory that keeps the same contract.

Contract (checked by one test suite for both stores):

* ``read`` gives the record of each field, or None.
* ``commit`` writes a device's effects if and only if the bytes read are still the bytes stored:
  the record, the timer, the events and decisions, and every push whose budgets are free. A push
  without budget leaves the decision that names the spent budget instead. Devices do not affect one
  another; a conflict is answered by position.
* ``due`` claims timers: who claims one has it alone until the lease ends.
* ``reserve`` takes budgets for a push that exists already; again for the same push changes nothing.

Fields are ``tenant/id`` (bytes). Instants are epoch milliseconds.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush
from typing import NamedTuple, Protocol

import msgspec

from triggers.model import Result, Spend

PLAIN_COUNTER_FROM = 1000  # budgets above are plain counters (see lua/spend.lua)


class Retention(msgspec.Struct, frozen=True):
    """How much history is kept; the caps bound memory, whatever the traffic."""

    events_cap: int = 200_000  # entries a shard and tenant
    decisions_cap: int = 200_000
    trail_cap: int = 400  # entries a device
    trail_lifetime_ms: int = 30 * 86_400_000


class PushCommit(NamedTuple):
    """One push, and what to record when it is accepted or refused (serialised decisions)."""

    id: str
    spends: tuple[Spend, ...]
    accepted: bytes
    refusals: Mapping[Result, bytes]
    lane: str
    tenant: str
    payload: bytes
    not_before: int = 0


class Told(NamedTuple):
    """A custom event to remember of a subject, for audiences and cancellations."""

    name: str
    event_id: str
    at: int


class DeviceCommit(NamedTuple):
    """All effects of one device's input. ``due_at``: None leaves the timer, 0 clears it.

    With ``once`` (a name) nothing is compared and no record written: the effects happen if it
    was not committed before, else the device conflicts.
    """

    field: bytes
    old: bytes | None
    new: bytes
    due_at: int | None = None
    tenant: str = ""
    events: tuple[bytes, ...] = ()
    decisions: tuple[bytes, ...] = ()
    pushes: tuple[PushCommit, ...] = ()
    visits: tuple[str, ...] = ()  # zone ids whose visit counter goes up
    history: bytes | None = None  # raw pings, where the tenant records them
    once: str | None = None
    told: Told | None = None


class QuietCommit(NamedTuple):
    """Devices whose record alone changes; three parallel lists."""

    fields: Sequence[bytes]
    olds: Sequence[bytes | None]
    news: Sequence[bytes]


class ShardCommit(NamedTuple):
    """What one shard is asked to commit."""

    shard: int
    quiet: QuietCommit
    devices: Sequence[DeviceCommit]


class Committed(NamedTuple):
    """The answer to a commit: who conflicted (positions), and which pushes were refused why."""

    quiet_conflicts: Sequence[int]
    conflicts: Sequence[int]
    refused: Mapping[str, Result]


class StoreUnavailableError(RuntimeError):
    """The store cannot take writes now (down, out of memory, replicas missing); try again later."""


class Store(Protocol):
    """See the module's contract."""

    async def read(self, wanted: Sequence[tuple[int, Sequence[bytes]]]) -> list[list[bytes | None]]:
        """The records of fields by shard, in order."""
        ...

    async def commit(self, commits: Sequence[ShardCommit], now: int) -> list[Committed]:
        """Write the effects; durable at the configured level when it returns."""
        ...

    async def due(
        self, shard: int, now: int, limit: int, lease_ms: int
    ) -> list[tuple[bytes, bytes, int]]:
        """Claim due timers: (field, record, when it was due)."""
        ...

    async def reserve(self, push_id: str, spends: Sequence[Spend], now: int) -> Result | None:
        """Take all budgets or none; the refused budget's result, or None."""
        ...


class MemoryStore:
    """The contract in one process's memory: for tests and backtests.

    Public attributes show what was written: ``records``, ``timers``, ``events``, ``decisions``,
    ``outbox``, ``delayed``, ``visits``, ``told`` and ``history``.
    """

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}
        self.timers: dict[tuple[int, bytes], int] = {}
        self.events: list[bytes] = []
        self.decisions: list[bytes] = []
        self.outbox: list[PushCommit] = []
        self.delayed: dict[str, PushCommit] = {}
        self.visits: defaultdict[bytes, dict[str, int]] = defaultdict(dict)
        self.told: dict[bytes, list[Told]] = {}
        self.history: list[bytes] = []
        self._alarms: defaultdict[int, list[tuple[int, bytes]]] = defaultdict(list)
        self._once: set[str] = set()
        self._budgets: dict[str, dict[str, int]] = {}

    async def read(self, wanted: Sequence[tuple[int, Sequence[bytes]]]) -> list[list[bytes | None]]:
        """The records of fields by shard, in order."""
        return [[self.records.get(field) for field in fields] for _, fields in wanted]

    async def commit(self, commits: Sequence[ShardCommit], now: int) -> list[Committed]:
        """Write the effects of every device whose old record is still the stored one."""
        return [self._commit(*commit, now) for commit in commits]

    def _commit(
        self, shard: int, quiet: QuietCommit, devices: Sequence[DeviceCommit], now: int
    ) -> Committed:
        quiet_conflicts = []
        for position, (field, old, new) in enumerate(zip(*quiet, strict=True)):
            if self.records.get(field) == old:
                self.records[field] = new
            else:
                quiet_conflicts.append(position)
        conflicts = []
        refused: dict[str, Result] = {}
        for position, device in enumerate(devices):
            if self._is_current(device):
                self._apply(shard, device, now, refused)
            else:
                conflicts.append(position)
        return Committed(quiet_conflicts, conflicts, refused)

    async def due(
        self, shard: int, now: int, limit: int, lease_ms: int
    ) -> list[tuple[bytes, bytes, int]]:
        """Claim due timers, earliest first."""
        claimed: list[tuple[bytes, bytes, int]] = []
        while len(claimed) < limit and (at := self.next_due_at(shard)) is not None and at <= now:
            _, field = heappop(self._alarms[shard])
            if field in self.records:
                self.timers[shard, field] = now + lease_ms
                claimed.append((field, self.records[field], at))
            else:
                del self.timers[shard, field]
        for field, _, _ in claimed:
            heappush(self._alarms[shard], (now + lease_ms, field))
        return claimed

    def next_due_at(self, shard: int) -> int | None:
        """When the earliest timer of a shard is due."""
        alarms = self._alarms[shard]
        while alarms and self.timers.get((shard, alarms[0][1])) != alarms[0][0]:
            heappop(alarms)  # armed anew or cleared since
        return alarms[0][0] if alarms else None

    async def reserve(self, push_id: str, spends: Sequence[Spend], now: int) -> Result | None:
        """Take all budgets or none."""
        return self._spend(push_id, spends, now)

    def _is_current(self, device: DeviceCommit) -> bool:
        if device.once is None:
            return self.records.get(device.field) == device.old
        is_new = device.once not in self._once
        self._once.add(device.once)
        return is_new

    def _apply(
        self, shard: int, device: DeviceCommit, now: int, refused: dict[str, Result]
    ) -> None:
        if device.once is None:
            self.records[device.field] = device.new
        if device.told is not None:
            self.told.setdefault(device.field, []).append(device.told)
        if device.due_at:
            self.timers[shard, device.field] = device.due_at
            heappush(self._alarms[shard], (device.due_at, device.field))
        elif device.due_at == 0:
            self.timers.pop((shard, device.field), None)
        self.events.extend(device.events)
        self.decisions.extend(device.decisions)
        for push in device.pushes:
            result = self._spend(push.id, push.spends, now)
            if result is not None:
                refused[push.id] = result
                self.decisions.append(push.refusals[result])
                continue
            self.decisions.append(push.accepted)
            if push.not_before > now:
                self.delayed[push.id] = push
            else:
                self.outbox.append(push)
        for zone_id in device.visits:
            visits = self.visits[device.field]
            visits[zone_id] = visits.get(zone_id, 0) + 1
        if device.history is not None:
            self.history.append(device.history)

    def _spend(self, push_id: str, spends: Iterable[Spend], now: int) -> Result | None:
        spends = tuple(spends)
        for spend in spends:
            taken = self._taken(spend, now)
            if push_id not in taken and len(taken) >= spend.limit:
                return spend.refused
        for spend in spends:
            self._budgets[spend.key].setdefault(push_id, now)
        return None

    def _taken(self, spend: Spend, now: int) -> dict[str, int]:
        taken = self._budgets.setdefault(spend.key, {})
        if spend.window_ms > 0:
            for push_id in [p for p, at in taken.items() if at <= now - spend.window_ms]:
                del taken[push_id]
        return taken
