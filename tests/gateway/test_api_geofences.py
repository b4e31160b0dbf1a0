"""Geofences are GeoJSON Features: what is stored, what is refused and where."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.catalog import Catalog
from gateway.registry import Registry

SQUARE = [[13.0, 52.0], [13.1, 52.0], [13.1, 52.1], [13.0, 52.1], [13.0, 52.0]]
BOW_TIE = [[13.0, 52.0], [13.1, 52.1], [13.1, 52.0], [13.0, 52.1], [13.0, 52.0]]


def circle(**properties: Any) -> dict[str, Any]:
    """A circle with these properties."""
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [13.4, 52.5]},
        "properties": {"radius_m": 100, **properties},
    }


def polygon(ring: list[list[float]], **members: Any) -> dict[str, Any]:
    """A polygon of one ring."""
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {},
        **members,
    }


@pytest.fixture
def client(api_client: Callable[..., Any]) -> Any:
    from gateway.api import geofences

    return api_client(
        geofences.ROUTES,
        engine=lambda redis: SimpleNamespace(catalog=Catalog(Registry(redis))),
    )


@pytest.mark.parametrize(
    "document",
    [
        circle(name="A", tags=["store"], policy={"preset": "immediate"}, detect_cross=True),
        polygon(SQUARE, bbox=[13.0, 52.0, 13.1, 52.1]),
        {
            "type": "Feature",
            "geometry": {"type": "LineString", "coordinates": SQUARE[:3]},
            "properties": {"buffer_m": 20, "own": {"data": [1, None]}},
        },
        {
            "type": "Feature",
            "geometry": {"type": "MultiPolygon", "coordinates": [[SQUARE]]},
            "properties": None,
        },
        circle(timezone="Europe/Berlin", metadata={"manager": "Kim"}, external_id="4711"),
    ],
)
def test_a_feature_comes_back(client: Any, document: Any) -> None:
    """Geometry and properties are answered as they were posted."""
    made = client.put("/v1/geofences/f", json=document)
    assert 201 == made.status_code, made.text
    got = client.get("/v1/geofences/f").json()
    assert ("Feature", "f", document["geometry"], document["properties"] or {}) == (
        got["type"],
        got["id"],
        got["geometry"],
        got["properties"],
    )
    again = client.put("/v1/geofences/f", json=got)
    assert (200, made.headers["etag"]) == (again.status_code, again.headers["etag"])


def test_radius_may_stand_beside_the_geometry(client: Any) -> None:
    """It is moved to the properties."""
    document = {"geometry": circle()["geometry"], "radius_m": 50}
    made = client.put("/v1/geofences/f", json=document)
    assert (201, {"radius_m": 50}) == (made.status_code, made.json()["properties"])
    patched = client.patch("/v1/geofences/f", json={"properties": {"radius_m": 70, "name": "x"}})
    assert {"radius_m": 70, "name": "x"} == patched.json()["properties"]


@pytest.mark.parametrize(
    ("document", "pointer", "words"),
    [
        ({**circle(), "type": "Fetaure"}, "#/type", "Feature"),
        ({**circle(), "name": "x"}, "#/name", "inside properties"),
        ({**circle(), "geometri": 1}, "#/geometri", "did you mean 'geometry'?"),
        ({"properties": {}}, "#/geometry", "required"),
        (circle(radius_m=None), "#/properties/radius_m", "radius_m"),
        (circle(radius_m=1), "#/properties/radius_m", "5"),
        (circle(radius_m="100"), "#/properties/radius_m", "float"),
        (circle(raduis_m=5), "#/properties/raduis_m", "did you mean 'radius_m'?"),
        (circle(tags=[1]), "#/properties/tags/0", "str"),
        (circle(timezone="Berlin"), "#/properties/timezone", "IANA"),
        (circle(policy={"preset": "lax"}), "#/properties/policy/preset", "enum"),
        (circle(policy={"exit_bufer_m": 1}), "#/properties/policy/exit_bufer_m", "field"),
        (circle(policy={"exit_buffer_m": -1}), "#/properties/policy/exit_buffer_m", "negative"),
        (circle(policy={"silence_exit_s": 0}), "#/properties/policy/silence_exit_s", "more than"),
        (polygon(SQUARE[:-1]), "#/geometry/coordinates/0", "closed"),
        (polygon(BOW_TIE), "#/geometry/coordinates/0", ""),
        (polygon([[200.0, 95.0], *SQUARE[1:]]), "#/geometry/coordinates/0/0", ""),
        ({**circle(), "properties": []}, "#/properties", "object"),
        (circle(own="x" * 70_000), "#/properties", "at most"),
        (
            {"geometry": circle()["geometry"], "radius_m": 9, "properties": {"radius_m": 8}},
            "#/radius_m",
            "contradicts",
        ),
    ],
)
def test_a_bad_feature_names_the_place(
    client: Any, document: Any, pointer: str, words: str
) -> None:
    """422 with a JSON pointer into what was posted."""
    reply = client.put("/v1/geofences/f", json=document)
    assert 422 == reply.status_code, reply.text
    (error,) = reply.json()["errors"]
    assert error["pointer"].startswith(pointer), error
    assert words in error["detail"]


def test_repair_is_by_request(client: Any) -> None:
    """A crossed ring is refused, or repaired and stored repaired."""
    assert 422 == client.put("/v1/geofences/f", json=polygon(BOW_TIE)).status_code
    repaired = client.put("/v1/geofences/f?repair=true", json=polygon(BOW_TIE))
    assert 201 == repaired.status_code
    assert "MultiPolygon" == repaired.json()["geometry"]["type"]
    assert repaired.json()["repairs"]
    assert "repairs" not in client.get("/v1/geofences/f").json()


def test_finding_by_tag_and_box_and_nearness(client: Any) -> None:
    """Filters by tag, by bounding box, and by distance to the edge."""
    for n in range(5):
        document = circle(tags=["even" if n % 2 == 0 else "odd"])
        document["geometry"]["coordinates"] = [13.0 + n * 0.1, 52.0]
        client.put(f"/v1/geofences/f-{n}", json=document)

    with client.portal() as portal:
        portal.call(client.app.state.services.engine.catalog.catch_up)

    def ids(query: str) -> list[str]:
        reply = client.get(f"/v1/geofences?{query}")
        assert 200 == reply.status_code, reply.text
        return [item["id"] for item in reply.json()["items"]]

    assert ["f-0", "f-2", "f-4"] == ids("tag=even")
    assert ["f-1", "f-2"] == ids("bbox=13.09,51.9,13.21,52.1")
    assert ["f-2"] == ids("bbox=13.09,51.9,13.21,52.1&tag=even")
    assert ["f-3", "f-4", "f-2"] == ids("near=52.0,13.33&limit=3")
    assert ["f-4", "f-2"] == ids("near=52.0,13.33&limit=2&tag=even")
    assert ["f-3"] == ids("near=52.0,13.33&within_m=3000")


@pytest.mark.parametrize(
    "query",
    ["bbox=1,2,3", "bbox=1,2,3,x", "bbox=0,10,1,5", "near=1", "near=95,0", "near=1,1&bbox=0,0,1,1"],
)
def test_a_bad_filter_is_named(client: Any, query: str) -> None:
    """400 with the parameter's name."""
    reply = client.get(f"/v1/geofences?{query}")
    assert 400 == reply.status_code
    assert query.partition("=")[0] in reply.json()["errors"][0]["pointer"]
