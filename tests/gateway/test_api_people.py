"""Devices and users over HTTP: records, consents with their log, merging, forgetting."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.consents import ConsentLog
from gateway.forget import Eraser
from gateway.idempotency import KeptAnswers
from gateway.merge import Merger
from gateway.people import People
from gateway.privacy import LocationConsent

SHARDS = 2
FCM = {"provider": "fcm", "address": "c0ffee-token:APA91bF-0123456789_abcdefghij"}


@pytest.fixture
def client(api_client: Callable[..., Any]) -> Any:
    from gateway.api import devices, users

    return api_client(
        [*devices.ROUTES, *users.ROUTES],
        people=lambda redis: People(redis, SHARDS),
        answers=lambda redis: KeptAnswers(redis, 60_000),
        consent_log=lambda redis: ConsentLog(redis, SHARDS),
        engine=lambda redis: SimpleNamespace(consent=LocationConsent(People(redis, SHARDS))),
        eraser=lambda redis: Eraser(redis, People(redis, SHARDS), SHARDS),
        merger=lambda redis: Merger(
            redis, People(redis, SHARDS), ConsentLog(redis, SHARDS), SHARDS
        ),
    )


def test_a_device_from_birth_to_death(client: Any) -> None:
    """PUT, GET, PATCH, list, DELETE, with tags that change when the record does."""
    made = client.put("/v1/devices/d-1", json={"user_id": "kim", "targets": [FCM]})
    assert (201, "/v1/devices/d-1") == (made.status_code, made.headers["location"])
    (target,) = made.json()["targets"]
    assert FCM.items() <= target.items()
    assert target["registered_at"] > 0
    got = client.get("/v1/devices/d-1", headers={"If-None-Match": made.headers["etag"]})
    assert 304 == got.status_code
    patched = client.patch("/v1/devices/d-1", json={"attributes": {"tier": "gold"}})
    assert {"tier": "gold"} == patched.json()["attributes"]
    assert made.json()["targets"] == patched.json()["targets"]
    stale = {"If-Match": made.headers["etag"]}
    assert 412 == client.patch("/v1/devices/d-1", json={}, headers=stale).status_code
    assert 412 == client.delete("/v1/devices/d-1", headers=stale).status_code
    assert ["d-1"] == [item["id"] for item in client.get("/v1/devices").json()["items"]]
    assert 200 == client.delete("/v1/devices/d-1").status_code
    assert 404 == client.get("/v1/devices/d-1").status_code
    assert 404 == client.delete("/v1/devices/d-1").status_code


def test_what_was_read_can_be_put_back(client: Any) -> None:
    """A record that is put as it was read keeps its version."""
    client.put("/v1/users/kim", json={"attributes": {"a": 1}})
    client.put("/v1/devices/d-1", json={"user_id": "kim", "targets": [FCM]})
    for path in ("/v1/users/kim", "/v1/devices/d-1"):
        read = client.get(path)
        again = client.put(path, json=read.json())
        assert (200, read.headers["etag"]) == (again.status_code, again.headers["etag"])


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"user": "kim"}, "#/user"),
        ({"targets": [{"provider": "apns", "address": "not hex"}]}, "#/targets/0/address"),
        ({"targets": [{"provider": "pager", "address": "1"}]}, "#/targets/0/provider"),
        ({"targets": [{"address": "1"}]}, "#/targets/0/provider"),
        ({"timezone": "Mars/Base"}, "#/timezone"),
        ({"locale": "not a locale"}, "#/locale"),
        ({"consents": {"location": "maybe"}}, "#/consents/location"),
        ({"consents": {"sms": True}}, "#/consents/sms"),
        ({"user_id": "a b"}, "#/user_id"),
        ({"attributes": [1]}, "#/attributes"),
    ],
)
def test_a_bad_device_names_the_field(client: Any, body: Any, pointer: str) -> None:
    """422 with a JSON pointer."""
    reply = client.put("/v1/devices/d-1", json=body)
    assert (422, pointer) == (reply.status_code, reply.json()["errors"][0]["pointer"])


def test_a_user_shows_its_devices(client: Any) -> None:
    """The devices of a user are found from the user."""
    client.put("/v1/users/kim", json={})
    for one in ("b", "a"):
        client.put(f"/v1/devices/{one}", json={"user_id": "kim"})
    assert ["a", "b"] == client.get("/v1/users/kim").json()["devices"]
    items = client.get("/v1/users/kim/devices").json()["items"]
    assert ["a", "b"] == [item["id"] for item in items]


@pytest.mark.parametrize("path", ["/v1/users/kim", "/v1/devices/d-1"])
def test_consents_are_logged_with_source_and_time(client: Any, path: str) -> None:
    """Every answer is in the log; what is left out stays; the record shows what holds."""
    client.put(path, json={"consents": {"push": True}})
    given = {"location": "coarse", "source": "settings", "at": "2026-11-01T10:00:00Z"}
    reply = client.post(f"{path}/consents", json={**given, "policy_version": "7"})
    assert 200 == reply.status_code
    assert {"push": True, "location": "coarse"} == reply.json()["consents"]
    client.patch(path, json={"consents": {"push": False}})
    first, second, third = client.get(f"{path}/consents").json()["items"]
    assert ("api:test-key", True) == (first["source"], first["push"])
    assert ("settings", "coarse", "2026-11-01T10:00:00.000Z", "7") == (
        second["source"],
        second["location"],
        second["at"],
        second["policy_version"],
    )
    assert (False, "coarse") == (third["push"], third["location"])
    assert {"push": False, "location": "coarse"} == client.get(path).json()["consents"]
    assert 422 == client.post(f"{path}/consents", json={"source": "x"}).status_code
    assert 404 == client.post("/v1/users/nobody/consents", json=given).status_code


def test_merging_keeps_the_stricter_side(client: Any) -> None:
    """Devices move, own values win, the stricter consent holds, the other user is gone."""
    client.put(
        "/v1/users/kim", json={"attributes": {"a": 1}, "tags": ["x"], "consents": {"push": True}}
    )
    client.put(
        "/v1/users/anon",
        json={
            "attributes": {"a": 2, "b": 3},
            "tags": ["y"],
            "consents": {"push": False, "location": "coarse"},
        },
    )
    client.put("/v1/devices/d-1", json={"user_id": "anon"})
    merged = client.post("/v1/users/kim/merge", json={"from": "anon"})
    assert 200 == merged.status_code
    assert {"a": 1, "b": 3} == merged.json()["attributes"]
    assert ["x", "y"] == merged.json()["tags"]
    assert {"push": False, "location": "coarse"} == merged.json()["consents"]
    assert 404 == client.get("/v1/users/anon").status_code
    assert ["d-1"] == client.get("/v1/users/kim").json()["devices"]
    assert 404 == client.post("/v1/users/kim/merge", json={"from": "anon"}).status_code
    assert 422 == client.post("/v1/users/kim/merge", json={"from": "kim"}).status_code
    sources = [e["source"] for e in client.get("/v1/users/kim/consents").json()["items"]]
    assert "merge of anon" in sources


def test_forgetting_a_user_with_the_devices(client: Any) -> None:
    """`devices=true` forgets the devices, too; without it they stay, unlinked."""
    for one in ("a", "b"):
        client.put(f"/v1/users/{one}", json={})
        client.put(f"/v1/devices/of-{one}", json={"user_id": one})
    assert 200 == client.delete("/v1/users/a").status_code
    assert "user_id" not in client.get("/v1/devices/of-a").json()
    assert 200 == client.delete("/v1/users/b?devices=true").status_code
    assert 404 == client.get("/v1/devices/of-b").status_code
    assert 404 == client.delete("/v1/users/b").status_code


def test_lists_are_pages(client: Any) -> None:
    """Following next_cursor gives everything once."""
    ids = {f"d-{n}" for n in range(15)}
    for one in ids:
        client.put(f"/v1/devices/{one}", json={})
    found, cursor = [], ""
    while cursor is not None:
        body = client.get("/v1/devices", params={"limit": 4, "cursor": cursor}).json()
        found += [item["id"] for item in body["items"]]
        cursor = body["next_cursor"]
    assert (15, ids) == (len(found), set(found))


def test_another_tenant_sees_nothing(client: Any) -> None:
    """Another tenant's device is an unknown device."""
    client.put("/v1/devices/d-1", json={})
    client.put("/v1/users/kim", json={})
    other = {"X-Tenant": "beta"}
    for path in ("/v1/devices/d-1", "/v1/users/kim"):
        assert 404 == client.get(path, headers=other).status_code
        assert 404 == client.delete(path, headers=other).status_code
        assert 404 == client.get(f"{path}/consents", headers=other).status_code
        assert 200 == client.get(path).status_code
    assert [] == client.get("/v1/devices", headers=other).json()["items"]


def test_an_idempotency_key_gives_the_same_answer(client: Any) -> None:
    """The same request again is answered as before and done once; another one is refused."""
    client.put("/v1/users/kim", json={})
    given, key = {"push": True, "source": "x"}, {"Idempotency-Key": "k-1"}
    path = "/v1/users/kim/consents"
    first = client.post(path, json=given, headers=key)
    again = client.post(path, json=given, headers=key)
    assert (200, first.content) == (again.status_code, again.content)
    assert "true" == again.headers["idempotent-replayed"]
    assert 1 == len(client.get(path).json()["items"])
    other = client.post(path, json={**given, "push": False}, headers=key)
    assert (422, "/errors#idempotency-mismatch") == (other.status_code, other.json()["type"])
    wrong = client.post(path, json={"source": 1}, headers={"Idempotency-Key": "k-2"})
    assert 422 == wrong.status_code
    right = client.post(path, json=given, headers={"Idempotency-Key": "k-2"})
    assert 200 == right.status_code
    assert 400 == client.post(path, json=given, headers={"Idempotency-Key": "x" * 256}).status_code
