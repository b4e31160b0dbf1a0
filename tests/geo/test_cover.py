"""Covers miss no point, and full cells hold no outside point."""

import h3
import numpy as np
import pytest

from geo.cells import (
    ALL_COARSEST,
    EDGE_M,
    FINEST,
    REACH_M,
    ancestors,
    cells_at,
    centres,
    children,
    disks,
)
from geo.layer import Layer
from geo.measure import distance_m
from geo.model import Circle, Corridor, Zone


def sphere(rng, count):
    return np.degrees(np.arcsin(rng.uniform(-1, 1, count))), rng.uniform(-180, 180, count)


def test_no_point_is_farther_from_its_ancestor_than_the_stated_reach():
    """Anywhere, and around all pentagons and faces' corners, at every resolution."""
    rng = np.random.default_rng(4)
    lat, lon = sphere(rng, 60_000)
    for pentagon in h3.get_pentagons(3):
        y, x = h3.cell_to_latlng(pentagon)
        lat = np.append(lat, np.clip(y + rng.normal(0, 1, 2000), -90, 90))
        lon = np.append(lon, x + rng.normal(0, 1, 2000))
    fine = cells_at(lat, lon, FINEST)
    for resolution in range(FINEST + 1):
        away = distance_m(lat, lon, *centres(ancestors(fine, resolution)))
        assert away.max() <= REACH_M[resolution]
        assert away.max() >= 0.9 * EDGE_M[resolution]


def test_families_are_those_of_h3():
    """Children, parents and disks by bit operations, pentagons included."""
    cells = [*h3.get_pentagons(4)[:3], h3.latlng_to_cell(52.5, 13.4, 4)]
    ints = np.array([h3.str_to_int(cell) for cell in cells], dtype=np.uint64)
    parent, found = children(ints, 5)
    disk, around = disks(ints, 2)
    for i, cell in enumerate(cells):
        expected = sorted(map(h3.str_to_int, h3.cell_to_children(cell, 5)))
        assert expected == sorted(found[parent == i].tolist())
        expected = sorted(map(h3.str_to_int, h3.grid_disk(cell, 2)))
        assert expected == sorted(around[disk == i].tolist())
    assert ints.tolist() == sorted(set(ancestors(found, 4).tolist()), key=ints.tolist().index)
    assert 122 == len(ALL_COARSEST)


@pytest.mark.parametrize("radius_m", [5.0, 37.0, 500.0, 9_000.0, 60_000.0, 200_000.0])
@pytest.mark.parametrize("reach_m", [0.0, 1000.0])
def test_every_point_of_a_circle_has_an_ancestor_in_its_cover(radius_m, reach_m):
    """Also at pentagons and the poles; and a bounded number of cells."""
    rng = np.random.default_rng(int(radius_m))
    places = [h3.cell_to_latlng(p) for p in h3.get_pentagons(8)] + [(90.0, 0.0), (-89.9, 10.0)]
    zones = [Zone(i, Circle(lat, lon, radius_m), reach_m) for i, (lat, lon) in enumerate(places)]
    layer = Layer.of(zones)
    counts = np.zeros(len(zones), dtype=int)
    for table in layer.cells:
        (cover,) = table.covers()
        np.add.at(counts, cover.slot, 1)
        lat, lon = centres(cover.cell[cover.full])
        slot = cover.slot[cover.full]
        away = distance_m(lat, lon, layer.zones.lat[slot], layer.zones.lon[slot])
        assert (away + REACH_M[table.resolution] <= radius_m + 1e-6).all()
    assert counts.max() <= 32
    for i, (lat, lon) in enumerate(places):
        y, x = around(lat, lon, (radius_m + reach_m) * np.sqrt(rng.random(2000)), rng)
        fine = np.sort(cells_at(y, x, FINEST))
        met = np.zeros(len(fine), dtype=bool)
        for table in layer.cells:
            at, entry = table.find(fine)
            met[at[np.where(entry < 0, ~entry, entry) == i]] = True
        assert met.all()


def around(lat, lon, distance, rng):
    bearing, angle = rng.uniform(0, 2 * np.pi, len(distance)), distance / 6_371_008.8
    phi = np.radians(lat)
    y = np.arcsin(np.sin(phi) * np.cos(angle) + np.cos(phi) * np.sin(angle) * np.cos(bearing))
    x = np.arctan2(
        np.sin(bearing) * np.sin(angle) * np.cos(phi), np.cos(angle) - np.sin(phi) * np.sin(y)
    )
    return np.degrees(y), lon + np.degrees(x)


def test_a_long_corridor_is_covered_along_its_line():
    """Refined below its bounding disc: cells many times smaller than its length."""
    layer = Layer.of([Zone(1, Corridor(((0.0, 0.0), (3.0, 2.0)), 50.0))])
    assert layer.finest >= 4
    assert sum(len(table.entry) for table in layer.cells) <= 100
