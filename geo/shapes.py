"""Signed distances to many outlines at once, on packed arrays.

Every outline is cut into blocks of consecutive segments with a box each. A question (shape, point)
first looks at the boxes, then only at the segments of the blocks that can matter, so the cost of a
shape with thousands of vertices is that of its few near blocks. All questions of a call are
answered by the same vector operations.

The nearest point of an edge is found in the plane of longitude and latitude scaled at the middle
latitude, and its distance is then taken on the sphere: within 0.1 % up to 100 km and 1 % up to
1,000 km of the spherical distance (measured in tests/geo/test_shapes.py). Points within a
micrometre of an edge are on it.
"""

import math
from typing import NamedTuple

import numpy as np

from geo.measure import EARTH_RADIUS_M, distance_m, wrap_deg
from geo.model import F64, I64, Bools, Corridor, Geometry
from geo.outline import Outline, outline

BLOCKS_AT_ONCE = 200_000  # bounds the memory of one vector step
BLOCK_RATIO = 0.4  # segments a block, by the root of the segments: about equal work for both
ON_EDGE_M = 1e-6
DEG_M = EARTH_RADIUS_M * math.pi / 180


class Shape(NamedTuple):
    """One packed outline, before it is joined with others."""

    outline: Outline
    buffer_m: float
    centre: tuple[float, float]  # lat, lon of the bounding disc
    bound_m: float  # radius of the bounding disc


def shape_of(geometry: Geometry) -> Shape:
    """Packs anything but a circle."""
    edge = outline(geometry)
    buffer_m = geometry.buffer_m if isinstance(geometry, Corridor) else 0.0
    lat1, lon1 = edge.lat + edge.dlat, edge.lon + edge.dlon
    lat_c = (min(edge.lat.min(), lat1.min()) + max(edge.lat.max(), lat1.max())) / 2
    west, east = min(edge.lon.min(), lon1.min()), max(edge.lon.max(), lon1.max())
    lon_c = (west + east) / 2
    bound_m = max(
        float(distance_m(lat_c, lon_c, edge.lat, edge.lon).max()),
        float(distance_m(lat_c, lon_c, lat1, lon1).max()),
    )
    # A segment may bulge past its ends by its sagitta; 2 degrees of longitude do so by 500 m.
    bulge_m = 550.0 * float((np.abs(edge.dlon).max() / 2) ** 2)
    if east - west >= 120.0 or np.abs(edge.lat).max() == 90.0 or bound_m > 4e6:
        bound_m = math.pi * EARTH_RADIUS_M
    return Shape(edge, buffer_m, (lat_c, lon_c), bound_m * (1 + 1e-9) + bulge_m + buffer_m + 1e-3)


class Shapes(NamedTuple):
    """Packed outlines; shape i owns blocks ``first_block[i]`` up to ``first_block[i + 1]``."""

    first_block: I64
    buffer_m: F64
    is_area: Bools
    is_wide: Bools  # 180° or more: the near side may be the other way round
    middle_lon: F64
    first_segment: I64  # per block, with one more at the end
    south: F64  # per block
    north: F64
    west: F64
    east: F64
    is_edge: Bools
    lat: F64  # per segment: the start and the step
    lon: F64
    dlat: F64
    dlon: F64

    def segment_counts(self) -> I64:
        """Segments of each shape."""
        return np.diff(self.first_segment[self.first_block])

    def signed_distance(
        self,
        shape: I64,
        lat: F64,
        lon: F64,
        limit_m: F64 | None = None,
        inside: Bools | None = None,
    ) -> F64:
        """Signed metres to the edge, pairwise; negative inside, 0 on the edge.

        Args:
            shape: which shape, per pair.
            lat: of the points, per pair.
            lon: of the points, per pair.
            limit_m: pairs outside by surely more than this may answer ``inf``.
            inside: pairs known to be inside, which saves the test.
        """
        limit_m = np.full(len(shape), np.inf) if limit_m is None else limit_m
        inside = np.zeros(len(shape), dtype=np.bool_) if inside is None else inside
        out = np.empty(len(shape))
        ends = np.cumsum(self.first_block[shape + 1] - self.first_block[shape])
        start = 0
        while start < len(shape):
            base = ends[start - 1] if start else 0
            stop = max(int(np.searchsorted(ends, base + BLOCKS_AT_ONCE, "right")), start + 1)
            part = slice(start, stop)
            question = _Question(self, shape[part], lat[part], lon[part])
            out[part] = question.answer(limit_m[part], inside[part])
            start = stop
        return out


