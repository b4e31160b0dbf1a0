"""Backtests: what would have happened is what does happen, and it leaves no trace."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from gateway import metrics
from gateway.api.backtests import rehearsed
from gateway.backtest.report import Report
from gateway.backtest.run import Backtest, Bounds
from gateway.backtest.traffic import Arrival, in_order, is_sampled, posted, recorded
from gateway.catalog import Catalog
from gateway.effects import Effects
from gateway.people import People
from gateway.person import Consents, Device
from gateway.pipeline import Pipeline, Post
from gateway.registry import Registry
from gateway.wire import Ping
from senders.model import Target
from triggers.redis_store import RedisStore
from triggers.trigger import live, parse_trigger

SHARDS = 4
NOON = 1_790_164_800_000  # 2026-09-23T12:00:00Z
MINUTE = 60_000
INSIDE, OUTSIDE = (48.1, 11.5), (48.12, 11.5)
WHOLE = Bounds()


class World:
    """A tenant on a real Redis, with a clock of its own."""

    def __init__(self, client: Redis) -> None:
        self.client = client
        self.registry = Registry(client)
        self.people = People(client, SHARDS)
        self.catalog = Catalog(self.registry)
        self.store = RedisStore(client)
        self.now = 0
        effects = Effects(self.people, SHARDS)
        self.live = Pipeline(self.catalog, self.store, effects, SHARDS, clock=lambda: self.now)

    async def put(self, kind: Any, one: str, doc: dict[str, Any]) -> None:
        await self.registry.put("acme", kind, one, msgspec.json.encode(doc), now=1)
        await self.catalog.catch_up()

    async def fence(self, one: str, lat: float, lon: float, radius_m: float = 150) -> None:
        feature = {"type": "Feature", "id": one, "geometry": {"type": "Point",
                   "coordinates": [lon, lat]}, "properties": {"radius_m": radius_m}}  # fmt: skip
        await self.put("geofences", one, feature)

    async def trigger(self, one: str, event: str, **fields: Any) -> None:
        await self.put("triggers", one, document(one, event, **fields))

    async def phone(self, one: str, user_id: str | None = None, **fields: Any) -> None:
        fields = {"targets": (Target("fcm", f"token-{one}"),)} | fields
        await self.people.put_device("acme", Device(id=one, user_id=user_id, **fields), now=1)

    async def backtest(
        self, trigger_id: str, arrivals: list[Arrival], bounds: Bounds = WHOLE, **options: Any
    ) -> Report:
        view = self.catalog.view("acme")
        chosen = view.trigger(trigger_id)
        assert chosen is not None
        twin = await rehearsed(self.registry, view, chosen)
        return await Backtest(twin, trigger_id, self.people, bounds, **options).run(
            in_order(arrivals)
        )

    async def play(self, arrivals: list[Arrival], until: int) -> None:
        """The live engine: ping by ping, timers fired every second."""
        for arrival in arrivals:
            await self.pass_time(arrival.received_at)
            self.now = arrival.received_at
            await self.live.pings([Post("acme", [arrival.ping], self.now)])
        await self.pass_time(until)

    async def pass_time(self, until: int) -> None:
        """Fire what is due, each at its instant."""
        while True:
            keys = [f"{{s:{shard:02d}}}:timers" for shard in range(SHARDS)]
            first = [await self.client.zrange(key, 0, 0, withscores=True) for key in keys]
            due = [(int(one[0][1]), shard) for shard, one in enumerate(first) if one]
            if not due or min(due)[0] > until:
                return
            self.now, shard = min(due)
            await self.live.due(shard, self.now)

    async def decided(self, trigger_id: str) -> Counter[str]:
        """The results of the live engine's decisions."""
        keys = [key async for key in self.client.scan_iter("{s:*}:decisions:acme")]
        entries = [e[b"d"] for key in keys for _, e in await self.client.xrange(key)]
        found = [msgspec.json.decode(entry) for entry in entries]
        return Counter(one["result"] for one in found if one["trigger_id"] == trigger_id)


