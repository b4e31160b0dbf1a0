"""Pushes taken back by what happened after them: real pings, real events, real dispatch."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from gateway.config import Settings
from gateway.dispatching import Dispatching, compose_dispatching
from gateway.engine import Engine, compose_engine
from gateway.history import History
from gateway.inbox import Inboxes
from gateway.installation import open_installation
from gateway.people import People
from gateway.person import Device
from gateway.pipeline import Post, now_ms
from gateway.receipts import Receipt, Receipts
from gateway.registry import Registry
from gateway.told import CustomEvent
from gateway.wire import Ping
from triggers.model import Decision

SHARDS = 4
SHOP = {"type": "Point", "coordinates": [11.5, 48.1]}
INSIDE, OUTSIDE = (48.1, 11.5), (48.12, 11.5)


class World:
    """One gateway, whose dispatch looks when told to."""

    def __init__(self, redis: Any, settings: Settings) -> None:
        self.redis = redis
        self.settings = settings
        self.registry = Registry(redis)
        self.people = People(redis, SHARDS)
        self.inboxes = Inboxes(redis, SHARDS)
        self.engine: Engine
        self.dispatching: Dispatching

    async def start(self) -> None:
        installation = await open_installation(self.redis, SHARDS)
        parts = (self.settings, self.redis, installation)
        self.engine = compose_engine(*parts, self.registry, self.people)
        await self.engine.catalog.load()
        self.dispatching = compose_dispatching(
            *parts, registry=self.registry, people=self.people, engine=self.engine
        )

    async def trigger(self, one: str, on: dict[str, Any], **fields: Any) -> None:
        message = {"title": "Hi", "ttl_s": 86_400}
        document = {"id": one, "on": on, "channels": ["inbox"]}
        document |= {"variants": [{"message": message}]} | fields
        await self.registry.put("acme", "triggers", one, msgspec.json.encode(document), now=1)

    async def fence(self) -> None:
        feature = {
            "type": "Feature",
            "id": "shop",
            "geometry": SHOP,
            "properties": {"radius_m": 100, "policy": {"preset": "immediate"}},
        }
        await self.registry.put("acme", "geofences", "shop", msgspec.json.encode(feature), now=1)

    async def ping(self, at: int, place: tuple[float, float]) -> None:
        ping = Ping(device_id="d1", lat=place[0], lon=place[1], recorded_at=at, accuracy_m=5.0)
        await self.engine.pipeline.pings([Post("acme", [ping], now_ms())])

    async def tell(self, name: str, at: int, **who: str) -> None:
        event = CustomEvent(
            f"{name}-{at}", name, who.get("user_id"), who.get("device_id"), at, {"cart": 7}
        )
        await self.engine.told.take("acme", [event], now_ms())

    async def _is_waiting(self) -> bool:
        outbox = self.dispatching.outbox
        lengths = [depth.length for depth in await outbox.depth()]
        return bool(await outbox.delayed_count() or sum(lengths))

    async def dispatch(self) -> list[tuple[str, str]]:
        """Dispatch until nothing waits; how each push ended."""
        running = asyncio.create_task(self.dispatching.run())
        async with asyncio.timeout(10):
            while await self._is_waiting():  # noqa: ASYNC110 - the state of Redis has no event
                await asyncio.sleep(0.01)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        keys = [key async for key in self.redis.scan_iter("{s:*}:deliveries:acme")]
        records = [
            msgspec.json.decode(fields[b"r"])
            for key in keys
            for _, fields in await self.redis.xrange(key)
        ]
        records.sort(key=lambda record: record["at"])
        return [(record["trigger_id"], record["state"]) for record in records]


_decision = msgspec.json.Decoder(Decision).decode
Play = Callable[[Callable[[World], Awaitable[None]]], None]


@pytest.fixture
def play(clean_redis_url: str, tmp_path: Path) -> Play:
    settings = Settings(data_dir=tmp_path, redis_url=clean_redis_url, shards=SHARDS)

    def run(body: Callable[[World], Awaitable[None]]) -> None:
        async def main() -> None:
            async with Redis.from_url(clean_redis_url) as redis:
                await body(World(redis, settings))

        asyncio.run(main())

    return run


ZONE_CASES = [
    ("left before it was due", "exit", [(60, OUTSIDE)], "suppressed"),
    ("still inside", "exit", [(60, INSIDE)], "sent"),
    ("not asked for", None, [(60, OUTSIDE)], "sent"),
    ("left, and came again", "enter", [(60, OUTSIDE), (300, INSIDE)], "suppressed"),
    ("only left", "enter", [(60, OUTSIDE)], "sent"),
]


@pytest.mark.parametrize("case", ZONE_CASES, ids=lambda case: case[0])
def test_what_the_device_did_takes_a_push_back(play: Play, case: Any) -> None:
    """A delayed push goes only if its device has not left (or come again) by then."""
    _, cancel_on, moves, ending = case

    async def body(world: World) -> None:
        await world.fence()
        fields = {"cancel_on": cancel_on} if cancel_on else {}
        fields |= {"max_age_s": 3600, "limits": {"total": 1}}
        await world.trigger("linger", {"event": "enter"}, **fields)
        await world.start()
        start = now_ms() - 600_000
        await world.ping(start, INSIDE)
        for after_s, place in moves:
            await world.ping(start + after_s * 1000, place)
        assert [("linger", ending)] == await world.dispatch()

    play(body)


CUSTOM_CASES = [
    ("bought by the same user", [("purchase", 5, {"user_id": "kim"})], "suppressed"),
    ("bought on another device", [("purchase", 5, {"device_id": "d2"})], "suppressed"),
    ("bought before", [("purchase", -5, {"user_id": "kim"})], "sent"),
    ("bought by somebody else", [("purchase", 5, {"user_id": "lee"})], "sent"),
    ("something else happened", [("viewed", 5, {"user_id": "kim"})], "sent"),
    ("nothing happened", [], "sent"),
]


@pytest.mark.parametrize("case", CUSTOM_CASES, ids=lambda case: case[0])
@pytest.mark.parametrize("whose", [{"user_id": "kim"}, {"device_id": "d1"}])
def test_an_abandoned_cart_is_forgotten_when_it_is_bought(
    play: Play, case: Any, whose: dict[str, str]
) -> None:
    """The reminder of a cart goes unless the person has paid meanwhile, on whatever device."""
    _, told, ending = case

    async def body(world: World) -> None:
        cancel_on = {"event": "purchase"}
        await world.trigger("cart", {"event": "custom", "name": "left"}, cancel_on=cancel_on)
        for one in ("d1", "d2"):
            await world.people.put_device("acme", Device(id=one, user_id="kim"), now=1)
        await world.start()
        at = now_ms() - 60_000
        await world.tell("left", at, **whose)
        for name, after_s, who in told:
            await world.tell(name, at + after_s * 1000, **who)
        assert [("cart", ending)] == await world.dispatch()

    play(body)


@pytest.mark.parametrize(("is_bought", "result"), [(True, "canceled"), (False, "sent")])
def test_a_delayed_reminder_looks_again_when_it_is_due(
    play: Play, is_bought: bool, result: str
) -> None:
    """It waits ``delay_s``, and its final decision stands in the trail of its user."""

    async def body(world: World) -> None:
        fields: dict[str, Any] = {"delay_s": 1, "cancel_on": {"event": "purchase"}}
        await world.trigger("cart", {"event": "custom", "name": "left"}, **fields)
        await world.start()
        await world.tell("left", now_ms() - 1000, user_id="kim")
        assert 1 == await world.dispatching.outbox.delayed_count()
        if is_bought:
            await world.tell("purchase", now_ms(), user_id="kim")
        await world.dispatch()
        receipts = Receipts(world.redis, world.people, world.dispatching.outbox)
        history = History(world.redis, SHARDS)
        trail = await history.trail("acme", ["kim"], "decisions", _decision)
        assert [result, "sent"] == [decision.result for _, decision in trail]
        decision = await receipts.decision("acme", "~kim", trail[0][1].id)
        assert decision is not None
        assert ("cart", result) == (decision.trigger_id, decision.result)

    play(body)


def test_a_fallback_whose_receipt_came_first_is_not_sent(play: Play) -> None:
    """A receipt that is faster than the settling still spares the person the second channel."""

    async def body(world: World) -> None:
        left = {"event": "custom", "name": "left"}
        fields = {"channels": ["webhook", "inbox"], "fallback_after_s": 600, "delay_s": 1}
        await world.trigger("cart", left, **fields)
        await world.people.put_device("acme", Device(id="d1", user_id="kim"), now=1)
        await world.start()
        receipts = Receipts(world.redis, world.people, world.dispatching.outbox)
        await world.tell("left", now_ms(), device_id="d1")
        (push_id,) = await world.redis.hkeys(await _delayed(world))
        receipt = Receipt(push_id.decode(), "delivered", now_ms())
        assert [True] == await receipts.take("acme", "d1", [receipt], now=now_ms())
        # No webhook credential: the push goes on to the inbox, as a fallback would.
        endings = await world.dispatch()
        assert ["delivered", "next_channel", "suppressed"] == [state for _, state in endings]
        assert [] == await world.inboxes.items("acme", "kim", now=1)

    play(body)


async def _delayed(world: World) -> bytes:
    (key,) = [key async for key in world.redis.scan_iter("{s:*}:delayed:body")]
    return bytes(key)


def test_dispatch_is_told_of_pushes(play: Play) -> None:
    """After a commit with pushes dispatch is called, after one without it is not."""

    async def body(world: World) -> None:
        await world.trigger("cart", {"event": "custom", "name": "left"}, delay_s=0)
        await world.start()
        calls: list[int] = []
        world.engine.effects.on_pushes = lambda: calls.append(1)
        await world.tell("viewed", now_ms(), user_id="kim")
        assert [] == calls
        await world.tell("left", now_ms(), user_id="kim")
        assert [1] == calls
        await world.fence()
        await world.trigger("hello", {"event": "enter"})
        await world.engine.catalog.catch_up()
        await world.ping(now_ms() - 600_000, OUTSIDE)
        assert [1] == calls
        await world.ping(now_ms(), INSIDE)
        assert [1, 1] == calls

    play(body)
