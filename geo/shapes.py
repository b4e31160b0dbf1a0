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

BLOCKS_AT_ONCE = 400_000  # bounds the memory of one vector step
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
    middle_lon: F64
    first_segment: I64  # per block, with one more at the end
    box: F64  # per block: south, north, middle lon, half width, least lon, greatest lon
    block_is_edge: Bools
    segment: F64  # per segment: lat, lon, dlat, dlon

    def __len__(self) -> int:
        return len(self.buffer_m)

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
        out = np.empty(len(shape))
        counts = self.first_block[shape + 1] - self.first_block[shape]
        ends = np.cumsum(counts)
        start = 0
        while start < len(shape):
            base = ends[start - 1] if start else 0
            stop = max(int(np.searchsorted(ends, base + BLOCKS_AT_ONCE, "right")), start + 1)
            part = slice(start, stop)
            out[part] = self._some(
                shape[part],
                lat[part],
                lon[part],
                None if limit_m is None else limit_m[part],
                None if inside is None else inside[part],
            )
            start = stop
        return out

    def _some(
        self, shape: I64, lat: F64, lon: F64, limit_m: F64 | None, inside: Bools | None
    ) -> F64:
        first = self.first_block[shape]
        pair, block = expand(first, self.first_block[shape + 1] - first)
        box = self.box[block]
        within = self._parity(shape, lat, lon, pair, block, box)
        if inside is not None:
            within |= inside
        near = _box_distance(box, lat[pair], lon[pair])
        near[~self.block_is_edge[block]] = np.inf
        lower = np.minimum.reduceat(near, np.searchsorted(pair, np.arange(len(shape))))
        answer = np.full(len(shape), np.inf)
        wanted = np.isfinite(lower)
        if limit_m is not None:
            wanted &= within | (lower * 0.98 - self.buffer_m[shape] - 1.0 <= limit_m)
        upper = self._upper(pair, block, lat, lon, len(shape))
        use = wanted[pair] & (near <= upper[pair] * 1.02 + 1.0)
        edge_m = self._nearest(pair[use], block[use], lat, lon)
        answer[wanted] = edge_m
        answer[answer < ON_EDGE_M] = 0.0
        return np.where(within, -answer, answer) - self.buffer_m[shape]

    def _parity(self, shape: I64, lat: F64, lon: F64, pair: I64, block: I64, box: F64) -> Bools:
        """Even-odd rule along the parallel to the east; half-open, so vertices count once."""
        middle = self.middle_lon[shape]
        framed = middle + (np.mod(lon - middle + 180.0, 360.0) - 180.0)
        y, x = lat[pair], framed[pair]
        cut = (box[:, 0] <= y) & (y <= box[:, 1]) & (x <= box[:, 5]) & self.is_area[shape][pair]
        pair, block = pair[cut], block[cut]
        first = self.first_segment[block]
        which, segment = expand(first, self.first_segment[block + 1] - first)
        row = self.segment[segment]
        owner = pair[which]
        y = lat[owner]
        up = row[:, 0] + row[:, 2]
        straddles = np.flatnonzero((row[:, 0] <= y) != (up <= y))
        row, owner = row[straddles], owner[straddles]
        crossing = row[:, 1] + (lat[owner] - row[:, 0]) / row[:, 2] * row[:, 3]
        east = owner[crossing > framed[owner]]
        return np.bincount(east, minlength=len(shape)) % 2 == 1

    def _upper(self, pair: I64, block: I64, lat: F64, lon: F64, size: int) -> F64:
        """An upper bound of the distance: to the first vertex of each block of edges."""
        edges = self.block_is_edge[block]
        row = self.segment[self.first_segment[block]]
        y, x = lat[pair], lon[pair]
        scale = np.cos(np.radians((y + row[:, 0]) / 2))
        metres = DEG_M * np.hypot(wrap_deg(row[:, 1] - x) * scale, row[:, 0] - y)
        metres[~edges] = np.inf
        out: F64 = np.minimum.reduceat(metres, np.searchsorted(pair, np.arange(size)))
        return out

    def _nearest(self, pair: I64, block: I64, lat: F64, lon: F64) -> F64:
        """Metres to the nearest point of the blocks' segments, per distinct pair, in order."""
        if not len(pair):
            return np.empty(0)
        first = self.first_segment[block]
        which, segment = expand(first, self.first_segment[block + 1] - first)
        row, owner = self.segment[segment], pair[which]
        y = lat[owner]
        ahead = wrap_deg(row[:, 1] - lon[owner])
        scale = np.cos(
            np.radians((y + np.clip(y, self.box[block, 0][which], self.box[block, 1][which])) / 2)
        )
        squared, _ = _foot(row, y, ahead, scale)
        starts = np.flatnonzero(np.diff(owner, prepend=-1))
        least = np.minimum.reduceat(squared, starts)
        best = np.flatnonzero(squared <= np.repeat(least, np.diff(starts, append=len(owner))))
        best = best[np.diff(owner[best], prepend=-1) > 0]
        row, y, ahead, scale = row[best], y[best], ahead[best], scale[best]
        for _ in range(2):
            _, along = _foot(row, y, ahead, scale)
            scale = np.cos(np.radians((y + row[:, 0] + along * row[:, 2]) / 2))
        return distance_m(y, 0.0, row[:, 0] + along * row[:, 2], ahead + along * row[:, 3])


