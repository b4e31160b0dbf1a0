"""The fence index answers as an obvious, slow reference would, anywhere, however edited."""

import threading
from itertools import pairwise

import h3
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geo.index import FenceIndex
from geo.measure import distance_m
from geo.model import Cells, Circle, Corridor, Polygons, Zone

BLUR_M = 0.01  # closer to an edge than this, the reference itself is not exact
PLACES = [(0.0, 0.0), (52.5, 13.4), (-16.8, 179.98), (64.7, 10.5), (-77.0, -179.9), (88.9, 40.0)]


def star(rng, lat, lon, radius_m, vertices):
    """A star-shaped ring around a point, so that it never crosses itself."""
    angles = np.linspace(0, 2 * np.pi, vertices, endpoint=False) + rng.uniform(0, 0.3 / vertices)
    r = radius_m * rng.uniform(0.4, 1.0, vertices)
    lats = lat + np.degrees(r * np.sin(angles) / 6_371_008.8)
    lons = lon + np.degrees(r * np.cos(angles) / 6_371_008.8) / np.cos(np.radians(lat))
    ring = [*zip(lons.tolist(), lats.tolist(), strict=True)]
    return (*ring, ring[0])


def random_geometry(rng, lat, lon):
    radius_m = float(np.exp(rng.uniform(np.log(8), np.log(20_000))))
    lat += rng.normal(0, 0.05)
    lat = float(np.clip(lat, -89.5, 89.5))
    lon = float(lon + rng.normal(0, 0.05) / np.cos(np.radians(lat)))
    kind = rng.integers(5)
    if kind == 0:
        return Circle(lat, lon, radius_m)
    if kind == 1:
        line = star(rng, lat, lon, radius_m, int(rng.integers(3, 8)))[:-1]
        return Corridor(line, max(radius_m / 20, 1.0))
    if kind == 2:
        cell = h3.latlng_to_cell(lat, (lon + 180) % 360 - 180, int(rng.integers(5, 11)))
        cells = h3.grid_disk(cell, int(rng.integers(0, 3)))
        return Cells(tuple(sorted(map(h3.str_to_int, cells))))
    outer = star(rng, lat, lon, radius_m, int(rng.integers(3, 60)))
    hole = star(rng, lat, lon, radius_m * 0.15, int(rng.integers(4, 9)))[::-1]
    rings = (outer, hole) if kind == 3 and len(outer) > 12 else (outer,)
    return Polygons((rings,))


def edge_lines(geometry):
    """Boundary lines of a geometry as lon/lat arrays, independently of the code under test."""
    if isinstance(geometry, Corridor):
        return [np.array(geometry.line)]
    if isinstance(geometry, Cells):
        shape = h3.cells_to_h3shape([h3.int_to_str(c) for c in geometry.cells], tight=False)
        out = []
        for polygon in shape:
            for ring in (polygon.outer, *polygon.holes):
                line = np.array([*ring, ring[0]])[:, ::-1].copy()
                line[:, 0] = np.degrees(np.unwrap(np.radians(line[:, 0])))
                out.append(line)
        return out
    return [np.array(ring) for polygon in geometry.polygons for ring in polygon]


def reference(geometry, lat, lon):
    """Signed distances by brute force: dense samples of every edge, shapely for inside."""
    if isinstance(geometry, Circle):
        return distance_m(lat, lon, geometry.lat, geometry.lon) - geometry.radius_m
    best = np.full(len(lat), np.inf)
    for line in edge_lines(geometry):
        for a, b in pairwise(line):
            low, high = np.zeros(len(lat)), np.ones(len(lat))
            for _ in range(7):  # narrow to the best of 17 samples, again and again
                t = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, 17)
                d = distance_m(
                    lat[:, None], lon[:, None], a[1] + t * (b[1] - a[1]), a[0] + t * (b[0] - a[0])
                )
                at = t[np.arange(len(lat)), d.argmin(axis=1)]
                step = (high - low) / 16
                low, high = np.maximum(at - step, 0), np.minimum(at + step, 1)
            best = np.minimum(best, d.min(axis=1))
    if isinstance(geometry, Corridor):
        return best - geometry.buffer_m
    inside = np.zeros(len(lat), dtype=bool)
    rings = edge_lines(geometry)
    for turn in (-360, 0, 360):
        parity = np.zeros(len(lat), dtype=bool)
        for ring in rings:
            moved = ring.copy()
            middle = np.rint((ring[:, 0].mean() - rings[0][:, 0].mean()) / 360) * 360
            moved[:, 0] -= middle
            parity ^= shapely.intersects_xy(shapely.Polygon(moved), lon + turn, lat)
        inside |= parity
    return np.where(inside, -best, best)


