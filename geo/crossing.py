"""Which zones a straight path between two positions touches, and where it enters them.

The path is straight in lon/lat, the short way round. Outlines are cut exactly; circles in the
local plane at their centre; corridors by marching along the path by the distance that is left,
with steps of at least 5 % of the buffer and 1/10,000 of the path (a shorter graze may be missed).
"""

import numpy as np

from geo.layer import Layer
from geo.measure import EARTH_RADIUS_M, distance_m, wrap_deg
from geo.model import F64, I32, I64, U64, Bools
from geo.shapes import Shapes, expand
from geo.tree import BoxTree

MARCH_STEPS = 10_000  # at most, on a path that runs along a border; some tens are usual


def crossed(layer: Layer, lat0: F64, lon0: F64, lat1: F64, lon1: F64) -> tuple[I32, U64, F64]:
    """(segment, key, fraction) of every zone with ``detect_cross`` that a segment touches."""
    none = np.empty(0, np.int32), np.empty(0, np.uint64), np.empty(0)
    if not layer.cross.any() or not len(lat0):
        return none
    step = np.column_stack((lat1 - lat0, wrap_deg(lon1 - lon0)))
    segment, slot = _candidates(layer.cross_tree, lat0, lon0, step)
    alive = ~layer.dead[slot]
    segment, slot = segment[alive], slot[alive]
    if not len(slot):
        return none
    path = np.column_stack((lat0, lon0, step))[segment]
    fraction = np.where(layer.distance_m(slot, path[:, 0], path[:, 1]) <= 0, 0.0, np.inf)
    shape = layer.zones.shape[slot]
    is_area = np.zeros(len(slot), dtype=np.bool_)
    is_area[shape >= 0] = layer.zones.shapes.is_area[shape[shape >= 0]]
    outside = fraction > 0
    for kind, enter in (
        (shape < 0, _enter_circles),
        (is_area, _enter_areas),
        ((shape >= 0) & ~is_area, _enter_corridors),
    ):
        which = np.flatnonzero(outside & kind)
        if len(which):
            fraction[which] = enter(layer, slot[which], path[which])
    hit = np.isfinite(fraction)
    return segment[hit].astype(np.int32), layer.keys[slot[hit]], fraction[hit]


def _candidates(tree: BoxTree, lat: F64, lon: F64, step: F64) -> tuple[I64, I64]:
    west, south = np.minimum(lon, lon + step[:, 1]), np.minimum(lat, lat + step[:, 0])
    return tree.find(
        np.column_stack((west, south, west + np.abs(step[:, 1]), south + np.abs(step[:, 0])))
    )


def _enter_circles(layer: Layer, slot: I64, path: F64) -> F64:
    """Where each path enters its circle from outside; inf when it does not."""
    zones = layer.zones
    ahead = wrap_deg(path[:, 1] - zones.lon[slot])
    scale = np.cos(np.radians((zones.lat[slot] + path[:, 0] + path[:, 2] / 2) / 2))
    x, y = np.radians(ahead) * scale, np.radians(path[:, 0] - zones.lat[slot])
    dx, dy = np.radians(path[:, 3]) * scale, np.radians(path[:, 2])
    radius = zones.discs.radius_m[slot] / EARTH_RADIUS_M
    a, b, c = dx * dx + dy * dy, x * dx + y * dy, x * x + y * y - radius * radius
    root = b * b - a * c
    along = (-b - np.sqrt(np.maximum(root, 0.0))) / np.where(a > 0, a, 1.0)
    # The start is known to be outside; the plane may put it just inside.
    along = np.where(c < 0, 0.0, along)
    hit = (root >= 0) & (a > 0) & (along >= 0) & (along <= 1)
    # A graze that the plane misses by a hair is asked of the sphere, where it is nearest.
    nearest = np.clip(-b / np.where(a > 0, a, 1.0), 0.0, 1.0)
    lat, lon = path[:, 0] + nearest * path[:, 2], path[:, 1] + nearest * path[:, 3]
    away_m = distance_m(lat, lon, zones.lat[slot], zones.lon[slot])
    grazes = ~hit & (away_m <= zones.discs.radius_m[slot])
    return np.where(hit, along, np.where(grazes, nearest, np.inf))


