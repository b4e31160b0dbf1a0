"""The management API on the whole application: two tenants, real keys, every route."""

import asyncio
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
from gateway.inbox import Inboxes, Item
from gateway.keys import KeyStore
from gateway.links import PushLinks
from triggers.model import Event, EventKind, Push

TRIGGER = {
    "on": {"event": "enter", "zones": "all"},
    "channels": ["app_push"],
    "variants": [{"weight": 1, "message": {"title": "Hi", "body": "there"}}],
}
CIRCLE = {"geometry": {"type": "Point", "coordinates": [13.4, 52.5]}, "radius_m": 100}
BEACON = {"beacons": ["ibeacon:E2C56DB5DFFB48D2B060D0F5A71096E0:1:3"]}
WEBHOOK = {
    "type": "webhook",
    "url": "https://example.com/in",
    "secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
}
DOCUMENTS = {
    "/v1/geofences/one": CIRCLE,
    "/v1/beacons/one": BEACON,
    "/v1/receivers/one": {"zone": "one"},
    "/v1/triggers/one": TRIGGER,
    "/v1/devices/one": {"user_id": "one"},
    "/v1/users/one": {},
    "/v1/credentials/webhook": WEBHOOK,
}


class Api(NamedTuple):
    """The application and its keys, by tenant and scope."""

    client: TestClient[Litestar]
    keys: dict[tuple[str, str], str]

    def call(
        self, method: str, path: str, who: tuple[str, str] = ("acme", "manage"), **more: Any
    ) -> Any:
        headers = {"Authorization": f"Bearer {self.keys[who]}", **more.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **more)


@pytest.fixture
def api(clean_redis_url: str, tmp_path: Path) -> Iterator[Api]:
    async def make_keys() -> dict[tuple[str, str], str]:
        client = redis.asyncio.Redis.from_url(clean_redis_url)
        store, now = KeyStore(client), time.time_ns() // 1_000_000
        made = {
            (tenant, scope): (await store.create(tenant, [scope], now)).text
            for tenant in ("acme", "beta")
            for scope in ("manage", "read", "ingest", "receiver:r")
        }
        await client.aclose()
        return made

    keys = asyncio.run(make_keys())
    settings = Settings(data_dir=tmp_path, redis_url=clean_redis_url, background=False)
    with TestClient(create_app(settings)) as client:
        yield Api(client, keys)


def test_every_document_of_a_tenant_is_unknown_to_another(api: Api) -> None:
    """What exists at one tenant is answered to another exactly as what exists nowhere."""
    for path, document in DOCUMENTS.items():
        reply = api.call("PUT", path, json=document)
        assert 201 == reply.status_code, (path, reply.text)
    for path in DOCUMENTS:
        unknown = path.rsplit("/", 1)[0] + "/none"
        for method in ("GET", "PATCH", "DELETE"):
            body = {"json": {}} if method == "PATCH" else {}
            theirs = api.call(method, path, ("beta", "manage"), **body)
            nowhere = api.call(method, unknown, ("beta", "manage"), **body)
            assert (404, 404) == (theirs.status_code, nowhere.status_code), (method, path)
            own_id = path.rsplit("/", 1)[1]
            assert nowhere.json()["detail"].replace("none", own_id) == theirs.json()["detail"]
        collection = path.rsplit("/", 1)[0]
        assert [] == api.call("GET", collection, ("beta", "manage")).json()["items"]
        assert 200 == api.call("GET", path).status_code


@pytest.mark.parametrize("scope", ["read", "ingest", "receiver:r"])
def test_a_key_without_the_scope_changes_nothing(api: Api, scope: str) -> None:
    """403 for every write without manage, and for every read without read."""
    for path, document in DOCUMENTS.items():
        assert 403 == api.call("PUT", path, ("acme", scope), json=document).status_code
        assert 403 == api.call("DELETE", path, ("acme", scope)).status_code
        status = api.call("GET", path, ("acme", scope)).status_code
        assert (404 if scope == "read" else 403) == status
    for path in ("/v1/settings", "/v1/events", "/v1/stats", "/v1/deliveries", "/v1/explain"):
        status = api.call("GET", path, ("acme", scope)).status_code
        assert (status == 403) == (scope != "read"), path


def test_no_route_is_open_without_a_key(api: Api) -> None:
    """Every route of the API answers 401 without a credential, but the few that say otherwise."""
    open_routes, closed = set(), 0
    for route in api.client.app.routes:
        for handler in getattr(route, "route_handlers", ()):
            for method in handler.http_methods - {"OPTIONS", "HEAD"}:
                if handler.opt.get("public"):
                    open_routes.add(route.path)
                elif route.path.startswith("/v1/"):
                    url = route.path.replace("{", "").replace("}", "").replace(":str", "")
                    assert 401 == api.client.request(method, url).status_code, (method, url)
                    closed += 1
    assert closed > 50
    assert {p for p in open_routes if p.startswith("/v1/")} == {
        "/v1/receipts",
        "/v1/actions/{action_token:str}",
        "/v1/session",
    }


