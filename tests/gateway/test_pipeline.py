"""The engine on a real Redis: from posted pings to events, decisions and outbox entries."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import numpy as np
from redis.asyncio import Redis

from gateway.catalog import Catalog
from gateway.effects import Effects
from gateway.people import People
from gateway.person import Device
from gateway.pipeline import Pipeline, Post, now_ms
from gateway.registry import Registry
from gateway.wire import Ping
from senders.model import Target
from triggers.redis_store import RedisStore

SHARDS = 4
SHOP = {"type": "Point", "coordinates": [11.5, 48.1]}
INSIDE, OUTSIDE = (48.1, 11.5), (48.12, 11.5)


class Bench:
    """One process's engine; several may share a Redis."""

    def __init__(self, client: Redis) -> None:
        self.client = client
        self.registry = Registry(client)
        self.people = People(client, SHARDS)
        self.catalog = Catalog(self.registry)
        self.store = RedisStore(client)
        self.pipeline = Pipeline(self.catalog, self.store, Effects(self.people, SHARDS), SHARDS)

    async def put(self, kind: Any, one: str, doc: dict[str, Any]) -> None:
        await self.registry.put("acme", kind, one, msgspec.json.encode(doc), now=now_ms())

    async def fence(self, one: str, geometry: dict[str, Any] = SHOP, **properties: Any) -> None:
        feature = {"type": "Feature", "id": one, "geometry": geometry, "properties": properties}
        await self.put("geofences", one, feature)

    async def trigger(self, one: str, event: str, **fields: Any) -> None:
        on = {"event": event, **{k: fields.pop(k) for k in ("dwell_s", "within_m") if k in fields}}
        message = {"title": "Hi", "body": one}
        await self.put(
            "triggers", one, {"id": one, "on": on, "variants": [{"message": message}]} | fields
        )

    async def post(self, *pings: tuple[str, int, tuple[float, float]], **fields: Any) -> Any:
        items = [
            Ping(device_id=d, lat=p[0], lon=p[1], recorded_at=at, accuracy_m=5.0, **fields)
            for d, at, p in pings
        ]
        return (await self.pipeline.pings([Post("acme", items, now_ms())]))[0]

    async def events(self) -> list[dict[str, Any]]:
        return await self._stream("events", b"e")

    async def decisions(self) -> list[dict[str, Any]]:
        return await self._stream("decisions", b"d")

    async def outbox(self) -> list[bytes]:
        keys = [key async for key in self.client.scan_iter("{s:*}:outbox:*")]
        return [e[b"p"] for key in keys for _, e in await self.client.xrange(key)]

    async def _stream(self, family: str, name: bytes) -> list[dict[str, Any]]:
        keys = [key async for key in self.client.scan_iter(f"{{s:*}}:{family}:acme")]
        entries = [e[name] for key in keys for _, e in await self.client.xrange(key)]
        return [msgspec.json.decode(entry) for entry in entries]


