"""Merging users never gives anybody more than either user had."""

import asyncio
import time
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.consents import ConsentLog
from gateway.effects import budget_key
from gateway.merge import Merger
from gateway.people import People
from gateway.person import User
from triggers.model import Result, Spend
from triggers.redis_store import RedisStore
from triggers.redis_store import budget_key as stored_key

NOW = time.time_ns() // 1_000_000  # budgets end at instants of the real clock
SHARDS = 3


@pytest.mark.parametrize("limit", [1, 3, 2000])
@pytest.mark.parametrize(("of_old", "of_new"), [(1, 0), (0, 1), (1, 1), (2, 1), (3, 3)])
def test_what_either_has_spent_stays_spent(
    clean_redis_url: str, limit: int, of_old: int, of_new: int
) -> None:
    """After a merge exactly as much is left of a budget as both together left of it."""

    async def body() -> None:
        client = Redis.from_url(clean_redis_url)
        people, log = People(client, SHARDS), ConsentLog(client, SHARDS)
        store = RedisStore(client)

        def spend(user_id: str) -> Spend:
            key = budget_key("acme", "cap:week", f"user:{user_id}", SHARDS)
            return Spend(key, limit, 3_600_000, Result.FREQUENCY_CAP)

        taken = 0
        for user_id, count in (("old", of_old), ("new", of_new)):
            await people.put_user("acme", User(id=user_id), now=NOW)
            for n in range(count):
                taken += await store.reserve(f"{user_id}-{n}", [spend(user_id)], NOW) is None
        merged = await Merger(client, people, log, SHARDS).merge("acme", "new", "old", now=NOW)
        assert merged is not None
        left = 0
        while left <= 2000 and await store.reserve(f"next-{left}", [spend("new")], NOW) is None:
            left += 1
        assert max(0, limit - taken) == left
        assert await client.pttl(stored_key(spend("new"))) > 3_000_000
        assert not await client.exists(stored_key(spend("old")))
        await client.aclose()

    asyncio.run(body())


def test_a_longer_cooldown_wins(clean_redis_url: str) -> None:
    """Of two cooldowns that run, the one that ends later stays."""

    async def body() -> None:
        client: Any = Redis.from_url(clean_redis_url)
        people, log = People(client, SHARDS), ConsentLog(client, SHARDS)
        keys = [
            budget_key("acme", "cooldown:trigger:t", f"user:{one}", SHARDS) + ":one"
            for one in ("old", "new")
        ]
        for one, key, left_ms in (("old", keys[0], 90_000_000), ("new", keys[1], 1_000_000)):
            await people.put_user("acme", User(id=one), now=NOW)
            await client.set(key, f"push-of-{one}", px=left_ms)
        await Merger(client, people, log, SHARDS).merge("acme", "new", "old", now=NOW)
        assert await client.pttl(keys[1]) > 80_000_000
        await client.aclose()

    asyncio.run(body())
