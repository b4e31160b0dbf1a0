"""Versioned documents in a Redis hash: what the registry and the records of people share.

Model: a document is bytes with a version and two instants. Versions come from one counter per shard
and only grow, so a version never names two contents, not even of a document that was deleted and
made anew. Every write states what it expects to find; the script compares and writes in one step.

Error tree: ``VersionConflict`` (the expectation did not hold; it carries the stored version).
"""

from collections.abc import Sequence
from importlib.resources import files
from struct import Struct as Layout
from typing import Any, Literal, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster

Client = Redis | RedisCluster
Expected = int | Literal["absent", "present"] | None
"""What a write wants to find: a version, nothing, anything, or (``None``) it does not care."""

_HEADER = Layout("<qqq")


class VersionConflict(Exception):
    """The document is not as expected; ``version`` is the stored one (0: there is none)."""

    def __init__(self, document_id: str, version: int) -> None:
        super().__init__(f"{document_id} is at version {version}")
        self.document_id = document_id
        self.version = version


class Document(NamedTuple):
    """A stored document. ``version`` is positive and unique for ever; instants are epoch ms."""

    version: int
    created_at: int
    updated_at: int
    doc: bytes


class Place(NamedTuple):
    """Where one family of documents of one tenant lives; all keys share one shard tag."""

    tenant: str
    kind: str
    key: str  # hash field -> record
    ids: str  # zset of ids, for pages in order
    counter: str  # of versions
    tenants: str  # set of tenants that have or had such documents
    prefix: str = ""  # of a hash field
    changes: str | None = None  # stream that tells followers
    removed: str | None = None  # zset of removed ids by instant

    @property
    def keys(self) -> list[str]:
        """The keys in the order of the scripts."""
        keys = [self.key, self.ids, self.counter, self.tenants]
        return keys + [key for key in (self.changes, self.removed) if key]


def unpack(record: bytes) -> Document:
    """The document of a stored record."""
    version, created_at, updated_at = _HEADER.unpack_from(record)
    return Document(version, created_at, updated_at, record[_HEADER.size :])


class Documents:
    """Compare-and-set writes, reads and ordered pages of documents. Knows no clock."""

    def __init__(self, client: Client) -> None:
        folder = files("gateway") / "lua"
        self.client: Any = client  # redis-py's answers are untyped unions
        self._put: Any = client.register_script((folder / "put.lua").read_text())
        self._delete: Any = client.register_script((folder / "delete.lua").read_text())

    async def put(
        self, place: Place, items: Sequence[tuple[str, Expected, bytes]], now: int
    ) -> list[Document | VersionConflict]:
        """Write up to some thousand (id, expected, bytes); each succeeds or conflicts on its own.

        Bytes equal to the stored ones change nothing and keep the version.
        """
        args: list[Any] = [now, place.tenant, place.kind, place.prefix]
        for document_id, expected, doc in items:
            args += [document_id, "" if expected is None else expected, doc]
        reply = await self._put(keys=place.keys, args=args)
        return [
            Document(reply[3 * at], reply[3 * at + 1], reply[3 * at + 2], doc)
            if reply[3 * at] > 0
            else VersionConflict(document_id, -reply[3 * at])
            for at, (document_id, _, doc) in enumerate(items)
        ]

    async def delete(
        self, place: Place, items: Sequence[tuple[str, Expected]], now: int
    ) -> list[bool | VersionConflict]:
        """Delete (id, expected); True where there was one."""
        args: list[Any] = [now, place.tenant, place.kind, place.prefix]
        for document_id, expected in items:
            args += [document_id, "" if expected is None else expected]
        reply = await self._delete(keys=place.keys, args=args)
        return [
            bool(answer) if answer >= 0 else VersionConflict(document_id, -answer)
            for answer, (document_id, _) in zip(reply, items, strict=True)
        ]

    async def get(self, place: Place, ids: Sequence[str]) -> list[Document | None]:
        """The documents of these ids, in order."""
        if not ids:
            return []
        records = await self.client.hmget(place.key, [place.prefix + one for one in ids])
        return [unpack(record) if record else None for record in records]

    async def page(self, place: Place, after: str, limit: int) -> list[tuple[str, Document]]:
        """At most ``limit`` documents whose id sorts after ``after`` (by its UTF-8 bytes)."""
        start = b"(" + after.encode() if after else "-"
        members = await self.client.zrangebylex(place.ids, start, "+", start=0, num=limit)
        ids = [member.decode() for member in members]
        documents = await self.get(place, ids)
        return [(one, doc) for one, doc in zip(ids, documents, strict=True) if doc]
