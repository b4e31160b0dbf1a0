"""Nearest zones by distance to the edge: boxes of growing size around the point, then exact.

A circle of radius r around the point lies in its box, so a zone closer than r is among the
candidates; once enough of them are within r, they are the nearest.
"""

from collections.abc import Sequence

import numpy as np

from geo.layer import Layer
from geo.measure import HALF_WAY_ROUND_M
from geo.model import F64, I64, Near
from geo.tree import disc_boxes

RADII_M = (300.0, 2_000.0, 10_000.0, 50_000.0, 250_000.0, 1_500_000.0, HALF_WAY_ROUND_M)
TRUST = 0.98  # signed distances of far shapes may be too long by a little


def in_reach(layers: Sequence[Layer], lat: float, lon: float, limit: int) -> list[Near]:
    """At most ``limit`` zones, nearest first (inside ones have a negative distance)."""
    if limit <= 0:
        return []
    lats, lons = np.array([lat]), np.array([lon])
    found: list[Near] = []
    for radius_m in RADII_M:
        found = []
        for layer in layers:
            _, slot, distance = _within(layer, lats, lons, radius_m)
            found += map(Near, layer.keys[slot].tolist(), distance.tolist())
        within = sum(near.distance_m <= radius_m * TRUST for near in found)
        if within >= limit:
            break
    return sorted(found, key=lambda near: (near.distance_m, near.key))[:limit]


def nearest_distance(layers: Sequence[Layer], lat: F64, lon: F64) -> F64:
    """Signed metres to the nearest edge of any zone, per point; half way round when none."""
    out = np.full(len(lat), np.inf)
    open_points = np.arange(len(lat))
    for radius_m in RADII_M:
        for layer in layers:
            at, _, distance = _within(layer, lat[open_points], lon[open_points], radius_m)
            np.minimum.at(out, open_points[at], distance)
        open_points = open_points[out[open_points] > radius_m * TRUST]
        if not len(open_points):
            break
    np.minimum(out, HALF_WAY_ROUND_M, out=out)
    return out


def _within(layer: Layer, lat: F64, lon: F64, radius_m: float) -> tuple[I64, I64, F64]:
    """Living zones whose box meets the box of the circle: (point, slot, signed distance)."""
    at, slot = layer.tree.find(disc_boxes(lat, lon, np.full(len(lat), radius_m)))
    alive = ~layer.dead[slot]
    at, slot = at[alive], slot[alive]
    return at, slot, layer.distance_m(slot, lat[at], lon[at])