def points_of_interest(rng, geometries, count):
    """Points around zones: near centres and edges, on vertices, on cell corners; lon in ±180."""
    points = []
    for _ in range(count):
        geometry = geometries[rng.integers(len(geometries))]
        if isinstance(geometry, Circle):
            angle, r = rng.uniform(0, 2 * np.pi), geometry.radius_m + rng.normal(0, 1)
            r = r if rng.random() < 0.5 else rng.uniform(0, 2) * geometry.radius_m
            lat = geometry.lat + np.degrees(r * np.sin(angle) / 6_371_008.8)
            lon = geometry.lon + np.degrees(r * np.cos(angle) / 6_371_008.8) / max(
                np.cos(np.radians(geometry.lat)), 1e-6
            )
        else:
            lines = edge_lines(geometry)
            line = lines[rng.integers(len(lines))]
            at = rng.integers(len(line) - 1)
            lon, lat = line[at] + (line[at + 1] - line[at]) * rng.choice([0.0, rng.random()])
            spread = rng.choice([0.0, 1e-5, 1e-3, 0.05])
            lat, lon = lat + rng.normal(0, 1) * spread, lon + rng.normal(0, 1) * spread
        if rng.random() < 0.1:
            wrapped = (lon + 180) % 360 - 180
            cell = h3.latlng_to_cell(
                float(np.clip(lat, -90, 90)), wrapped, int(rng.integers(4, 13))
            )
            lat, lon = h3.cell_to_boundary(cell)[0]
        points.append((np.clip(lat, -90, 90), (lon + 180) % 360 - 180))
    return np.array(points).T


def world(seed, size=12):
    rng = np.random.default_rng(seed)
    lat, lon = PLACES[seed % len(PLACES)]
    geometries = [random_geometry(rng, lat, lon) for _ in range(size)]
    keys = rng.integers(0, 2**64, size, dtype=np.uint64)
    reaches = rng.choice([0.0, 0.0, 25.0, 3000.0], size)
    zones = [
        Zone(int(key), geometry, float(reach))
        for key, geometry, reach in zip(keys, geometries, reaches, strict=True)
    ]
    return rng, zones


def cell_sagitta_m(cells):
    """Edges of cells are great circles, those of the reference straight in lon/lat."""
    cell = h3.int_to_str(cells.cells[0])
    edge_m = 1.3 * h3.average_hexagon_edge_length(h3.get_resolution(cell), "m")
    steep = np.tan(np.radians(min(abs(h3.cell_to_latlng(cell)[0]) + 0.1, 89.5)))
    return edge_m**2 * max(steep, 0.1) / (8 * 6_371_008.8) + 0.01


def check_against_reference(index, zones, lat, lon):
    hits = index.locate(lat, lon)
    found = {
        (int(p), int(k)): float(d)
        for p, k, d in zip(hits.point, hits.key, hits.distance_m, strict=True)
    }
    assert len(found) == len(hits.point)
    order = np.lexsort((hits.key, hits.point))
    assert (order == np.arange(len(order))).all()
    for zone in zones:
        expected = reference(zone.geometry, lat, lon)
        blur = BLUR_M + 0.002 * np.abs(expected)
        if isinstance(zone.geometry, Cells):
            blur = blur + cell_sagitta_m(zone.geometry)
        for i in range(len(lat)):
            actual = found.pop((i, zone.key), None)
            if actual is None:
                assert expected[i] > zone.reach_m - blur[i], (zone, lat[i], lon[i])
            else:
                assert actual <= zone.reach_m
                assert expected[i] == pytest.approx(actual, abs=blur[i]), (zone, lat[i], lon[i])
    assert not found


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_every_answer_is_that_of_brute_force(seed):
    """All geometries, at the antimeridian, near a pole, near a pentagon, on edges and vertices."""
    rng, zones = world(seed)
    lat, lon = points_of_interest(rng, [zone.geometry for zone in zones], 60)
    check_against_reference(FenceIndex.build(zones), zones, lat, lon)