class _Question:
    """Some (shape, point) pairs, expanded to the blocks of their shapes."""

    def __init__(self, shapes: Shapes, shape: I64, lat: F64, lon: F64) -> None:
        self.shapes = shapes
        self.shape = shape
        self.lat = lat
        middle = shapes.middle_lon[shape]
        self.lon = middle + (np.mod(lon - middle + 180.0, 360.0) - 180.0)
        self.wraps = bool(shapes.is_wide[shape].any())
        self.cosine, self.sine = np.cos(np.radians(lat)), np.sin(np.radians(lat))
        first = shapes.first_block[shape]
        counts = shapes.first_block[shape + 1] - first
        self.pair, self.block = expand(first, counts)
        self.starts = np.cumsum(counts) - counts
        self.y, self.x = np.repeat(lat, counts), np.repeat(self.lon, counts)
        self.south, self.north = shapes.south[self.block], shapes.north[self.block]
        self.east = shapes.east[self.block]

    def answer(self, limit_m: F64, inside: Bools) -> F64:
        """Signed metres; ``inf`` where more than ``limit_m`` outside is certain."""
        within = inside | self._parity(inside)
        near, vertex = self._bounds()
        lower = DEG_M * np.sqrt(np.minimum.reduceat(near, self.starts))
        buffer_m = self.shapes.buffer_m[self.shape]
        wanted = within | (lower * 0.98 - buffer_m - 1.0 <= limit_m)
        wanted &= np.isfinite(lower)
        upper = np.minimum.reduceat(vertex, self.starts) * 1.04 + 1e-10
        use = np.flatnonzero(wanted[self.pair] & (near <= upper[self.pair]))
        out = np.full(len(self.shape), np.inf)
        out[wanted] = self._nearest(self.pair[use], self.block[use])
        out[out < ON_EDGE_M] = 0.0
        return np.where(within, -out, out) - buffer_m

    def _parity(self, known: Bools) -> Bools:
        """Even-odd rule along the parallel to the east; half-open, so vertices count once."""
        shapes = self.shapes
        asked = shapes.is_area[self.shape] & ~known
        cut = (self.south <= self.y) & (self.y <= self.north) & (self.x <= self.east)
        kept = np.flatnonzero(cut & asked[self.pair])
        which, segment = self._segments(self.block[kept])
        owner = self.pair[kept][which]
        y, lat, dlat = self.lat[owner], shapes.lat[segment], shapes.dlat[segment]
        crossing = np.flatnonzero((lat <= y) != (lat + dlat <= y))
        owner, segment = owner[crossing], segment[crossing]
        along = (y[crossing] - lat[crossing]) / dlat[crossing]
        meets = shapes.lon[segment] + along * shapes.dlon[segment]
        east = owner[meets > self.lon[owner]]
        out: Bools = np.bincount(east, minlength=len(self.shape)) % 2 == 1
        return out

    def _segments(self, block: I64) -> tuple[I64, I64]:
        first = self.shapes.first_segment[block]
        return expand(first, self.shapes.first_segment[block + 1] - first)

    def _scale(self, pair: I64, climb: F64) -> F64:
        """Cosine of the latitude half way up a climb (degrees) from the points."""
        half = np.radians(climb) / 2
        if len(half) and np.abs(half).max() > 0.1:
            far: F64 = np.cos(np.radians(self.lat[pair]) + half)
            return far
        cosine, sine = self.cosine[pair], self.sine[pair]
        out: F64 = cosine - half * (sine + 0.5 * half * cosine)
        return out

    def _bounds(self) -> tuple[F64, F64]:
        """Squared degrees of latitude to the box, and to the first vertex, of each block."""
        climb = np.clip(self.y, self.south, self.north) - self.y
        west = self.shapes.west[self.block]
        aside = np.maximum(np.maximum(west - self.x, self.x - self.east), 0.0)
        if self.wraps:
            for turn in (-360.0, 360.0):
                x = self.x + turn
                aside = np.minimum(aside, np.maximum(np.maximum(west - x, x - self.east), 0.0))
        scale = self._scale(self.pair, climb)
        aside *= scale
        box = aside * aside + climb * climb
        segment = self.shapes.first_segment[self.block]
        climb = self.shapes.lat[segment] - self.y
        aside = self._ahead(self.shapes.lon[segment] - self.x) * scale
        vertex = aside * aside + climb * climb
        hidden = ~self.shapes.is_edge[self.block]
        if hidden.any():
            box[hidden] = vertex[hidden] = np.inf
        return box, vertex

    def _ahead(self, dlon: F64) -> F64:
        return wrap_deg(dlon) if self.wraps else dlon

    def _nearest(self, pair: I64, block: I64) -> F64:
        """Metres to the nearest point of the blocks' segments, per distinct pair, in order."""
        if not len(pair):
            return np.empty(0)
        shapes = self.shapes
        which, segment = self._segments(block)
        owner = pair[which]
        y = self.lat[owner]
        rise = shapes.lat[segment] - y
        dlat, dlon = shapes.dlat[segment], shapes.dlon[segment]
        ahead = self._ahead(shapes.lon[segment] - self.lon[owner])
        low, high = np.minimum(rise, rise + dlat), np.maximum(rise, rise + dlat)
        scale = self._scale(owner, np.clip(0.0, low, high))
        squared, _ = _foot(ahead, rise, dlon, dlat, scale)
        starts = np.flatnonzero(np.diff(owner, prepend=-1))
        least = np.minimum.reduceat(squared, starts)
        best = np.flatnonzero(squared <= np.repeat(least, np.diff(starts, append=len(owner))))
        best = best[np.diff(owner[best], prepend=-1) > 0]
        ahead, rise, dlon, dlat = ahead[best], rise[best], dlon[best], dlat[best]
        scale, y = scale[best], y[best]
        along = np.zeros(len(best))
        for _ in range(2):
            _, along = _foot(ahead, rise, dlon, dlat, scale)
            scale = np.cos(np.radians(y + (rise + along * dlat) / 2))
        return distance_m(y, np.zeros(len(y)), y + rise + along * dlat, ahead + along * dlon)


