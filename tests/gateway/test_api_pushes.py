"""Pushes over HTTP, on the whole application: sent directly, answered by phones, given up."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from litestar import Litestar
from litestar.testing import TestClient

from gateway import cli_dead
from gateway.app import create_app
from gateway.cli import main
from gateway.config import Settings
from gateway.dead import letter_document
from gateway.effects import packed
from gateway.keys import KeyStore
from gateway.links import PushLinks, read_action
from senders.dead_letters import DeadLetter
from senders.outbox import Room
from senders.settlement import Bury
from senders.tokens import InvalidToken
from triggers.model import Event, EventKind, Push

MESSAGE = {"title": "Order {{ event.properties.order }}", "body": "Ready, {{ user.id }}"}
SUBSCRIPTION = {
    "endpoint": "https://push.example/wpush/v2/abc",
    "expirationTime": None,
    "keys": {
        "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6"
        "-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        "auth": "BTBZMqHH6r4Tts7J_aSIgg",
    },
}


class Api:
    """The application, with a key that may do everything."""

    def __init__(self, client: TestClient[Litestar], key: str) -> None:
        self.client = client
        self.key = key
        self.services = client.app.state.services

    def call(self, method: str, path: str, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.key}", **more.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **more)

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        with self.client.portal() as portal:
            return portal.call(function, *args)

    def bearer(self, device_id: str) -> dict[str, str]:
        token = self.call("POST", f"/v1/devices/{device_id}/token").json()["token"]
        return {"Authorization": f"Bearer {token}"}

    def inbox(self, user: str, count: int) -> list[dict[str, Any]]:
        """The messages of a user's inbox, once there are so many; newest first."""
        ends = time.monotonic() + 10
        while time.monotonic() < ends:
            items = self.call("GET", f"/v1/inbox?user={user}").json()["items"]
            if len(items) >= count:
                return [item["message"] for item in items]
            time.sleep(0.02)
        pytest.fail(f"{count} messages did not come")


@pytest.fixture
def api(clean_redis_url: str, tmp_path: Path) -> Iterator[Api]:
    """A gateway with all its loops."""

    async def make_key() -> str:
        client = redis.asyncio.Redis.from_url(clean_redis_url)
        scopes, now = ["manage", "read", "ingest"], time.time_ns() // 1_000_000
        made = await KeyStore(client).create("acme", scopes, now)
        await client.aclose()
        return made.text

    key = asyncio.run(make_key())
    settings = Settings(data_dir=tmp_path, redis_url=clean_redis_url, shards=2)
    with TestClient(create_app(settings)) as client:
        made = Api(client, key)
        made.call("PUT", "/v1/users/kim", json={"timezone": "Europe/Berlin"})
        made.call("PUT", "/v1/devices/d1", json={"user_id": "kim"})
        yield made


def send(api: Api, headers: dict[str, str] | None = None, **changes: Any) -> Any:
    body = {"user_id": "kim", "message": MESSAGE, "properties": {"order": "7"}} | changes
    return api.call("POST", "/v1/notifications", json=body, headers=headers or {})


# --- direct pushes ---------------------------------------------------------------------------


def test_a_direct_push_arrives_once_for_its_key(api: Api) -> None:
    """The message is filled in and delivered; the same request again gets the same answer."""
    first = send(api, {"Idempotency-Key": "order-7"})
    again = send(api, {"Idempotency-Key": "order-7"})
    assert (202, first.json()) == (again.status_code, again.json())
    assert "true" == again.headers["idempotent-replayed"]
    assert 422 == send(api, {"Idempotency-Key": "order-7"}, user_id="lee").status_code
    (message,) = api.inbox("kim", 1)
    assert ("Order 7", "Ready, kim") == (message["title"], message["body"])
    location = first.headers["location"]
    assert f"/v1/deliveries/{first.json()['push_id']}" == location
    standing = api.call("GET", location).json()
    assert ("sent", [], ["sent"]) == (
        standing["delivery"],
        standing["engagement"],
        [step["state"] for step in standing["steps"]],
    )
    (why,) = api.call("GET", "/v1/explain?user=kim").json()["items"]
    assert ("direct", "sent") == (why["trigger_id"], why["result"])


