"""Geometries are read exactly, refused with the place and the reason, and written back equal."""

import contextlib
import json
import math
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geo.geojson import parse_geometry, to_geojson
from geo.model import Cells, Circle, Corridor, GeometryError, Polygons

SQUARE = [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]
HOLE = [[0.2, 0.2], [0.2, 0.4], [0.4, 0.4], [0.4, 0.2], [0.2, 0.2]]
BOWTIE = [[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]


def ring(raw):
    return tuple((float(x), float(y)) for x, y in raw)


def polygon(*rings):
    return {"type": "Polygon", "coordinates": list(rings)}


@pytest.mark.parametrize(
    ("doc", "expected"),
    [
        ({"type": "Point", "coordinates": [13.4, 52.5], "radius_m": 50}, Circle(52.5, 13.4, 50.0)),
        ({"type": "Point", "coordinates": [13.4, 52.5, 34], "radius_m": 5}, Circle(52.5, 13.4, 5)),
        (
            {
                "type": "Feature",
                "properties": {"radius_m": 80, "name": "shop"},
                "geometry": {"type": "Point", "coordinates": [13.4, 52.5]},
            },
            Circle(52.5, 13.4, 80.0),
        ),
        (
            {"type": "LineString", "coordinates": [[0, 0], [1, 1]], "buffer_m": 25},
            Corridor(((0.0, 0.0), (1.0, 1.0)), 25.0),
        ),
        (polygon(SQUARE), Polygons(((ring(SQUARE),),))),
        (polygon(SQUARE[::-1]), Polygons(((ring(SQUARE[-2::-1] + SQUARE[-2:-1])[::-1],),))),
        ({"type": "H3", "cells": ["8928308280FFFFF"]}, Cells((0x8928308280FFFFF,))),
        ({"type": "H3", "cells": [0x8928308280FFFFF] * 2}, Cells((0x8928308280FFFFF,))),
    ],
)
def test_reads(doc, expected):
    """Every type, with its size in any of its places."""
    actual = parse_geometry(doc).geometry
    if isinstance(expected, Polygons):
        assert {frozenset(r) for r in expected.polygons[0]} == {
            frozenset(r) for r in actual.polygons[0]
        }
    else:
        assert expected == actual
    assert actual == parse_geometry(json.loads(json.dumps(to_geojson(actual)))).geometry


def test_winding_is_normalised():
    """Exteriors counter-clockwise, holes clockwise, whatever was sent."""
    expected = parse_geometry(polygon(SQUARE, HOLE)).geometry
    other = parse_geometry(polygon(SQUARE[::-1], HOLE[::-1])).geometry
    for geometry in (expected, other):
        outer, hole = geometry.polygons[0]
        assert signed_area(outer) > 0 > signed_area(hole)


def signed_area(points):
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in pairwise(points)) / 2


@pytest.mark.parametrize(
    ("doc", "pointer", "words"),
    [
        ([], "", "object"),
        (None, "", "object"),
        ({"type": "Feature", "geometry": None}, "/geometry", "object"),
        ({"type": "GeometryCollection"}, "/type", "Polygon"),
        ({"type": "Point", "coordinates": [1, 2]}, "/radius_m", "radius_m"),
        ({"type": "Point", "coordinates": [1, 2], "radius_m": 4}, "/radius_m", "5 to 200,000"),
        ({"type": "Point", "coordinates": [1, 2], "radius_m": math.inf}, "/radius_m", "finite"),
        ({"type": "Point", "coordinates": [1, 2], "radius_m": True}, "/radius_m", "number"),
        ({"type": "Point", "coordinates": [1, 2], "radius_m": 10**400}, "/radius_m", "finite"),
        ({"type": "Point", "coordinates": "1,2", "radius_m": 9}, "/coordinates", "longitude"),
        ({"type": "Point", "coordinates": [1], "radius_m": 9}, "/coordinates", "longitude"),
        ({"type": "Point", "coordinates": [52, 113], "radius_m": 9}, "/coordinates/1", "swapped"),
        ({"type": "Point", "coordinates": [400, 1], "radius_m": 9}, "/coordinates/0", "-360..360"),
        ({"type": "LineString", "coordinates": [[0, 0]]}, "/coordinates", "2 positions"),
        ({"type": "LineString", "coordinates": [[0, 0], [0, 0]]}, "/coordinates", "no length"),
        ({"type": "LineString", "coordinates": [[0, 0], [0, 1]]}, "/buffer_m", "buffer_m"),
        (polygon(), "/coordinates", "exterior"),
        (polygon(SQUARE[:3]), "/coordinates/0", "4 positions"),
        (polygon(SQUARE[:4]), "/coordinates/0/3", "not closed"),
        (polygon([*SQUARE[:2], [1, "x"], *SQUARE[3:]]), "/coordinates/0/2/1", "number"),
        (polygon([*SQUARE[:2], [1, math.nan], *SQUARE[3:]]), "/coordinates/0/2/1", "finite"),
        (polygon([[0, 0], [1, 0], [2, 0], [0, 0]]), "/coordinates/0", "zero area"),
        (polygon(BOWTIE), "/coordinates/0/", "Self-intersection"),
        (polygon(SQUARE, [[5, 5], [5, 6], [6, 6], [5, 5]]), "/coordinates/1/", "Hole"),
        (
            polygon([[179, 0], [-179, 0], [-179, 1], [179, 1], [179, 0]]),
            "/coordinates/0/1",
            "longitude 181 here",
        ),
        (
            {"type": "MultiPolygon", "coordinates": [[SQUARE], [SQUARE]]},
            "/coordinates/1",
            "overlaps polygon 0",
        ),
        ({"type": "MultiPolygon", "coordinates": []}, "/coordinates", "at least one"),
        ({"type": "H3", "cells": []}, "/cells", "1 to 10,000"),
        ({"type": "H3", "cells": ["zz"]}, "/cells/0", "not an H3 cell"),
        ({"type": "H3", "cells": ["8001fffffffffff", "8928308280fffff"]}, "/cells", "mixed"),
    ],
)
def test_refuses_with_place_and_reason(doc, pointer, words):
    """The JSON pointer leads to the value; inside a Feature it starts at /geometry."""
    with pytest.raises(GeometryError) as caught:
        parse_geometry(doc)
    assert caught.value.pointer.startswith(pointer)
    assert words in caught.value.detail
    if isinstance(doc, dict) and doc.get("type") not in {"Feature", None}:
        with pytest.raises(GeometryError) as caught:
            parse_geometry({"type": "Feature", "properties": None, "geometry": doc})
        assert caught.value.pointer.startswith(("/geometry" + pointer, pointer))


