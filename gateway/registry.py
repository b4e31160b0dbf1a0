"""The tenants' configuration in Redis: documents with versions, and the stream of their changes.

Model: a document is named by (tenant, kind, id). Every change is appended to one stream in the same
script that makes it, so a follower that starts with ``last_change_id``, then reads everything with
``scan``, then follows ``changes`` from that id misses nothing (it may see a change twice).

Keys (all tagged ``{c}``): ``<kind>`` set of tenants, ``<kind>:<tenant>`` hash,
``<kind>:<tenant>:ids`` zset, ``<kind>-removed:<tenant>`` zset, ``changes`` stream, ``version``
counter.

Error tree: ``document.VersionConflict``; ``ChangesLost`` (the follower must scan again).
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Literal, NamedTuple, get_args

from gateway.document import Client, Document, Documents, Expected, Place, VersionConflict, unpack
from gateway.sharding import CONFIG_TAG

Kind = Literal[
    "tenants", "geofences", "beacons", "receivers", "triggers", "credentials", "jwt_keys"
]
KINDS: tuple[Kind, ...] = get_args(Kind)
ZONE_KINDS: frozenset[Kind] = frozenset({"geofences", "beacons"})
CHANGES_KEY = f"{CONFIG_TAG}:changes"
VERSION_KEY = f"{CONFIG_TAG}:version"

_PAGE = 500
_MOST_EXAMINED = 20_000


class ChangesLost(Exception):
    """Changes after the given id were trimmed away: read everything again with ``scan``."""


class Change(NamedTuple):
    """One document was written or (``is_deleted``) deleted. ``id`` is that of its stream entry."""

    id: str
    tenant: str
    kind: Kind
    document_id: str
    version: int
    is_deleted: bool


class Stored(NamedTuple):
    """A document with its name, as ``scan`` gives it."""

    tenant: str
    id: str
    document: Document


class Page(NamedTuple):
    """Documents in the order of their ids; ``after`` continues behind them, ``None`` at the end."""

    items: list[tuple[str, Document]]
    after: str | None


def place(tenant: str, kind: Kind) -> Place:
    """Where the documents of a tenant and kind live."""
    family = f"{CONFIG_TAG}:{kind}"
    return Place(
        tenant=tenant,
        kind=kind,
        key=f"{family}:{tenant}",
        ids=f"{family}:{tenant}:ids",
        counter=VERSION_KEY,
        tenants=family,
        changes=CHANGES_KEY,
        removed=f"{family}-removed:{tenant}" if kind in ZONE_KINDS else None,
    )


class Registry:
    """Configuration documents of all tenants. ``now`` is epoch ms and always an argument."""

    def __init__(self, client: Client) -> None:
        self._documents = Documents(client)
        self._client = self._documents.client

    async def put(
        self,
        tenant: str,
        kind: Kind,
        document_id: str,
        doc: bytes,
        *,
        now: int,
        expected: Expected = None,
    ) -> Document:
        """Store one document; equal bytes change nothing.

        Raises:
            VersionConflict: it is not at the expected version.
        """
        (result,) = await self.put_many(tenant, kind, [(document_id, expected, doc)], now=now)
        if isinstance(result, VersionConflict):
            raise result
        return result

    async def put_many(
        self, tenant: str, kind: Kind, items: Sequence[tuple[str, Expected, bytes]], *, now: int
    ) -> list[Document | VersionConflict]:
        """Store up to some thousand (id, expected, bytes) in one call; each on its own."""
        return await self._documents.put(place(tenant, kind), items, now)

    async def delete(
        self, tenant: str, kind: Kind, document_id: str, *, now: int, expected: Expected = None
    ) -> bool:
        """Delete one document; False if there was none. Removed zones stay known (``removed``).

        Raises:
            VersionConflict: it is not at the expected version.
        """
        where = place(tenant, kind)
        (result,) = await self._documents.delete(where, [(document_id, expected)], now)
        if isinstance(result, VersionConflict):
            raise result
        return result

    async def delete_many(
        self, tenant: str, kind: Kind, ids: Sequence[str], *, now: int
    ) -> list[bool]:
        """Delete these documents whatever their versions; True where there was one."""
        where = place(tenant, kind)
        results = await self._documents.delete(where, [(one, None) for one in ids], now)
        return [result is True for result in results]

    async def get(self, tenant: str, kind: Kind, document_id: str) -> Document | None:
        """One document, or None."""
        return (await self.get_many(tenant, kind, [document_id]))[0]

    async def get_many(self, tenant: str, kind: Kind, ids: Sequence[str]) -> list[Document | None]:
        """The documents of these ids, in order."""
        return await self._documents.get(place(tenant, kind), ids)

    async def count(self, tenant: str, kind: Kind) -> int:
        """How many documents there are."""
        return int(await self._client.hlen(place(tenant, kind).key))

    async def page(
        self,
        tenant: str,
        kind: Kind,
        *,
        after: str = "",
        limit: int = 100,
        keep: Callable[[Document], bool] | None = None,
    ) -> Page:
        """A page in the order of ids. With ``keep`` a page may be short before the end is reached.

        At most 20,000 documents are examined a call, so a filter that keeps few stays bounded.
        """
        where, items, examined = place(tenant, kind), list[tuple[str, Document]](), 0
        while examined < _MOST_EXAMINED:
            size = _PAGE if keep else min(_PAGE, limit + 1 - len(items))
            found = await self._documents.page(where, after, size)
            for one, document in found:
                if keep is None or keep(document):
                    if len(items) == limit:
                        return Page(items, after)
                    items.append((one, document))
                after = one
            examined += len(found)
            if len(found) < size:
                return Page(items, None)
        return Page(items, after)

    async def tenants_of(self, kind: Kind) -> list[str]:
        """The tenants that have (or had) documents of this kind, in order."""
        members = await self._client.smembers(f"{CONFIG_TAG}:{kind}")
        return sorted(member.decode() for member in members)

    async def scan(self, kind: Kind) -> AsyncIterator[list[Stored]]:
        """All documents of a kind, of all tenants, in chunks; one may come twice."""
        for tenant in await self.tenants_of(kind):
            cursor = -1
            while cursor != 0:
                cursor, found = await self._client.hscan(
                    place(tenant, kind).key, max(cursor, 0), count=1000
                )
                yield [Stored(tenant, one.decode(), unpack(rec)) for one, rec in found.items()]

    async def removed(self, tenant: str, kind: Kind) -> dict[str, int]:
        """The ids of removed zones and when they were removed, so that events can name them."""
        key = place(tenant, kind).removed
        if key is None:
            return {}
        pairs = await self._client.zrange(key, 0, -1, withscores=True)
        return {one.decode(): int(at) for one, at in pairs}

    async def forget_removed(self, before: int) -> int:
        """Forget zones removed before this instant; how many."""
        count = 0
        for kind in ZONE_KINDS:
            for tenant in await self.tenants_of(kind):
                key = place(tenant, kind).removed
                count += await self._client.zremrangebyscore(key, "-inf", f"({before}")
        return count

    async def last_change_id(self) -> str:
        """The id to follow ``changes`` from; read it before ``scan``."""
        newest = await self._client.xrevrange(CHANGES_KEY, count=1)
        return newest[0][0].decode() if newest else "0-0"

    async def changes(self, after: str, block_ms: int | None = None) -> list[Change]:
        """The changes after an id, oldest first; waits up to ``block_ms`` for one.

        Raises:
            ChangesLost: some were trimmed away.
        """
        reply = await self._client.xread({CHANGES_KEY: after}, count=1000, block=block_ms)
        entries = _stream_entries(reply)
        if entries and entries[0][1][b"after"].decode() != after:
            raise ChangesLost(f"changes after {after} are gone")
        return [change for entry in entries for change in _changes_of(*entry)]


def _stream_entries(reply: object) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The entries of an XREAD of one stream, whichever protocol answered."""
    if not reply:
        return []
    if isinstance(reply, dict):  # RESP 3: stream -> [entries]
        found: list[tuple[bytes, dict[bytes, bytes]]] = next(iter(reply.values()))[0]
    else:
        found = reply[0][1]  # type: ignore[index]
    return found


def _changes_of(entry_id: bytes, fields: dict[bytes, bytes]) -> list[Change]:
    tenant, kind = fields[b"tenant"].decode(), fields[b"kind"].decode()
    changes = []
    for line in fields[b"changed"].decode().split("\n"):
        version, _, document_id = line.partition(" ")
        changes.append(
            Change(
                entry_id.decode(),
                tenant,
                kind,  # type: ignore[arg-type] # written by our own script from a Kind
                document_id,
                abs(int(version)),
                int(version) < 0,
            )
        )
    return changes
