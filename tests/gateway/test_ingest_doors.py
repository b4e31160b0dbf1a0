"""Stock apps on the whole application: URLs, credentials, replies, and what becomes of posts."""

import asyncio
import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis.asyncio
from litestar import Litestar
from litestar.testing import TestClient
from nacl.secret import SecretBox

from gateway.app import create_app
from gateway.config import Settings
from gateway.keys import KeyStore
from gateway.log import hide_secrets
from gateway.quarantine import MOST_KEPT_PER_CALL


class Doors(NamedTuple):
    """A running application and keys to it."""

    client: TestClient[Litestar]
    keys: dict[str, str]

    def bearer(self, name: str = "ingest") -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[name]}"}

    def put(self, path: str, document: Any) -> None:
        answer = self.client.put(path, json=document, headers=self.bearer("manage"))
        assert answer.status_code < 300, answer.text

    def events(self) -> list[tuple[str, str, str]]:
        """Kind, device and zone of every event, oldest first."""
        answer = self.client.get("/v1/events?order=asc", headers=self.bearer("read"))
        return [(e["kind"], e["device_id"], e["zone"]["id"]) for e in answer.json()["items"]]

    def quarantine(self) -> list[dict[str, Any]]:
        answer = self.client.get("/v1/quarantine", headers=self.bearer("read"))
        assert 200 == answer.status_code, answer.text
        items: list[dict[str, Any]] = answer.json()["items"]
        return items


@pytest.fixture
def open_doors(clean_redis_url: str, tmp_path: Path) -> Iterator[Callable[..., Doors]]:
    """Starts the application with further settings."""
    with ExitStack() as stack:

        def start(**changes: Any) -> Doors:
            keys = asyncio.run(_make_keys(clean_redis_url))
            settings = Settings(
                data_dir=tmp_path, redis_url=clean_redis_url, background=False, **changes
            )
            app = create_app(settings)
            client = stack.enter_context(TestClient(app, raise_server_exceptions=False))
            return Doors(client, keys)

        yield start


@pytest.fixture
def doors(open_doors: Callable[..., Doors]) -> Doors:
    """The application with the usual settings."""
    return open_doors()


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


STORE = {
    "type": "Feature",
    "geometry": {"type": "Point", "coordinates": [2.29, 48.85]},
    "properties": {"radius_m": 200, "name": "Store", "policy": {"preset": "immediate"}},
}
UUID = "eb6d4696-24be-4663-b152-30d46b0e9cc9"
BEACON = f"ibeacon:{UUID}:13:42"


def put_until_live(doors: Doors, path: str, document: Any, holds: Callable[[], bool]) -> None:
    """Edits are live within a second."""
    doors.put(path, document)
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_every_phone_format_enters_a_geofence(doors: Doors) -> None:
    """The whole way, from an app's own post to the event; a repeat changes nothing."""
    at = now_s()
    position = {"latitude": 48.85, "longitude": 2.29, "accuracy": 5}
    posts: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "owntracks", {"json": location(tst=at)}),
        ("POST", "overland", {"json": {"locations": [feature(timestamp=at)]}}),
        ("GET", "traccar", {"params": {"lat": 48.85, "lon": 2.29, "timestamp": at, "id": "x"}}),
        ("POST", "osmand", {"data": {"lat": 48.85, "lon": 2.29, "timestamp": at, "id": "x"}}),
        ("PUT", "transistor", {"json": {"location": {"coords": position, "timestamp": at * 1000}}}),
        ("POST", "expo", {"json": {"locations": [{"coords": position, "timestamp": at * 1000}]}}),
        ("GET", "gpslogger", {"params": {"lat": 48.85, "lon": 2.29, "timestamp": at, "acc": 5}}),
    ]

    def post_all() -> bool:
        for method, name, body in posts:
            url = f"/i/{doors.keys['ingest']}/{name}/{name}-phone"
            assert 200 == doors.client.request(method, url, **body).status_code
        return bool(doors.events())

    url = f"/i/{doors.keys['ingest']}/owntracks/probe"
    put_until_live(
        doors,
        "/v1/geofences/store",
        STORE,
        lambda: [doors.client.post(url, json=location()), doors.events()][1] != [],
    )
    post_all()
    post_all()
    assert sorted(("enter", f"{name}-phone", "store") for _, name, _ in posts) == sorted(
        event for event in doors.events() if event[1] != "probe"
    )
    assert [] == doors.quarantine()


