"""GeoJSON (RFC 7946) to geometries and back.

Beside the standard's types, a Point with ``radius_m`` is a circle, a LineString with ``buffer_m``
a corridor, and ``{"type": "H3", "cells": [...]}`` a set of cells. Everything is counted before
anything is built, so a hostile document costs no more than reading it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import h3

from geo.model import (
    MAX_CELLS,
    MAX_RADIUS_M,
    MAX_VERTICES,
    MIN_RADIUS_M,
    Cells,
    Circle,
    Corridor,
    Geometry,
    GeometryError,
    Polygons,
    Position,
)
from geo.rings import Parts, checked_polygons

TYPES = "Point with radius_m, Polygon, MultiPolygon, LineString with buffer_m, or H3"
MIN_BUFFER_M = 1.0


class Parsed(NamedTuple):
    """A geometry, and in words what had to be repaired (empty unless repair was asked)."""

    geometry: Geometry
    repairs: tuple[str, ...]


def parse_geometry(
    obj: object,
    radius_m: object = None,
    buffer_m: object = None,
    *,
    repair: bool = False,
) -> Parsed:
    """Reads a GeoJSON Feature or a bare geometry.

    Args:
        obj: the decoded JSON.
        radius_m: of a Point; else taken from the Feature's properties or the geometry itself.
        buffer_m: of a LineString; likewise.
        repair: join open rings, take the short way over ±180, and resolve self-intersections
            instead of refusing them.

    Raises:
        GeometryError: with the JSON pointer of the value that is wrong, and why.
    """
    where, sizes = "", {"radius_m": (radius_m, "/radius_m"), "buffer_m": (buffer_m, "/buffer_m")}
    doc = _object(obj, "")
    if doc.get("type") == "Feature":
        properties = doc.get("properties") or {}
        sizes = {name: _size(doc, properties, name, given) for name, given in sizes.items()}
        where, doc = "/geometry", _object(doc.get("geometry"), "/geometry")
    kind = doc.get("type")
    for name, (value, pointer) in sizes.items():
        if value is None and name in doc:
            sizes[name] = (doc[name], f"{where}/{name}")
        else:
            sizes[name] = (value, pointer)
    if kind == "Point":
        return Parsed(_circle(doc, where, *sizes["radius_m"]), ())
    if kind == "LineString":
        return _corridor(doc, where, *sizes["buffer_m"], repair=repair)
    if kind in {"Polygon", "MultiPolygon"}:
        return _polygons(doc, where, repair=repair)
    if kind == "H3":
        return Parsed(_cells(doc, where), ())
    raise GeometryError(f"{where}/type", f"{kind!r} is no geometry of a zone; use {TYPES}")


def to_geojson(geometry: Geometry) -> dict[str, Any]:
    """The geometry as a GeoJSON object that ``parse_geometry`` reads back as an equal one."""
    if isinstance(geometry, Circle):
        position = [geometry.lon, geometry.lat]
        return {"type": "Point", "coordinates": position, "radius_m": geometry.radius_m}
    if isinstance(geometry, Corridor):
        line = [list(position) for position in geometry.line]
        return {"type": "LineString", "coordinates": line, "buffer_m": geometry.buffer_m}
    if isinstance(geometry, Cells):
        return {"type": "H3", "cells": [h3.int_to_str(cell) for cell in geometry.cells]}
    parts = [
        [[list(position) for position in ring] for ring in polygon] for polygon in geometry.polygons
    ]
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": parts[0]}
    return {"type": "MultiPolygon", "coordinates": parts}


def _size(
    doc: Mapping[str, Any], properties: object, name: str, given: tuple[object, str]
) -> tuple[object, str]:
    if given[0] is not None:
        return given
    if isinstance(properties, Mapping) and name in properties:
        return properties[name], f"/properties/{name}"
    return doc.get(name), f"/{name}"


def _circle(doc: Mapping[str, Any], where: str, radius_m: object, pointer: str) -> Circle:
    lon, lat = _position(doc.get("coordinates"), f"{where}/coordinates")
    if radius_m is None:
        raise GeometryError(pointer, "a Point needs radius_m to be a circle")
    return Circle(lat, lon, _metres(radius_m, pointer, MIN_RADIUS_M, MAX_RADIUS_M))


def _corridor(
    doc: Mapping[str, Any], where: str, buffer_m: object, pointer: str, *, repair: bool
) -> Parsed:
    line, repairs = _positions(doc.get("coordinates"), f"{where}/coordinates", 2, repair=repair)
    if len(set(line)) < 2:
        raise GeometryError(f"{where}/coordinates", "the line has no length")
    if buffer_m is None:
        raise GeometryError(pointer, "a LineString needs buffer_m to be a corridor")
    size = _metres(buffer_m, pointer, MIN_BUFFER_M, MAX_RADIUS_M)
    return Parsed(Corridor(line, size), tuple(repairs))


def _polygons(doc: Mapping[str, Any], where: str, *, repair: bool) -> Parsed:
    pointer = f"{where}/coordinates"
    raw = _array(doc.get("coordinates"), pointer)
    is_multi = doc["type"] == "MultiPolygon"
    polygons = raw if is_multi else [raw]
    if not polygons:
        raise GeometryError(pointer, "a MultiPolygon needs at least one polygon")
    _count(polygons, pointer, is_multi=is_multi)
    parts: Parts = []
    repairs: list[str] = []
    for i, polygon in enumerate(polygons):
        at = f"{pointer}/{i}" if is_multi else pointer
        if not polygon:
            raise GeometryError(at, "a polygon needs an exterior ring")
        rings = []
        for j, ring in enumerate(polygon):
            positions, done = _positions(ring, f"{at}/{j}", 4, repair=repair, closed=True)
            rings.append(positions)
            repairs += done
        parts.append((at, rings))
    checked, done = checked_polygons(parts, pointer, repair=repair)
    return Parsed(Polygons(checked), (*repairs, *done))


def _count(polygons: Sequence[object], pointer: str, *, is_multi: bool) -> None:
    """Refuses too many vertices before any of them is looked at."""
    total = 0
    for i, polygon in enumerate(polygons):
        at = f"{pointer}/{i}" if is_multi else pointer
        for j, ring in enumerate(_array(polygon, at)):
            total += max(len(_array(ring, f"{at}/{j}")), 1)
            if total > MAX_VERTICES:
                raise GeometryError(
                    pointer, f"more than {MAX_VERTICES:,} vertices; simplify the outline"
                )


def _positions(
    raw: object, pointer: str, least: int, *, repair: bool, closed: bool = False
) -> tuple[tuple[Position, ...], list[str]]:
    """Positions of a line or a closed ring, and what was repaired."""
    items = _array(raw, pointer)
    repairs = []
    if len(items) > MAX_VERTICES:
        raise GeometryError(pointer, f"more than {MAX_VERTICES:,} vertices; simplify the line")
    line = [_position(item, f"{pointer}/{i}") for i, item in enumerate(items)]
    if repair and closed and len(line) >= least - 1 and not _is_closed(line):
        line.append(line[0])
        repairs.append(f"{pointer}: closed the ring")
    if len(line) < least:
        what = "ring" if closed else "line"
        raise GeometryError(pointer, f"a {what} needs {least} positions or more, not {len(line)}")
    if closed and not _is_closed(line):
        raise GeometryError(
            f"{pointer}/{len(line) - 1}",
            f"the ring is not closed: it must end where it starts, at {list(line[0])}",
        )
    return _near_home(_short_way(line, pointer, repairs, repair=repair), pointer), repairs


def _near_home(line: list[Position], pointer: str) -> tuple[Position, ...]:
    """The line moved by whole turns into -360..360; refuses what winds around more than once."""
    west, east = min(lon for lon, _ in line), max(lon for lon, _ in line)
    if east - west > 360.0 + 1e-9:
        raise GeometryError(pointer, f"spans {east - west:g}° of longitude; 360 is the whole way")
    turn = 360.0 * round((west + east) / 720.0) if west < -360.0 or east > 360.0 else 0.0
    return tuple((lon - turn, lat) for lon, lat in line) if turn else tuple(line)


def _is_closed(line: Sequence[Position]) -> bool:
    """Whether a ring ends where it starts, or one whole turn away (around a pole)."""
    turn = abs(line[0][0] - line[-1][0])
    return line[0][1] == line[-1][1] and (turn == 0 or abs(turn - 360) < 1e-9)


def _short_way(
    line: list[Position], pointer: str, repairs: list[str], *, repair: bool
) -> list[Position]:
    """Refuses steps of more than half a turn, or continues them past 180."""
    for i in range(1, len(line)):
        step = line[i][0] - line[i - 1][0]
        if not 180.0 < abs(step) < 360.0:
            continue
        if not repair:
            over = line[i][0] - math.copysign(360.0, step)
            raise GeometryError(
                f"{pointer}/{i}",
                f"an edge spans {abs(step):g}° of longitude; to cross ±180° split the geometry "
                f"there (RFC 7946 section 3.1.9) or run past it (longitude {over:g} here); to go "
                "the long way add a position in between",
            )
        repairs.append(f"{pointer}/{i}: took the short way across ±180°")
        turn = math.copysign(360.0, step)
        line = [*line[:i], *((lon - turn, lat) for lon, lat in line[i:])]
    return line


def _position(raw: object, pointer: str) -> Position:
    if not isinstance(raw, Sequence) or isinstance(raw, str) or len(raw) < 2:
        raise GeometryError(pointer, "a position is [longitude, latitude] in degrees")
    lon, lat = _number(raw[0], f"{pointer}/0"), _number(raw[1], f"{pointer}/1")
    if not -90.0 <= lat <= 90.0:
        swapped = abs(lon) <= 90.0 and abs(lat) <= 180.0
        hint = "; GeoJSON writes [longitude, latitude], are they swapped?" if swapped else ""
        raise GeometryError(f"{pointer}/1", f"latitude {lat:g} is outside -90..90{hint}")
    if not -360.0 <= lon <= 360.0:
        raise GeometryError(f"{pointer}/0", f"longitude {lon:g} is outside -360..360")
    return lon, lat


def _number(raw: object, pointer: str) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        raise GeometryError(pointer, f"must be a number, not {type(raw).__name__}")
    try:
        value = float(raw)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise GeometryError(pointer, f"must be finite, not {value}")
    return value


def _metres(raw: object, pointer: str, least: float, most: float) -> float:
    value = _number(raw, pointer)
    if not least <= value <= most:
        raise GeometryError(pointer, f"must be {least:g} to {most:,.0f} metres, not {value:g}")
    return value


def _cells(doc: Mapping[str, Any], where: str) -> Cells:
    pointer = f"{where}/cells"
    raw = _array(doc.get("cells"), pointer)
    if not 0 < len(raw) <= MAX_CELLS:
        raise GeometryError(pointer, f"needs 1 to {MAX_CELLS:,} cells, not {len(raw):,}")
    cells = {_cell(item, f"{pointer}/{i}") for i, item in enumerate(raw)}
    finest = max(h3.get_resolution(cell) for cell in cells)
    total = sum(h3.cell_to_children_size(cell, finest) for cell in cells)
    if total > MAX_CELLS:
        raise GeometryError(
            pointer, f"cells of mixed resolution are {total:,} at the finest; at most {MAX_CELLS:,}"
        )
    same = set(h3.uncompact_cells(cells, finest))
    return Cells(tuple(sorted(h3.str_to_int(cell) for cell in same)))


def _cell(raw: object, pointer: str) -> str:
    text = h3.int_to_str(raw) if isinstance(raw, int) and 0 < raw < 2**63 else raw
    if not isinstance(text, str) or len(text) > 16 or not h3.is_valid_cell(text):
        raise GeometryError(pointer, f"{str(raw)[:40]!r} is not an H3 cell")
    return text.lower()


def _object(raw: object, pointer: str) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise GeometryError(pointer, f"must be a GeoJSON object, not {type(raw).__name__}")
    return raw


def _array(raw: object, pointer: str) -> Sequence[Any]:
    if not isinstance(raw, Sequence) or isinstance(raw, str | bytes):
        raise GeometryError(pointer, f"must be an array, not {type(raw).__name__}")
    return raw