def _foot(ahead: F64, rise: F64, dlon: F64, dlat: F64, scale: F64) -> tuple[F64, F64]:
    """Squared distance (degrees of latitude) to each segment, and where along it the foot is."""
    ax, dx = ahead * scale, dlon * scale
    length = dx * dx + dlat * dlat
    along = -(ax * dx + rise * dlat)
    along /= np.maximum(length, 1e-30)
    np.clip(along, 0.0, 1.0, out=along)
    ax += along * dx
    ay = rise + along * dlat
    return ax * ax + ay * ay, along


def expand(first: I64, counts: I64) -> tuple[I64, I64]:
    """Ranges ``first[i] .. first[i] + counts[i]`` in a row: (i, member), repeated and running."""
    which = np.repeat(np.arange(len(counts)), counts)
    offset = first - (np.cumsum(counts) - counts)
    return which, np.arange(len(which)) + offset[which]


def pack(shapes: list[Shape]) -> Shapes:
    """Joins outlines into one set of arrays."""
    return join([_one(shape) for shape in shapes])


def _one(shape: Shape) -> Shapes:
    edge = _edges_first(shape.outline)
    first, is_edge = _blocks(edge)
    starts = first[:-1]
    lat1, lon1 = edge.lat + edge.dlat, edge.lon + edge.dlon
    west = np.minimum.reduceat(np.minimum(edge.lon, lon1), starts)
    east = np.maximum.reduceat(np.maximum(edge.lon, lon1), starts)
    return Shapes(
        np.array([0, len(starts)], dtype=np.int64),
        np.array([shape.buffer_m]),
        np.array([edge.is_area]),
        np.array([east.max() - west.min() >= 179.0]),
        np.array([shape.centre[1]]),
        first,
        np.minimum.reduceat(np.minimum(edge.lat, lat1), starts),
        np.maximum.reduceat(np.maximum(edge.lat, lat1), starts),
        west,
        east,
        is_edge,
        edge.lat,
        edge.lon,
        edge.dlat,
        edge.dlon,
    )


