"""The fence index: which zones a point is in, near to, or about to enter."""

import threading
from collections.abc import Callable, Iterable

import numpy as np

from geo.cells import cells_at
from geo.crossing import crossed
from geo.layer import Layer, Points, merged
from geo.measure import unit_vectors
from geo.model import F64, U64, Crossings, Hits, Near, Regions, Zone
from geo.nearest import in_reach, nearest_distance

FRESH_ZONES = 1024  # edits gather in one small layer up to this size
MOST_LAYERS = 6
POINTS_AT_ONCE = 50_000
BUILD_AT_ONCE = 50_000
CAUTION = 0.98  # a radius handed to a phone errs on the safe side


class FenceIndex:
    """All zones of one tenant, immutable layers under a small fresh one.

    Calls belong to one thread, except ``merge``, which may run in another.
    """

    def __init__(self) -> None:
        self._layers: list[Layer] = []
        self._fresh = Layer.of([])
        self._touched: list[int] | None = None  # keys changed while a merge runs
        self._lock = threading.Lock()  # between edits and the end of a merge in another thread

    @classmethod
    def build(
        cls, zones: Iterable[Zone], progress: Callable[[int], None] | None = None
    ) -> "FenceIndex":
        """An index of all zones; of zones with the same key the last counts.

        Args:
            zones: read once, in pieces.
            progress: told how many zones are packed so far.
        """
        out = cls()
        parts: list[Layer] = []
        batch: list[Zone] = []
        done = 0
        for zone in zones:
            batch.append(zone)
            if len(batch) == BUILD_AT_ONCE:
                done += len(batch)
                parts.append(_added(parts, batch))
                batch = []
                if progress:
                    progress(done)
        if batch:
            parts.append(_added(parts, batch))
            if progress:
                progress(done + len(batch))
        if parts:
            out._layers = [merged(parts) if len(parts) > 1 else parts[0]]
            out._layers[0].plant()
        return out

    def __len__(self) -> int:
        return sum(len(layer) for layer in self._stack())

    def __contains__(self, key: int) -> bool:
        wanted = np.array([key], dtype=np.uint64)
        return any(len(layer.slots(wanted)[0]) for layer in self._stack())

    def fork(self) -> "FenceIndex":
        """An index of the same zones that goes its own way from here; costs little."""
        out = FenceIndex()
        with self._lock:
            out._layers = [layer.twin() for layer in self._layers]
            out._fresh = self._fresh.twin()
        return out

    def put(self, zone: Zone) -> None:
        """Adds a zone or replaces the one with its key; visible to the next call."""
        self.put_many([zone])

    def put_many(self, zones: Iterable[Zone]) -> None:
        """As ``put`` for each zone, at the cost of a build of them all."""
        added = Layer.of(list(zones))
        with self._lock:
            self._forget(added.keys)
            self._fresh = merged([self._fresh, added]) if len(self._fresh) else added
            if len(self._fresh) > FRESH_ZONES:
                self._layers.append(self._fresh)
                self._fresh = Layer.of([])
                self._compact()

    def remove(self, key: int) -> None:
        """Forgets a zone; nothing happens if it is not there."""
        with self._lock:
            self._forget(np.array([key], dtype=np.uint64))

    @property
    def merge_due(self) -> bool:
        """Whether ``merge`` would make later calls faster."""
        if not self._layers:
            return False
        base = self._layers[0]
        return len(self._layers) > 2 or base.dead_count > len(base.keys) // 4

    def merge(self) -> None:
        """Joins all layers into one.

        May run in another thread while this index serves: edits made meanwhile are kept. At most
        one merge at a time.
        """
        with self._lock:
            self._touched = []
            old = list(self._layers)
        joined = merged(old) if old else None
        if joined is not None:
            joined.plant()
        with self._lock:
            touched, self._touched = self._touched, None
            if joined is not None:
                joined.kill(np.array(touched, dtype=np.uint64))
                self._layers = [joined, *self._layers[len(old) :]]

    def locate(self, lat: F64, lon: F64) -> Hits:
        """Every zone within its ``reach_m`` of each point.

        Args:
            lat: degrees, finite, within ±90.
            lon: degrees, finite.

        Returns:
            Hits sorted by point, then key; ``distance_m`` is the signed distance to the edge.
        """
        lat, lon = _arrays(lat, lon)
        stack = [layer for layer in self._stack() if layer.cells]
        if not stack or not len(lat):
            return _no_hits()
        starts = range(0, len(lat), POINTS_AT_ONCE)
        return _joined([_located(stack, lat, lon, start) for start in starts])

    def distances(self, keys: U64, lat: F64, lon: F64) -> F64:
        """Signed metres to the edge of ``keys[i]`` from point i; NaN for unknown keys."""
        lat, lon = _arrays(lat, lon)
        out = np.full(len(keys), np.nan)
        keys = np.asarray(keys, dtype=np.uint64)
        for layer in self._stack():
            found, slot = layer.slots(keys)
            if len(found):
                out[found] = layer.distance_m(slot, lat[found], lon[found])
        return out

    def crossings(self, lat0: F64, lon0: F64, lat1: F64, lon1: F64) -> Crossings:
        """Zones with ``detect_cross`` that touch each straight segment (the short way round)."""
        lat0, lon0 = _arrays(lat0, lon0)
        lat1, lon1 = _arrays(lat1, lon1)
        found = [crossed(layer, lat0, lon0, lat1, lon1) for layer in self._stack()]
        segment, key, fraction = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.lexsort((key, segment))
        return Crossings(segment[order], key[order], fraction[order])

    def nearest(self, lat: float, lon: float, limit: int) -> list[Near]:
        """The zones nearest by signed distance to their edge, at most ``limit``."""
        return in_reach(self._stack(), lat, lon, limit)

    def clearance(self, lat: F64, lon: F64) -> F64:
        """Metres one can move from each point without entering any zone; 0 inside of one."""
        lat, lon = _arrays(lat, lon)
        nearest = nearest_distance(self._stack(), lat, lon)
        out: F64 = np.maximum(nearest * CAUTION - 0.01, 0.0)
        return out

    def regions(self, lat: float, lon: float, limit: int) -> Regions:
        """The zones to watch from here, and how far that answer holds.

        Moving less than ``refresh_radius_m`` enters no zone but those in ``items``.
        """
        found = self.nearest(lat, lon, limit + 1)
        if len(found) <= limit:
            return Regions(found, np.pi * 6_371_008.8)
        return Regions(found[:limit], max(found[limit].distance_m * CAUTION - 0.01, 0.0))

    def in_box(self, west: float, south: float, east: float, north: float) -> list[int]:
        """Keys of zones whose box meets a box in degrees, ascending; west > east crosses ±180."""
        box = np.array([[west, south, east if east >= west else east + 360.0, north]])
        keys: list[int] = []
        for layer in self._stack():
            _, slot = layer.tree.find(box)
            keys += layer.keys[slot[~layer.dead[slot]]].tolist()
        return sorted(keys)

    def _stack(self) -> list[Layer]:
        return [*self._layers, self._fresh]

    def _forget(self, keys: U64) -> None:
        if self._touched is not None:
            self._touched += keys.tolist()
        for layer in self._stack():
            layer.kill(keys)

    def _compact(self) -> None:
        """Joins small layers when too many wait for a merge that nobody runs."""
        if len(self._layers) > MOST_LAYERS and self._touched is None:
            self._layers = [self._layers[0], merged(self._layers[1:])]


