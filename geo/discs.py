"""Bounding discs of zones; for a circle its disc is the circle itself."""

from typing import NamedTuple

import numpy as np

from geo.measure import arc_m, chord_squared
from geo.model import F64, I64

PAIRS_AT_ONCE = 16_384


class Discs(NamedTuple):
    """Rows: x, y, z of the centre on the unit sphere, greatest squared chord, radius, reach."""

    row: F64

    @classmethod
    def of(cls, centre: F64, radius_m: F64, reach_m: F64) -> "Discs":
        """Packs centres (n, 3), radii and reaches."""
        chord = chord_squared(radius_m + reach_m + 1e-3) + 1e-15
        return cls(np.ascontiguousarray(np.column_stack((centre, chord, radius_m, reach_m))))

    @property
    def radius_m(self) -> F64:
        """Radius of each disc."""
        return self.row[:, 4]

    @property
    def reach_m(self) -> F64:
        """How far outside each zone a point still counts as a hit."""
        return self.row[:, 5]

    def distance_m(self, slot: I64, point: F64) -> F64:
        """Metres from points (n, 3) to the edge of the discs, pairwise; negative inside."""
        row = self.row[slot]
        return arc_m(_chord(row, point)) - row[:, 4]


def _chord(row: F64, point: F64) -> F64:
    step = row[:, 0] - point[:, 0]
    out: F64 = step * step
    step = row[:, 1] - point[:, 1]
    out += step * step
    step = row[:, 2] - point[:, 2]
    out += step * step
    return out


def near(discs: Discs, slot: I64, point: F64, which: I64) -> tuple[I64, F64]:
    """Which pairs (slot, ``point[which]``) are within reach, and their distance to the edge.

    Pairs are taken in pieces that stay in the processor's cache.
    """
    kept, distance = [], []
    for start in range(0, max(len(slot), 1), PAIRS_AT_ONCE):
        row = discs.row[slot[start : start + PAIRS_AT_ONCE]]
        squared = _chord(row, point[which[start : start + PAIRS_AT_ONCE]])
        some = np.flatnonzero(squared <= row[:, 3])
        kept.append(some + start)
        distance.append(arc_m(squared[some]) - row[some, 4])
    return np.concatenate(kept), np.concatenate(distance)