def test_settings_are_the_tenants_own(api: Api) -> None:
    """404 before there are any, then read, replaced, patched, with exact errors."""
    assert 404 == api.call("GET", "/v1/settings").status_code
    made = api.call("PUT", "/v1/settings", json={"timezone": "Europe/Berlin"})
    assert 201 == made.status_code, made.text
    patched = api.call("PATCH", "/v1/settings", json={"caps": {"per_day": 3}})
    assert ("Europe/Berlin", 3) == (patched.json()["timezone"], patched.json()["caps"]["per_day"])
    wrong = api.call("PATCH", "/v1/settings", json={"caps": {"per_dya": 3}})
    assert (422, "#/caps/per_dya") == (wrong.status_code, wrong.json()["errors"][0]["pointer"])
    assert 404 == api.call("GET", "/v1/settings", ("beta", "manage")).status_code


def test_secrets_of_a_credential_are_never_shown(api: Api) -> None:
    """Neither the answer of PUT, nor GET, nor the list has them; the store has them sealed."""
    secret = WEBHOOK["secrets"][0]
    texts = [
        api.call("PUT", "/v1/credentials/webhook", json=WEBHOOK).text,
        api.call("GET", "/v1/credentials/webhook").text,
        api.call("GET", "/v1/credentials").text,
        api.call("GET", "/v1/audit").text,
    ]
    assert not [text for text in texts if secret in text]
    assert "example.com" in texts[1]
    patched = api.call("PATCH", "/v1/credentials/webhook", json={"url": "https://example.com/x"})
    assert 400 == patched.status_code
    wrong = api.call("PUT", "/v1/credentials/apns", json={"team_id": "x"})
    assert 422 == wrong.status_code


def test_triggers_are_checked_with_their_messages(api: Api) -> None:
    """The rule and each message are checked; errors name the field."""
    message = {"title": "{{ broken"}
    wrong = {**TRIGGER, "variants": [{"weight": 1, "message": message}]}
    reply = api.call("PUT", "/v1/triggers/t", json=wrong)
    assert 422 == reply.status_code
    assert reply.json()["errors"][0]["pointer"].startswith("#/variants/0/message")
    reply = api.call("PUT", "/v1/triggers/t", json={**TRIGGER, "cooldwon": {}})
    assert "cooldown" in reply.json()["errors"][0]["detail"]


def test_changes_are_in_the_audit_log(api: Api) -> None:
    """Every change by the API, newest first, by page; reading needs manage."""
    api.call("PUT", "/v1/geofences/a", json=CIRCLE)
    api.call("PATCH", "/v1/geofences/a", json={"properties": {"name": "A"}})
    api.call("DELETE", "/v1/geofences/a")
    first = api.call("GET", "/v1/audit?limit=2").json()
    second = api.call("GET", f"/v1/audit?cursor={first['next_cursor']}").json()
    entries = first["items"] + second["items"]
    assert ["delete", "patch", "create"] == [entry["action"] for entry in entries]
    assert {("geofences", "a")} == {(entry["kind"], entry["id"]) for entry in entries}
    assert 403 == api.call("GET", "/v1/audit", ("acme", "read")).status_code
    assert [] == api.call("GET", "/v1/audit", ("beta", "manage")).json()["items"]


def links(api: Api, device_id: str = "d-1") -> tuple[PushLinks, str]:
    """The links of a push of this tenant."""
    event = Event("e", EventKind.ENTER, "acme", device_id, 1, 1)
    push = Push(
        id="p-1",
        tenant="acme",
        device_id=device_id,
        trigger_id="t",
        trigger_version=1,
        variant=0,
        lane="marketing",
        event=event,
        created_at=1,
        expires_at=time.time_ns() // 1_000_000,
    )
    return PushLinks("", api.client.app.state.services.link_keys[0], push), "p-1"


def counts(reply: Any) -> tuple[int, int]:
    """How many receipts were new, and how many were known."""
    assert 200 == reply.status_code, reply.text
    return reply.json()["accepted"], reply.json()["duplicates"]


def test_receipts_need_their_own_token(api: Api) -> None:
    """A receipt is taken once, by its token or by a credential, and becomes a step of the push."""
    push_links, push_id = links(api)
    token, url = push_links.receipt()
    body = {"push_id": push_id, "kind": "opened", "token": token}
    assert (1, 0) == counts(api.client.post(url, json=body))
    assert (0, 1) == counts(api.client.post(url, json=body))
    for wrong_url, wrong in (
        (url, {**body, "push_id": "p-2"}),
        (url.replace("acme", "beta"), body),
        (url.replace("d-1", "d-2"), body),
        ("/v1/receipts", {"push_id": push_id, "kind": "opened", "device_id": "d-1"}),
    ):
        assert 401 == api.client.post(wrong_url, json=wrong).status_code, wrong_url
    by_key = {"push_id": push_id, "kind": "shown", "device_id": "d-1"}
    done = api.call("POST", "/v1/receipts", ("acme", "ingest"), json=by_key)
    assert (1, 0) == counts(done)
    assert 403 == api.call("POST", "/v1/receipts", ("acme", "read"), json=by_key).status_code
    steps = api.call("GET", "/v1/deliveries?device=d-1").json()["items"]
    assert ["shown", "opened"] == [step["state"] for step in steps]
    assert 422 == api.client.post(url, json={**body, "kind": "eaten"}).status_code


