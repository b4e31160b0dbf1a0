"""From the outbox to the provider and back: real Redis, real catalogue, the provider sandbox."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from redis.asyncio import Redis

from gateway.config import Settings
from gateway.delivery import fallback_id, revive
from gateway.dispatching import Dispatching, compose_dispatching
from gateway.effects import packed
from gateway.engine import Engine, compose_engine
from gateway.inbox import Inboxes
from gateway.installation import open_installation
from gateway.kinds import credential, trigger
from gateway.links import is_receipt, read_action
from gateway.master_key import load_master_keys
from gateway.people import People
from gateway.person import Consents, Device, User
from gateway.registry import Registry
from senders.model import Target
from senders.outbox import Room
from senders.sandbox.process import SandboxProcess
from senders.settlement import Bury
from senders.vault import Vault
from triggers.model import Event, EventKind, Push, Result

SHARDS = 2
GOOD, OTHER, DEAD = "ab" * 32, "cd" * 32, "dead" + "00" * 30
FAR = 4_000_000_000_000
ID = "01020304-0506-8708-890a-0b0c0d0e0f10"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    with SandboxProcess(Path(tmp_path_factory.mktemp("sandbox"))) as process:
        yield process


class World:
    """One gateway's dispatch with everything it needs."""

    def __init__(self, redis: Any, settings: Settings, sandbox: SandboxProcess) -> None:
        self.redis = redis
        self.settings = settings
        self.sandbox = sandbox
        self.registry = Registry(redis)
        self.people = People(redis, SHARDS)
        self.inboxes = Inboxes(redis, SHARDS)
        self.keys = load_master_keys(settings)
        self.engine: Engine
        self.dispatching: Dispatching

    async def start(self) -> None:
        installation = await open_installation(self.redis, SHARDS)
        self.engine = compose_engine(
            self.settings, self.redis, installation, self.registry, self.people
        )
        await self.engine.catalog.load()
        self.dispatching = compose_dispatching(
            self.settings,
            self.redis,
            installation,
            registry=self.registry,
            people=self.people,
            engine=self.engine,
        )

    async def put_apns(self, **changes: Any) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        document = {
            "team_id": "TEAM123456",
            "key_id": "KEY1234567",
            "private_key": pem,
            "topic": "com.acme.shop",
            "endpoint": self.sandbox.url,
            "ca": self.sandbox.ca.read_text(),
        }
        stored = credential.parse(Vault(self.keys), "acme", "apns", document | changes)
        doc = msgspec.json.encode(stored)
        await self.registry.put("acme", "credentials", "apns", doc, now=1)

    async def put_trigger(self, **changes: Any) -> None:
        document = {
            "id": "lunch",
            "on": {"event": "enter"},
            "channels": ["app_push", "inbox"],
            "variants": [{"message": {"title": "Hi {{ user.first_name }}", "body": "Lunch!"}}],
        } | changes
        doc = msgspec.json.encode(trigger.parse(document["id"], document))
        await self.registry.put("acme", "triggers", document["id"], doc, now=1)

    async def put_device(self, *tokens: str, **changes: Any) -> None:
        targets = tuple(Target("apns", token, registered_at=1) for token in tokens)
        device = Device(id="d1", attributes={"first_name": "Ada"}, targets=targets, **changes)
        await self.people.put_device("acme", device, now=1)

    async def push(self, **changes: Any) -> Push:
        event = Event("e1", EventKind.ENTER, "acme", "d1", 1, 2, zone_type="geofence", zone_id="z")
        push = Push(ID, "acme", "d1", "lunch", 1, 0, "marketing", event, 1, expires_at=FAR)
        push = msgspec.structs.replace(push, **changes)
        shard = self.people.shard("acme", "d1")
        outbox = self.dispatching.outbox
        await outbox.enqueue(shard, push.lane, "acme", [packed(push)])
        return push

    async def run(self, endings: int) -> list[tuple[str, str]]:
        """Dispatch until so many steps are recorded; (state, reason) of each."""
        running = asyncio.create_task(self.dispatching.run())
        try:
            async with asyncio.timeout(10):
                while True:
                    records = await self.stream("deliveries", b"r")
                    if len(records) >= endings:
                        break
                    await asyncio.sleep(0.01)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
        return [(record["state"], record.get("reason", "")) for record in records]

    async def stream(self, name: str, field: bytes) -> list[dict[str, Any]]:
        tag = f"{{s:{self.people.shard('acme', 'd1'):02d}}}"
        entries = await self.redis.xrange(f"{tag}:{name}:acme")
        return [msgspec.json.decode(fields[field]) for _, fields in entries]

    async def results(self) -> list[str]:
        return [decision["result"] for decision in await self.stream("decisions", b"d")]


@pytest.fixture
def play(
    clean_redis_url: str, tmp_path: Path, sandbox: SandboxProcess
) -> Callable[[Callable[[World], Awaitable[None]]], None]:
    sandbox.call("POST", "reset")
    settings = Settings(data_dir=tmp_path, redis_url=clean_redis_url, shards=SHARDS)

    def run(body: Callable[[World], Awaitable[None]]) -> None:
        async def main() -> None:
            async with Redis.from_url(clean_redis_url) as redis:
                await body(World(redis, settings, sandbox))

        asyncio.run(main())

    return run