def test_a_direct_push_is_stopped_by_a_no(api: Api) -> None:
    """Consent is asked of transactional pushes, too, and the answer is explained."""
    api.call("PATCH", "/v1/users/kim", json={"consents": {"push": False}})
    push_id = send(api, device_id="d1", user_id=None).json()["push_id"]
    ends = time.monotonic() + 10
    while api.call("GET", f"/v1/deliveries/{push_id}").status_code == 404:
        assert time.monotonic() < ends
        time.sleep(0.02)
    assert "suppressed" == api.call("GET", f"/v1/deliveries/{push_id}?device=d1").json()["delivery"]
    results = [one["result"] for one in api.call("GET", "/v1/explain?device=d1").json()["items"]]
    assert ["no_consent"] == results


@pytest.mark.parametrize(
    ("changes", "status", "pointer"),
    [
        ({"user_id": None}, 422, "#/user_id"),
        ({"device_id": "d1"}, 422, "#/user_id"),
        ({"channels": []}, 422, "#/channels"),
        ({"channels": ["inbox", "inbox"]}, 422, "#/channels"),
        ({"channels": ["pigeon"]}, 422, "#/channels/0"),
        ({"message": {"title": "{{ broken"}}, 422, "#/message/title"),
        ({"message": {}}, 422, "#/message/body"),
        ({"titel": "x"}, 422, "#/titel"),
        ({"user_id": "nobody"}, 404, None),
    ],
)
def test_a_wrong_notification_names_the_field(
    api: Api, changes: dict[str, Any], status: int, pointer: str | None
) -> None:
    """Nothing is sent, and the answer says why."""
    answer = send(api, **changes)
    assert status == answer.status_code, answer.text
    assert pointer == next((error["pointer"] for error in answer.json().get("errors", ())), None)


# --- what phones answer ----------------------------------------------------------------------


def test_remind_me_later_comes_later(api: Api) -> None:
    """A tap on the button becomes an event; its trigger sends again, once for two taps."""
    remind = {
        "on": {"event": "custom", "name": "action:later"},
        "delay_s": 1,
        "channels": ["inbox"],
        "variants": [
            {"message": {"title": "You asked: {{ event.properties.trigger_id }}", "body": "."}}
        ],
    }
    assert 201 == api.call("PUT", "/v1/triggers/remind", json=remind).status_code
    api.run(api.services.engine.catalog.catch_up)
    send(api, message={**MESSAGE, "actions": [{"id": "later", "title": "Later"}]})
    (message,) = api.inbox("kim", 1)
    url = message["actions"][0]["url"].removeprefix(api.services.settings.base_url)
    assert {"accepted": 1, "duplicates": 0} == api.client.post(url).json()
    assert {"accepted": 0, "duplicates": 1} == api.client.post(url).json()
    assert 405 == api.client.get(url).status_code
    newest, _ = api.inbox("kim", 2)
    assert "You asked: direct" == newest["title"]
    (event,) = api.call("GET", "/v1/events?kind=custom").json()["items"]
    push_id = message["id"]
    properties = {"push_id": push_id, "trigger_id": "direct", "action_id": "later"}
    assert ("action:later", "kim", properties) == (
        event["name"],
        event["user_id"],
        event["properties"],
    )
    standing = api.call("GET", f"/v1/deliveries/{push_id}?user=kim").json()
    assert ("delivered", ["action:later"]) == (standing["delivery"], standing["engagement"])


