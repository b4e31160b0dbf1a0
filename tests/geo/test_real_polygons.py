"""Real outlines: a million points on Berlin and Spain agree with shapely in every answer."""

import json
from pathlib import Path

import numpy as np
import pytest
import shapely

from geo.geojson import parse_geometry
from geo.index import FenceIndex
from geo.model import Zone

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["berlin-neighbourhoods", "spain-provinces"])
def test_a_million_points_agree_with_shapely(name):
    """Every zone of every point, holes and islands included."""
    path = DATA / f"{name}.geojson"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    features = json.loads(path.read_text())["features"]
    index = FenceIndex.build(
        Zone(i, parse_geometry(f["geometry"], repair=True).geometry) for i, f in enumerate(features)
    )
    shapes = [shapely.from_geojson(json.dumps(f["geometry"])) for f in features]
    shapes = [s if s.is_valid else shapely.make_valid(s) for s in shapes]
    west, south, east, north = shapely.total_bounds(shapes)
    rng = np.random.default_rng(7)
    lon, lat = rng.uniform(west, east, 10**6), rng.uniform(south, north, 10**6)
    hits = index.locate(lat, lon)
    expected = []
    for shape in shapes:
        shapely.prepare(shape)
        expected.append(np.flatnonzero(shapely.intersects_xy(shape, lon, lat)))
    order = np.lexsort((hits.point, hits.key))
    assert np.concatenate(expected).tolist() == hits.point[order].tolist()
    assert np.repeat(np.arange(len(shapes)), list(map(len, expected))).tolist() == (
        hits.key[order].tolist()
    )
    assert (hits.distance_m <= 0).all()