def document(one: str, event: str, **fields: Any) -> dict[str, Any]:
    on = {"event": event, **{k: fields.pop(k) for k in ("dwell_s", "within_m") if k in fields}}
    return {"id": one, "on": on, "variants": [{"message": {"title": "Hi"}}]} | fields


def on_world(url: str, body: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        client = Redis.from_url(url)
        try:
            world = World(client)
            await world.catalog.load()
            await body(world)
        finally:
            await client.aclose()

    asyncio.run(main())


def walk(seed: int, devices: int, steps: int) -> list[Arrival]:
    """Phones that wander among the zones; some report late, in backlogs, or twice."""
    rng = random.Random(seed)
    pings = []
    for device in range(devices):
        lat, lon, at = 48.1, 11.5, NOON + rng.randrange(MINUTE)
        backlog_until = 0
        for _ in range(steps):
            lat, lon = lat + rng.gauss(0, 0.001), lon + rng.gauss(0, 0.001)
            at += rng.choice((2_000, 20_000, 45_000, 180_000))
            if rng.random() < 0.05:
                backlog_until = at + rng.choice((60_000, 400_000))
            sent_at = backlog_until if backlog_until > at else None
            one = Ping(f"d{device}", lat, lon, at, accuracy_m=rng.choice((5.0, 30.0, 90.0)),
                       sent_at=sent_at)  # fmt: skip
            pings += [one, one] if rng.random() < 0.05 else [one]
    return posted(pings, range(len(pings)))


def stay(device: str, *spans: tuple[int, int], step: int = MINUTE) -> list[Arrival]:
    """Inside during the spans (minutes from noon), outside around them."""
    last = spans[-1][1] + 3
    pings = []
    for at in range(-2 * MINUTE, last * MINUTE, step):
        is_inside = any(start * MINUTE <= at < end * MINUTE for start, end in spans)
        lat, lon = INSIDE if is_inside else OUTSIDE
        pings.append(Ping(device, lat, lon, NOON + at, accuracy_m=5.0))
    return posted(pings, range(len(pings)))


@pytest.mark.parametrize("seed", [1, 2])
def test_a_backtest_finds_what_the_live_engine_does(clean_redis_url: str, seed: int) -> None:
    """Same pings: every decision has the same result; pushes, limits, stale ones, timers.

    Cooldowns are not among them: those of Redis end by its own clock.
    """
    arrivals = walk(seed, devices=8, steps=40)
    until = arrivals[-1].received_at + 24 * 3_600_000

    async def body(world: World) -> None:
        for number in range(12):
            await world.fence(
                f"z{number}", 48.1 + 0.003 * (number % 4), 11.5 + 0.003 * (number // 4)
            )
        await world.trigger("hello", "enter", limits={"per_user_per_day": 2})
        await world.trigger("stay", "dwell", dwell_s=60, limits={"per_user_total": 4})
        await world.trigger("bye", "exit", audience={"visits": "here", "min": 2})
        for number in range(8):
            await world.phone(f"d{number}", user_id=f"u{number // 2}")
        reports = {one: await world.backtest(one, arrivals) for one in ("hello", "stay", "bye")}
        await world.play(arrivals, until)
        for one, report in reports.items():
            expected = await world.decided(one)
            found = Counter({str(result): n for result, n in report.reasons.items()})
            assert expected == found + Counter(sent=report.pushes), one
            assert report.occasions == expected.total() > 0
            assert 1 < len(expected), f"{one} should have been refused sometimes"

    on_world(clean_redis_url, body)


def test_hours_people_and_reasons_of_a_known_day(clean_redis_url: str) -> None:
    """A golden answer: two visits of one person, one of another, one of somebody who refused."""
    arrivals = sorted(
        [*stay("a1", (0, 10), (90, 100)), *stay("a2", (5, 10)), *stay("b", (61, 70)),
         *stay("c", (1, 9))],
        key=lambda one: one.received_at,
    )  # fmt: skip

    async def body(world: World) -> None:
        await world.fence("shop", *INSIDE)
        await world.trigger("hello", "enter", cooldown={"per": "trigger", "seconds": 3600})
        await world.phone("a1", "ann")
        await world.phone("a2", "ann")
        await world.phone("b")
        await world.phone("c", consents=Consents(push=False))
        report = await world.backtest("hello", arrivals)
        assert (5, 3, 2) == (report.occasions, report.pushes, report.people)
        assert {"cooldown": 1, "no_consent": 1} == report.reasons
        assert [(1, 1), (2, 1)] == [(s.pushes, s.people) for s in report.pushes_per_person]
        assert [("2026-09-23T12:00:00.000Z", 1, 1), ("2026-09-23T13:00:00.000Z", 2, 2)] == [
            (hour.at, hour.pushes, hour.people) for hour in report.hours
        ]
        sent = [(e.at[11:16], e.user_id or e.device_id) for e in report.examples
                if e.result == "sent"]  # fmt: skip
        assert [("12:00", "ann"), ("13:01", "b"), ("13:30", "ann")] == sent
        assert (None, 4, len(arrivals)) == (
            report.stopped, report.traffic.devices, report.traffic.accepted,
        )  # fmt: skip

    on_world(clean_redis_url, body)


@pytest.mark.parametrize(
    ("trigger", "rules", "pushes", "reasons"),
    [
        ({"delay_s": 300, "cancel_on": "exit"}, {}, 1, {"canceled": 1}),
        ({"delay_s": 60, "cancel_on": "exit"}, {}, 2, {}),
        ({}, {"caps": {"per_day": 1}}, 1, {"frequency_cap": 1}),
        ({}, {"timezone": "UTC", "quiet_hours": {"from": "12:50", "to": "14:00"}}, 1,
         {"quiet_hours": 1}),
        ({"variants": [{"message": {"title": "x", "ttl_s": 7200}}]},
         {"timezone": "UTC", "quiet_hours": {"from": "12:50", "to": "14:00"}}, 2, {}),
    ],
    ids=["canceled", "gone before the exit", "cap", "quiet", "quiet, held"],
)  # fmt: skip
def test_a_push_is_looked_at_again_when_it_is_due(
    clean_redis_url: str, trigger: dict, rules: dict, pushes: int, reasons: dict
) -> None:
    """Delay, taking back, caps and quiet hours, as dispatch would have had it.

    The person stays ten minutes at noon, and three an hour later.
    """

    async def body(world: World) -> None:
        await world.fence("shop", *INSIDE)
        await world.put("tenants", "settings", rules)
        await world.trigger("hello", "enter", **trigger)
        await world.phone("a")
        report = await world.backtest("hello", stay("a", (0, 10), (60, 63), step=20_000))
        assert (pushes, reasons) == (report.pushes, report.reasons)

    on_world(clean_redis_url, body)


def test_a_draft_stands_in_and_brings_its_own_rings(clean_redis_url: str) -> None:
    """A draft that is stored nowhere, with an approach ring that the live index has not."""

    async def body(world: World) -> None:
        await world.fence("shop", *INSIDE)
        await world.phone("a")
        arrivals = stay("a", (1, 2))
        near = document("near", "approach", within_m=5000, enabled=False)
        one = msgspec.structs.replace(parse_trigger(near), enabled=True)
        twin = await rehearsed(world.registry, world.catalog.view("acme"), live(one, 0))
        report = await Backtest(twin, "near", world.people, Bounds()).run(in_order(arrivals))
        assert (1, {}) == (report.pushes, report.reasons)
        assert world.catalog.view("acme").trigger("near") is None

    on_world(clean_redis_url, body)


def test_a_recording_plays_like_the_traffic_it_was_made_of(clean_redis_url: str) -> None:
    """All shards in the order of arrival, across pages, between the bounds."""
    arrivals = walk(3, devices=10, steps=25)

    async def body(world: World) -> None:
        await world.fence("shop", *INSIDE, radius_m=300)
        await world.put("tenants", "settings", {"recording": True})
        await world.trigger("hello", "enter", channels=["inbox"])
        expected = await world.backtest("hello", arrivals)
        posts = [Post("acme", [one.ping], one.received_at) for one in arrivals]
        for post in posts:
            await world.live.pings([post])
        kept = [one async for one in recorded(world.client, SHARDS, "acme", 0, 2**50)]
        assert Counter((a.received_at, a.ping.device_id, a.ping.lat) for a in arrivals) == Counter(
            (a.received_at, a.ping.device_id, a.ping.lat) for a in kept
        )
        found = await world.backtest("hello", kept)
        assert (expected.pushes, expected.people, expected.reasons, expected.hours) == (
            found.pushes, found.people, found.reasons, found.hours,
        )  # fmt: skip
        assert [] == [one async for one in recorded(world.client, SHARDS, "acme", 0, 1)]

    on_world(clean_redis_url, body)


def test_nothing_is_left_behind(clean_redis_url: str) -> None:
    """Redis has the same keys and values, the metrics the same counts, the live view its rules."""

    async def body(world: World) -> None:
        await world.fence("shop", *INSIDE)
        await world.put("tenants", "settings", {"recording": True})
        await world.trigger("hello", "enter")
        await world.phone("a")

        async def trace() -> dict[bytes, Any]:
            keys = sorted([key async for key in world.client.scan_iter("*")])
            return {key: await world.client.dump(key) for key in keys}

        def counted() -> list[float]:
            families = (metrics.PINGS, metrics.EVENTS, metrics.DECISIONS)
            return [s.value for f in families for m in f.collect() for s in m.samples
                    if s.name.endswith("_total")]  # fmt: skip

        before, counts = await trace(), counted()
        report = await world.backtest("hello", stay("a", (0, 5)))
        assert 1 == report.pushes
        assert before == await trace()
        assert counts == counted()
        assert world.catalog.view("acme").rules.recording

    on_world(clean_redis_url, body)


def test_strangers_count_only_if_they_are_taken_to_be_reachable(clean_redis_url: str) -> None:
    """Made-up devices have no address; for planning they may be given one."""

    async def body(world: World) -> None:
        await world.fence("shop", *INSIDE)
        await world.put("tenants", "settings", {"require_consent": True})
        await world.trigger("hello", "enter", channels=["app_push"])
        arrivals = stay("nobody", (0, 5))
        strict = await world.backtest("hello", arrivals)
        kind = await world.backtest("hello", arrivals, assume_reachable=True)
        assert ({"no_consent": 1}, 0) == (strict.reasons, strict.pushes)
        assert ({}, 1) == (kind.reasons, kind.pushes)

    on_world(clean_redis_url, body)


def test_work_is_bounded(clean_redis_url: str) -> None:
    """By pings, by time, by a share of the devices that stays the same."""
    arrivals = walk(5, devices=40, steps=10)

    async def body(world: World) -> None:
        await world.fence("shop", *INSIDE)
        await world.trigger("hello", "enter")
        few = await world.backtest("hello", arrivals, Bounds(max_pings=50))
        assert ("pings", 50) == (few.stopped, few.traffic.pings)
        late = await world.backtest("hello", arrivals, Bounds(budget_s=0))
        assert ("time", 0) == (late.stopped, late.traffic.pings)
        half = await world.backtest("hello", arrivals, Bounds(sample=0.5))
        chosen = {f"d{n}" for n in range(40) if is_sampled(f"d{n}", 0.5)}
        assert len(chosen) == half.traffic.devices
        assert 8 < len(chosen) < 32

    on_world(clean_redis_url, body)