def test_receipts_come_in_batches_and_count_once(api: Api) -> None:
    """Good ones are taken beside bad ones; order and repetition change nothing."""
    send(api)
    (message,) = api.inbox("kim", 1)
    url = message["receipt_url"].removeprefix(api.services.settings.base_url)
    base = {"push_id": message["id"], "token": message["receipt_token"]}
    kinds = [{**base, "kind": kind} for kind in ("opened", "shown", "shown", "dismissed")]
    bad = [{**base, "kind": "eaten"}, {**base, "kind": "shown", "token": "x"}]
    done = api.client.post(url, json=[*kinds, *bad]).json()
    assert (3, 1) == (done["accepted"], done["duplicates"])
    assert [(4, "invalid-document"), (5, "unauthorized")] == [
        (one["index"], one["type"]) for one in done["rejected"]
    ]
    again = api.client.post(url, json={"receipts": kinds}).json()
    assert {"accepted": 0, "duplicates": 4, "rejected": []} == again
    plain = api.client.post(url, content='{"push_id": 1}', headers={"Content-Type": "text/plain"})
    assert 422 == plain.status_code
    standing = api.call("GET", f"/v1/deliveries/{message['id']}").json()
    assert "delivered" == standing["delivery"]
    assert {"opened", "shown", "dismissed"} == set(standing["engagement"])
    assert {"direct"} == {step["trigger_id"] for step in standing["steps"]}


def test_a_device_token_speaks_for_its_own_pushes(api: Api) -> None:
    """Without the push's token a device's own is enough, for itself alone."""
    mine = {"push_id": "p", "kind": "shown"}
    others = {**mine, "device_id": "d2"}
    bearer = api.bearer("d1")
    done = api.client.post("/v1/receipts", json=[mine, others], headers=bearer).json()
    assert (1, ["forbidden"]) == (done["accepted"], [one["type"] for one in done["rejected"]])
    assert 403 == api.client.post("/v1/receipts", json=others, headers=bearer).status_code


# --- preview ---------------------------------------------------------------------------------


def test_a_preview_shows_every_platform(api: Api) -> None:
    """Exact payloads with sizes, in the person's language, with tokens that are worth nothing."""
    message = {
        "title": "Hi {{ user.first_name }}",
        "body": "At {{ zone.name }}",
        "actions": [{"id": "later", "title": "Later"}],
        "translations": {"de": {"title": "Hallo {{ user.first_name }}"}},
    }
    body = {"message": message, "sample": {"user": {"first_name": "Ada"}}, "locale": "de-AT"}
    shown = api.call("POST", "/v1/messages/preview", json=body).json()
    assert ("Hallo Ada", "At Main Street") == (shown["title"], shown["body"])
    platforms = shown["platforms"]
    assert {"apns", "fcm", "webpush", "inbox", "webhook", "whatsapp", "sms", "email"} == set(
        platforms
    )
    apns = platforms["apns"]
    assert "Hallo Ada" == apns["payload"]["aps"]["alert"]["title"]
    assert 0 < apns["size"] <= apns["limit"] == 4096
    token = apns["payload"]["actions"][0]["token"]
    with pytest.raises(InvalidToken):
        read_action(token, api.services.link_keys, 0)
    of_device = {"message": {"title": "{{ device.id }}"}, "device_id": "d1"}
    assert "d1" == api.call("POST", "/v1/messages/preview", json=of_device).json()["title"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"message": {"title": "{% if %}"}}, 422),
        ({"message": {"title": "{{ user.nope }}", "missing": "strict"}}, 422),
        ({"message": {"title": "x"}, "device_id": "none"}, 404),
        ({}, 422),
    ],
)
def test_a_message_that_cannot_be_shown_says_why(api: Api, body: Any, status: int) -> None:
    """The field of the message is named."""
    answer = api.call("POST", "/v1/messages/preview", json=body)
    assert status == answer.status_code, answer.text
    if "message" in body and status == 422:
        assert "#/message/title" == answer.json()["errors"][0]["pointer"]


# --- dead letters ----------------------------------------------------------------------------


