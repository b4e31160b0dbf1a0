"""Files of geofences are read in pieces of any size, and what is exported can be imported again."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.transfer.feature import Entry, UnreadableFile
from gateway.transfer.formats import format_of, reader_of
from gateway.transfer.writers import head, tail, written

RING = [[13.0, 52.0], [13.1, 52.0], [13.1, 52.1], [13.0, 52.1], [13.0, 52.0]]
HOLE = [[13.02, 52.02], [13.02, 52.04], [13.04, 52.04], [13.04, 52.02], [13.02, 52.02]]
HOLE_AWAY = [[lon + 1, lat] for lon, lat in reversed(HOLE)]
FEATURES: list[dict[str, Any]] = [
    {
        "type": "Feature",
        "id": "circle",
        "geometry": {"type": "Point", "coordinates": [13.4, 52.5]},
        "properties": {
            "name": 'Café "Süd", <1>\n& more',
            "radius_m": 120.5,
            "tags": ["a", "b"],
            "external_id": "0012",
            "metadata": {"n": 1, "s": "]}"},
        },
    },
    {
        "type": "Feature",
        "id": "polygon",
        "geometry": {"type": "Polygon", "coordinates": [RING, HOLE]},
        "properties": {"detect_cross": True, "own": None, "policy": {"preset": "immediate"}},
    },
    {
        "type": "Feature",
        "id": "multi",
        "geometry": {"type": "MultiPolygon", "coordinates": [[RING], [HOLE_AWAY]]},
        "properties": {},
    },
    {
        "type": "Feature",
        "id": "line",
        "geometry": {"type": "LineString", "coordinates": RING[:3]},
        "properties": {"buffer_m": 25.0},
    },
]


def read(name: Any, content: bytes, size: int) -> list[Entry]:
    """The entries of a file that comes in pieces."""
    reader = reader_of(name)
    entries: list[Entry] = []
    for start in range(0, len(content), size):
        entries += reader.feed(content[start : start + size])
    return entries + list(reader.finish())


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 3000), name=st.sampled_from(["geojson", "geojsonseq", "csv", "kml"]))
def test_what_is_written_is_read_back_whatever_the_pieces(size: int, name: Any) -> None:
    """Every format carries every feature through, however the file is cut."""
    content = head(name) + written(name, iter(FEATURES[:2]), is_first=True)
    content += written(name, iter(FEATURES[2:]), is_first=False) + tail(name)
    entries = read(name, content, size)
    assert FEATURES == [entry.feature for entry in entries]
    assert list(range(4)) == [entry.index for entry in entries]


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"FeatureCollection","features":[F,F]}',
        '{"features": [F , F], "type":"FeatureCollection", "crs": {"a": [1,"]"]}}',
        '{"name":"x","bbox":[1,2,3,4],"type":"FeatureCollection","features":[F,F]}\n',
        "[F,F]",
        "F\nF\n",
        "\x1eF\n\x1eF\n",
        "\ufeffF F",
        '{"type":"FeatureCollection","features":[F]}{"type":"FeatureCollection","features":[F]}',
    ],
)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_every_usual_shape_of_geojson(text: str, size: int) -> None:
    """Collections with members in any order, arrays, lines, text sequences."""
    content = text.replace("F", "@").replace("@eature", "Feature")
    content = content.replace("@", json.dumps(FEATURES[0]))
    entries = read("geojson", content.encode(), size)
    assert [FEATURES[0]] * 2 == [entry.feature for entry in entries]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("geojson", b'{"type":"FeatureCollection","features":[{"a":1}'),
        ("geojson", b'{"type":"FeatureCollection","features":[{"a":NaN}]}'),
        ("geojson", b"hello"),
        ("geojson", b"\xff\xfe"),
        ("geojson", b'{"a" 1}'),
        ("geojson", b"[" + b"[" * 100_000),
        ("csv", b""),
        ("csv", b"name,city\na,b\n"),
        ("csv", b"\xff\xfe"),
        ("kml", b"<kml><Placemark></kml>"),
        ("kml", b'<!DOCTYPE x [<!ENTITY a "b">]><kml/>'),
        ("kml", b"<kml>"),
    ],
)
def test_what_is_no_such_file_is_said(name: Any, content: bytes) -> None:
    """A file that cannot be read on is an error in words, whatever the pieces."""
    for size in (1, 50_000):
        with pytest.raises(UnreadableFile):
            read(name, content, size)


def test_csv_as_people_have_it() -> None:
    """Other names of columns, semicolons, decimal commas, quotes over lines, and bad cells."""
    content = (
        "Store ID;Name;Latitude;Longitude;Radius;Tags;Manager\r\n"
        '4711;"Nord\r\n""1""";52,5;13,4;100;a|b;Kim\r\n'
        "\r\n"
        "4712;Süd;x;13.4;100;;\r\n"
        "4713;West;52.5;;100;;\r\n"
        "4714;Ost;1;2;3;4;5;6;7\r\n"
    ).encode()
    for size in (1, 13, 10_000):
        first, *bad = read("csv", content, size)
        assert first.feature == {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [13.4, 52.5]},
            "properties": {
                "name": 'Nord\r\n"1"',
                "external_id": "4711",
                "tags": ["a", "b"],
                "radius_m": 100.0,
                "metadata": {"manager": "Kim"},
            },
        }
        assert ["lat is 'x', not a number", "lat and lon are needed"] == [b.detail for b in bad[:2]]
        assert "9 cells" in bad[2].detail