Play = Callable[[Callable[[World], Awaitable[None]]], None]


def test_a_push_is_rendered_sent_and_recorded(play: Play) -> None:
    """The phone's provider gets the filled-in message; history and decision say so."""

    async def body(world: World) -> None:
        await world.put_apns()
        await world.put_trigger()
        await world.put_device(GOOD)
        await world.start()
        await world.push()
        assert [("sent", "")] == await world.run(1)
        (message,) = world.sandbox.messages()
        assert GOOD == message["target"]
        assert "Hi Ada" in msgspec.json.encode(message).decode()
        (record,) = await world.stream("deliveries", b"r")
        assert ("app_push", "apns", 1) == (record["channel"], record["provider"], record["attempt"])
        assert ["sent"] == await world.results()
        assert 1 == await world.redis.llen(
            f"{{s:{world.people.shard('acme', 'd1'):02d}}}:trail:acme/d1"
        )

    play(body)


def test_a_dead_address_is_dropped_and_the_next_channel_taken(play: Play) -> None:
    """The provider's word empties the record; the push goes on to the inbox."""

    async def body(world: World) -> None:
        await world.put_apns()
        await world.put_trigger()
        await world.put_device(DEAD)
        await world.start()
        await world.push()
        assert ["next_channel", "sent"] == [state for state, _ in await world.run(2)]
        stored = await world.people.device("acme", "d1")
        assert stored is not None
        assert () == stored.person.targets
        (item,) = await world.inboxes.items("acme", "d1", now=1)
        assert "Lunch!" == msgspec.json.decode(item.message)["body"]

    play(body)


def test_a_users_own_dead_address_is_dropped(play: Play) -> None:
    """Addresses of the person are dropped like those of a device, and the living ones stay."""

    async def body(world: World) -> None:
        await world.put_apns()
        await world.put_trigger(channels=["app_push"])
        targets = tuple(Target("apns", token, registered_at=1) for token in (DEAD, GOOD))
        await world.people.put_user("acme", User(id="kim", targets=targets), now=1)
        await world.put_device(user_id="kim")
        await world.start()
        await world.push()
        states = sorted(state for state, _ in await world.run(3))
        assert ["sent", "split", "undeliverable"] == states
        stored = await world.people.user("acme", "kim")
        assert stored is not None
        assert [GOOD] == [target.address for target in stored.person.targets]

    play(body)


def test_several_addresses_each_get_the_push_once(play: Play) -> None:
    """The push splits; a dead part says nothing about the living one."""

    async def body(world: World) -> None:
        await world.put_apns()
        await world.put_trigger(channels=["app_push"])
        await world.put_device(GOOD, OTHER)
        await world.start()
        await world.push()
        assert ["split", "sent", "sent"] == [state for state, _ in await world.run(3)]
        assert sorted([GOOD, OTHER]) == sorted(one["target"] for one in world.sandbox.messages())

    play(body)


SUPPRESSED: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], Result]] = [
    ("switched off", {"enabled": False}, {}, {}, Result.DISABLED),
    ("consent withdrawn", {}, {"consents": Consents(push=False)}, {}, Result.NO_CONSENT),
    ("expired", {}, {}, {"expires_at": 5}, Result.EXPIRED),
    ("no address left", {"channels": ["web_push"]}, {}, {}, Result.NO_TARGET),
    ("trigger deleted", {"id": "other"}, {}, {}, Result.DISABLED),
]


@pytest.mark.parametrize("case", SUPPRESSED, ids=lambda case: case[0])
def test_what_changed_since_the_decision_stops_the_push(play: Play, case: Any) -> None:
    """The last look finds it, nothing is sent, and the decision stands corrected."""
    _, rule, person, push, result = case

    async def body(world: World) -> None:
        await world.put_apns()
        await world.put_trigger(**rule)
        await world.put_device(GOOD, **person)
        await world.start()
        await world.push(**push)
        assert [("suppressed", result.value)] == await world.run(1)
        assert [result.value] == await world.results()
        assert [] == world.sandbox.messages()

    play(body)


def test_caps_are_taken_at_dispatch_once_for_each_push(play: Play) -> None:
    """With one a day the second push is suppressed; the first takes one, however often prepared."""

    async def body(world: World) -> None:
        rules = msgspec.json.encode({"caps": {"per_day": 1}})
        await world.registry.put("acme", "tenants", "acme", rules, now=1)
        await world.put_trigger(channels=["inbox"])
        await world.put_device()
        await world.start()
        await world.push()
        await world.push()
        await world.push(id=ID.replace("0102", "ffff"))
        reasons = {reason for state, reason in await world.run(3) if state == "suppressed"}
        assert {"frequency_cap"} == reasons
        by_state: dict[str, set[str]] = {"sent": set(), "suppressed": set()}
        for record in await world.stream("deliveries", b"r"):
            by_state[record["state"]].add(record["push_id"])
        assert [1, 1] == [len(ids) for ids in by_state.values()]
        assert by_state["sent"].isdisjoint(by_state["suppressed"])

    play(body)


