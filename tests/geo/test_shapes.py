"""Signed distances to outlines stay within their stated error of geodesic references."""

from itertools import pairwise

import numpy as np
import pyproj
import pytest

from geo.measure import EARTH_RADIUS_M, area_m2, distance_m, perimeter_m, scale_m
from geo.model import Cells, Circle, Corridor, Polygons
from geo.shapes import join, pack, shape_of, take

SPHERE = pyproj.Geod(a=EARTH_RADIUS_M, b=EARTH_RADIUS_M)
WGS84 = pyproj.Geod(ellps="WGS84")


def box(south, west, north, east, steps=4):
    x, y = np.linspace(west, east, steps), np.linspace(south, north, steps)
    ring = [
        *((float(v), south) for v in x),
        *((east, float(v)) for v in y[1:]),
        *((float(v), north) for v in x[::-1][1:]),
        *((west, float(v)) for v in y[::-1][1:]),
    ]
    return Polygons(((tuple(ring),),))


def dense_edge(geometry, count=5_000):
    ring = np.array(geometry.polygons[0][0])
    per = count // (len(ring) - 1)
    t = np.arange(per) / per
    return np.concatenate([a + t[:, None] * (b - a) for a, b in pairwise(ring)])


@pytest.mark.parametrize("lat", [0.0, 35.0, 60.0, 75.0])
@pytest.mark.parametrize(
    ("size_deg", "away_deg", "bound"),
    [(0.01, 0.02, 1e-3), (0.5, 0.8, 1e-3), (4.0, 4.0, 1e-2), (10.0, 8.0, 1e-2)],
)
def test_distance_is_within_its_bound_of_the_geodesic(lat, size_deg, away_deg, bound):
    """0.1 % up to about 100 km, 1 % up to about 1,000 km on the sphere; 0.6 % more on WGS 84."""
    rng = np.random.default_rng(int(lat + size_deg * 100))
    geometry = box(lat - size_deg, 20 - size_deg, lat + size_deg, 20 + size_deg)
    lats = lat + rng.uniform(-1, 1, 30) * (size_deg + away_deg)
    lons = 20 + rng.uniform(-1, 1, 30) * (size_deg + away_deg)
    lats = np.clip(lats, -89, 89)
    edge = dense_edge(geometry)
    shapes = pack([shape_of(geometry)])
    actual = np.abs(shapes.signed_distance(np.zeros(30, dtype=np.int64), lats, lons))
    for geod, slack in ((SPHERE, bound), (WGS84, bound + 6e-3)):
        _, _, away = geod.inv(
            np.repeat(lons, len(edge)),
            np.repeat(lats, len(edge)),
            np.tile(edge[:, 0], 30),
            np.tile(edge[:, 1], 30),
        )
        expected = np.asarray(away).reshape(30, -1).min(axis=1)
        spacing = size_deg * 8 * 111_195 / len(edge)
        assert (np.abs(actual - expected) <= slack * expected + spacing).all()


def test_circle_distances_agree_with_pyproj():
    """Haversine to rounding on the sphere, within 0.56 % on WGS 84."""
    rng = np.random.default_rng(1)
    lat0, lat1 = rng.uniform(-90, 90, (2, 2000))
    lon0, lon1 = rng.uniform(-180, 180, (2, 2000))
    actual = distance_m(lat0, lon0, lat1, lon1)
    for geod, slack in ((SPHERE, 1e-9), (WGS84, 5.7e-3)):
        _, _, expected = geod.inv(lon0, lat0, lon1, lat1)
        assert (np.abs(actual - expected) <= slack * np.asarray(expected) + 1e-3).all()


def test_a_point_on_a_vertex_or_edge_is_at_zero():
    """So the boundary counts as inside."""
    geometry = box(10.0, 20.0, 11.0, 21.0)
    shapes = pack([shape_of(geometry)])
    lat, lon = np.array([10.0, 11.0, 10.0, 10.5]), np.array([20.0, 21.0, 20.25, 21.0])
    assert [0.0] * 4 == np.abs(shapes.signed_distance(np.zeros(4, np.int64), lat, lon)).tolist()


def test_joining_and_taking_keep_every_answer():
    """Packed arrays can be cut apart and put together in another order."""
    rng = np.random.default_rng(2)
    shapes = pack(
        [
            shape_of(g)
            for g in (
                box(0.0, 0.0, 1.0, 1.0, 30),
                Corridor(((0.0, 0.0), (2.0, 1.0), (1.0, 3.0)), 900.0),
                box(-2.0, -2.0, 2.0, 2.0, 300),
            )
        ]
    )
    mixed = join([take(shapes, np.array([2, 0])), take(shapes, np.array([1]))])
    lat, lon = rng.uniform(-3, 3, (2, 300))
    which = rng.integers(0, 3, 300)
    moved = np.array([1, 2, 0])[which]
    expected = shapes.signed_distance(which, lat, lon)
    assert expected.tolist() == mixed.signed_distance(moved, lat, lon).tolist()


@pytest.mark.parametrize(
    ("geometry", "area", "perimeter"),
    [
        (Circle(50.0, 8.0, 1000.0), np.pi * 1e6, 2 * np.pi * 1000),
        (box(60.0, 10.0, 61.0, 11.0), None, None),
        (Corridor(((0.0, 0.0), (1.0, 0.0)), 100.0), 200 * 111_195 + np.pi * 1e4, None),
        (Cells((0x8928308280FFFFF,)), 105_332 * 1.0, None),
        (box(-90.0, -180.0, 90.0, 180.0, 9), 4 * np.pi * EARTH_RADIUS_M**2, 0.0),
    ],
)
def test_area_and_perimeter(geometry, area, perimeter):
    """On the sphere; edges of rings are straight in lon/lat, seams and poles have no length."""
    if area is None:
        sines = np.sin(np.radians(61)) - np.sin(np.radians(60))
        area = EARTH_RADIUS_M**2 * np.radians(1) * sines
    tolerance = 0.2 if isinstance(geometry, Cells) else 1e-4
    assert area == pytest.approx(area_m2(geometry), rel=tolerance)
    if perimeter is not None:
        assert perimeter == pytest.approx(perimeter_m(geometry), rel=1e-4)


def test_scale_is_what_a_visitor_feels():
    """The radius of a circle; about the half width of a long corridor or narrow box."""
    assert 50.0 == scale_m(Circle(0.0, 0.0, 50.0))
    assert 100.0 == pytest.approx(scale_m(Corridor(((0.0, 0.0), (1.0, 0.0)), 100.0)) / 2, rel=0.01)
    assert 1e-3 * 111_195 == pytest.approx(scale_m(box(0.0, 0.0, 1e-3, 1.0)), rel=0.01)
