"""What a person may ask for: all that is kept, where they were last seen, and to be nowhere."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from litestar.testing import TestClient

from gateway.app import create_app
from gateway.config import Settings
from gateway.inbox import Inboxes, Item
from gateway.keys import KeyStore

NOW = time.time_ns() // 1_000_000
CIRCLE = {"geometry": {"type": "Point", "coordinates": [13.4, 52.5]}, "radius_m": 100}
TRIGGER = {
    "on": {"event": "enter"},
    "variants": [{"message": {"title": "Hi", "body": "there"}}],
}


@pytest.fixture
def client(clean_redis_url: str, tmp_path: Path) -> Iterator[TestClient[Any]]:
    """A client with a key that may everything; Kim has a phone in a shop."""

    async def make_key() -> str:
        connection = redis.asyncio.Redis.from_url(clean_redis_url)
        made = await KeyStore(connection).create("acme", ["manage", "ingest"], NOW)
        await connection.aclose()
        return made.text

    settings = Settings(data_dir=tmp_path, redis_url=clean_redis_url, background=False)
    key = asyncio.run(make_key())
    with TestClient(create_app(settings)) as made:
        made.headers["Authorization"] = f"Bearer {key}"
        for path, document in {
            "/v1/settings": {"recording": True},
            "/v1/geofences/shop": CIRCLE,
            "/v1/triggers/hello": TRIGGER,
            "/v1/users/kim": {"attributes": {"first_name": "Kim"}},
            "/v1/devices/phone": {"user_id": "kim"},
            "/v1/devices/other": {"user_id": "lee"},
        }.items():
            assert 201 == made.put(path, json=document).status_code
        with made.portal() as portal:
            portal.call(made.app.state.services.engine.catalog.catch_up)
        walk(made)
        yield made


def walk(client: TestClient[Any]) -> None:
    """Both phones are in the shop, and Kim opens what came."""
    pings = [
        {"device_id": one, "lat": 52.5, "lon": 13.4, "accuracy_m": 5, "recorded_at": NOW + at}
        for at in (-3000, -2000, -1000)
        for one in ("phone", "other")
    ]
    assert 6 == client.post("/v1/pings", json=pings).json()["accepted"]
    opened = {"push_id": "p-1", "kind": "opened", "device_id": "phone"}
    assert 200 == client.post("/v1/receipts", json=opened).status_code
    answer = {"push": True, "source": "onboarding"}
    assert 200 == client.post("/v1/users/kim/consents", json=answer).status_code
    event = {"name": "order_ready", "user_id": "kim"}
    assert 202 == client.post("/v1/events", json=event).status_code

    async def put_item() -> None:
        services = client.app.state.services
        item = Item("i-1", NOW, NOW + 3_600_000, b'{"title": "Hi"}')
        await Inboxes(services.redis, services.installation.shard_count).put("acme", "kim", item)

    with client.portal() as portal:
        portal.call(put_item)


def test_all_that_is_kept_about_a_person_is_exported(client: TestClient[Any]) -> None:
    """Record, consents, inbox, events, decisions, receipts, recordings, state; nobody else's."""
    exported = client.get("/v1/users/kim/export")
    assert 200 == exported.status_code, exported.text
    user, (phone,) = exported.json()["user"], exported.json()["devices"]
    assert {"first_name": "Kim"} == user["record"]["attributes"]
    assert ["onboarding"] == [one["source"] for one in user["consents"]]
    assert ["Hi"] == [one["message"]["title"] for one in user["inbox"]]
    assert "order_ready" in [one["name"] for one in user["recent_events"]]
    assert "phone" == phone["record"]["id"]
    assert {"lat": 52.5, "lon": 13.4} == phone["state"]["position"]
    assert 1 == len(phone["state"]["visits"])
    assert ["enter"] == [one["kind"] for one in phone["events"]]
    assert ["hello"] == [one["trigger_id"] for one in phone["decisions"]]
    assert ["opened"] == [one["state"] for one in phone["deliveries"]]
    assert phone["recorded_pings"]
    assert "other" not in exported.text
    assert 404 == client.get("/v1/users/nobody/export").status_code
    assert "export" in client.get("/v1/audit").text


def test_after_erasure_there_is_nothing_to_export(client: TestClient[Any]) -> None:
    """What erasure leaves, export would find: nothing."""
    assert 200 == client.delete("/v1/users/kim?devices=true").status_code
    assert 404 == client.get("/v1/users/kim/export").status_code
    assert 200 == client.get("/v1/users/lee/export").status_code


def test_devices_tell_when_they_were_last_seen(client: TestClient[Any]) -> None:
    """The time of the latest evidence; null without any; it may be put back and is ignored."""
    client.put("/v1/devices/silent", json={})
    listed = {one["id"]: one["last_seen_at"] for one in client.get("/v1/devices").json()["items"]}
    read = client.get("/v1/devices/phone")
    assert read.json()["last_seen_at"] == listed["phone"]
    assert listed["phone"].endswith("Z")
    assert listed["silent"] is None
    again = client.put("/v1/devices/phone", json=read.json())
    assert (200, read.headers["etag"]) == (again.status_code, again.headers["etag"])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/devices/phone/consents", {"location": "off", "source": "app"}),
        ("/v1/users/kim/consents", {"location": "off", "source": "app"}),
    ],
)
def test_location_off_forgets_the_place_within_the_request(
    client: TestClient[Any], path: str, body: dict[str, Any]
) -> None:
    """Once answered, the device is nowhere, and its pings are refused."""
    assert 200 == client.post(path, json=body).status_code
    assert client.get("/v1/devices/phone").json()["last_seen_at"] is None
    assert client.get("/v1/devices/other").json()["last_seen_at"] is not None
    ping = {"device_id": "phone", "lat": 52.5, "lon": 13.4, "recorded_at": NOW}
    assert 403 == client.post("/v1/pings", json=ping).status_code
    assert client.get("/v1/devices/phone").json()["last_seen_at"] is None


def test_a_credential_is_tried_without_a_message(client: TestClient[Any]) -> None:
    """A usable one is ok; one whose place cannot be reached says why; an unknown one is 404."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    good = {"type": "webhook", "url": "https://example.com/in", "secrets": [secret]}
    assert 201 == client.put("/v1/credentials/webhook", json=good).status_code
    checked = client.post("/v1/credentials/webhook/check")
    assert 200 == checked.status_code, checked.text
    assert secret not in checked.text
    mail = {
        "type": "email",
        "host": "127.0.0.1",
        "port": 9,
        "from": "shop@example.com",
    }
    put = client.put("/v1/credentials/email", json=mail)
    assert 201 == put.status_code, put.text
    refused = client.post("/v1/credentials/email/check").json()
    assert (False, True) == (refused["ok"], bool(refused["detail"])), refused
    assert 404 == client.post("/v1/credentials/none/check").status_code
