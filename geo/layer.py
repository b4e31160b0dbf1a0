"""One immutable set of zones, packed: what the index is a short stack of."""

from collections.abc import Sequence
from copy import copy
from functools import cached_property
from typing import NamedTuple

import numpy as np

from geo.cover import Zones, cover
from geo.discs import Discs, near
from geo.measure import unit_vectors
from geo.model import F64, I64, U64, Bools, Circle, Hits, Zone
from geo.shapes import Shape, Shapes, join, pack, shape_of, take
from geo.table import CellTable, tables
from geo.tree import BoxTree, disc_boxes, shape_boxes


class Points(NamedTuple):
    """Points to locate, in their own order; ``order`` says which point each sorted cell is of."""

    order: I64
    lat: F64
    lon: F64
    vector: F64  # on the unit sphere, (n, 3)


class Layer:
    """Zones in slots, ascending by key. Nothing changes but ``dead``, which only grows."""

    def __init__(self, keys: U64, cross: Bools, zones: Zones, cells: Sequence[CellTable]) -> None:
        self.keys = keys
        self.cross = cross
        self.zones = zones
        self.cells = cells
        self.dead = np.zeros(len(keys), dtype=np.bool_)
        self.dead_count = 0

    def __len__(self) -> int:
        return len(self.keys) - self.dead_count

    def twin(self) -> "Layer":
        """The same zones, of which others may die; all that does not change is shared."""
        twin = copy(self)
        twin.dead = self.dead.copy()
        return twin

    @property
    def finest(self) -> int:
        """The finest resolution of its cells; 0 when it has none."""
        return self.cells[-1].resolution if self.cells else 0

    @classmethod
    def of(cls, zones: Sequence[Zone]) -> "Layer":
        """Packs zones; of zones with the same key the last counts."""
        zones = [z for _, z in sorted({zone.key: zone for zone in zones}.items())]
        keys = np.array([zone.key for zone in zones], dtype=np.uint64)
        cross = np.array([zone.detect_cross for zone in zones], dtype=np.bool_)
        packed = _packed(zones)
        return cls(keys, cross, packed, tables(cover(packed)))

    def slots(self, keys: U64) -> tuple[I64, I64]:
        """Which of the keys live here: (index of the key, slot)."""
        if not len(self.keys):
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        at = np.searchsorted(self.keys, keys)
        at[at == len(self.keys)] = 0
        found = np.flatnonzero((self.keys[at] == keys) & ~self.dead[at])
        return found, at[found].astype(np.int64)

    def kill(self, keys: U64) -> int:
        """Forgets keys; how many of them lived here."""
        _, slot = self.slots(keys)
        self.dead[slot] = True
        self.dead_count += len(slot)
        return len(slot)

    def locate(self, cells: U64, points: Points) -> Hits:
        """Hits by point, then key. Cells are ascending and at least as fine as ``finest``."""
        at, slot, full = self._candidates(cells)
        at = points.order[at]
        kept, distance = near(self.zones.discs, slot, points.vector, at)
        at, slot = at[kept], slot[kept]
        self._exact(slot, full[kept], distance, points, at)
        hit = distance <= self.zones.discs.reach_m[slot]
        if self.dead_count:
            hit &= ~self.dead[slot]
        at, slot, distance = at[hit], slot[hit], distance[hit]
        order = np.argsort((at << 32) | slot)  # slots ascend with keys
        at, slot = at[order], slot[order]
        return Hits(at.astype(np.int32), self.keys[slot], distance[order])

    def _candidates(self, cells: U64) -> tuple[I64, I64, Bools]:
        found = [table.find(cells) for table in self.cells]
        if not found:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.bool_)
        entry = np.concatenate([entry for _, entry in found]).astype(np.int64)
        full = entry < 0
        np.invert(entry, out=entry, where=full)
        return np.concatenate([at for at, _ in found]), entry, full

    def _exact(self, slot: I64, full: Bools, distance: F64, points: Points, at: I64) -> None:
        """Replaces distances to bounding discs by distances to the outlines within."""
        if not len(self.zones.shapes.buffer_m):
            return
        shape = self.zones.shape[slot]
        shaped = np.flatnonzero(shape >= 0)
        if len(shaped):
            distance[shaped] = self.zones.shapes.signed_distance(
                shape[shaped],
                points.lat[at[shaped]],
                points.lon[at[shaped]],
                self.zones.discs.reach_m[slot[shaped]],
                full[shaped],
            )

    def distance_m(self, slot: I64, lat: F64, lon: F64) -> F64:
        """Signed metres to the edge, pairwise."""
        out = self.zones.discs.distance_m(slot, unit_vectors(lat, lon))
        shape = self.zones.shape[slot]
        shaped = np.flatnonzero(shape >= 0)
        if len(shaped):
            out[shaped] = self.zones.shapes.signed_distance(shape[shaped], lat[shaped], lon[shaped])
        return out

    def plant(self) -> None:
        """Builds the trees now, rather than at the first question that needs them."""
        _ = self.tree, self.cross_tree

    @cached_property
    def boxes(self) -> F64:
        """(west, south, east, north) of every zone in degrees; east may run past 180."""
        discs = self.zones
        out = disc_boxes(discs.lat, discs.lon, discs.discs.radius_m)
        shaped = np.flatnonzero(discs.shape >= 0)
        if len(shaped):
            out[shaped] = shape_boxes(discs.shapes, discs.shape[shaped])
        return out

    @cached_property
    def tree(self) -> BoxTree:
        """R-tree of all zones, built when first asked."""
        return BoxTree(np.arange(len(self.keys)), self.boxes)

    @cached_property
    def cross_tree(self) -> BoxTree:
        """R-tree of the zones that detect crossings."""
        slots = np.flatnonzero(self.cross)
        return BoxTree(slots, self.boxes[slots])