def _enter_areas(layer: Layer, slot: I64, path: F64) -> F64:
    """The first crossing of an edge, from outside; inf when there is none."""
    shapes = layer.zones.shapes
    pair, segment = _segments(shapes, layer.zones.shape[slot], path)
    own = path[pair]
    dlat, dlon = shapes.dlat[segment], shapes.dlon[segment]
    ax, ay = wrap_deg(shapes.lon[segment] - own[:, 1]), shapes.lat[segment] - own[:, 0]
    cross = own[:, 3] * dlat - own[:, 2] * dlon
    safe = np.where(cross != 0, cross, 1.0)
    along_path = (ax * dlat - ay * dlon) / safe
    along_edge = (ax * own[:, 2] - ay * own[:, 3]) / safe
    hit = (cross != 0) & _unit(along_path) & _unit(along_edge)
    out = np.full(len(path), np.inf)
    np.minimum.at(out, pair[hit], np.clip(along_path[hit], 0.0, 1.0))
    return out


def _segments(shapes: Shapes, shape: I64, path: F64) -> tuple[I64, I64]:
    """(pair, edge segment) of the blocks whose box meets the box of the path."""
    first = shapes.first_block[shape]
    pair, block = expand(first, shapes.first_block[shape + 1] - first)
    own, west, east = path[pair], shapes.west[block], shapes.east[block]
    apart = wrap_deg((west + east) / 2 - (own[:, 1] + own[:, 3] / 2))
    meets = np.abs(apart) <= (east - west + np.abs(own[:, 3])) / 2 + 1e-9
    meets &= np.maximum(own[:, 0], own[:, 0] + own[:, 2]) >= shapes.south[block] - 1e-9
    meets &= np.minimum(own[:, 0], own[:, 0] + own[:, 2]) <= shapes.north[block] + 1e-9
    meets &= shapes.is_edge[block]
    pair, block = pair[meets], block[meets]
    first = shapes.first_segment[block]
    which, segment = expand(first, shapes.first_segment[block + 1] - first)
    return pair[which], segment


def _unit(values: F64) -> Bools:
    out: Bools = (values >= -1e-12) & (values <= 1 + 1e-12)
    return out


def _enter_corridors(layer: Layer, slot: I64, path: F64) -> F64:
    """Marches from the start by the distance that is left, until inside or past the end."""
    length = np.maximum(_longest_m(path), 1e-6)
    buffer_m = layer.zones.shapes.buffer_m[layer.zones.shape[slot]]
    least = np.maximum(0.05 * buffer_m / length, 1 / MARCH_STEPS)
    along = np.zeros(len(slot))
    out = np.full(len(slot), np.inf)
    walking = np.arange(len(slot))
    while len(walking):
        here = path[walking, :2] + along[walking, None] * path[walking, 2:]
        left = layer.distance_m(slot[walking], here[:, 0], here[:, 1])
        inside = left <= 0
        out[walking[inside]] = along[walking[inside]]
        done = inside | (along[walking] >= 1.0)
        step = np.maximum(left * 0.98 / length[walking], least[walking])
        along[walking] = np.minimum(along[walking] + step, 1.0)
        walking = walking[~done]
    return out


def _longest_m(path: F64) -> F64:
    """A length that no part of a path exceeds: as if all of it ran where a degree is widest."""
    ends = np.abs(path[:, 0]), np.abs(path[:, 0] + path[:, 2])
    over_equator = path[:, 0] * (path[:, 0] + path[:, 2]) <= 0
    widest = np.where(over_equator, 1.0, np.cos(np.radians(np.minimum(*ends))))
    step = np.hypot(np.radians(path[:, 2]), np.radians(path[:, 3]) * widest)
    longest: F64 = step * EARTH_RADIUS_M
    return longest
