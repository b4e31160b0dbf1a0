"""Background loops of a process: due timers, configuration changes, merges, retention.

Every process may run them: timers are claimed, so each fires once whoever comes first. A loop
outlives any trouble with Redis; what it does is repeated, never lost.
"""

import asyncio
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

from gateway import metrics
from gateway.engine import Engine
from gateway.log import get_logger
from gateway.pipeline import now_ms
from gateway.sweep import Sweeper
from triggers.redis_store import ShardKeys

_log = get_logger(__name__)

TIMER_TICK_S = 0.25
MERGE_TICK_S = 1.0
SWEEP_TICK_S = 60.0
RETRY_S = 0.5
TIMERS_AT_ONCE = 200  # of one shard
SHARDS_AT_ONCE = 4  # what is claimed together must be done long before its lease ends
MEASURE_TICK_S = 5.0


async def fire_timers(engine: Engine, shard_count: int) -> None:
    """Fire due timers of all shards for ever."""
    turns = asyncio.Semaphore(SHARDS_AT_ONCE)

    async def fire(shard: int) -> int:
        async with turns:
            return await engine.pipeline.due(shard, now_ms(), TIMERS_AT_ONCE)

    async def round_() -> None:
        due = await engine.store.with_due(range(shard_count), now_ms())
        fired = await asyncio.gather(*map(fire, due))
        if max(fired, default=0) < TIMERS_AT_ONCE:
            await asyncio.sleep(TIMER_TICK_S)

    await _for_ever("timers", round_)


async def merge_indexes(engine: Engine) -> None:
    """Fold edits into the fence indexes for ever."""

    async def round_() -> None:
        await engine.catalog.merge()
        await asyncio.sleep(MERGE_TICK_S)

    await _for_ever("merge", round_)


async def sweep(sweeper: Sweeper) -> None:
    """Keep retention for ever."""

    async def round_() -> None:
        await sweeper.sweep_in_turn(now_ms())
        await asyncio.sleep(SWEEP_TICK_S)

    await _for_ever("sweep", round_)


async def measure(engine: Engine, client: Redis, shard_count: int) -> None:
    """Keep the gauges of the engine current for ever."""

    async def round_() -> None:
        metrics.WAITING_PINGS.set(engine.pings.waiting)
        due = [client.zcount(ShardKeys(s).timers, 0, now_ms()) for s in range(shard_count)]
        metrics.TIMERS_DUE.set(sum(await asyncio.gather(*due)))
        await asyncio.sleep(MEASURE_TICK_S)

    await _for_ever("measure", round_)


async def _for_ever(name: str, round_: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await round_()
            metrics.HEARTBEAT_AT.labels(name).set_to_current_time()
        except Exception as error:  # noqa: BLE001 - a loop must outlive any trouble
            metrics.FAILURES.labels(name).inc()
            _log.warning("loop_failed", loop=name, error=str(error), exc_info=error)
            await asyncio.sleep(RETRY_S)