def test_a_receiver_speaks_for_itself_alone(doors: Doors) -> None:
    """Its key names it, whatever the payload says; it may post no positions."""
    doors.put("/v1/devices/tag-1", {"transmitters": [BEACON]})
    headers = doors.bearer("till")
    packet = {
        "address": "4a:11:22:33:44:55",
        "rssi": -50,
        "advertisement": f"1aff4c000215{UUID.replace('-', '')}000d002ac0",
        "gateway": "somebody-else",
    }

    def hear() -> bool:
        reply = doors.client.post("/ingest/advertisements", json=packet, headers=headers)
        assert 200 == reply.status_code
        return bool(doors.events())

    zone = {"receivers": ["till-1"], "policy": {"preset": "immediate"}}
    put_until_live(doors, "/v1/beacons/till", zone, hear)
    assert [("enter", "tag-1", "till")] == doors.events()
    refused = doors.client.post("/ingest/owntracks", json=location(), headers=headers)
    assert 403 == refused.status_code


def test_geofences_are_pushed_down_to_owntracks(doors: Doors) -> None:
    """Where the tenant asks for it, when they are new to the phone, and not again."""
    doors.put("/v1/geofences/store", STORE)
    replies: list[Any] = []

    def told() -> bool:
        url = f"/i/{doors.keys['ingest']}/owntracks/phone"
        replies.append(doors.client.post(url, json=location(lat=48.9)).json())
        return bool(replies[-1])

    put_until_live(doors, "/v1/settings", {"owntracks_waypoints": 5}, told)
    command = replies[-1][0]
    waypoint = command["waypoints"]["waypoints"][0]
    assert ("cmd", "setWaypoints") == (command["_type"], command["action"])
    assert ("store", "Store (store)", 200) == (waypoint["rid"], waypoint["desc"], waypoint["rad"])
    assert (48.85, 2.29) == (waypoint["lat"], waypoint["lon"])
    assert not told()
    doors.put("/v1/geofences/store", {**STORE, "properties": {"radius_m": 300}})
    deadline = time.monotonic() + 5
    while not told():
        assert time.monotonic() < deadline
    assert 300 == replies[-1][0]["waypoints"]["waypoints"][0]["rad"]


def test_geofences_are_pushed_down_to_the_transistor_sdk(doors: Doors) -> None:
    """In the words of its remote commands."""
    doors.put("/v1/geofences/store", STORE)
    coords = {"latitude": 48.9, "longitude": 2.29}
    replies: list[Any] = []

    def told() -> bool:
        body = {"location": {"coords": coords, "timestamp": now_s() * 1000}, "device_id": "p"}
        reply = doors.client.post("/ingest/transistor", json=body, headers=doors.bearer())
        replies.append(reply.json())
        return bool(replies[-1])

    put_until_live(doors, "/v1/settings", {"transistor_geofences": 5}, told)
    [[command, geofences]] = replies[-1]["background_geolocation"]
    assert ("addGeofences", "store", 200) == (
        command,
        geofences[0]["identifier"],
        geofences[0]["radius"],
    )
    assert not told()


def test_a_backlog_of_a_week_is_taken_in_one_call(doors: Doors) -> None:
    """5,000 records, shuffled by the SDK's own batching: all acknowledged, none refused."""
    start = now_s() - 6000
    coords = {"latitude": 48.9, "longitude": 2.29, "accuracy": 5}
    records = [{"coords": coords, "timestamp": (start + i) * 1000} for i in range(5000)]
    body = {"location": records[2500:] + records[:2500], "device_id": "p"}
    reply = doors.client.post("/ingest/transistor", json=body, headers=doors.bearer())
    assert (200, b"{}", []) == (reply.status_code, reply.content, doors.quarantine())


def test_an_encrypted_phone(doors: Doors) -> None:
    """The device's own passphrase opens its messages."""
    doors.put("/v1/devices/phone", {"attributes": {"owntracks_passphrase": "s3cret"}})
    box = SecretBox(b"s3cret".ljust(32, b"\0")).encrypt(json.dumps(location()).encode())
    body = {"_type": "encrypted", "data": base64.b64encode(box).decode()}
    url = f"/i/{doors.keys['ingest']}/owntracks/"
    assert b"[]" == doors.client.post(url + "phone", json=body).content
    assert [] == doors.quarantine()
    assert b"[]" == doors.client.post(url + "other", json=body).content
    assert "passphrase" in doors.quarantine()[0]["reason"]


def test_limits_are_503_for_apps(open_doors: Callable[..., Doors]) -> None:
    """A phone keeps what is answered so, and would lose what is answered with 429."""
    doors = open_doors(rate_limit_key_per_s=0.01, rate_limit_key_burst=2)
    replies = [
        doors.client.post("/ingest/owntracks", json=location(), headers=doors.bearer())
        for _ in range(3)
    ]
    assert [200, 200, 503] == [reply.status_code for reply in replies]
    assert int(replies[-1].headers["retry-after"]) > 1