@pytest.mark.parametrize(
    ("doc", "parts", "words"),
    [
        (polygon(BOWTIE), 2, "Self-intersection"),
        (polygon(SQUARE[:4]), 1, "closed the ring"),
        (polygon([[179, 0], [-179, 0], [-179, 1], [179, 1], [179, 0]]), 1, "short way"),
        (
            {
                "type": "MultiPolygon",
                "coordinates": [[SQUARE], [[[x + 0.5, y] for x, y in SQUARE]]],
            },
            1,
            "joined with polygon 0",
        ),
    ],
)
def test_repair_says_what_it_did(doc, parts, words):
    """And its result needs no repair."""
    geometry, repairs = parse_geometry(doc, repair=True)
    assert parts == len(geometry.polygons)
    assert words in " ".join(repairs)
    assert (geometry, ()) == parse_geometry(to_geojson(geometry))


def test_a_ring_around_a_pole_is_closed_over_it():
    """A ring that comes back one turn later encloses the pole on its side."""
    doc = polygon([[0, 70], [90, 70], [180, 70], [270, 70], [360, 70]])
    geometry = parse_geometry(doc).geometry
    assert (360.0, 90.0) in geometry.polygons[0][0]
    assert geometry == parse_geometry(to_geojson(geometry)).geometry


@pytest.mark.parametrize(
    "bomb",
    [
        polygon([[0, 0]] * 10_000_000),
        {"type": "MultiPolygon", "coordinates": [[[]]] * 1_000_000},
        {"type": "LineString", "coordinates": [[0, 0]] * 1_000_000, "buffer_m": 5},
        {"type": "H3", "cells": ["8928308280fffff"] * 1_000_000},
        polygon([[[[[[[[[[]]]]]]]]]]),
    ],
    ids=["vertices", "polygons", "line", "cells", "nesting"],
)
def test_bombs_are_refused_by_count(bomb):
    """Before anything is built."""
    start = time.perf_counter()
    with pytest.raises(GeometryError):
        parse_geometry(bomb)
    assert time.perf_counter() - start < 1.0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=20,
)
TYPES = st.sampled_from(["Point", "LineString", "Polygon", "MultiPolygon", "H3", "Feature", 3])


@given(
    st.fixed_dictionaries({"type": TYPES, "coordinates": JSON, "cells": JSON}), JSON, st.booleans()
)
@settings(max_examples=150, deadline=None)
def test_anything_is_a_geometry_or_a_geometry_error(doc, size, repair):
    """No other exception, whatever the JSON."""
    with contextlib.suppress(GeometryError):
        geometry = parse_geometry(doc, size, size, repair=repair).geometry
        assert (geometry, ()) == parse_geometry(to_geojson(geometry))


COORDINATE = st.tuples(
    st.floats(-170, 170, allow_nan=False).map(lambda v: round(v, 3)),
    st.floats(-80, 80, allow_nan=False).map(lambda v: round(v, 3)),
)


@given(st.lists(COORDINATE, min_size=3, max_size=7))
@settings(max_examples=100, deadline=None)
def test_repaired_rings_are_valid_geometries(points):
    """Whatever is drawn: refused for having no area, or repaired to something accepted as is."""
    try:
        geometry = parse_geometry(polygon([*points, points[0]]), repair=True).geometry
    except GeometryError as error:
        refused = str(error)
    else:
        refused = ""
        assert geometry == parse_geometry(to_geojson(geometry)).geometry
    assert "area" in refused or "spans" in refused or not refused