def merged(layers: Sequence[Layer]) -> Layer:
    """All living zones of the layers in one; no key may live in two of them."""
    alive = [np.flatnonzero(~layer.dead) for layer in layers]
    keys = np.concatenate([layer.keys[some] for layer, some in zip(layers, alive, strict=True)])
    order = np.argsort(keys)
    place = np.empty(len(keys), dtype=np.int64)
    place[order] = np.arange(len(keys))
    starts = np.cumsum([0, *(len(some) for some in alive)])
    covers = []
    for layer, kept_slots, start in zip(layers, alive, starts, strict=False):
        moved = np.full(len(layer.keys), -1, dtype=np.int64)
        moved[kept_slots] = place[start : start + len(kept_slots)]
        for piece in (piece for table in layer.cells for piece in table.covers()):
            slot = moved[piece.slot]
            kept = slot >= 0
            covers.append(type(piece)(piece.cell[kept], slot[kept], piece.full[kept]))
    cross = np.concatenate([layer.cross[some] for layer, some in zip(layers, alive, strict=True)])
    zones = _merged_zones([layer.zones for layer in layers], alive, order)
    return Layer(keys[order], cross[order], zones, tables(covers))


def _merged_zones(parts: list[Zones], alive: list[I64], order: I64) -> Zones:
    pairs = list(zip(parts, alive, strict=True))
    row = np.concatenate([part.discs.row[some] for part, some in pairs])[order]
    shapes: list[Shapes] = []
    shape: list[I64] = []
    before = 0
    for part, some in pairs:
        old = part.shape[some]
        shaped = old >= 0
        shapes.append(take(part.shapes, old[shaped]))
        new = np.full(len(old), -1, dtype=np.int64)
        new[shaped] = np.arange(int(shaped.sum())) + before
        before += int(shaped.sum())
        shape.append(new)
    return Zones(
        Discs(row),
        np.concatenate(shape)[order],
        join(shapes),
        np.concatenate([part.lat[some] for part, some in pairs])[order],
        np.concatenate([part.lon[some] for part, some in pairs])[order],
    )


def _packed(zones: Sequence[Zone]) -> Zones:
    count = len(zones)
    place = np.empty((count, 3))  # lat, lon, radius
    shape = np.full(count, -1, dtype=np.int64)
    shapes: list[Shape] = []
    for slot, zone in enumerate(zones):
        geometry = zone.geometry
        if isinstance(geometry, Circle):
            place[slot] = (geometry.lat, geometry.lon, geometry.radius_m)
        else:
            one = shape_of(geometry)
            place[slot] = (*one.centre, one.bound_m)
            shape[slot] = len(shapes)
            shapes.append(one)
    reach_m = np.array([zone.reach_m for zone in zones], dtype=np.float64)
    lat, lon = place[:, 0].copy(), place[:, 1].copy()
    discs = Discs.of(unit_vectors(lat, lon), place[:, 2], reach_m)
    return Zones(discs, shape, pack(shapes), lat, lon)