async def bury(services: Any, count: int) -> None:
    """Make dead letters: direct pushes to the inbox, and one that is no push."""
    outbox, now = services.dispatching.outbox, time.time_ns() // 1_000_000
    shard = services.people.shard("acme", "kim")
    for number in range(count):
        event = Event(f"e{number}", EventKind.CUSTOM, "acme", "~kim", now, now, user_id="kim")
        push = Push(
            f"0000000{number}-0000-8000-8000-000000000000",
            "acme",
            "~kim",
            "direct",
            0,
            0,
            "transactional",
            event,
            now - 10,
            expires_at=now + 60_000,
            user_id="kim",
            message={"title": f"Number {number}"},
            channels=("inbox",),
        )
        payload = packed(push)
        await outbox.enqueue(shard, "transactional", "acme", [payload])
    await outbox.enqueue(shard, "transactional", "acme", [b"\xc1"])
    for entry in await outbox.claim(Room(100, 100)):
        await outbox.settle([Bury(entry, "503, after 12 attempts")])


@pytest.fixture
def still(clean_redis_url: str, tmp_path: Path) -> Iterator[Api]:
    """A gateway that dispatches nothing, with four dead letters."""
    store = KeyStore(redis.asyncio.Redis.from_url(clean_redis_url))

    async def make_key() -> str:
        made = await store.create("acme", ["manage"], time.time_ns() // 1_000_000)
        await store._client.aclose()
        return made.text

    key = asyncio.run(make_key())
    settings = Settings(data_dir=tmp_path, redis_url=clean_redis_url, shards=2, background=False)
    with TestClient(create_app(settings)) as client:
        api = Api(client, key)
        api.run(bury, api.services, 3)
        yield api


def test_dead_letters_are_listed_replayed_and_purged(still: Api) -> None:
    """By page, newest first; a replayed one is back in the outbox; what is no push stays."""
    first = still.call("GET", "/v1/dead-letters?limit=3").json()
    rest = still.call("GET", f"/v1/dead-letters?cursor={first['next_cursor']}").json()
    assert (4, 3, 1, None) == (
        first["total"],
        len(first["items"]),
        len(rest["items"]),
        rest["next_cursor"],
    )
    items = first["items"] + rest["items"]
    assert {"503, after 12 attempts"} == {item["reason"] for item in items}
    assert 1 == sum(item["push"] is None for item in items)
    chosen = next(item["id"] for item in items if item["push"])
    replay = still.call("POST", "/v1/dead-letters/replay", json={"ids": [chosen, chosen]})
    assert {"replayed": 1, "unreadable": 0} == replay.json()
    replay = still.call("POST", "/v1/dead-letters/replay", json={"all": True})
    assert {"replayed": 2, "unreadable": 1} == replay.json()
    depths = still.run(still.services.dispatching.outbox.depth)
    assert 3 == sum(depth.length for depth in depths)
    assert {"purged": 1} == still.call("DELETE", "/v1/dead-letters?all=true").json()
    assert [] == still.call("GET", "/v1/dead-letters").json()["items"]
    actions = [entry["action"] for entry in still.call("GET", "/v1/audit").json()["items"]]
    assert ["purge", "replay", "replay"] == actions


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/dead-letters/replay", {}, 422),
        ("POST", "/v1/dead-letters/replay", {"ids": ["x"], "all": True}, 422),
        ("POST", "/v1/dead-letters/replay", {"ids": ["nonsense"]}, 422),
        ("DELETE", "/v1/dead-letters", None, 400),
        ("DELETE", "/v1/dead-letters?letter=9-1-1", None, 400),
        ("GET", "/v1/dead-letters?cursor=bm9uc2Vuc2U", None, 400),
    ],
)
def test_a_wrong_choice_of_letters_changes_nothing(
    still: Api, method: str, path: str, body: Any, status: int
) -> None:
    """The answer says what to name."""
    answer = still.call(method, path, **({"json": body} if body is not None else {}))
    assert status == answer.status_code, answer.text
    assert 4 == still.call("GET", "/v1/dead-letters").json()["total"]