@pytest.mark.parametrize(
    ("asked", "media_type", "start", "name"),
    [
        ("csv", "application/json", b"{", "csv"),
        (None, "text/csv; charset=utf-8", b"{", "csv"),
        (None, "application/geo+json-seq", b"", "geojsonseq"),
        (None, "application/octet-stream", b"\xef\xbb\xbf {", "geojson"),
        (None, "", b"<?xml", "kml"),
        (None, "", b"id,lat,lon", "csv"),
    ],
)
def test_the_format_is_found(asked: Any, media_type: str, start: bytes, name: str) -> None:
    """By name, by media type, by its look."""
    assert name == format_of(asked, media_type, start)


@pytest.fixture
def client(api_client: Callable[..., Any]) -> Any:
    from gateway.api import geofences, transfer

    return api_client(
        [*transfer.ROUTES, *geofences.ROUTES],
        settings=lambda _: SimpleNamespace(max_import_bytes=1_000_000),
    )


def collection(*features: Any) -> bytes:
    """A FeatureCollection."""
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


def test_importing_twice_changes_nothing(client: Any) -> None:
    """Created, then unchanged, then updated; a dry run counts and stores nothing."""
    body = collection(*FEATURES)
    dry = client.post("/v1/geofences/import?dry_run=true", content=body).json()
    assert (True, 4, 4) == (dry["dry_run"], dry["read"], dry["created"])
    assert [] == client.get("/v1/geofences").json()["items"]
    first = client.post("/v1/geofences/import", content=body).json()
    assert (4, 4, 0, []) == (first["read"], first["created"], first["failed"], first["errors"])
    again = client.post("/v1/geofences/import", content=body).json()
    assert (0, 4) == (again["created"], again["unchanged"])
    changed = {**FEATURES[0], "properties": {"radius_m": 5}}
    third = client.post("/v1/geofences/import", content=collection(changed)).json()
    assert (1, 0) == (third["updated"], third["created"])


@pytest.mark.parametrize("name", ["geojson", "geojsonseq", "csv", "kml"])
def test_an_export_imports_as_the_same(client: Any, name: str) -> None:
    """The documents are equal, so nothing is changed."""
    client.post("/v1/geofences/import", content=collection(*FEATURES))
    exported = client.get(f"/v1/geofences/export?format={name}")
    assert 200 == exported.status_code
    again = client.post(
        "/v1/geofences/import",
        content=exported.content,
        headers={"Content-Type": exported.headers["content-type"]},
    ).json()
    assert (4, 4, None) == (again["read"], again["unchanged"], again["aborted"])
    tagged = client.get(f"/v1/geofences/export?format={name}&tag=a").content
    assert b"circle" in tagged
    assert b"polygon" not in tagged


def test_each_bad_entry_is_told_and_the_rest_is_taken(client: Any) -> None:
    """Index, id, pointer and reason; a broken end leaves what came before."""
    bow_tie = [RING[0], RING[2], RING[1], RING[3], RING[0]]
    content = collection(
        FEATURES[0],
        {**FEATURES[1], "geometry": {"type": "Polygon", "coordinates": [bow_tie]}},
        {"type": "Feature", "geometry": FEATURES[0]["geometry"], "properties": {}},
        7,
        {**FEATURES[3], "properties": {"buffer_m": -1}},
    )
    report = client.post("/v1/geofences/import", content=content[:-2] + b", {").json()
    assert (5, 1, 4) == (report["read"], report["created"], report["failed"])
    assert "After 5 features" in report["aborted"]
    places = [(e["index"], e["id"], e["pointer"]) for e in report["errors"]]
    assert (1, "polygon") == places[0][:2]
    assert places[0][2].startswith("#/geometry/coordinates")
    assert [(2, None, "#/id"), (3, None, "#"), (4, "line", "#/properties/buffer_m")] == places[1:]
    repaired = client.post("/v1/geofences/import?repair=true", content=content).json()
    assert (1, 1, 1, 3) == tuple(
        repaired[k] for k in ("created", "unchanged", "repaired", "failed")
    )


def test_options_complete_the_entries(client: Any) -> None:
    """Tags and radius are added, ids come from a property or from (tag, external_id)."""
    csv = b"nr,store_id,lat,lon\n1,47,52.5,13.4\n2,48,52.6,13.4\n"
    report = client.post(
        "/v1/geofences/import?tag=mall&radius_m=80",
        content=csv,
        headers={"Content-Type": "text/csv"},
    ).json()
    assert 2 == report["created"], report
    items = client.get("/v1/geofences?tag=mall").json()["items"]
    assert ["mall:47", "mall:48"] == [item["id"] for item in items]
    assert (80, {"nr": "1"}) == (
        items[0]["properties"]["radius_m"],
        items[0]["properties"]["metadata"],
    )
    plain = {"type": "Feature", "geometry": FEATURES[0]["geometry"], "properties": {"plz": 10117}}
    query = "id_property=plz&radius_m=50"
    report = client.post(f"/v1/geofences/import?{query}", content=collection(plain)).json()
    assert 1 == report["created"]
    assert 200 == client.get("/v1/geofences/10117").status_code


def test_a_file_that_is_too_large_is_refused(client: Any) -> None:
    """413 when more bytes come than are allowed."""
    reply = client.post("/v1/geofences/import", content=b" " * 1_000_001)
    assert 413 == reply.status_code
    unknown = client.post("/v1/geofences/import?format=shp", content=b"{}")
    assert (400, "query format") == (
        unknown.status_code,
        unknown.json()["errors"][0]["pointer"],
    )