def _edges_first(edge: Outline) -> Outline:
    """So that no block mixes edges with mere closings."""
    if edge.is_edge.all():
        return edge
    order = np.argsort(~edge.is_edge, kind="stable")
    return Outline(
        edge.lat[order],
        edge.lon[order],
        edge.dlat[order],
        edge.dlon[order],
        edge.is_edge[order],
        edge.is_area,
    )


def _blocks(edge: Outline) -> tuple[I64, Bools]:
    """Block borders (one more than blocks), and which blocks are edges."""
    count, edges = len(edge.lat), int(edge.is_edge.sum())
    size = min(max(int(math.sqrt(count) * BLOCK_RATIO), 8), 128)
    visible = np.arange(0, edges, size)
    hidden = np.arange(edges, count, size)
    first = np.concatenate((visible, hidden, [count])).astype(np.int64)
    return first, np.arange(len(visible) + len(hidden)) < len(visible)


def take(shapes: Shapes, which: I64) -> Shapes:
    """The shapes at ``which``, packed anew."""
    first = shapes.first_block[which]
    blocks = shapes.first_block[which + 1] - first
    _, block = expand(first, blocks)
    first_segment = shapes.first_segment[block]
    lengths = shapes.first_segment[block + 1] - first_segment
    _, segment = expand(first_segment, lengths)
    return Shapes(
        np.concatenate(([0], np.cumsum(blocks))),
        shapes.buffer_m[which],
        shapes.is_area[which],
        shapes.is_wide[which],
        shapes.middle_lon[which],
        np.concatenate(([0], np.cumsum(lengths))),
        shapes.south[block],
        shapes.north[block],
        shapes.west[block],
        shapes.east[block],
        shapes.is_edge[block],
        shapes.lat[segment],
        shapes.lon[segment],
        shapes.dlat[segment],
        shapes.dlon[segment],
    )


def join(parts: list[Shapes]) -> Shapes:
    """All shapes of all parts, in order."""
    parts = parts or [_EMPTY]
    blocks = np.cumsum([0, *(len(part.south) for part in parts)])
    segments = np.cumsum([0, *(len(part.lat) for part in parts)])
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    joined[0] = _running([part.first_block for part in parts], blocks)
    joined[5] = _running([part.first_segment for part in parts], segments)
    return Shapes._make(joined)


def _running(borders: list[I64], before: I64) -> I64:
    """Borders of joined parts: each part's, moved behind the parts before it."""
    moved = [part[:-1] + start for part, start in zip(borders, before, strict=False)]
    return np.concatenate([*moved, before[-1:]])


_NONE, _NO = np.empty(0), np.empty(0, dtype=np.bool_)
_ZERO = np.zeros(1, dtype=np.int64)
_EMPTY = Shapes(
    _ZERO,
    _NONE,
    _NO,
    _NO,
    _NONE,
    _ZERO,
    _NONE,
    _NONE,
    _NONE,
    _NONE,
    _NO,
    _NONE,
    _NONE,
    _NONE,
    _NONE,
)
