"""A process that claims the due timers of one shard and is killed at its commit.

Arguments: Redis URL, shard, now (epoch ms), ``before`` or ``after`` the commit.
"""

import asyncio
import os
import signal
import sys
from typing import Any

from redis.asyncio import Redis

from gateway.catalog import Catalog
from gateway.effects import Effects
from gateway.people import People
from gateway.pipeline import Pipeline
from gateway.registry import Registry
from triggers.redis_store import RedisStore

SHARDS = 4


class Victim(RedisStore):
    """A store whose process does not outlive its first commit."""

    dies_before = True

    async def commit(self, *arguments: Any) -> Any:
        if not self.dies_before:
            await super().commit(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)


async def main(url: str, shard: str, now: str, moment: str) -> None:
    client = Redis.from_url(url)
    catalog = Catalog(Registry(client))
    await catalog.load()
    store = Victim(client)
    store.dies_before = moment == "before"
    pipeline = Pipeline(catalog, store, Effects(People(client, SHARDS), SHARDS), SHARDS)
    await pipeline.due(int(shard), int(now))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
