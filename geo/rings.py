"""Are rings an area? Winding, self-intersection, zero area, overlap of parts; and repair."""

import re

import numpy as np
import shapely

from geo.measure import area_m2
from geo.model import MAX_VERTICES, GeometryError, Polygons, Position, Ring
from geo.outline import aligned, closed_over_pole

Parts = list[tuple[str, list[tuple[Position, ...]]]]  # JSON pointer, rings
LEAST_AREA_M2 = 1.0
_PLACE = re.compile(r"\[([-\d.e+]+) ([-\d.e+]+)\]")


def checked_polygons(
    parts: Parts, pointer: str, *, repair: bool
) -> tuple[tuple[tuple[Ring, ...], ...], list[str]]:
    """Polygons with exteriors counter-clockwise and holes clockwise, and what was repaired.

    Args:
        parts: closed rings of each polygon, with the pointer of the polygon.
        pointer: of all the coordinates.
        repair: resolve what would else be refused.

    Raises:
        GeometryError: self-intersection, zero area, holes outside, or overlapping parts.
    """
    repairs: list[str] = []
    shapes = [_shape(at, rings, repairs, repair=repair) for at, rings in parts]
    if len(shapes) > 1:
        shapes = _disjoint(shapes, pointer, repairs, repair=repair)
    polygons = [part for shape in shapes for part in shapely.get_parts(shape)]
    result = tuple(_rings(shapely.orient_polygons(part)) for part in polygons)
    if sum(len(ring) for polygon in result for ring in polygon) > 2 * MAX_VERTICES:
        raise GeometryError(pointer, f"repaired to more than {2 * MAX_VERTICES:,} vertices")
    if not result or area_m2(Polygons(result)) < LEAST_AREA_M2:
        raise GeometryError(pointer, "the area is zero (less than 1 m²)")
    return result, repairs


def _shape(
    at: str, rings: list[tuple[Position, ...]], repairs: list[str], *, repair: bool
) -> shapely.Geometry:
    arrays = aligned([closed_over_pole(np.asarray(ring, dtype=np.float64)) for ring in rings])
    shape = shapely.Polygon(arrays[0], arrays[1:])
    if shapely.is_valid(shape):
        return shape
    found, detail = _what_is_wrong(at, arrays, shape)
    if not repair:
        raise GeometryError(found, f"{detail}; fix it, or ask for repair")
    repairs.append(f"{found}: resolved: {detail}")
    fixed = shapely.make_valid(shape)
    areas = [p for p in shapely.get_parts(shapely.get_parts(fixed)) if p.geom_type == "Polygon"]
    return shapely.union_all(areas)


def _what_is_wrong(
    at: str, arrays: list[np.ndarray[tuple[int, int], np.dtype[np.float64]]], shape: shapely.Polygon
) -> tuple[str, str]:
    """The pointer of the ring (and vertex, where one is named), and the reason in words."""
    for i, ring in enumerate(arrays):
        if shapely.MultiPoint(ring).convex_hull.area == 0:
            return f"{at}/{i}", "the ring has zero area"
        reason = shapely.is_valid_reason(shapely.Polygon(ring))
        if reason != "Valid Geometry":
            return _vertex(f"{at}/{i}", ring, reason)
    reason = shapely.is_valid_reason(shape)
    hole = max(len(arrays) - 1, 1)
    for i, ring in enumerate(arrays[1:], start=1):
        if not shapely.is_valid(shapely.Polygon(arrays[0], [ring])):
            hole = i
            break
    return _vertex(f"{at}/{hole}", arrays[min(hole, len(arrays) - 1)], reason)


def _vertex(
    pointer: str, ring: np.ndarray[tuple[int, int], np.dtype[np.float64]], reason: str
) -> tuple[str, str]:
    words = _PLACE.sub("", reason).strip()
    place = _PLACE.search(reason)
    if place is None:
        return pointer, words
    lon, lat = float(place[1]), float(place[2])
    nearest = int(np.hypot(ring[:, 0] - lon, ring[:, 1] - lat).argmin())
    return f"{pointer}/{nearest}", f"{words} near [{lon:g}, {lat:g}]"


def _disjoint(
    shapes: list[shapely.Geometry], pointer: str, repairs: list[str], *, repair: bool
) -> list[shapely.Geometry]:
    """Parts that only touch are joined along common edges; parts that overlap are not allowed."""
    left, right = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    pairs = [(i, j) for i, j in zip(left.tolist(), right.tolist(), strict=True) if i < j]
    touching = False
    for i, j in pairs:
        common = shapely.intersection(shapes[i], shapes[j])
        touching |= common.length > 0
        if common.area <= 1e-9 * min(shapes[i].area, shapes[j].area):
            continue
        if not repair:
            raise GeometryError(
                f"{pointer}/{j}", f"overlaps polygon {i}; join them, or ask for repair"
            )
        repairs.append(f"{pointer}/{j}: joined with polygon {i}, which it overlaps")
    return [shapely.union_all(shapes)] if touching else shapes


def _rings(polygon: shapely.Polygon) -> tuple[Ring, ...]:
    rings = [polygon.exterior, *polygon.interiors]
    return tuple(
        tuple((lon, lat) for lon, lat in shapely.get_coordinates(ring).tolist()) for ring in rings
    )