def _foot(row: F64, y: F64, ahead: F64, scale: F64) -> tuple[F64, F64]:
    """Squared distance (degrees of latitude) to each segment, and where along it the foot is."""
    ax, ay = ahead * scale, row[:, 0] - y
    dx, dy = row[:, 3] * scale, row[:, 2]
    length = dx * dx + dy * dy
    along = np.clip(-(ax * dx + ay * dy) / np.where(length > 0, length, 1.0), 0.0, 1.0)
    ax = ax + along * dx
    ay = ay + along * dy
    return ax * ax + ay * ay, along


def _box_distance(box: F64, lat: F64, lon: F64) -> F64:
    """Metres to the box of a block, up to the error of the local plane."""
    inner = np.clip(lat, box[:, 0], box[:, 1])
    aside = np.maximum(np.abs(wrap_deg(lon - box[:, 2])) - box[:, 3], 0.0)
    aside *= np.cos(np.radians((lat + inner) / 2))
    out: F64 = DEG_M * np.hypot(aside, lat - inner)
    return out


def expand(first: I64, counts: I64) -> tuple[I64, I64]:
    """Ranges ``first[i] .. first[i] + counts[i]`` in a row: (i, member), repeated and running."""
    which = np.repeat(np.arange(len(counts)), counts)
    offset = first - (np.cumsum(counts) - counts)
    return which, np.arange(len(which)) + offset[which]


def pack(shapes: list[Shape]) -> Shapes:
    """Joins outlines into one set of arrays."""
    if not shapes:
        return _empty()
    blocks, edges, bounds = [], [], [np.zeros(1, dtype=np.int64)]
    total = 0
    for shape in shapes:
        first, is_edge = _blocks(shape.outline)
        bounds.append(first[1:] + total)
        total += first[-1]
        blocks.append(len(is_edge))
        edges.append(is_edge)
    segment = np.concatenate([_ordered(shape.outline) for shape in shapes])
    first_segment = np.concatenate(bounds)
    return Shapes(
        np.concatenate(([0], np.cumsum(blocks))).astype(np.int64),
        np.array([shape.buffer_m for shape in shapes]),
        np.array([shape.outline.is_area for shape in shapes]),
        np.array([shape.centre[1] for shape in shapes]),
        first_segment,
        _boxes(segment, first_segment[:-1]),
        np.concatenate(edges),
        segment,
    )


def _ordered(edge: Outline) -> F64:
    """Segments as rows, edges first, so that no block mixes edges with mere closings."""
    rows = np.column_stack((edge.lat, edge.lon, edge.dlat, edge.dlon))
    return rows if edge.is_edge.all() else np.vstack((rows[edge.is_edge], rows[~edge.is_edge]))


def _blocks(edge: Outline) -> tuple[I64, Bools]:
    """Block borders (one more than blocks), and which blocks are edges."""
    count, edges = len(edge.lat), int(edge.is_edge.sum())
    size = min(max(int(math.sqrt(count) / 2), 8), 256)
    visible = np.arange(0, edges, size)
    hidden = np.arange(edges, count, size)
    first = np.concatenate((visible, hidden, [count])).astype(np.int64)
    return first, np.arange(len(visible) + len(hidden)) < len(visible)


def _boxes(segment: F64, first: I64) -> F64:
    lat1, lon1 = segment[:, 0] + segment[:, 2], segment[:, 1] + segment[:, 3]
    south = np.minimum.reduceat(np.minimum(segment[:, 0], lat1), first)
    north = np.maximum.reduceat(np.maximum(segment[:, 0], lat1), first)
    west = np.minimum.reduceat(np.minimum(segment[:, 1], lon1), first)
    east = np.maximum.reduceat(np.maximum(segment[:, 1], lon1), first)
    return np.column_stack((south, north, (west + east) / 2, (east - west) / 2, west, east))


def _empty() -> Shapes:
    none, ints, bools = np.empty(0), np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.bool_)
    return Shapes(ints, none, bools, none, ints, np.empty((0, 6)), bools, np.empty((0, 4)))


def take(shapes: Shapes, which: I64) -> Shapes:
    """The shapes at ``which``, packed anew."""
    if not len(which):
        return _empty()
    first = shapes.first_block[which]
    _, block = expand(first, shapes.first_block[which + 1] - first)
    first_segment = shapes.first_segment[block]
    lengths = shapes.first_segment[block + 1] - first_segment
    _, segment = expand(first_segment, lengths)
    return Shapes(
        np.concatenate(([0], np.cumsum(shapes.first_block[which + 1] - first))),
        shapes.buffer_m[which],
        shapes.is_area[which],
        shapes.middle_lon[which],
        np.concatenate(([0], np.cumsum(lengths))),
        shapes.box[block],
        shapes.block_is_edge[block],
        shapes.segment[segment],
    )


def join(parts: list[Shapes]) -> Shapes:
    """All shapes of all parts, in order."""
    blocks = np.cumsum([0, *(len(part.box) for part in parts)])
    segments = np.cumsum([0, *(len(part.segment) for part in parts)])
    return Shapes(
        _running(parts, blocks, 0),
        np.concatenate([part.buffer_m for part in parts]),
        np.concatenate([part.is_area for part in parts]),
        np.concatenate([part.middle_lon for part in parts]),
        _running(parts, segments, 4),
        np.concatenate([part.box for part in parts]),
        np.concatenate([part.block_is_edge for part in parts]),
        np.concatenate([part.segment for part in parts]),
    )


def _running(parts: list[Shapes], before: I64, field: int) -> I64:
    """Borders of joined parts: each part's, moved behind the parts before it."""
    borders = [part[field][:-1] + start for part, start in zip(parts, before, strict=False)]
    return np.concatenate([*borders, before[-1:]])