def _added(parts: list[Layer], batch: list[Zone]) -> Layer:
    layer = Layer.of(batch)
    for part in parts:
        part.kill(layer.keys)
    return layer


def _located(stack: list[Layer], lat: F64, lon: F64, start: int) -> Hits:
    lat, lon = lat[start : start + POINTS_AT_ONCE], lon[start : start + POINTS_AT_ONCE]
    cells = cells_at(lat, lon, max(layer.finest for layer in stack))
    order = np.argsort(cells)
    cells = cells[order]
    point = unit_vectors(lat, lon)
    found = [layer.locate(cells, Points(order, lat, lon, point)) for layer in stack]
    found = [part for part in found if len(part.point)] or found[:1]
    point_at, key, distance_m = _joined(found)
    if start:
        point_at += np.int32(start)
    if len(found) == 1:
        return Hits(point_at, key, distance_m)
    by_point = np.lexsort((key, point_at))
    return Hits(point_at[by_point], key[by_point], distance_m[by_point])


def _joined(parts: list[Hits]) -> Hits:
    if len(parts) == 1:
        return parts[0]
    point, key, distance_m = zip(*parts, strict=True)
    return Hits(np.concatenate(point), np.concatenate(key), np.concatenate(distance_m))


def _arrays(lat: F64, lon: F64) -> tuple[F64, F64]:
    return np.ascontiguousarray(lat, dtype=np.float64), np.ascontiguousarray(lon, dtype=np.float64)


def _no_hits() -> Hits:
    return Hits(np.empty(0, np.int32), np.empty(0, np.uint64), np.empty(0))