def test_a_device_over_its_limit_is_503_and_loses_nothing(
    open_doors: Callable[..., Doors],
) -> None:
    """What was over the limit is neither acknowledged nor quarantined."""
    doors = open_doors(rate_limit_device_per_s=0.01, rate_limit_device_burst=1)
    url = "/ingest/overland/phone"
    statuses = [
        doors.client.post(url, json={"locations": [feature()]}, headers=doors.bearer()).status_code
        for _ in range(2)
    ]
    assert ([200, 503], []) == (statuses, doors.quarantine())


def test_what_cannot_be_stored_now_is_503(doors: Doors) -> None:
    """Nothing is acknowledged that is not stored, and no app loses anything."""
    services = doors.client.app.state.services
    services.engine.pings._is_closed = True
    for name, body in (("owntracks", location()), ("overland", {"locations": [feature()]})):
        reply = doors.client.post(f"/ingest/{name}", json=body, headers=doors.bearer())
        assert (503, True) == (reply.status_code, "retry-after" in reply.headers)


def test_of_people_who_withdrew_consent_nothing_is_kept(doors: Doors) -> None:
    """The app hears success, and no position remains, not even an unreadable one."""
    doors.put("/v1/devices/phone", {"consents": {"location": "off"}})
    reply = doors.client.post("/ingest/owntracks/phone", json=location(), headers=doors.bearer())
    assert (b"[]", []) == (reply.content, doors.quarantine())
    bad = location(tst="soon")
    doors.client.post("/ingest/owntracks/phone", json=bad, headers=doors.bearer())
    assert [""] == [one["raw"] for one in doors.quarantine()]


def test_erasing_a_device_empties_its_quarantine(doors: Doors) -> None:
    """What could not be read is personal, too."""
    for name in ("jane", "bob"):
        url = f"/ingest/owntracks/{name}"
        doors.client.post(url, json=location(tst="soon"), headers=doors.bearer())
    erased = doors.client.delete("/v1/devices/jane", headers=doors.bearer("manage"))
    assert erased.status_code < 300, erased.text
    assert ["bob"] == [one["device_id"] for one in doors.quarantine()]


def test_the_quarantine_is_paged_and_bounded(doors: Doors) -> None:
    """Latest first; one call cannot push everything else out."""
    for number in range(3):
        body = {"locations": [number]}
        doors.client.post("/ingest/overland/phone", json=body, headers=doors.bearer())
    read = doors.bearer("read")
    first = doors.client.get("/v1/quarantine?limit=2", headers=read).json()
    rest = doors.client.get(
        f"/v1/quarantine?limit=2&cursor={first['next_cursor']}", headers=read
    ).json()
    shown = [item["raw"] for item in [*first["items"], *rest["items"]]]
    assert (["2", "1", "0"], None) == (shown, rest["next_cursor"])
    body = {"locations": list(range(500))}
    doors.client.post("/ingest/overland/phone", json=body, headers=doors.bearer())
    whole = doors.client.get("/v1/quarantine?limit=1000", headers=read).json()
    assert 3 + MOST_KEPT_PER_CALL == len(whole["items"])


def test_nobody_speaks_for_another(doors: Doors) -> None:
    """A phone's token is its own, whatever it says; it is no receiver, and a receiver no phone."""
    minted = doors.client.post(
        "/v1/devices/jane/token", json={"ttl_s": 60}, headers=doors.bearer("manage")
    )
    token = minted.json()["token"]
    url = f"/i/{token}/owntracks/bob"
    assert 200 == doors.client.post(url, json=location(tst="soon")).status_code
    assert ["jane"] == [one["device_id"] for one in doors.quarantine()]
    packet = {"address": "ac:23:3f:a0:32:08", "rssi": -50}
    heard = doors.client.post(f"/i/{token}/advertisements/till-1", json=packet)
    assert 403 == heard.status_code
    sighting = {"device_id": "jane", "beacon": BEACON, "rssi_dbm": -50}
    told = doors.client.post("/v1/sightings", json=[sighting], headers=doors.bearer("till"))
    assert ["forbidden"] == [one["type"] for one in told.json()["rejected"]]


def test_keys_in_paths_are_not_logged() -> None:
    """Neither a key nor whatever else stands in its place."""
    for path in ("/i/anything-secret/owntracks/jane", "/pub?api_key=anything-secret"):
        assert "anything-secret" not in hide_secrets(path)
