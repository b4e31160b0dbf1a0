"""Regions: the nearest geofences to watch, and how far that answer holds."""

from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.catalog import Catalog
from gateway.enclosing import around
from gateway.registry import Registry
from geo.geojson import parse_geometry
from geo.measure import distance_m

SQUARE = [[13.0, 52.0], [13.1, 52.0], [13.1, 52.1], [13.0, 52.1], [13.0, 52.0]]


@pytest.fixture
def client(api_client: Callable[..., Any]) -> Any:
    from gateway.api import geofences, regions

    return api_client(
        [*geofences.ROUTES, *regions.ROUTES],
        engine=lambda redis: SimpleNamespace(catalog=Catalog(Registry(redis))),
    )


def test_the_nearest_regions_and_the_circle_that_holds(client: Any) -> None:
    """Nearest first, exact circles for circles, 304 while nothing changed."""
    for n in range(30):
        geometry = {"type": "Point", "coordinates": [13.0 + n * 0.01, 52.0]}
        client.put(f"/v1/geofences/f-{n:02d}", json={"geometry": geometry, "radius_m": 100})
    with client.portal() as portal:
        portal.call(client.app.state.services.engine.catalog.catch_up)
    reply = client.get("/v1/regions?lat=52.0&lon=13.0")
    body = reply.json()
    assert [f"f-{n:02d}" for n in range(19)] == [item["id"] for item in body["items"]]
    first = body["items"][0]
    assert (52.0, 13.0, 100.0) == (first["lat"], first["lon"], first["radius_m"])
    assert first["distance_m"] < 0
    twentieth_m = 13_007 - 100
    assert twentieth_m * 0.95 < body["refresh"]["radius_m"] <= twentieth_m + 20
    tag = {"If-None-Match": reply.headers["etag"]}
    assert 304 == client.get("/v1/regions?lat=52.0&lon=13.0", headers=tag).status_code
    few = client.get("/v1/regions?lat=52.0&lon=13.0&limit=3&radius_m=600").json()
    assert ["f-00", "f-01"] == [item["id"] for item in few["items"]]
    foreign = client.get("/v1/regions?lat=52&lon=13", headers={"X-Tenant": "beta"}).json()
    assert [] == foreign["items"]


@pytest.mark.parametrize("query", ["lat=91&lon=0", "lon=0", "lat=0&lon=x", "lat=0&lon=0&limit=101"])
def test_a_bad_parameter_is_refused(client: Any, query: str) -> None:
    """400, with the reason."""
    assert 400 == client.get(f"/v1/regions?{query}").status_code


@settings(max_examples=60, deadline=None)
@given(
    lat=st.floats(-80, 80),
    lon=st.floats(-179, 179),
    size=st.floats(0.0005, 1.0),
    count=st.integers(3, 12),
)
def test_the_circle_holds_the_shape(lat: float, lon: float, size: float, count: int) -> None:
    """Every corner and every point on an edge of a polygon lies in the circle around it."""
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    ring = [[lon + size * float(np.cos(a)), lat + size / 2 * float(np.sin(a))] for a in angles]
    ring.append(ring[0])
    geometry = parse_geometry({"type": "Polygon", "coordinates": [ring]}).geometry
    circle = around(geometry)
    steps = np.linspace(0, 1, 9)
    for (lon0, lat0), (lon1, lat1) in pairwise(ring):
        lats, lons = lat0 + (lat1 - lat0) * steps, lon0 + (lon1 - lon0) * steps
        centre_lat, centre_lon = np.full(9, circle.lat), np.full(9, circle.lon)
        assert (distance_m(centre_lat, centre_lon, lats, lons) <= circle.radius_m).all()


@pytest.mark.parametrize(
    "document",
    [
        {"type": "LineString", "coordinates": SQUARE[:3], "buffer_m": 50},
        {"type": "MultiPolygon", "coordinates": [[SQUARE]]},
        {"type": "H3", "cells": ["881f1d4881fffff", "881f1d4883fffff"]},
    ],
)
def test_every_geometry_has_a_circle(document: dict[str, Any]) -> None:
    """Lines, polygons and cells have one."""
    circle = around(parse_geometry(document).geometry)
    assert 100 < circle.radius_m < 20_000