def test_without_a_receipt_the_next_channel_follows(play: Play) -> None:
    """The follow-up is armed with the delivery, and a receipt's cancellation takes it back."""

    async def body(world: World) -> None:
        await world.put_apns()
        await world.put_trigger(fallback_after_s=3600)
        await world.put_device(GOOD)
        await world.start()
        await world.push()
        assert [("sent", "")] == await world.run(1)
        shard = world.people.shard("acme", "d1")
        assert 0 == await world.dispatching.outbox.move_due(shard, 1_000)
        assert 1 == await world.dispatching.outbox.delayed_count()
        assert [fallback_id(ID)] == await world.dispatching.outbox.cancel(shard, [fallback_id(ID)])

    play(body)


def test_a_direct_push_needs_no_trigger(play: Play) -> None:
    """Its own message and channels, the same consent, a decision like any other."""

    async def body(world: World) -> None:
        await world.put_device()
        await world.start()
        await world.push(
            message={"title": "Order {{ device.id }}"},
            channels=("app_push", "inbox"),
            lane="transactional",
            trigger_id="",
        )
        assert [("sent", "")] == await world.run(1)
        (item,) = await world.inboxes.items("acme", "d1", now=1)
        assert "Order d1" == msgspec.json.decode(item.message)["title"]
        assert ["sent"] == await world.results()

    play(body)


def test_a_missing_credential_is_an_answer(play: Play) -> None:
    """Without a credential the channel cannot be used; the next one is."""

    async def body(world: World) -> None:
        await world.put_trigger()
        await world.put_device(GOOD)
        await world.start()
        await world.push()
        assert [("next_channel", "no apns credential"), ("sent", "")] == await world.run(2)

    play(body)


def test_a_wrong_credential_parks_its_pushes(play: Play) -> None:
    """A refused credential holds its pushes until it may be tried again."""

    async def body(world: World) -> None:
        await world.put_apns(topic="com.acme.shop")
        await world.put_trigger(channels=["app_push"])
        await world.put_device("4030" + "00" * 30)
        await world.start()
        await world.push()
        ((state, reason),) = await world.run(1)
        assert "parked" == state
        assert "InvalidProviderToken" in reason
        (record,) = await world.stream("deliveries", b"r")
        assert record["due_at"] >= record["at"] + 59_000

    play(body)


def test_a_message_carries_links_that_only_we_can_make(play: Play) -> None:
    """The receipt's token proves this push of this device; the action's token says all."""
    message = {"title": "Hi", "actions": [{"id": "later", "title": "Later"}]}

    async def body(world: World) -> None:
        await world.put_trigger(channels=["inbox"], variants=[{"message": message}])
        await world.people.put_user("acme", User(id="u1"), now=1)
        await world.put_device(user_id="u1")
        await world.start()
        await world.push()
        await world.run(1)
        (item,) = await world.inboxes.items("acme", "u1", now=1)
        shown = msgspec.json.decode(item.message)
        assert is_receipt(shown["receipt_token"], "acme", "d1", ID, world.keys)
        assert not is_receipt(shown["receipt_token"], "acme", "d2", ID, world.keys)
        token = shown["actions"][0]["token"]
        assert ("acme", "d1", ID, "later") == read_action(token, world.keys, now=1)

    play(body)


def test_a_dead_letter_is_replayed_from_the_start(play: Play) -> None:
    """What killed it is repaired, the letter gets a new life, and the gauges follow."""

    async def body(world: World) -> None:
        await world.put_trigger(channels=["inbox"])
        await world.put_device()
        await world.start()
        push = await world.push(expires_at=60_001, attempt=7, channel=0)
        dispatching = world.dispatching
        (entry,) = await dispatching.outbox.claim(Room(100, 100))
        await dispatching.outbox.settle([Bury(entry, "503, after 12 attempts")])
        await dispatching.measure()
        letters = await dispatching.dead.page("acme", 10)
        assert ["503, after 12 attempts"] == [letter.reason for letter in letters]
        now = FAR - 60_001
        assert 1 == await dispatching.dead.replay(letters, lambda payload: revive(payload, now))
        assert [("sent", "")] == await world.run(1)
        (item,) = await world.inboxes.items("acme", "d1", now=1)
        assert (push.id, FAR - 1) == (item.id, item.expires_at)

    play(body)


def test_an_entry_that_is_no_push_is_buried(play: Play) -> None:
    """Nothing can be done with it, and nothing else stops for it."""

    async def body(world: World) -> None:
        await world.put_trigger(channels=["inbox"])
        await world.put_device()
        await world.start()
        shard = world.people.shard("acme", "d1")
        await world.dispatching.outbox.enqueue(shard, "marketing", "acme", [b"\xc1"])
        await world.push()
        assert [("sent", "")] == await world.run(1)
        assert 1 == await world.redis.xlen(f"{{s:{shard:02d}}}:dead:acme")

    play(body)
