"""Rate limits: what is allowed, for how long not, and what it costs others (nothing)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio

from gateway.auth import Principal
from gateway.config import Settings
from gateway.errors import Problem
from gateway.ratelimit import Limit, RateLimiter

PRINCIPAL = Principal("acme", frozenset({"ingest"}), "k1")


def with_limiter(url: str, work: Callable[[RateLimiter], Awaitable[None]], **settings: Any) -> None:
    async def run() -> None:
        client = redis.asyncio.Redis.from_url(url)
        try:
            await work(RateLimiter(client, Settings(**settings), shard_count=4))
        finally:
            await client.aclose()

    asyncio.run(run())


def test_no_limit_costs_nothing(clean_redis_url: str) -> None:
    """Off by default: no header, no call."""

    async def work(limiter: RateLimiter) -> None:
        assert {} == await limiter.spend_key(PRINCIPAL, 10**9)
        assert {} == await limiter.spend_devices("acme", {"d1": 10**9})

    with_limiter("redis://127.0.0.1:1", work)


def test_a_key_has_a_burst_and_then_waits(clean_redis_url: str) -> None:
    """The burst goes through; then a 429 tells when to come again; others are not touched."""

    async def work(limiter: RateLimiter) -> None:
        headers = await limiter.spend_key(PRINCIPAL, 60)
        assert '"key";q=100;w=1000' == headers["RateLimit-Policy"]
        assert '"key";r=40;t=0' == headers["RateLimit"]
        with pytest.raises(Problem) as caught:
            await limiter.spend_key(PRINCIPAL, 41)
        assert "rate-limited" == caught.value.kind.slug
        # One unit comes back in 10 s, and one is missing.
        assert 9 <= int(caught.value.headers["Retry-After"]) <= 10
        await limiter.spend_key(PRINCIPAL, 40)  # the refused call spent nothing
        await limiter.spend_key(Principal("globex", PRINCIPAL.scopes, "k1"), 100)

    with_limiter(clean_redis_url, work, rate_limit_key_per_s=0.1, rate_limit_key_burst=100)


def test_units_come_back(clean_redis_url: str) -> None:
    """In the long run exactly the rate is allowed."""

    async def work(limiter: RateLimiter) -> None:
        allowed, refused = 0, 0
        started = asyncio.get_running_loop().time()
        while (elapsed_s := asyncio.get_running_loop().time() - started) < 0.5:
            try:
                await limiter.spend_key(PRINCIPAL)
                allowed += 1
            except Problem:
                refused += 1
                await asyncio.sleep(0.002)
        assert refused
        assert 10 + 200 * elapsed_s * 0.7 <= allowed <= 10 + 200 * elapsed_s + 2

    with_limiter(clean_redis_url, work, rate_limit_key_per_s=200.0, rate_limit_key_burst=10)


def test_more_than_the_burst_is_paid_off(clean_redis_url: str) -> None:
    """A batch larger than the burst is not refused for ever: it waits for all, then owes."""

    async def work(limiter: RateLimiter) -> None:
        await limiter.spend_key(PRINCIPAL, 50)
        with pytest.raises(Problem) as caught:
            await limiter.spend_key(PRINCIPAL, 1)
        assert int(caught.value.headers["Retry-After"]) >= 40

    with_limiter(clean_redis_url, work, rate_limit_key_per_s=1.0, rate_limit_key_burst=10)


def test_one_loud_device_does_not_silence_the_others(clean_redis_url: str) -> None:
    """Devices of one call are judged each on its own."""

    async def work(limiter: RateLimiter) -> None:
        pings = {f"d{i}": 1 for i in range(50)} | {"loud": 6}
        assert {} == await limiter.spend_devices("acme", pings)
        refused = await limiter.spend_devices("acme", pings)
        assert ["loud"] == list(refused)
        assert "Retry-After" in refused["loud"].headers

    with_limiter(clean_redis_url, work, rate_limit_device_per_s=0.01, rate_limit_device_burst=10)


def test_the_policy_is_told_as_the_draft_writes_it() -> None:
    """Quota and window."""
    assert '"device";q=1000;w=10' == Limit("device", 100.0, 1000).policy
