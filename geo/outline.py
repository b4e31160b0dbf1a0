"""The edges of a geometry as arrays, in one continuous longitude frame.

Whatever way a zone was written (split at ±180, running past 180, around a pole, a set of cells),
its outline is a list of segments without seams: what was cut only for notation is joined, and what
remains of seams and poles is marked as no edge.
"""

from itertools import pairwise
from typing import NamedTuple

import h3
import numpy as np
import shapely

from geo.model import F64, Bools, Cells, Circle, Corridor, Geometry

MAX_SPAN_DEG = 2.0  # longer edges are cut, so that the local plane of each piece is true
CELL_EDGE_DEG = 0.04  # edges of big H3 cells are great circles: cut to stay within 1 m of them


class Outline(NamedTuple):
    """Segments: start, step, and whether the segment is an edge (else it only closes the area)."""

    lat: F64
    lon: F64
    dlat: F64
    dlon: F64
    is_edge: Bools
    is_area: bool  # False: a bare line


def outline(geometry: Geometry) -> Outline:
    """Segments of anything that has vertices.

    Raises:
        TypeError: for circles, which have none.
    """
    if isinstance(geometry, Circle):
        raise TypeError("a circle has no outline")
    if isinstance(geometry, Corridor):
        return _segments([np.asarray(geometry.line, dtype=np.float64)], is_area=False)
    if isinstance(geometry, Cells):
        rings = _framed([_cell_rings(polygon) for polygon in _merged_cells(geometry)])
    else:
        rings = _framed([[np.asarray(r, dtype=np.float64) for r in p] for p in geometry.polygons])
    return _segments(rings, is_area=True)


def unwrapped(ring: F64) -> F64:
    """The ring with every vertex moved by whole turns to lie next to its predecessor."""
    steps = np.diff(ring[:, 0])
    lon = ring[0, 0] + np.concatenate(([0.0], np.cumsum(steps - 360.0 * np.rint(steps / 360.0))))
    return np.column_stack((lon, ring[:, 1]))


def closed_over_pole(ring: F64) -> F64:
    """A ring that comes back one turn away from its start goes around a pole: closed over it."""
    if abs(ring[-1, 0] - ring[0, 0]) < 180.0:
        return ring
    pole = 90.0 if ring[:, 1].mean() > 0 else -90.0
    return np.vstack((ring, [[ring[-1, 0], pole], [ring[0, 0], pole], ring[0]]))


def _merged_cells(geometry: Cells) -> list[tuple[tuple[tuple[float, float], ...], ...]]:
    """Polygons of (lat, lon) rings around the union of cells of one resolution at a time."""
    by_resolution: dict[int, list[str]] = {}
    for cell in geometry.cells:
        by_resolution.setdefault((cell >> 52) & 15, []).append(h3.int_to_str(cell))
    out = []
    for cells in by_resolution.values():
        shape = h3.cells_to_h3shape(cells, tight=False)
        out += [(polygon.outer, *polygon.holes) for polygon in shape]
    return out


def _cell_rings(polygon: tuple[tuple[tuple[float, float], ...], ...]) -> list[F64]:
    return [_great_circle_ring(np.asarray(ring)[:, ::-1]) for ring in polygon]


def _great_circle_ring(ring: F64) -> F64:
    """A closed ring with its long edges cut along great circles."""
    closed = np.vstack((ring, ring[:1]))
    pieces = []
    for (lon0, lat0), (lon1, lat1) in pairwise(closed):
        span = max(abs(lat1 - lat0), abs((lon1 - lon0 + 180) % 360 - 180))
        count = int(np.ceil(min(span, 60.0) / CELL_EDGE_DEG))
        pieces.append(_great_circle(lat0, lon0, lat1, lon1, max(count, 1)))
    return closed_over_pole(unwrapped(np.vstack([*pieces, closed[:1]])))


def _great_circle(lat0: float, lon0: float, lat1: float, lon1: float, count: int) -> F64:
    """``count`` points from the start (included) towards the end (excluded), as lon, lat."""
    if count == 1:
        return np.array([[lon0, lat0]])
    phi, lam = np.radians([lat0, lat1]), np.radians([lon0, lon1])
    a, b = np.column_stack((np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)))
    along = np.arange(count)[:, None] / count
    line = a * (1 - along) + b * along
    out: F64 = np.degrees(
        np.column_stack(
            (np.arctan2(line[:, 1], line[:, 0]), np.arctan2(line[:, 2], np.hypot(*line[:, :2].T)))
        )
    )
    out[0] = (lon0, lat0)
    return out


