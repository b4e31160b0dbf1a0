"""Importing geofences: read, check, store, in bounded memory, each entry on its own.

Importing the same file again changes nothing: an entry is known by its id, else by the property
that ``id_property`` names, else by (first tag, external_id).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import msgspec

from gateway.document import VersionConflict
from gateway.kinds import geofence
from gateway.kinds.fields import InvalidDocument
from gateway.registry import Registry
from gateway.transfer.feature import Entry, UnreadableFile
from gateway.transfer.formats import Reader

BATCH = 500
MAX_ERRORS = 1000


class Options(msgspec.Struct, frozen=True):
    """How to import. ``tags`` are added to every geofence, ``radius_m`` to Points without one."""

    is_dry_run: bool = False
    repair: bool = False
    tags: tuple[str, ...] = ()
    radius_m: float | None = None
    id_property: str | None = None


class Problem(msgspec.Struct, frozen=True):
    """Why one entry was not taken. ``index`` counts the entries of the file from 0."""

    index: int
    id: str | None
    pointer: str
    detail: str


class Report(msgspec.Struct):
    """What became of a file. Every entry is in exactly one of the counts.

    ``errors`` are the first 1,000; ``failed`` counts all. ``aborted`` says why the file could not
    be read to its end.
    """

    dry_run: bool = False
    read: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    repaired: int = 0
    failed: int = 0
    errors: list[Problem] = []
    aborted: str | None = None


class Importer:
    """Imports one file for one tenant. ``clock`` is epoch ms."""

    def __init__(self, registry: Registry, tenant: str, options: Options) -> None:
        self._registry = registry
        self._tenant = tenant
        self._options = options
        self._waiting: list[Entry] = []
        self.report = Report(dry_run=options.is_dry_run)

    async def run(
        self, reader: Reader, pieces: AsyncIterator[bytes], clock: Callable[[], int]
    ) -> Report:
        """Import; ``report`` can be looked at meanwhile."""
        try:
            async for piece in pieces:
                await self._take(reader.feed(piece), clock)
            await self._take(reader.finish(), clock)
        except UnreadableFile as error:
            self.report.aborted = str(error)
        if self._waiting:
            await self._store(clock())
        return self.report

    async def _take(self, entries: Iterator[Entry], clock: Callable[[], int]) -> None:
        for entry in entries:
            self._waiting.append(entry)
            if len(self._waiting) == BATCH:
                await self._store(clock())

    async def _store(self, now: int) -> None:
        entries, self._waiting = self._waiting, []
        # Checking polygons is work of milliseconds; other requests go on meanwhile.
        items = await asyncio.to_thread(self._parsed, entries)
        ids = [document_id for document_id, _ in items]
        if self._options.is_dry_run:
            stored = await self._registry.get_many(self._tenant, "geofences", ids)
            for (_, doc), before in zip(items, stored, strict=True):
                self._count(before is not None, before is not None and before.doc == doc)
            return
        writes = [(document_id, None, doc) for document_id, doc in items]
        results = await self._registry.put_many(self._tenant, "geofences", writes, now=now)
        for result in results:
            if not isinstance(result, VersionConflict):
                self._count(result.created_at != now, result.updated_at != now)

    def _count(self, was_there: bool, is_same: bool) -> None:
        if is_same:
            self.report.unchanged += 1
        elif was_there:
            self.report.updated += 1
        else:
            self.report.created += 1

    def _parsed(self, entries: Sequence[Entry]) -> list[tuple[str, bytes]]:
        """Ids and stored forms of the good entries; the last of those with one id."""
        good: dict[str, bytes] = {}
        for entry in entries:
            self.report.read += 1
            if entry.feature is None:
                self._refuse(entry.index, None, InvalidDocument("", entry.detail))
                continue
            own_id: str | None = None
            try:
                feature = self._completed(entry.feature)
                own_id = self._id_of(feature)
                parsed = geofence.parse(
                    own_id, {**feature, "id": own_id}, repair=self._options.repair
                )
            except InvalidDocument as error:
                self._refuse(entry.index, own_id, error)
                continue
            self.report.repaired += bool(parsed.repairs)
            if own_id in good:
                self.report.unchanged += 1
            good[own_id] = msgspec.json.encode(parsed.document, order="sorted")
        return list(good.items())

    def _refuse(self, index: int, own_id: str | None, error: InvalidDocument) -> None:
        self.report.failed += 1
        if len(self.report.errors) < MAX_ERRORS:
            pointer = "#" + error.pointer
            self.report.errors.append(Problem(index, own_id, pointer, error.detail))

    def _completed(self, feature: dict[str, Any]) -> dict[str, Any]:
        """The feature with what the options add."""
        properties = feature.get("properties")
        if properties is not None and not isinstance(properties, dict):
            raise InvalidDocument("/properties", "must be an object")
        properties = dict(properties or {})
        geometry = feature.get("geometry")
        is_point = isinstance(geometry, dict) and geometry.get("type") == "Point"
        if is_point and self._options.radius_m is not None and "radius_m" not in feature:
            properties.setdefault("radius_m", self._options.radius_m)
        if self._options.tags:
            tags = properties.get("tags") or []
            if isinstance(tags, list):
                properties["tags"] = list(dict.fromkeys([*tags, *self._options.tags]))
        return {**feature, "properties": properties}

    def _id_of(self, feature: dict[str, Any]) -> str:
        properties = feature["properties"]
        if feature.get("id") is not None:
            return str(feature["id"])
        name = self._options.id_property
        if name is not None and properties.get(name) is not None:
            return str(properties[name])
        external_id, tags = properties.get("external_id"), properties.get("tags")
        if external_id is not None:
            first = str(tags[0]) if isinstance(tags, list) and tags else ""
            return f"{first}:{external_id}" if first else str(external_id)
        raise InvalidDocument(
            "/id",
            "is missing. Give each feature an id or properties.external_id, or say by "
            "id_property=NAME which property identifies it",
        )
