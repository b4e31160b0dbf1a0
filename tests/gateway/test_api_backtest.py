"""The route of backtests on the whole application, and the files it reads."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from click.testing import CliRunner
from litestar.testing import TestClient

from gateway.app import create_app
from gateway.backtest.upload import read_upload
from gateway.cli import main
from gateway.config import Settings
from gateway.keys import KeyStore

START = 1_790_164_800_000
FENCE = {"geometry": {"type": "Point", "coordinates": [11.5, 48.1]}, "radius_m": 100}
DRAFT = {
    "on": {"event": "enter"},
    "channels": ["inbox"],
    "variants": [{"message": {"title": "Hi"}}],
}
PINGS = [
    {"device_id": "a", "lat": 48.1 + (0 if 2 <= n < 5 else 0.02), "lon": 11.5, "accuracy_m": 5,
     "recorded_at": START + n * 60_000}
    for n in range(8)
]  # fmt: skip
CSV = "time,lat,lon,accuracy\n" + "".join(
    f"{p['recorded_at']},{p['lat']},{p['lon']},5\n" for p in PINGS
)
GPX = '<gpx version="1.1"><trk><trkseg>' + "".join(
    f'<trkpt lat="{p["lat"]}" lon="{p["lon"]}"><time>2026-09-23T12:{n:02}:00Z</time></trkpt>'
    for n, p in enumerate(PINGS)
) + "</trkseg></trk></gpx>"  # fmt: skip
NDJSON = "\n".join(map(json.dumps, PINGS)) + "\n"


@pytest.fixture
def api(clean_redis_url: str, tmp_path: Path) -> Iterator[TestClient[Any]]:
    """The application with a shop and a trigger; its default key may manage."""

    async def make_key(tenant: str, scope: str) -> str:
        client = redis.asyncio.Redis.from_url(clean_redis_url)
        made = await KeyStore(client).create(tenant, [scope], time.time_ns() // 1_000_000)
        await client.aclose()
        return made.text

    settings = Settings(data_dir=tmp_path, redis_url=clean_redis_url, background=False)
    with TestClient(create_app(settings)) as client:
        client.headers["Authorization"] = f"Bearer {asyncio.run(make_key('acme', 'manage'))}"
        client.app.state.ingest_key = asyncio.run(make_key("acme", "ingest"))
        client.put("/v1/geofences/shop", json=FENCE)
        client.put("/v1/triggers/hello", json=DRAFT)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:  # edits are live within a second
            if client.app.state.services.engine.catalog.view("acme").trigger("hello"):
                break
            client.get("/livez")
        yield client


def backtest(api: TestClient[Any], one: str = "hello", **body: Any) -> Any:
    return api.post(f"/v1/triggers/{one}/backtest", json=body)


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (json.dumps(PINGS), "application/json"),
        (json.dumps({"pings": PINGS}), "application/json"),
        (NDJSON, "application/x-ndjson"),
        (CSV, "text/csv; charset=utf-8"),
        (GPX, "application/gpx+xml"),
    ],
    ids=["array", "object", "ndjson", "csv", "gpx"],
)
def test_the_same_traffic_in_every_form_gives_the_same_answer(
    api: TestClient[Any], body: str, media_type: str
) -> None:
    """One visit, one push, in its hour."""
    headers = {"Content-Type": media_type}
    reply = api.post("/v1/triggers/hello/backtest", content=body, headers=headers)
    assert 200 == reply.status_code, reply.text
    found = reply.json()
    assert (1, 1, 1, 8, None) == (
        found["occasions"], found["pushes"], found["people"], found["traffic"]["accepted"],
        found["stopped"],
    )  # fmt: skip
    assert [{"at": "2026-09-23T12:00:00.000Z", "pushes": 1, "people": 1}] == found["hours"]
    assert [] == api.get("/v1/events").json()["items"]


def test_a_draft_needs_no_stored_trigger_and_is_not_stored(api: TestClient[Any]) -> None:
    """Switched off or not, it is tried; the store has it no more than before."""
    found = backtest(api, "idea", pings=PINGS, trigger=DRAFT | {"enabled": False}).json()
    assert (True, 1) == (found["is_draft"], found["pushes"])
    assert 404 == api.get("/v1/triggers/idea").status_code


def test_recorded_traffic_is_played(api: TestClient[Any]) -> None:
    """What came in while the tenant recorded, and nothing where it did not."""
    assert 0 == backtest(api, recorded={}).json()["traffic"]["pings"]
    api.put("/v1/settings", json={"recording": True})
    view = api.app.state.services.engine.catalog.view("acme")
    deadline = time.monotonic() + 10
    while not view.rules.recording and time.monotonic() < deadline:
        api.get("/livez")
    now = int(time.time() * 1000)
    pings = [ping | {"recorded_at": now - 600_000 + n * 60_000} for n, ping in enumerate(PINGS)]
    headers = {"Authorization": f"Bearer {api.app.state.ingest_key}"}
    assert 202 == api.post("/v1/pings", json=pings, headers=headers).status_code
    found = backtest(api, recorded={}).json()
    assert (8, 1) == (found["traffic"]["accepted"], found["occasions"])
    assert {"stale": 1} == found["reasons"]
    assert 0 == backtest(api, recorded={"until": now - 900_000}).json()["traffic"]["pings"]


@pytest.mark.parametrize(
    ("one", "body", "status", "words"),
    [
        ("none", {"pings": PINGS}, 404, "none"),
        ("hello", {}, 422, "either pings, or recorded"),
        ("hello", {"pings": PINGS, "recorded": {}}, 422, "either pings, or recorded"),
        ("hello", {"pings": []}, 422, "no ping"),
        ("hello", {"pings": [{"device_id": "a"}]}, 422, "no ping"),
        ("hello", {"pings": PINGS, "smaple": 1}, 422, "sample"),
        ("hello", {"pings": PINGS, "sample": 0}, 422, "sample"),
        ("hello", {"pings": PINGS, "trigger": {"on": {"event": "enter"}}}, 422, "variants"),
        ("hello", {"pings": PINGS, "trigger": DRAFT | {"on": {"event": "custom", "name": "x"}}},
         422, "custom events"),
        ("hello", {"recorded": {"since": "2999-01-01T00:00:00Z"}}, 422, "since"),
    ],
)  # fmt: skip
def test_what_cannot_be_tried_says_why(
    api: TestClient[Any], one: str, body: Any, status: int, words: str
) -> None:
    """An unknown trigger, no traffic or two kinds, a wrong option, a wrong draft."""
    reply = backtest(api, one, **body)
    assert status == reply.status_code, reply.text
    assert words in reply.text


def test_bad_rows_are_told_and_cost_the_others_nothing(api: TestClient[Any]) -> None:
    """Rejected pings count as such; the sum is that of what was sent."""
    found = backtest(api, pings=[*PINGS, {"device_id": "b"}, PINGS[3]]).json()
    counts = found["traffic"]
    assert (10, 8, 1, 1) == (
        counts["pings"], counts["accepted"], counts["duplicates"], counts["rejected"],
    )  # fmt: skip
    assert [8] == [one["index"] for one in found["rejected"]]


def test_options_of_a_file_stand_in_the_query(api: TestClient[Any]) -> None:
    """They are checked like those of a body; the device of a track can be named."""
    headers = {"Content-Type": "text/csv"}
    path = "/v1/triggers/hello/backtest"
    named = api.post(f"{path}?device=kim&sample=1", content=CSV, headers=headers).json()
    assert {"kim"} == {one["device_id"] for one in named["examples"]}
    wrong = api.post(f"{path}?sample=2", content=CSV, headers=headers)
    assert (400, True) == (wrong.status_code, "sample" in wrong.text)
    unreadable = api.post(path, content="a,b\n1,2\n", headers=headers)
    assert (400, True) == (unreadable.status_code, "no column for lat" in unreadable.text)


def test_only_who_manages_may_try(api: TestClient[Any]) -> None:
    """A key that posts pings learns nothing of people."""
    headers = {"Authorization": f"Bearer {api.app.state.ingest_key}"}
    reply = api.post("/v1/triggers/hello/backtest", json={"pings": PINGS}, headers=headers)
    assert 403 == reply.status_code


def test_files_of_the_command_are_read_by_their_ending(tmp_path: Path) -> None:
    """Pings in arrays and lines, tracks of every kind; devices from a column."""
    for name, text in (("p.json", json.dumps(PINGS)), ("p.ndjson", NDJSON), ("p.csv", CSV)):
        path = tmp_path / name
        path.write_text(text)
        upload = read_upload(path, "a")
        assert [p["lat"] for p in PINGS] == [p["lat"] for p in json.loads(upload.pings)]
    path.write_text("time,lat,lon,who\n1790164800,1,2,x\n1790164801,99,2,y\n")
    upload = read_upload(path, device_column="who")
    assert ["x"] == [p["device_id"] for p in json.loads(upload.pings)]
    assert ["line 3: 99.0, 2.0 is no position"] == upload.rejected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--draft", "draft.txt"], "draft.txt is not JSON"),
        (["track.xyz"], "use a .gpx"),
        (["track.csv", "--timezone", "Mars/Base"], "Mars/Base"),
        (["track.csv", "--url", "http://127.0.0.1:9"], "cannot be reached"),
    ],
)
def test_the_command_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    """Exit code 1 and one sentence."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gateway.api_client.MAX_TRIES", 1)
    for name in ("draft.txt", "track.xyz"):
        (tmp_path / name).write_text("?")
    (tmp_path / "track.csv").write_text(CSV)
    result = CliRunner().invoke(main, ["backtest", "hello", *arguments, "--key", "k"])
    assert (1, True) == (result.exit_code, words in result.stderr), result.stderr
