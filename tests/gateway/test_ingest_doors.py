"""Stock apps on the whole application: URLs, credentials, replies, and what becomes of posts."""

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis.asyncio
from litestar import Litestar
from litestar.testing import TestClient

from gateway.app import create_app
from gateway.config import Settings
from gateway.keys import KeyStore


class Doors(NamedTuple):
    """A running application and keys to it."""

    client: TestClient[Litestar]
    keys: dict[str, str]

    def bearer(self, name: str = "ingest") -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[name]}"}

    def quarantine(self) -> list[dict[str, Any]]:
        answer = self.client.get("/v1/quarantine", headers=self.bearer("read"))
        assert 200 == answer.status_code, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items


@pytest.fixture
def doors(clean_redis_url: str, tmp_path: Path) -> Iterator[Doors]:
    keys = asyncio.run(_make_keys(clean_redis_url))
    settings = Settings(data_dir=tmp_path, redis_url=clean_redis_url, background=False)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield Doors(client, keys)


async def _make_keys(url: str) -> dict[str, str]:
    client = redis.asyncio.Redis.from_url(url)
    store = KeyStore(client)
    now = time.time_ns() // 1_000_000
    made = {
        name: (await store.create("acme", [scope], now)).text
        for name, scope in [
            ("ingest", "ingest"),
            ("read", "read"),
            ("manage", "manage"),
            ("till", "receiver:till-1"),
        ]
    }
    await client.aclose()
    return made


def now_s() -> int:
    return int(time.time())


def location(**changes: Any) -> dict[str, Any]:
    return {
        "_type": "location", "lat": 48.85, "lon": 2.29, "tst": now_s(), "acc": 12,
        "topic": "owntracks/jane/phone", **changes,
    }  # fmt: skip


def feature(**changes: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [2.29, 48.85]},
        "properties": {"timestamp": now_s(), "horizontal_accuracy": 12, **changes},
    }


def test_every_credential_opens_the_door(doors: Doors) -> None:
    """Bearer, Basic, in the path, in the query, bare, and Ruuvi's `Token`."""
    key = doors.keys["ingest"]
    basic = base64.b64encode(f"jane:{key}".encode()).decode()
    table: list[tuple[str, dict[str, str]]] = [
        ("/ingest/owntracks", {"Authorization": f"Bearer {key}"}),
        ("/ingest/owntracks", {"Authorization": f"Basic {basic}"}),
        ("/ingest/owntracks", {"Authorization": f"Token {key}"}),
        ("/ingest/owntracks", {"Authorization": key}),
        (f"/ingest/owntracks?api_key={key}", {}),
        (f"/i/{key}/owntracks", {}),
        (f"/i/{key}/owntracks/phone-1", {}),
        (f"/pub?api_key={key}", {}),
    ]
    for url, headers in table:
        reply = doors.client.post(url, json=location(), headers=headers)
        assert (200, []) == (reply.status_code, reply.json()), url


def test_no_credential_and_a_wrong_one_are_401(doors: Doors) -> None:
    """The challenge names Basic, which is what apps can do."""
    for url in ("/ingest/owntracks", "/i/tgw_nope/owntracks", "/pub", "/ingest/overland?api_key=x"):
        reply = doors.client.post(url, json=location())
        assert 401 == reply.status_code
        assert "Basic" in reply.headers["www-authenticate"]
    read = doors.client.post("/ingest/owntracks", json=location(), headers=doors.bearer("read"))
    assert 403 == read.status_code


def test_golden_replies(doors: Doors) -> None:
    """What each app must read to delete its copy, byte by byte."""
    owntracks = doors.client.post("/ingest/owntracks", json=location(), headers=doors.bearer())
    overland = doors.client.post(
        "/ingest/overland", json={"locations": [feature()]}, headers=doors.bearer()
    )
    assert b"[]" == owntracks.content
    assert b'{"result":"ok"}' == overland.content


def test_a_bad_record_is_quarantined_and_the_batch_acknowledged(doors: Doors) -> None:
    """The phone goes on; a person can look at what was wrong."""
    body = {"locations": [feature(), {"type": "Feature"}, feature(timestamp="yesterday"), 7]}
    reply = doors.client.post("/ingest/overland/phone-1", json=body, headers=doors.bearer())
    assert (200, {"result": "ok"}) == (reply.status_code, reply.json())
    found = doors.quarantine()
    assert ["overland"] * 3 == [one["format"] for one in found]
    assert {"phone-1"} == {one["device_id"] for one in found}
    assert "7" == found[0]["raw"]
    assert "yesterday" in found[1]["reason"]
    cleared = doors.client.delete("/v1/quarantine", headers=doors.bearer("manage"))
    assert (204, []) == (cleared.status_code, doors.quarantine())


def test_an_impossible_time_is_quarantined(doors: Doors) -> None:
    """A clock far ahead cannot be trusted, and the app cannot be told."""
    body = json.dumps(location(tst=now_s() + 86_400))
    reply = doors.client.post("/ingest/owntracks", content=body, headers=doors.bearer())
    assert b"[]" == reply.content
    assert "future" in doors.quarantine()[0]["reason"]


def test_connection_tests_and_methods(doors: Doors) -> None:
    """HEAD and GET answer 200 without a post; other methods say which are taken."""
    key = doors.keys["ingest"]
    assert 200 == doors.client.head(f"/i/{key}/overland").status_code
    hello = doors.client.get("/ingest/overland", headers=doors.bearer())
    assert {"result": "ok", "name": "acme"} == hello.json()
    refused = doors.client.delete("/ingest/overland", headers=doors.bearer())
    assert 405 == refused.status_code
    assert "POST" in refused.headers["allow"]
    unknown = doors.client.post("/ingest/nope", json={}, headers=doors.bearer())
    assert 404 == unknown.status_code
    assert "owntracks" in unknown.json()["detail"]


def test_an_unreadable_body_is_400_and_kept(doors: Doors) -> None:
    """Nothing of it can be taken, and whoever set up the app can see why."""
    reply = doors.client.post("/ingest/overland", content=b"{", headers=doors.bearer())
    assert 400 == reply.status_code
    assert "{" == doors.quarantine()[0]["raw"]
