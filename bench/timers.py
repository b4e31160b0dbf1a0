"""How late timers fire: dwells that fall due at a steady rate, fired by the gateway's own loop.

``python -m bench.timers --rate 10000 --seconds 5``: each of ``rate x seconds`` devices has entered
a zone, and its dwell falls due at an instant of its own. A private Redis and one loop a process, as
``gateway serve`` runs it. Late is from the instant due to the commit of the event, by the clock of
Redis.
"""

import asyncio
import json
import multiprocessing
import tempfile
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import click
import msgspec
import numpy as np
from redis.asyncio import Redis

from gateway.catalog import Catalog
from gateway.effects import Effects
from gateway.engine import Engine
from gateway.people import People
from gateway.pipeline import Pipeline, Post, now_ms
from gateway.private_redis import PrivateRedis
from gateway.redis_client import open_redis
from gateway.registry import Registry
from gateway.wire import Ping
from gateway.worker import fire_timers
from triggers.redis_store import RedisStore

SHARDS = 16
DWELL_S = 600
BATCH = 2000
GRACE_S = 10.0
FENCE = {
    "type": "Feature",
    "id": "shop",
    "geometry": {"type": "Point", "coordinates": [11.5, 48.1]},
    "properties": {"radius_m": 100},
}
TRIGGER = {
    "id": "stay",
    "on": {"event": "dwell", "dwell_s": DWELL_S},
    "channels": ["inbox"],
    "variants": [{"message": {"title": "Hi"}}],
}


async def engine_of(client: Redis) -> Engine:
    """What the loop needs of an engine, loaded."""
    catalog = Catalog(Registry(client))
    await catalog.load()
    effects = Effects(People(client, SHARDS), SHARDS)
    store = RedisStore(client)
    pipeline = Pipeline(catalog, store, effects, SHARDS)
    return cast(Engine, SimpleNamespace(pipeline=pipeline, store=store))


async def configure(client: Redis) -> None:
    """A zone, and a trigger that waits for dwells in it."""
    registry = Registry(client)
    for kind, one in (("geofences", FENCE), ("triggers", TRIGGER)):
        document = msgspec.json.encode(one)
        await registry.put("bench", cast(Any, kind), str(one["id"]), document, now=now_ms())


async def arm(client: Redis, count: int, rate: int) -> int:
    """Let devices enter, so that their dwells fall due at the rate; the first instant due."""
    engine = await engine_of(client)
    first_due = now_ms() + 5_000 + count  # when all of them are armed, surely
    for start in range(0, count, BATCH):
        pings = [
            Ping(f"d{n}", 48.1, 11.5, first_due - DWELL_S * 1000 + n * 1000 // rate, accuracy_m=5.0)
            for n in range(start, min(start + BATCH, count))
        ]
        received_at = max(cast(int, ping.recorded_at) for ping in pings)
        await engine.pipeline.pings([Post("bench", pings, received_at)])
    return first_due


def fire(url: str, started: Any, ended: Any) -> None:
    """One process's loop."""

    async def main() -> None:
        client = open_redis(url)
        loop = asyncio.create_task(fire_timers(await engine_of(client), SHARDS))
        started.release()
        await asyncio.to_thread(ended.wait)
        loop.cancel()
        with suppress(asyncio.CancelledError):
            await loop
        await client.aclose()

    asyncio.run(main())


async def lateness_ms(client: Redis) -> list[int]:
    """Of every dwell: from the instant due to the commit."""
    late = []
    for shard in range(SHARDS):
        entries: Any = await client.xrange(f"{{s:{shard:02d}}}:events:bench")
        for entry_id, fields in entries:
            event = msgspec.json.decode(fields[b"e"])
            if event["kind"] == "dwell":
                late.append(int(entry_id.partition(b"-")[0]) - event["occurred_at"])
    return late


async def measure(url: str, rate: int, seconds: int, processes: int) -> dict[str, Any]:
    """Arm, fire, and tell how late they were."""
    client = open_redis(url)
    count = rate * seconds
    await configure(client)
    spawn = multiprocessing.get_context("spawn")
    started, ended = spawn.Semaphore(0), spawn.Event()
    workers = [spawn.Process(target=fire, args=(url, started, ended)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    for _ in workers:
        await asyncio.to_thread(started.acquire)
    first_due = await arm(client, count, rate)
    armed_ms = first_due - now_ms()
    await asyncio.sleep(armed_ms / 1000 + seconds + GRACE_S)
    ended.set()
    for worker in workers:
        await asyncio.to_thread(worker.join)
    late = np.array(await lateness_ms(client))
    await client.aclose()
    return {
        "rate": rate,
        "seconds": seconds,
        "processes": processes,
        "armed_before_due_ms": armed_ms,
        "fired": len(late),
        "of": count,
        "late_ms": {f"p{p:g}": round(float(np.percentile(late, p))) for p in (50, 95, 99, 100)},
    }


@click.command()
@click.option("--rate", default=10_000, help="Timers due a second.")
@click.option("--seconds", default=5)
@click.option("--processes", default=1, help="Processes that fire them.")
@click.option("--durability", default="everysec", type=click.Choice(["everysec", "fsync"]))
def main(rate: int, seconds: int, processes: int, durability: str) -> None:
    """Measure how late timers fire, as one JSON object."""
    with tempfile.TemporaryDirectory(prefix="bench-timers-") as folder:
        server = PrivateRedis(Path(folder), durability=cast(Any, durability))
        try:
            found = asyncio.run(measure(server.start(), rate, seconds, processes))
        finally:
            server.stop()
    click.echo(json.dumps(found))


if __name__ == "__main__":
    main()