@given(st.integers(0, 10**6), st.sampled_from([180.0, -166.6, 360.0, 37.123]))
@settings(max_examples=25, deadline=None)
def test_turning_the_globe_changes_no_answer(seed, turn):
    """Zones and points moved together across ±180° meet as before."""
    rng, zones = world(seed)
    zones = [zone for zone in zones if not isinstance(zone.geometry, Cells)]
    lat, lon = points_of_interest(rng, [zone.geometry for zone in zones], 60)
    moved = [Zone(z.key, turned(z.geometry, turn), z.reach_m) for z in zones]
    here = FenceIndex.build(zones).locate(lat, lon)
    there = FenceIndex.build(moved).locate(lat, (lon + turn + 180) % 360 - 180)
    sure = {
        (int(p), int(k))
        for p, k, d in zip(here.point, here.key, here.distance_m, strict=True)
        if all(abs(d - edge) > 1e-3 for edge in (0.0, 25.0, 3000.0))
    }
    also = set(zip(there.point.tolist(), there.key.tolist(), strict=True))
    assert sure <= also
    blurred = {
        (int(p), int(k))
        for p, k, d in zip(there.point, there.key, there.distance_m, strict=True)
        if any(abs(d - edge) <= 2e-3 for edge in (0.0, 25.0, 3000.0))
    }
    assert also - blurred <= set(zip(here.point.tolist(), here.key.tolist(), strict=True))


def turned(geometry, turn):
    shift = turn - 360 if turn > 180 else turn
    if isinstance(geometry, Circle):
        return Circle(geometry.lat, geometry.lon + shift, geometry.radius_m)
    if isinstance(geometry, Corridor):
        return Corridor(tuple((x + shift, y) for x, y in geometry.line), geometry.buffer_m)
    return Polygons(
        tuple(
            tuple(tuple((x + shift, y) for x, y in ring) for ring in polygon)
            for polygon in geometry.polygons
        )
    )


@given(
    st.integers(0, 10**6),
    st.lists(st.tuples(st.sampled_from("pprm"), st.integers(0, 11)), max_size=30),
)
@settings(max_examples=30, deadline=None)
def test_an_edited_index_answers_like_a_fresh_one(seed, edits):
    """Puts, replacements, removals and merges in any order."""
    rng, zones = world(seed)
    keys = [zone.key for zone in zones]
    index = FenceIndex.build(zones[:6])
    kept = {zone.key: zone for zone in zones[:6]}
    for kind, at in edits:
        if kind == "p":
            zone = Zone(keys[at], zones[int(rng.integers(12))].geometry)
            index.put(zone)
            kept[zone.key] = zone
        elif kind == "r":
            index.remove(keys[at])
            kept.pop(keys[at], None)
        else:
            index.merge()
    fresh = FenceIndex.build(kept.values())
    lat, lon = points_of_interest(rng, [zone.geometry for zone in zones], 80)
    for expected, actual in zip(fresh.locate(lat, lon), index.locate(lat, lon), strict=True):
        np.testing.assert_allclose(expected, actual, rtol=0, atol=1e-9)
    assert fresh.nearest(lat[0], lon[0], 5) == index.nearest(lat[0], lon[0], 5)
    assert len(fresh) == len(index) == len(kept)
    assert [key in kept for key in keys] == [key in index for key in keys]


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_nearest_is_by_distance_to_the_edge(seed):
    """As sorting all zones by their distance would; inside first."""
    rng, zones = world(seed)
    index = FenceIndex.build(zones)
    lat, lon = points_of_interest(rng, [zone.geometry for zone in zones], 3)
    keys = np.array([zone.key for zone in zones], dtype=np.uint64)
    for y, x in zip(lat, lon, strict=True):
        distances = index.distances(keys, np.full(12, y), np.full(12, x))
        expected = sorted(zip(distances.tolist(), keys.tolist(), strict=True))[:4]
        assert expected == [(d, k) for k, d in index.nearest(y, x, 4)]


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_no_walk_within_the_clearance_enters_a_zone(seed):
    """Nor does one within the refresh radius enter a zone that regions did not list."""
    rng, zones = world(seed)
    zones = [Zone(z.key, z.geometry) for z in zones]
    index = FenceIndex.build(zones)
    lat, lon = rng.uniform(-1, 1, (2, 5)) + np.array(PLACES[seed % len(PLACES)])[:, None]
    lat = np.clip(lat, -89.9, 89.9)
    clear = index.clearance(lat, lon)
    listed = [index.regions(y, x, 3) for y, x in zip(lat, lon, strict=True)]
    for i in range(5):
        for radius_m, allowed in (
            (clear[i] or np.inf, set()),
            (listed[i].refresh_radius_m, {near.key for near in listed[i].items}),
        ):
            if not np.isfinite(radius_m):
                continue  # inside of a zone already
            y, x = walked(lat[i], lon[i], min(radius_m, 1e7) * np.sqrt(rng.random(300)), rng)
            assert set(index.locate(y, x).key.tolist()) <= allowed


