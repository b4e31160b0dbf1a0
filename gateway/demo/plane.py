"""Distances to zones in a local plane: slow, plain, and nobody else's code but shapely's.

The plane touches the earth in the middle of the town; over its kilometre and a half a distance of
100 m is off by a centimetre or two. ``RAZOR_M`` is far more: positions that near to a threshold
prove nothing about either side, and the check leaves them out.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import LineString, MultiPolygon, Polygon

from gateway.demo.world import LAT_M, Document

ORIGIN = (11.5755, 48.1380)  # lon, lat
LON_M = LAT_M * math.cos(math.radians(ORIGIN[1]))
RAZOR_M = 0.25

F64 = NDArray[np.float64]


class Zone(NamedTuple):
    """A geofence in the plane: a centre with a radius, an area, or a line with a buffer."""

    id: str
    tags: set[str]
    shape: Any
    reach_m: float  # radius or buffer; 0 for areas


def zone_of(feature: Document) -> Zone:
    """A geofence in the plane.

    Raises:
        ValueError: a geometry that the town does not use.
    """
    properties, geometry = feature["properties"], feature["geometry"]
    tags, at = set(properties["tags"]), geometry["coordinates"]
    match geometry["type"]:
        case "Point":
            shape: Any = shapely.Point(_flat(at))
            return Zone(feature["id"], tags, shape, float(properties["radius_m"]))
        case "LineString":
            line = LineString([_flat(one) for one in at])
            return Zone(feature["id"], tags, line, float(properties["buffer_m"]))
        case "Polygon":
            return Zone(feature["id"], tags, _polygon(at), 0.0)
        case "MultiPolygon":
            parts = MultiPolygon([_polygon(rings) for rings in at])
            return Zone(feature["id"], tags, parts, 0.0)
    raise ValueError(f"no such geometry in the town: {geometry['type']}")


def scale_m(zone: Zone) -> float:
    """How big a zone is, as the rules of zones mean it."""
    if isinstance(zone.shape, shapely.Point):
        return zone.reach_m
    area = zone.shape.buffer(zone.reach_m) if zone.reach_m else zone.shape
    return float(2 * area.area / area.length)


def distances_m(zones: Sequence[Zone], lon: F64, lat: F64) -> F64:
    """Signed distances to the edges, negative inside: one row a position, one column a zone."""
    points = shapely.points((lon - ORIGIN[0]) * LON_M, (lat - ORIGIN[1]) * LAT_M)
    columns = [_distances_m(zone, points) for zone in zones]
    return np.stack(columns, axis=1)


def is_razor(distances: F64, accuracy_m: F64, rings_m: Sequence[float]) -> NDArray[np.bool_]:
    """Which positions are so near to a threshold of some zone that both sides could be right."""
    accuracy = accuracy_m[:, None]
    razor = np.zeros(len(distances), bool)
    for ring_m in (0.0, *rings_m):
        for threshold in (0 * accuracy, -accuracy, 20 + np.minimum(accuracy, 50)):
            razor |= (np.abs(distances - ring_m - threshold) < RAZOR_M).any(axis=1)
    return razor


def _distances_m(zone: Zone, points: NDArray[np.object_]) -> F64:
    if zone.reach_m:
        found: F64 = shapely.distance(zone.shape, points) - zone.reach_m
        return found
    edge: F64 = shapely.distance(zone.shape.boundary, points)
    return np.where(shapely.contains(zone.shape, points), -edge, edge)


def _polygon(rings: Sequence[Sequence[Sequence[float]]]) -> Polygon:
    outer, *holes = [[_flat(at) for at in ring] for ring in rings]
    return Polygon(outer, holes)


def _flat(at: Sequence[float]) -> tuple[float, float]:
    return (at[0] - ORIGIN[0]) * LON_M, (at[1] - ORIGIN[1]) * LAT_M
