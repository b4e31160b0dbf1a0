"""Pushes that were given up: listed, replayed, purged.

A tenant's dead letters are spread over the shards. A letter's id names its shard and its entry,
``<shard>-<ms>-<sequence>``, so that it can be found again without a search.
"""

import asyncio
import heapq
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from senders.model import Lane
from senders.outbox import SCRIPTS, Client
from senders.settlement import Keys

LANES: tuple[Lane, Lane] = ("transactional", "marketing")


class UnknownLetter(ValueError):
    """Not the id of a dead letter; the message says which."""


class DeadLetter(NamedTuple):
    """One push that was given up."""

    id: str
    lane: Lane
    tenant: str
    reason: str
    died_at: int
    payload: bytes


class DeadLetters:
    """The dead letters of all shards."""

    def __init__(self, client: Client, shard_tags: Sequence[str]) -> None:
        self._client = client
        self._keys = [Keys(tag) for tag in shard_tags]
        self._replay = client.register_script(SCRIPTS["replay"])

    async def page(self, tenant: str, limit: int, after: str | None = None) -> list[DeadLetter]:
        """The newest letters first; ``after`` is the id of the last one seen.

        Raises:
            UnknownLetter: ``after`` is no letter's id.
        """
        start = self._parse(after) if after else None
        pipe = self._client.pipeline(transaction=False)
        for keys in self._keys:
            newest = f"{start[1][0]}-{start[1][1]}" if start else "+"
            # Letters of two shards may share an entry id, hence one more than asked for.
            pipe.xrevrange(keys.dead(tenant), newest, "-", count=limit + 1)
        letters = [
            _letter(shard, tenant, entry_id, fields)
            for shard, entries in enumerate(await pipe.execute())
            for entry_id, fields in entries
        ]
        last = (start[1], start[0]) if start else None
        ordered = ((self._order(letter.id), letter) for letter in letters)
        older = (pair for pair in ordered if last is None or pair[0] < last)
        return [letter for _, letter in heapq.nlargest(limit, older)]

    async def count(self, tenant: str) -> int:
        """How many letters the tenant has."""
        pipe = self._client.pipeline(transaction=False)
        for keys in self._keys:
            pipe.xlen(keys.dead(tenant))
        return sum(await pipe.execute())

    async def replay(
        self, letters: Sequence[DeadLetter], revive: Callable[[bytes], bytes] = bytes
    ) -> int:
        """Send letters again, each once; returns how many came back into their streams.

        Args:
            letters: as listed; letters that are gone meanwhile are left out.
            revive: makes the payload fit to be sent again (a new expiry, no attempts).
        """
        calls: dict[tuple[int, str], list[Any]] = defaultdict(list)
        for letter in letters:
            shard, (at, sequence) = self._parse(letter.id)
            calls[shard, letter.tenant] += [
                f"{at}-{sequence}",
                LANES.index(letter.lane) + 1,
                f"{letter.lane}:{letter.tenant}",
                revive(letter.payload),
            ]
        counts = await asyncio.gather(
            *(self._replay_some(*where, args) for where, args in calls.items())
        )
        return sum(counts)

    async def get(self, tenant: str, ids: Sequence[str]) -> list[DeadLetter]:
        """The letters with these ids, those that are still there.

        Raises:
            UnknownLetter: an id is no letter's id.
        """
        places = [self._parse(one) for one in ids]
        pipe = self._client.pipeline(transaction=False)
        for shard, (at, sequence) in places:
            entry_id = f"{at}-{sequence}"
            pipe.xrange(self._keys[shard].dead(tenant), entry_id, entry_id)
        found = await pipe.execute() if places else []
        return [
            _letter(shard, tenant, *entry)
            for (shard, _), entries in zip(places, found, strict=True)
            for entry in entries
        ]

    async def purge(self, tenant: str, ids: Sequence[str] | None = None) -> int:
        """Delete letters (None: all of the tenant's); returns how many there were.

        Raises:
            UnknownLetter: an id is no letter's id.
        """
        if ids is None:
            count = await self.count(tenant)
            await asyncio.gather(*(self._client.delete(keys.dead(tenant)) for keys in self._keys))
            return count
        pipe = self._client.pipeline(transaction=False)
        for shard, (at, sequence) in map(self._parse, ids):
            pipe.xdel(self._keys[shard].dead(tenant), f"{at}-{sequence}")
        return sum(await pipe.execute()) if ids else 0

    async def _replay_some(self, shard: int, tenant: str, args: Sequence[Any]) -> int:
        keys = _ = self._keys[shard]
        streams = [keys.stream(lane, tenant) for lane in LANES]
        return int(await self._replay(keys=[keys.active, keys.dead(tenant), *streams], args=args))

    def _parse(self, letter_id: str) -> tuple[int, tuple[int, int]]:
        try:
            shard, at, sequence = (int(part) for part in letter_id.split("-"))
            _ = self._keys[shard]
        except (ValueError, IndexError):
            raise UnknownLetter(f"{letter_id!r} is not the id of a dead letter") from None
        return shard, (at, sequence)

    def _order(self, letter_id: str) -> tuple[tuple[int, int], int]:
        shard, entry = self._parse(letter_id)
        return entry, shard


def _letter(shard: int, tenant: str, entry_id: bytes, fields: dict[bytes, bytes]) -> DeadLetter:
    entry = entry_id.decode()
    lane: Lane = "transactional" if fields[b"lane"] == b"transactional" else "marketing"
    return DeadLetter(
        f"{shard}-{entry}",
        lane,
        tenant,
        fields[b"reason"].decode(),
        int(entry.split("-")[0]),
        fields[b"p"],
    )