def walked(lat, lon, distance, rng):
    """Points at distances from a point, in random directions."""
    bearing, angle = rng.uniform(0, 2 * np.pi, len(distance)), distance / 6_371_008.8
    phi = np.radians(lat)
    y = np.arcsin(np.sin(phi) * np.cos(angle) + np.cos(phi) * np.sin(angle) * np.cos(bearing))
    x = np.arctan2(
        np.sin(bearing) * np.sin(angle) * np.cos(phi), np.cos(angle) - np.sin(phi) * np.sin(y)
    )
    return np.degrees(y), (lon + np.degrees(x) + 180) % 360 - 180


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_crossings_are_those_of_a_densely_sampled_path(seed):
    """Every zone that some sample of the path is in, entered where the first such sample is."""
    rng, zones = world(seed)
    zones = [Zone(z.key, z.geometry, 0.0, detect_cross=i % 4 > 0) for i, z in enumerate(zones)]
    index = FenceIndex.build(zones)
    lat, lon = points_of_interest(rng, [zone.geometry for zone in zones], 16)
    lat0, lon0, lat1, lon1 = lat[:8], lon[:8], lat[8:], lon[8:]
    found = index.crossings(lat0, lon0, lat1, lon1)
    actual = dict(
        zip(
            zip(found.segment.tolist(), found.key.tolist(), strict=True),
            found.fraction,
            strict=True,
        )
    )
    t = np.linspace(0, 1, 401)
    for i in range(8):
        over = (lon1[i] - lon0[i] + 180) % 360 - 180
        y, x = lat0[i] + t * (lat1[i] - lat0[i]), lon0[i] + t * over
        for zone in zones:
            distance = index.distances(np.full(401, zone.key, dtype=np.uint64), y, x)
            length = distance_m(y[:1], x[:1], y[1:2], x[1:2])[0]
            fraction = actual.pop((i, zone.key), None)
            if not zone.detect_cross:
                assert fraction is None
            elif fraction is None:
                assert distance.min() > -max(0.002 * length, 0.1) - 0.05 * scale_of(zone)
            else:
                assert distance.min() <= length + 0.1
                first = t[np.argmax(distance <= 0)] if (distance <= 0).any() else fraction
                assert fraction <= first + 1 / 400 + 1e-9 or (distance[:2] > 0).all()
    assert not actual


def scale_of(zone):
    return zone.geometry.buffer_m if isinstance(zone.geometry, Corridor) else 0.0


@pytest.mark.parametrize(
    ("name", "rings", "inside", "outside"),
    [
        (
            "an arctic cap, closed over the pole",
            [[(-180, 66), (180, 66), (180, 90), (-180, 90), (-180, 66)]],
            [(66, 0), (80, 180), (80, -180), (90, 0), (66, 180), (89.9, -77)],
            [(65.9, 0), (65.9, 180), (-80, 10)],
        ),
        (
            "a belt around the equator",
            [[(-180, -5), (0, -5), (180, -5), (180, 5), (0, 5), (-180, 5), (-180, -5)]],
            [(0, 0), (0, 180), (0, -180), (4.9, 179.9), (5, 33)],
            [(5.1, 180), (-5.1, -180), (90, 0)],
        ),
        (
            "half the world",
            [[(-90, -90), (0, -90), (90, -90), (90, 90), (0, 90), (-90, 90), (-90, -90)]],
            [(0, 0), (89, 10), (-89, -10), (0, 90), (0, -90), (0, 89.9)],
            [(0, 90.1), (0, -90.1), (0, 180), (45, 135)],
        ),
        (
            "Fiji, running past 180",
            [[(177, -19), (182, -19), (182, -16), (177, -16), (177, -19)]],
            [(-17, 180), (-17, -180), (-17, -179), (-17, 178), (-19, 177), (-16, -178)],
            [(-17, -177.9), (-17, 176.9), (-20, 180)],
        ),
    ],
)
def test_zones_over_the_edges_of_the_map(name, rings, inside, outside):
    """Poles, belts and the antimeridian hold no seam; the boundary is inside."""
    ring = tuple(tuple((float(x), float(y)) for x, y in r) for r in rings)
    index = FenceIndex.build([Zone(1, Polygons((ring,)))])
    for expected, points in ((True, inside), (False, outside)):
        lat, lon = np.array(points, dtype=float).T
        hits = index.locate(lat, lon)
        assert [expected] * len(points) == np.isin(np.arange(len(points)), hits.point).tolist()


