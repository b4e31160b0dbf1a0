"""Reading what was committed: events, decisions and deliveries, across the shards of a tenant.

Model: each shard has a stream of each family; a page merges them by entry id, which begins with the
millisecond of the commit. A cursor holds the place in every stream, so nothing is skipped or given
twice however the shards fill. A device's own trail lists its latest entries without a search.
"""

import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from gateway.document import Client
from gateway.errors import Problem
from gateway.sharding import shard_of, shard_tag, subject_field

Family = Literal["events", "decisions", "deliveries"]
T = TypeVar("T")

FIELDS: dict[Family, bytes] = {"events": b"e", "decisions": b"d", "deliveries": b"r"}
CHUNK = 200
MOST_EXAMINED = 20_000
_PLACE = re.compile(r"\(?\d{1,16}(-\d{1,20})?|-")


class Span(NamedTuple):
    """From which commit instants (epoch ms, both included), in which order."""

    since: int = 0
    until: int = 0
    newest_first: bool = True


class Entries(NamedTuple, Generic[T]):
    """Items with the ids of their entries; ``after`` continues behind them, None at the end."""

    items: list[tuple[str, T]]
    after: str | None


class History:
    """Pages over the streams of a tenant."""

    def __init__(self, client: Client, shard_count: int) -> None:
        self._client: Any = client
        self._shard_count = shard_count

    def shard(self, tenant: str, subject_id: str) -> int:
        """The shard of a device or user."""
        return shard_of(subject_field(tenant, subject_id), self._shard_count)

    async def page(
        self,
        tenant: str,
        family: Family,
        read: Callable[[bytes], T | None],
        *,
        span: Span,
        limit: int,
        after: str = "",
        shards: Sequence[int] | None = None,
    ) -> Entries[T]:
        """At most ``limit`` items that ``read`` gives (None leaves an entry out).

        At most 20,000 entries are examined a call: a page may be short before the end is reached.

        Raises:
            Problem: ``after`` is not what a page of these shards gave.
        """
        chosen = list(range(self._shard_count)) if shards is None else list(shards)
        places = _places(after, len(chosen), span)
        readers = [
            _Reader(self._client, f"{shard_tag(shard)}:{family}:{tenant}", place, span)
            for shard, place in zip(chosen, places, strict=True)
        ]
        items: list[tuple[str, T]] = []
        examined = 0
        while examined < MOST_EXAMINED:
            reader = await _next(readers, newest_first=span.newest_first)
            if reader is None:
                return Entries(items, None)
            if len(items) == limit:
                break
            entry_id, fields = reader.take()
            examined += 1
            item = read(fields[FIELDS[family]])
            if item is not None:
                items.append((entry_id, item))
        return Entries(items, ",".join(reader.place for reader in readers))

    async def trail(
        self, tenant: str, subject_ids: Iterable[str], family: Family, read: Callable[[bytes], T]
    ) -> list[tuple[str, T]]:
        """The latest entries of these devices and users, newest first; some hundred of each."""
        mark, field = FIELDS[family], FIELDS[family]
        found: dict[str, T] = {}
        for subject_id in subject_ids:
            tag = shard_tag(self.shard(tenant, subject_id))
            listed = await self._client.lrange(f"{tag}:trail:{tenant}/{subject_id}", 0, -1)
            ids = [one[1:].decode() for one in listed if one[:1] == mark]
            pipe = self._client.pipeline(transaction=False)
            for one in ids:
                pipe.xrange(f"{tag}:{family}:{tenant}", one, one)
            for entries in await pipe.execute():
                for entry_id, fields in entries:
                    found[entry_id.decode()] = read(fields[field])
        return sorted(found.items(), key=lambda item: entry_order(item[0]), reverse=True)

    async def newest_ids(self, tenant: str, family: Family) -> list[str]:
        """The last entry id of each shard; ``0-0`` where there is none."""
        newest = []
        for shard in range(self._shard_count):
            key = f"{shard_tag(shard)}:{family}:{tenant}"
            found = await self._client.xrevrange(key, count=1)
            newest.append(found[0][0].decode() if found else "0-0")
        return newest

    async def since(
        self, tenant: str, family: Family, ids: Sequence[str], limit: int
    ) -> AsyncIterator[tuple[int, str, bytes]]:
        """Entries behind these ids (one for each shard): (shard, id, payload), oldest first."""
        pipe = self._client.pipeline(transaction=False)
        for shard, last in enumerate(ids):
            pipe.xrange(f"{shard_tag(shard)}:{family}:{tenant}", f"({last}", "+", count=limit)
        found = [
            (entry_id.decode(), shard, fields[FIELDS[family]])
            for shard, entries in enumerate(await pipe.execute())
            for entry_id, fields in entries
        ]
        for entry_id, shard, payload in sorted(found, key=lambda item: entry_order(item[0])):
            yield shard, entry_id, payload

    async def first_id(self, tenant: str, family: Family, shard: int) -> str | None:
        """The oldest entry that a shard still has."""
        found = await self._client.xrange(f"{shard_tag(shard)}:{family}:{tenant}", count=1)
        return found[0][0].decode() if found else None

    async def count(self, tenant: str, family: Family) -> int:
        """How many entries are kept."""
        keys = [f"{shard_tag(shard)}:{family}:{tenant}" for shard in range(self._shard_count)]
        return sum([int(await self._client.xlen(key)) for key in keys])


class _Reader:
    """One stream, read in chunks, with the place of what was taken last."""

    def __init__(self, client: Any, key: str, place: str, span: Span) -> None:
        self._client = client
        self._key = key
        self._span = span
        self._chunk: list[tuple[bytes, dict[bytes, bytes]]] = []
        self._is_at_end = False
        self.place = place

    async def head(self) -> tuple[int, int] | None:
        """The order of the next entry, None at the end."""
        if not self._chunk and not self._is_at_end:
            if self._span.newest_first:
                found = await self._client.xrevrange(
                    self._key, self.place, str(self._span.since), count=CHUNK
                )
            else:
                found = await self._client.xrange(
                    self._key, self.place, str(self._span.until), count=CHUNK
                )
            self._chunk = found[::-1]
            self._is_at_end = len(found) < CHUNK
        return entry_order(self._chunk[-1][0].decode()) if self._chunk else None

    def take(self) -> tuple[str, dict[bytes, bytes]]:
        """The next entry."""
        entry_id, fields = self._chunk.pop()
        self.place = f"({entry_id.decode()}"
        return entry_id.decode(), fields


async def _next(readers: Sequence[_Reader], *, newest_first: bool) -> _Reader | None:
    heads = [(head, reader) for reader in readers if (head := await reader.head()) is not None]
    if not heads:
        return None
    choose = max if newest_first else min
    return choose(heads, key=lambda item: item[0])[1]


def _places(after: str, count: int, span: Span) -> list[str]:
    if not after:
        return [str(span.until) if span.newest_first else str(span.since)] * count
    places = after.split(",")
    if len(places) != count or not all(_PLACE.fullmatch(place) for place in places):
        raise Problem(
            "invalid-request",
            "The cursor is not one that this list gave. Start again without it.",
            errors=[("query cursor", "is not a cursor of this list")],
        )
    return places


def entry_order(entry_id: str) -> tuple[int, int]:
    """The order of entry ids: millisecond, then number."""
    at, _, number = entry_id.partition("-")
    return int(at), int(number or 0)
