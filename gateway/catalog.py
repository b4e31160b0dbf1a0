"""The views of all tenants, built from the registry and kept current by its change stream.

An edit is live in every process within a second of its write. The order that makes a start miss
nothing: note the last change, read everything, then follow from that note.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence

from gateway import metrics
from gateway.log import get_logger
from gateway.registry import Change, ChangesLost, Kind, Registry, Stored
from gateway.tenant_view import TenantView
from geo.index import FenceIndex
from geo.model import GeometryError, Zone
from triggers.model import TriggerError, ZoneType

_log = get_logger(__name__)

FOLLOW_BLOCK_MS = 500
RETRY_S = 0.5
CHUNK = 500  # documents handled between two turns of the event loop
SMALL_KINDS: tuple[Kind, ...] = ("tenants", "triggers", "receivers", "beacons")
ZONE_TYPES: dict[Kind, ZoneType] = {"geofences": "geofence", "beacons": "beacon"}

Progress = Callable[[str, int], None]


class Catalog:
    """See the module."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._views: dict[str, TenantView] = {}
        self._followed_id = "0-0"
        self._merging: set[str] = set()

    def view(self, tenant: str) -> TenantView:
        """The tenant's configuration; an empty one if it has none."""
        found = self._views.get(tenant)
        if found is None:
            found = self._views[tenant] = TenantView(tenant)
        return found

    @property
    def geofence_count(self) -> int:
        """Geofences in all indexes."""
        return sum(len(view.index) for view in self._views.values())

    async def load(self, progress: Progress | None = None) -> None:
        """Read everything; what changes meanwhile is caught up by ``follow``."""
        self._followed_id = await self._registry.last_change_id()
        views: dict[str, TenantView] = {}

        def view(tenant: str) -> TenantView:
            return views.setdefault(tenant, TenantView(tenant))

        for kind in SMALL_KINDS:
            async for chunk in self._registry.scan(kind):
                for stored in chunk:
                    self._put(view(stored.tenant), kind, stored)
        for one in views.values():
            one.listen()
        await self._load_geofences(view, progress)
        for one in views.values():
            await self._note_removed(one)
        self._views = views
        metrics.GEOFENCES.set(self.geofence_count)
        metrics.INDEX_BUILT_AT.set_to_current_time()

    async def follow(self) -> None:
        """Apply changes as they come; ends by cancellation, outlives any trouble with Redis."""
        while True:
            try:
                await self.catch_up(FOLLOW_BLOCK_MS)
                metrics.HEARTBEAT_AT.labels("changes").set_to_current_time()
            except ChangesLost:
                _log.warning("changes_lost", action="reading everything again")
                await self.load()
            except Exception as error:  # noqa: BLE001 - the loop must outlive any trouble
                metrics.FAILURES.labels("changes").inc()
                _log.warning("changes_unread", error=str(error))
                await asyncio.sleep(RETRY_S)

    async def catch_up(self, block_ms: int | None = None) -> None:
        """Apply the changes since the last ones applied; waits up to ``block_ms`` for one."""
        changes = await self._registry.changes(self._followed_id, block_ms)
        groups: defaultdict[tuple[str, Kind], list[Change]] = defaultdict(list)
        for change in changes:
            groups[change.tenant, change.kind].append(change)
        for (tenant, kind), group in groups.items():
            for start in range(0, len(group), CHUNK):
                await self._apply(self.view(tenant), kind, group[start : start + CHUNK])
        if changes:
            self._followed_id = changes[-1].id
            metrics.GEOFENCES.set(self.geofence_count)

    async def merge(self) -> None:
        """Fold the edits of large overlays into their indexes, in threads."""
        for tenant, view in self._views.items():
            if view.index.merge_due and tenant not in self._merging:
                self._merging.add(tenant)
                try:
                    await asyncio.to_thread(view.index.merge)
                finally:
                    self._merging.discard(tenant)

    # --- private ----------------------------------------------------------------------------

    async def _load_geofences(
        self, view: Callable[[str], TenantView], progress: Progress | None
    ) -> None:
        zones: defaultdict[str, list[Zone]] = defaultdict(list)
        count = 0
        async for chunk in self._registry.scan("geofences"):
            for stored in chunk:
                zone = self._geofence(view(stored.tenant), stored)
                if zone is not None:
                    zones[stored.tenant].append(zone)
            count += len(chunk)
            if progress:
                progress("read", count)
        for tenant, listed in zones.items():
            unique = {zone.key: zone for zone in listed}
            view(tenant).index = await asyncio.to_thread(
                FenceIndex.build, list(unique.values()), _built(progress)
            )

    async def _note_removed(self, view: TenantView) -> None:
        for kind, zone_type in ZONE_TYPES.items():
            for zone_id in await self._registry.removed(view.tenant, kind):
                if not view.knows(zone_type, zone_id):
                    view.remember_removed(zone_type, zone_id)

    def _geofence(self, view: TenantView, stored: Stored) -> Zone | None:
        try:
            return view.geofence(stored.document.doc, stored.document.version)
        except (GeometryError, ValueError) as error:
            _log.error("document_unreadable", kind="geofences", id=stored.id, error=str(error))
            return None

    def _put_all(self, view: TenantView, kind: Kind, documents: Sequence[Stored]) -> None:
        if kind == "geofences":
            zones = [self._geofence(view, stored) for stored in documents]
            view.index.put_many([zone for zone in zones if zone is not None])
            return
        for stored in documents:
            self._put(view, kind, stored)

    def _put(self, view: TenantView, kind: Kind, stored: Stored) -> None:
        try:
            doc, version = stored.document.doc, stored.document.version
            if kind == "beacons":
                view.put_beacon_zone(doc, version)
            elif kind == "receivers":
                view.put_receiver(doc)
            elif kind == "triggers":
                view.put_trigger(doc, version)
            elif kind == "tenants":
                view.put_rules(doc)
        except (GeometryError, TriggerError, ValueError) as error:
            # Only a document written by another version of the gateway gets here.
            _log.error("document_unreadable", kind=kind, id=stored.id, error=str(error))

    def _remove(self, view: TenantView, kind: Kind, document_id: str) -> None:
        if kind in ZONE_TYPES:
            view.remove_zone(ZONE_TYPES[kind], document_id)
        elif kind == "receivers":
            view.remove_receiver(document_id)
        elif kind == "triggers":
            view.remove_trigger(document_id)
        elif kind == "tenants":
            view.put_rules(b"{}")

    async def _apply(self, view: TenantView, kind: Kind, changes: Sequence[Change]) -> None:
        ids = list(dict.fromkeys(change.document_id for change in changes))
        documents = await self._registry.get_many(view.tenant, kind, ids)
        present = []
        for document_id, document in zip(ids, documents, strict=True):
            if document is None:
                self._remove(view, kind, document_id)
            else:
                present.append(Stored(view.tenant, document_id, document))
        self._put_all(view, kind, present)
        if kind == "triggers":
            stale = view.listen()
            for start in range(0, len(stale), CHUNK):
                await self._put_anew(view, stale[start : start + CHUNK])

    async def _put_anew(self, view: TenantView, ids: Sequence[str]) -> None:
        documents = await self._registry.get_many(view.tenant, "geofences", ids)
        present = [
            Stored(view.tenant, zone_id, document)
            for zone_id, document in zip(ids, documents, strict=True)
            if document is not None
        ]
        self._put_all(view, "geofences", present)


def _built(progress: Progress | None) -> Callable[[int], None] | None:
    return None if progress is None else lambda count: progress("indexed", count)