def test_a_zone_split_at_180_has_no_edge_there():
    """The RFC 7946 form of a zone over ±180° measures like the one running past 180."""
    east = ((177.0, -19.0), (180.0, -19.0), (180.0, -16.0), (177.0, -16.0), (177.0, -19.0))
    west = ((-180.0, -19.0), (-178.0, -19.0), (-178.0, -16.0), (-180.0, -16.0), (-180.0, -19.0))
    whole = ((177.0, -19.0), (182.0, -19.0), (182.0, -16.0), (177.0, -16.0), (177.0, -19.0))
    index = FenceIndex.build(
        [Zone(1, Polygons(((east,), (west,)))), Zone(2, Polygons(((whole,),)))]
    )
    lon = np.array([180.0, -180.0, 179.999, -179.999, 178.0, -178.5])
    hits = index.locate(np.full(6, -17.5), lon)
    split, past = hits.distance_m[hits.key == 1], hits.distance_m[hits.key == 2]
    np.testing.assert_allclose(past, split, atol=1e-3)
    assert (split < -50_000).all()


def test_thousands_of_zones_on_one_spot_all_answer():
    """Overlap is no limit."""
    zones = [Zone(key, Circle(52.5, 13.4, 5.0 + key)) for key in range(3000)]
    hits = FenceIndex.build(zones).locate(np.array([52.5, 52.6]), np.array([13.4, 13.4]))
    assert list(range(3000)) == hits.key.tolist()
    assert [0] * 3000 == hits.point.tolist()


def test_an_empty_index_knows_nothing():
    """And says so in every call."""
    index = FenceIndex.build([])
    here = np.array([1.0]), np.array([2.0])
    assert 0 == len(index)
    assert 5 not in index
    assert [] == index.locate(*here).key.tolist()
    assert [] == index.crossings(*here, *here).key.tolist()
    assert [] == index.nearest(1.0, 2.0, 3)
    assert [] == index.in_box(-180, -90, 180, 90)
    assert np.isnan(index.distances(np.array([5], dtype=np.uint64), *here)).all()
    assert index.clearance(*here)[0] > 1.9e7
    index.remove(5)
    index.merge()
    assert 0 == len(index.locate(np.empty(0), np.empty(0)).key)


def test_boxes_may_cross_the_antimeridian():
    """West greater than east means over ±180°."""
    index = FenceIndex.build(
        [Zone(1, Circle(0, 179.99, 5000)), Zone(2, Circle(0, -170, 10)), Zone(3, Circle(0, 0, 10))]
    )
    assert [1] == index.in_box(-180, -1, -179.99, 1)
    assert [1, 2] == index.in_box(179, -1, -169, 1)
    assert [1, 2, 3] == index.in_box(-180, -90, 180, 90)
    assert [] == index.in_box(10, 10, 20, 20)


def test_edits_during_a_merge_are_kept():
    """A merge in another thread neither loses nor revives anything."""
    rng = np.random.default_rng(3)
    zones = [Zone(k, Circle(rng.uniform(-1, 1), rng.uniform(-1, 1), 500.0)) for k in range(5000)]
    index = FenceIndex.build(zones[:3000])
    index.put_many(zones[3000:])
    thread = threading.Thread(target=index.merge)
    thread.start()
    kept = {zone.key: zone for zone in zones}
    while thread.is_alive():
        key = int(rng.integers(5000))
        index.remove(key)
        kept.pop(key, None)
        changed = Zone(key + 10_000, Circle(0.0, 0.0, 50.0))
        index.put(changed)
        kept[changed.key] = changed
    thread.join()
    assert len(kept) == len(index)
    lat, lon = rng.uniform(-1, 1, (2, 500))
    fresh = FenceIndex.build(kept.values()).locate(lat, lon)
    assert fresh.key.tolist() == index.locate(lat, lon).key.tolist()


def test_building_tells_its_progress():
    """Counts of zones packed, ending with all."""
    told = []
    FenceIndex.build((Zone(k, Circle(0, 0, 9)) for k in range(10)), told.append)
    assert [10] == told


def test_many_single_edits_stay_cheap_without_a_merge():
    """Small layers join by themselves."""
    index = FenceIndex.build([Zone(0, Circle(0, 0, 10))])
    for start in range(0, 20_000, 1100):
        index.put_many(Zone(start + k, Circle(1, 1, 10)) for k in range(1100))
    assert len(index._stack()) < 10
    assert index.merge_due
    index.merge()
    assert not index.merge_due