def _framed(polygons: list[list[F64]]) -> list[F64]:
    """All rings in one longitude frame at most 360° wide, parts that meet at ±180° joined."""
    polygons = [aligned(polygon) for polygon in polygons]
    rings = [ring for polygon in polygons for ring in polygon]
    lon = np.concatenate([ring[:, 0] for ring in rings])
    west, east = lon.min(), lon.max()
    if east - west <= 360.0 and not (len(polygons) > 1 and west <= -180.0 and east >= 180.0):
        return rings
    area = shapely.union_all([shapely.Polygon(rings[0], rings[1:]) for rings in polygons])
    flat = _folded(area, -180.0)
    moved = _folded(flat, 0.0)
    # Whichever frame needs fewer seams is the one the zone was meant in.
    best = moved if _seam_length(moved, 0.0) < _seam_length(flat, -180.0) else flat
    return [shapely.get_coordinates(r) for p in shapely.get_parts(best) for r in _rings(p)]


def aligned(polygon: list[F64]) -> list[F64]:
    """Holes moved by whole turns to lie inside their exterior; the exterior near 0."""
    out: list[F64] = []
    middle = 0.0
    for ring in polygon:
        here = (ring[:, 0].min() + ring[:, 0].max()) / 2
        turn = 360.0 * np.rint((here - middle) / 360.0) if out or abs(here) > 360.0 else 0.0
        out.append(ring - [turn, 0.0] if turn else ring)
        middle = middle if len(out) > 1 else here - turn
    return out


def _folded(area: shapely.Geometry, west: float) -> shapely.Geometry:
    """The area moved by whole turns into [west, west + 360]."""
    parts = []
    for turn in (-2, -1, 0, 1, 2):
        window = shapely.box(west + 360 * turn, -90, west + 360 * (turn + 1), 90)
        part = shapely.intersection(area, window)
        if part.area > 0:
            parts.append(shapely.transform(part, lambda xy, t=turn: xy - [360.0 * t, 0.0]))
    joined = shapely.union_all(parts)
    return shapely.multipolygons([p for p in shapely.get_parts(joined) if p.area > 0])


def _seam_length(area: shapely.Geometry, west: float) -> float:
    seams = shapely.multilinestrings([[[x, -90], [x, 90]] for x in (west, west + 360)])
    return float(shapely.length(shapely.intersection(shapely.boundary(area), seams)))


def _rings(polygon: shapely.Polygon) -> list[shapely.Geometry]:
    return [polygon.exterior, *polygon.interiors]


def _segments(lines: list[F64], *, is_area: bool) -> Outline:
    start = np.concatenate([line[:-1] for line in lines])
    step = np.concatenate([np.diff(line, axis=0) for line in lines])
    moves = (step != 0).any(axis=1)
    if moves.any():  # a line of one repeated position is still a position
        start, step = start[moves], step[moves]
    else:
        start, step = start[:1], step[:1]
    is_edge = _edges(start, step) if is_area else np.ones(len(start), dtype=np.bool_)
    count = np.maximum(np.ceil(np.abs(step).max(axis=1) / MAX_SPAN_DEG), 1).astype(np.int64)
    which = np.repeat(np.arange(len(start)), count)
    nth = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    step = step[which] / count[which, None]
    start = start[which] + step * nth[:, None]
    return Outline(
        np.ascontiguousarray(start[:, 1]),
        np.ascontiguousarray(start[:, 0]),
        np.ascontiguousarray(step[:, 1]),
        np.ascontiguousarray(step[:, 0]),
        is_edge[which],
        is_area,
    )


def _edges(start: F64, step: F64) -> Bools:
    """False for pieces along a pole (a point), and along the seam of a zone all the way round."""
    at_pole = (np.abs(start[:, 1]) == 90.0) & (step[:, 1] == 0)
    west, east = start[:, 0].min(), start[:, 0].max()
    on_seam = (step[:, 0] == 0) & ((start[:, 0] == west) | (start[:, 0] == east))
    all_round = east - west >= 360.0 - 1e-9
    out: Bools = ~(at_pole | (on_seam & all_round))
    return out