def test_the_command_line_replays_letters(still: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """``gateway dead`` lists, replays and purges through the API."""
    monkeypatch.setattr(cli_dead, "_call", lambda _u, _k, *a, **more: still.call(*a, **more).json())

    def run(*arguments: str) -> tuple[int, list[str]]:
        done = CliRunner().invoke(main, ["dead", *arguments, "--key", "k"])
        lines = done.output.splitlines()  # the application's own log is among them
        return done.exit_code, [line for line in lines if "[info" not in line]

    code, listed = run("list", "--limit", "3")
    assert (0, 3) == (code, len(listed))
    assert all("503, after 12 attempts" in line for line in listed)
    assert 2 == run("replay")[0]
    assert ["3 replayed, 1 unreadable"] == run("replay", "--all")[1]
    ((left,),) = run("list")[1:]
    assert ["1 purged"] == run("purge", left.split()[0])[1]


def test_an_unreadable_letter_has_no_push() -> None:
    """It is shown by its reason alone."""
    shown = letter_document(DeadLetter("0-1-0", "marketing", "acme", "broken", 1, b"\xc1"))
    assert (None, "broken") == (shown["push"], shown["reason"])


# --- web push --------------------------------------------------------------------------------


def put_vapid(api: Api) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    body = {"private_key": pem, "subject": "mailto:push@example.com"}
    assert 201 == api.call("PUT", "/v1/credentials/webpush", json=body).status_code


def test_a_browser_subscribes_with_a_device_token(api: Api) -> None:
    """Key, subscription (once, however often put) and its end; for its own device alone."""
    bearer = api.bearer("d1")
    assert 404 == api.client.get("/v1/web-push/key", headers=bearer).status_code
    put_vapid(api)
    key = api.client.get("/v1/web-push/key", headers=bearer).json()["public_key"]
    assert 87 == len(key)
    for _ in range(2):
        done = api.client.put("/v1/web-push/subscription", json=SUBSCRIPTION, headers=bearer)
        assert {"device_id": "d1", "endpoint": SUBSCRIPTION["endpoint"]} == done.json()
    (target,) = api.call("GET", "/v1/devices/d1").json()["targets"]
    assert ("webpush", SUBSCRIPTION["endpoint"], SUBSCRIPTION["keys"]) == (
        target["provider"],
        target["address"],
        target["keys"],
    )
    others = {**SUBSCRIPTION, "device_id": "d2"}
    path = "/v1/web-push/subscription"
    assert 403 == api.client.put(path, json=others, headers=bearer).status_code
    assert 200 == api.call("PUT", path, json=others).status_code
    assert 422 == api.call("PUT", path, json=SUBSCRIPTION).status_code
    wrong = api.client.put(path, json={**SUBSCRIPTION, "endpoint": "http://x"}, headers=bearer)
    assert (422, "#/endpoint") == (wrong.status_code, wrong.json()["errors"][0]["pointer"])
    gone = {"endpoint": SUBSCRIPTION["endpoint"], "device": "d2"}
    assert 204 == api.call("DELETE", path, params=gone).status_code
    assert 404 == api.call("DELETE", path, params=gone).status_code


def test_page_and_worker_load_nothing_from_elsewhere(api: Api) -> None:
    """They are served with a strict policy; the worker may post to where pushes point."""
    for path, kind in (
        ("/push", "text/html"),
        ("/push/page.js", "text/javascript"),
        ("/push/page.css", "text/css"),
        ("/push/sw.js", "text/javascript"),
    ):
        answer = api.client.get(path)
        assert (200, kind) == (answer.status_code, answer.headers["content-type"].split(";")[0])
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert "<script>" not in answer.text
    assert api.services.settings.base_url in policy
    assert 404 == api.client.get("/push/other.js").status_code


def test_a_link_of_another_key_is_no_action(api: Api) -> None:
    """Tokens of another gateway, or of another purpose, do nothing."""
    event = Event("e", EventKind.ENTER, "acme", "d1", 1, 1)
    push = Push("p", "acme", "d1", "t", 1, 0, "marketing", event, 1, expires_at=2)
    for links in (
        PushLinks("", b"x" * 32, push),
        PushLinks("", api.services.link_keys[0], push),  # ended long ago
    ):
        assert 401 == api.client.post(links.action("later")[1]).status_code
    assert [] == api.call("GET", "/v1/events").json()["items"]