def with_bench(url: str, body: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        client = Redis.from_url(url)
        try:
            bench = Bench(client)
            await bench.catalog.load()
            await body(bench)
        finally:
            await client.aclose()

    asyncio.run(main())


async def shop(bench: Bench, **trigger: Any) -> None:
    await bench.fence("shop", radius_m=100)
    await bench.trigger("hello", "enter", **trigger)
    device = Device(id="p1", targets=(Target("fcm", "token-1"),))
    await bench.people.put_device("acme", device, now=now_ms())
    await bench.catalog.catch_up()


def test_an_enter_becomes_one_event_one_decision_one_push(clean_redis_url: str) -> None:
    """State, event, decision and outbox entry go together; the same ping again changes nothing."""

    async def body(bench: Bench) -> None:
        await shop(bench)
        at = now_ms() - 5000
        first = await bench.post(("p1", at, INSIDE))
        again = await bench.post(("p1", at, INSIDE))
        assert ((1, 0), (0, 1)) == (
            (first.accepted, first.duplicates),
            (again.accepted, again.duplicates),
        )
        assert [("enter", "shop")] == [(e["kind"], e["zone_id"]) for e in await bench.events()]
        assert ["sent"] == [d["result"] for d in await bench.decisions()]
        assert 1 == len(await bench.outbox())

    with_bench(clean_redis_url, body)


def test_a_batch_gives_the_same_events_in_any_order_and_however_often(clean_redis_url: str) -> None:
    """A shuffled and repeated backlog of quiet and eventful devices counts every ping once."""

    async def body(bench: Bench) -> None:
        await shop(bench)
        start = now_ms() - 100_000
        track = [
            (f"p{d}", start + 1000 * s, INSIDE if s > 5 and d < 3 else OUTSIDE)
            for d in range(8)
            for s in range(0, 100, 10)
        ]
        order = np.random.default_rng(7).permutation(len(track))
        tally = await bench.post(*(track[i] for i in order), *track)
        assert (80, 80) == (tally.accepted, tally.duplicates)
        expected = await bench.events()
        assert 3 == len(expected)
        again = await bench.post(*track)
        assert (0, 80) == (again.accepted, again.duplicates + again.late)
        assert expected == await bench.events()

    with_bench(clean_redis_url, body)


def test_a_batch_gives_the_same_events_as_its_pings_one_by_one(clean_redis_url: str) -> None:
    """Also where a device enters a zone and leaves it far behind within the batch."""

    async def body(bench: Bench) -> None:
        await shop(bench)
        start = now_ms() - 1_000_000
        places = [INSIDE, OUTSIDE, (48.12, 11.501), INSIDE]
        backlog = [("p1", start + 180_000 * step, place) for step, place in enumerate(places)]
        await bench.post(*backlog)
        for _, at, place in backlog:
            await bench.post(("p2", at, place))
        found = sorted((e["device_id"], e["occurred_at"], e["kind"]) for e in await bench.events())
        kinds = [("enter", 0), ("exit", 1), ("enter", 3)]
        expected = [(d, start + 180_000 * step, k) for d in ("p1", "p2") for k, step in kinds]
        assert expected == found

    with_bench(clean_redis_url, body)


def test_two_processes_with_one_device_lose_and_double_nothing(clean_redis_url: str) -> None:
    """Compare-and-set: concurrent batches of the same devices end as one after the other would."""

    async def body(bench: Bench) -> None:
        await shop(bench, cooldown={"per": "zone", "seconds": 3600})
        other = Bench(bench.client)
        await other.catalog.load()
        start = now_ms() - 60_000
        posts = [
            (bench, other)[n % 2].post(
                ("p1", start + 500 * n, INSIDE), ("p2", start + 500 * n, OUTSIDE)
            )
            for n in range(40)
        ]
        tallies = await asyncio.gather(*posts)
        counted = sum(t.accepted + t.late + t.duplicates for t in tallies)
        assert 80 == counted
        assert ["enter"] == [e["kind"] for e in await bench.events()]
        assert 1 == len(await bench.outbox())

    with_bench(clean_redis_url, body)


def test_a_user_with_two_phones_gets_one_push_per_cooldown(clean_redis_url: str) -> None:
    """The budget is the user's, whatever shard the phones are on."""

    async def body(bench: Bench) -> None:
        await shop(bench, cooldown={"per": "trigger", "seconds": 3600})
        for n in range(6):
            device = Device(id=f"q{n}", user_id="ann", targets=(Target("fcm", f"t{n}"),))
            await bench.people.put_device("acme", device, now=now_ms())
        at = now_ms() - 1000
        await asyncio.gather(*(bench.post((f"q{n}", at, INSIDE)) for n in range(6)))
        results = sorted(d["result"] for d in await bench.decisions())
        assert ["cooldown"] * 5 + ["sent"] == results
        assert 1 == len(await bench.outbox())

    with_bench(clean_redis_url, body)


def test_joined_requests_get_their_own_counts_and_refusals(clean_redis_url: str) -> None:
    """A micro-batch of many requests, good and bad, of two tenants: to each its own answer."""

    async def body(bench: Bench) -> None:
        now = now_ms()

        def one(device: str, at: int) -> Ping:
            return Ping(device_id=device, lat=1.0, lon=2.0, recorded_at=at)

        posts = [
            Post("acme", [one("a", now), one("a", now), one("b", 5)], now),
            Post("other", [one("~", now)], now),
            Post("acme", [one("b", now), one("c", now - 1), one("d", now + 10**9)], now),
        ]
        found = await bench.pipeline.pings(posts)
        assert [(1, 1), (0, 0), (2, 0)] == [(t.accepted, t.duplicates) for t in found]
        assert [[2], [0], [2]] == [[r.index for r in t.refused] for t in found]

    with_bench(clean_redis_url, body)


def test_a_dwell_fires_by_timer_while_the_phone_sleeps(clean_redis_url: str) -> None:
    """No ping comes, and the dwell comes; once, with the age of its evidence."""

    async def body(bench: Bench) -> None:
        await shop(bench)
        await bench.trigger("stay", "dwell", dwell_s=60)
        await bench.catalog.catch_up()
        entered = now_ms() - 30_000
        await bench.post(("p1", entered, INSIDE))
        for now in (entered + 59_000, entered + 61_000, entered + 61_000 + 6000):
            for shard in range(SHARDS):
                await bench.pipeline.due(shard, now)
        dwells = [e for e in await bench.events() if e["kind"] == "dwell"]
        assert [(60, 60)] == [(e["dwell_s"], e["evidence_age_s"]) for e in dwells]

    with_bench(clean_redis_url, body)


def test_an_edited_and_a_removed_zone_end_their_visits(clean_redis_url: str) -> None:
    """The next ping after a removal ends the visit with its reason; an edit is live at once."""

    async def body(bench: Bench) -> None:
        await shop(bench)
        start = now_ms() - 60_000
        await bench.post(("p1", start, INSIDE))
        await bench.registry.delete("acme", "geofences", "shop", now=now_ms())
        await bench.fence("park", radius_m=300)
        await bench.catalog.catch_up()
        await bench.post(("p1", start + 5000, INSIDE))
        found = [(e["kind"], e["zone_id"], e.get("reason")) for e in await bench.events()]
        assert ("exit", "shop", "zone_removed") in found
        assert ["shop", "park"] == [zone for kind, zone, _ in found if kind == "enter"]

    with_bench(clean_redis_url, body)


def test_a_new_approach_trigger_widens_its_zones(clean_redis_url: str) -> None:
    """Rings exist as soon as a trigger asks for them."""

    async def body(bench: Bench) -> None:
        await shop(bench)
        await bench.trigger("near", "approach", within_m=2000)
        await bench.catalog.catch_up()
        start = now_ms() - 60_000
        await bench.post(("p1", start, OUTSIDE), ("p1", start + 30_000, (48.115, 11.5)))
        approaches = [e for e in await bench.events() if e["kind"] == "approach"]
        assert [("shop", 2000)] == [(e["zone_id"], e["within_m"]) for e in approaches]

    with_bench(clean_redis_url, body)


def test_a_path_through_a_zone_is_a_cross(clean_redis_url: str) -> None:
    """Both fixes lie outside, the straight path does not."""

    async def body(bench: Bench) -> None:
        await bench.fence("gate", radius_m=50, detect_cross=True)
        await bench.catalog.catch_up()
        start = now_ms() - 60_000
        await bench.post(("p1", start, (48.1, 11.495)))
        await bench.post(("p1", start + 30_000, (48.1, 11.505)))
        assert [("cross", "gate")] == [(e["kind"], e["zone_id"]) for e in await bench.events()]

    with_bench(clean_redis_url, body)


def test_a_tenant_sees_its_own_zones_only(clean_redis_url: str) -> None:
    """The index of one tenant is not the index of another."""

    async def body(bench: Bench) -> None:
        await shop(bench)
        items = [Ping(device_id="p1", lat=INSIDE[0], lon=INSIDE[1], recorded_at=now_ms())]
        await bench.pipeline.pings([Post("other", items, now_ms())])
        assert [] == await bench.events()

    with_bench(clean_redis_url, body)


def test_a_tenant_that_records_keeps_raw_pings(clean_redis_url: str) -> None:
    """Recording is off unless asked for, and then late pings are kept, too."""

    async def body(bench: Bench) -> None:
        await shop(bench)
        start = now_ms() - 60_000
        await bench.post(("p1", start, OUTSIDE))
        assert [] == [key async for key in bench.client.scan_iter("*:history:*")]
        await bench.put("tenants", "settings", {"recording": True})
        await bench.catalog.catch_up()
        await bench.post(("p1", start + 1000, OUTSIDE))
        await bench.post(("p1", start - 1000, OUTSIDE))
        (key,) = [key async for key in bench.client.scan_iter("*:history:*")]
        kept = [msgspec.msgpack.decode(e[b"h"]) for _, e in await bench.client.xrange(key)]
        assert [start + 1000, start - 1000] == [pings[0][0] for _, pings in kept]

    with_bench(clean_redis_url, body)
