"""Timers fire exactly once: whoever claims them, and whoever dies while holding them."""

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from gateway.catalog import Catalog
from gateway.effects import Effects
from gateway.people import People
from gateway.pipeline import LEASE_MS, Pipeline, Post, now_ms
from gateway.registry import Registry
from gateway.wire import Ping
from triggers.redis_store import RedisStore

SHARDS = 4
DEVICES = 2000
DWELL_S = 60
VICTIM = Path(__file__).with_name("timer_victim.py")


class Instance:
    """One process's engine, with connections of its own."""

    def __init__(self, url: str) -> None:
        self.client = Redis.from_url(url)
        self.registry = Registry(self.client)
        self.catalog = Catalog(self.registry)
        people = People(self.client, SHARDS)
        store = RedisStore(self.client)
        self.pipeline = Pipeline(self.catalog, store, Effects(people, SHARDS), SHARDS)

    async def put(self, kind: Any, one: str, doc: dict[str, Any]) -> None:
        await self.registry.put("acme", kind, one, msgspec.json.encode(doc), now=now_ms())

    async def fire(self, now: int, at_once: int) -> int:
        """Look at all shards again and again until nothing is due; how many were claimed."""
        claimed = 0
        while True:
            rounds = [self.pipeline.due(shard, now, at_once) for shard in range(SHARDS)]
            found = sum(await asyncio.gather(*rounds))
            claimed += found
            if not found:
                return claimed

    async def pushed(self) -> list[str]:
        keys = [key async for key in self.client.scan_iter("{s:*}:outbox:*")]
        entries = [e[b"p"] for key in keys for _, e in await self.client.xrange(key)]
        return [msgspec.msgpack.decode(entry)["device_id"] for entry in entries]

    async def dwelt(self) -> Counter[str]:
        keys = [key async for key in self.client.scan_iter("{s:*}:events:acme")]
        entries = [e[b"e"] for key in keys for _, e in await self.client.xrange(key)]
        events = [msgspec.json.decode(entry) for entry in entries]
        return Counter(one["device_id"] for one in events if one["kind"] == "dwell")


def with_two(url: str, body: Callable[[Instance, Instance, int], Awaitable[None]]) -> None:
    """Two instances, and 2,000 devices whose dwell is due at the instant given."""

    async def main() -> None:
        one, two = Instance(url), Instance(url)
        try:
            point = {"type": "Point", "coordinates": [11.5, 48.1]}
            await one.put("geofences", "shop", {"type": "Feature", "id": "shop", "geometry": point,
                                                "properties": {"radius_m": 100}})  # fmt: skip
            await one.put("triggers", "stay", {
                "id": "stay", "on": {"event": "dwell", "dwell_s": DWELL_S}, "channels": ["inbox"],
                "variants": [{"message": {"title": "Hi"}}]})  # fmt: skip
            await asyncio.gather(one.catalog.load(), two.catalog.load())
            entered = now_ms() - 1000
            pings = [Ping(f"d{n}", 48.1, 11.5, entered, accuracy_m=5.0) for n in range(DEVICES)]
            await one.pipeline.pings([Post("acme", pings, entered)])
            await body(one, two, entered + DWELL_S * 1000)
        finally:
            await asyncio.gather(one.client.aclose(), two.client.aclose())

    asyncio.run(main())


def test_two_instances_fire_each_timer_once(clean_redis_url: str) -> None:
    """Both look at the same shards at once; every device dwells once and is pushed once."""

    async def body(one: Instance, two: Instance, due_at: int) -> None:
        assert 0 == await one.fire(due_at - 1, at_once=50)
        claims = await asyncio.gather(one.fire(due_at, 50), two.fire(due_at, 50))
        assert DEVICES == sum(claims)
        assert min(claims) > 0
        everybody = Counter(f"d{n}" for n in range(DEVICES))
        assert everybody == await one.dwelt()
        assert everybody == Counter(await one.pushed())
        assert 0 == await one.fire(due_at + LEASE_MS + 1, at_once=50)

    with_two(clean_redis_url, body)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_timers_outlive_who_claimed_them(clean_redis_url: str, moment: str) -> None:
    """``kill -9`` between claim and commit: they fire when the lease ends. After it: not again."""

    async def body(one: Instance, two: Instance, due_at: int) -> None:
        command = [sys.executable, str(VICTIM), clean_redis_url, "1", str(due_at), moment]
        died = await asyncio.to_thread(subprocess.run, command, check=False, timeout=60)
        assert -signal.SIGKILL == died.returncode
        at_once = sum(await asyncio.gather(one.fire(due_at, 100), two.fire(due_at, 100)))
        held = DEVICES - at_once
        assert 300 < held < 700, "the victim held one shard of four"
        assert (at_once if moment == "before" else DEVICES) == len(await one.dwelt())
        after = due_at + LEASE_MS
        later = sum(await asyncio.gather(one.fire(after, 100), two.fire(after, 100)))
        assert (held if moment == "before" else 0) == later
        everybody = Counter(f"d{n}" for n in range(DEVICES))
        assert everybody == await one.dwelt()
        assert everybody == Counter(await one.pushed())

    with_two(clean_redis_url, body)
