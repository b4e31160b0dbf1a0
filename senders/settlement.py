"""An entry of the outbox, and the places it can go next; the arguments of the settle script.

Pure. ``lua/settle.lua`` reads what ``Operations`` writes.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from senders.model import Lane

GROUP = "senders"
DEAD_LETTERS_PER_TENANT = 10_000
IDS_PER_OPERATION = 1000  # Lua cannot unpack much more than 7,000 values


class Keys:
    """The names of one shard's keys."""

    def __init__(self, tag: str) -> None:
        self.active = f"{tag}:active"
        self.delayed = f"{tag}:delayed"
        self.bodies = f"{tag}:delayed:body"
        self._tag = tag

    def stream(self, lane: str, tenant: str) -> str:
        """The stream of one tenant's lane."""
        return f"{self._tag}:outbox:{lane}:{tenant}"

    def dead(self, tenant: str) -> str:
        """The stream of one tenant's dead letters."""
        return f"{self._tag}:dead:{tenant}"


class Claimed(NamedTuple):
    """An entry in our hands. ``deliveries`` counts this one, so it is 1 unless a process died."""

    shard: int
    lane: Lane
    tenant: str
    entry_id: bytes  # empty: not in a stream yet
    payload: bytes
    deliveries: int = 1


class Done(NamedTuple):
    """The entry is finished."""

    claimed: Claimed


class Delay(NamedTuple):
    """The entry leaves its stream; ``payload`` becomes due at ``due_at`` under ``push_id``."""

    claimed: Claimed
    push_id: str
    due_at: int
    payload: bytes


class Requeue(NamedTuple):
    """The payloads take the entry's place at the end of its stream."""

    claimed: Claimed
    payloads: tuple[bytes, ...]


class Bury(NamedTuple):
    """The entry goes to the dead letters."""

    claimed: Claimed
    reason: str


Settlement = Done | Delay | Requeue | Bury


class Operations:
    """Collects the settlements of one shard into one call of the settle script."""

    def __init__(self, keys: Keys, dead_letters_max: int = DEAD_LETTERS_PER_TENANT) -> None:
        self._names = keys
        self._dead_letters_max = dead_letters_max
        self._streams: dict[str, int] = {}
        self._done: dict[int, list[bytes]] = defaultdict(list)
        self._args: list[Any] = [GROUP]

    @property
    def keys(self) -> list[str]:
        """The script's keys."""
        names = self._names
        return [names.active, names.delayed, names.bodies, *self._streams]

    def arguments(self) -> list[Any]:
        """The script's arguments: additions come before plain removals."""
        return [*self._args, *self._removals()]

    def add(self, settlement: Settlement) -> None:
        """Append one settlement."""
        claimed = settlement.claimed
        stream = self._number(self._names.stream(claimed.lane, claimed.tenant))
        member = f"{claimed.lane}:{claimed.tenant}"
        match settlement:
            case Done():
                self._done[stream].append(claimed.entry_id)
            case Delay(_, push_id, due_at, payload):
                body = member.encode() + b"\n" + payload
                self._args += ["delay", stream, claimed.entry_id, push_id, due_at, body]
            case Requeue(_, payloads):
                self._args += ["requeue", stream, claimed.entry_id, member]
                self._args += [len(payloads), *payloads]
            case Bury(_, reason):
                grave = self._number(self._names.dead(claimed.tenant))
                self._args += ["bury", stream, claimed.entry_id, grave, self._dead_letters_max]
                self._args += [claimed.lane, reason, claimed.payload]

    def _number(self, key: str) -> int:
        return self._streams.setdefault(key, len(self._streams) + 1)

    def _removals(self) -> Iterator[Any]:
        for stream, ids in self._done.items():
            for start in range(0, len(ids), IDS_PER_OPERATION):
                part: Sequence[bytes] = ids[start : start + IDS_PER_OPERATION]
                yield from ("done", stream, len(part), *part)