@pytest.mark.parametrize("device_id", ["d-1", "~kim"])
def test_a_button_counts_once_and_becomes_an_event(api: Api, device_id: str) -> None:
    """A pressed button is one receipt and one custom event, however often it is posted."""
    push_links, _ = links(api, device_id)
    _, url = push_links.action("remind")
    assert (1, 0) == counts(api.client.post(url))
    assert (0, 1) == counts(api.client.post(url))
    (event,) = api.call("GET", "/v1/events?kind=custom").json()["items"]
    assert ("action:remind", device_id) == (event["name"], event["device_id"])
    assert 401 == api.client.post(url[:-2] + "xx").status_code
    stats = api.call("GET", "/v1/stats").json()
    assert ({"custom": 1}, True) == (stats["events"], stats["is_complete"])


def test_what_happens_is_seen_from_every_side(api: Api) -> None:
    """A ping into a geofence is an event with a decision that can be explained."""
    api.call("PUT", "/v1/geofences/store", json=CIRCLE)
    api.call("PUT", "/v1/triggers/hello", json=TRIGGER)
    with api.client.portal() as portal:
        portal.call(api.client.app.state.services.engine.catalog.catch_up)
    at = time.time_ns() // 1_000_000
    pings = [
        {"device_id": "d-1", "lat": 52.5, "lon": 13.4, "accuracy_m": 5, "recorded_at": at + n}
        for n in (-2000, -1000)
    ]
    taken = api.call("POST", "/v1/pings", ("acme", "ingest"), json=pings)
    assert (202, 2) == (taken.status_code, taken.json()["accepted"]), taken.text
    (event,) = api.call("GET", "/v1/events?device=d-1").json()["items"]
    assert ("enter", {"type": "geofence", "id": "store"}) == (event["kind"], event["zone"])
    (why,) = api.call("GET", "/v1/explain?device=d-1&trigger=hello").json()["items"]
    assert ("no_target", event["id"]) == (why["result"], why["event_id"])
    assert "Not sent" in why["summary"]
    stats = api.call("GET", "/v1/stats").json()
    assert ({"enter": 1}, {"hello": {"no_target": 1}}) == (stats["events"], stats["decisions"])
    forgotten = api.call("DELETE", "/v1/devices/d-1")
    assert 200 == forgotten.status_code
    assert [] == api.call("GET", "/v1/events").json()["items"]


def test_an_inbox_is_read_by_its_owner(api: Api) -> None:
    """Newest first, by device or user; marked read; a device token reads its own inbox alone."""
    api.call("PUT", "/v1/devices/d-1", json={"user_id": "kim"})
    services = api.client.app.state.services
    inboxes = Inboxes(services.redis, services.installation.shard_count)
    now = time.time_ns() // 1_000_000
    with api.client.portal() as portal:
        for n in range(3):
            item = Item(f"m-{n}", now + n, now + 60_000, b'{"title": "Hi"}')
            portal.call(inboxes.put, "acme", "kim", item)
    first = api.call("GET", "/v1/inbox?device=d-1&limit=2").json()
    assert (["m-2", "m-1"], 3) == ([item["id"] for item in first["items"]], first["unread"])
    rest = api.call("GET", f"/v1/inbox?user=kim&cursor={first['next_cursor']}").json()
    assert (["m-0"], None) == ([item["id"] for item in rest["items"]], rest["next_cursor"])
    minted = api.call("POST", "/v1/devices/d-1/token")
    bearer = {"Authorization": f"Bearer {minted.json()['token']}"}
    marks = {"ids": ["m-2", "m-9"], "state": "read"}
    assert {"changed": 1} == api.client.post("/v1/inbox/marks", json=marks, headers=bearer).json()
    mine = api.client.get("/v1/inbox", headers=bearer).json()
    assert (["read", "new", "new"], 2) == (
        [item["state"] for item in mine["items"]],
        mine["unread"],
    )
    for url in ("/v1/inbox?device=d-2", "/v1/inbox?user=other&device=d-2"):
        assert 403 == api.client.get(url, headers=bearer).status_code
    assert 400 == api.call("GET", "/v1/inbox").status_code
    assert [] == api.call("GET", "/v1/inbox?user=kim", ("beta", "manage")).json()["items"]
