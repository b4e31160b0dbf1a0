"""Tokens are made once, shared, sealed, and renewed ahead of time by one while others go on."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from senders.model import Misconfigured
from senders.token_cache import MemoryTokenCache, MintError, RedisTokenCache, Token, token_key
from senders.vault import Vault

VAULT = Vault([os.urandom(32)])


class _Clock:
    now_s = 1_000_000

    def __call__(self) -> float:
        return self.now_s


class _Maker:
    """Makes numbered tokens, slowly enough that others come in between."""

    def __init__(self, clock: _Clock) -> None:
        self.clock, self.made = clock, 0

    async def __call__(self) -> Token:
        self.made += 1
        number = self.made
        await asyncio.sleep(0.01)
        now_s = self.clock.now_s
        return Token(f"token-{number}", now_s, now_s + 100, now_s + 200)


def _with_redis(url: str, use: Callable[[Any], Awaitable[None]]) -> None:
    async def run() -> None:
        client = Redis.from_url(url)
        try:
            await use(client)
        finally:
            await client.aclose()

    asyncio.run(run())


def test_one_process_makes_one_token() -> None:
    """Fifty senders at once wait for the same token."""

    async def run() -> None:
        clock = _Clock()
        cache, maker = MemoryTokenCache(clock), _Maker(clock)
        found = await asyncio.gather(*(cache.get("a", maker) for _ in range(50)))
        assert {"token-1"} == {token.text for token in found}
        await cache.get("b", maker)
        assert 2 == maker.made

    asyncio.run(run())


def test_a_token_is_renewed_ahead_while_others_go_on() -> None:
    """From its refresh time on, one makes the next; the others use the old one until it ends."""

    async def run() -> None:
        clock = _Clock()
        cache, maker = MemoryTokenCache(clock), _Maker(clock)
        await cache.get("a", maker)
        clock.now_s += 150
        found = await asyncio.gather(*(cache.get("a", maker) for _ in range(5)))
        assert ["token-2"] + ["token-1"] * 4 == [token.text for token in found]
        clock.now_s += 500
        found = await asyncio.gather(*(cache.get("a", maker) for _ in range(5)))
        assert {"token-3"} == {token.text for token in found}

    asyncio.run(run())


def test_a_refused_token_is_replaced_once() -> None:
    """Many sends fail with one token: one new token is made for all."""

    async def run() -> None:
        clock = _Clock()
        cache, maker = MemoryTokenCache(clock), _Maker(clock)
        refused = await cache.get("a", maker)
        found = await asyncio.gather(*(cache.renew("a", refused, maker) for _ in range(10)))
        assert {"token-2"} == {token.text for token in found}
        assert 2 == maker.made

    asyncio.run(run())


def test_processes_share_tokens(clean_redis_url: str) -> None:
    """Ten processes at once make one token; a later one finds it."""

    async def use(client: Any) -> None:
        clock = _Clock()
        maker = _Maker(clock)
        caches = [RedisTokenCache(client, VAULT, clock) for _ in range(10)]
        found = await asyncio.gather(*(cache.get("apns:x", maker) for cache in caches))
        assert {"token-1"} == {token.text for token in found}
        late = await RedisTokenCache(client, VAULT, clock).get("apns:x", maker)
        assert ("token-1", 1) == (late.text, maker.made)

    _with_redis(clean_redis_url, use)


def test_one_process_renews_for_all(clean_redis_url: str) -> None:
    """Ahead of time one renews while others keep sending; a refused token is replaced once."""

    async def use(client: Any) -> None:
        clock = _Clock()
        maker = _Maker(clock)
        caches = [RedisTokenCache(client, VAULT, clock) for _ in range(5)]
        for cache in caches:
            await cache.get("a", maker)
        clock.now_s += 150
        found = await asyncio.gather(*(cache.get("a", maker) for cache in caches))
        assert 2 == maker.made
        assert {"token-1", "token-2"} >= {token.text for token in found}
        found = await asyncio.gather(*(cache.get("a", maker) for cache in caches))
        assert {"token-2"} == {token.text for token in found}
        refused = found[0]
        replaced = await asyncio.gather(*(cache.renew("a", refused, maker) for cache in caches))
        assert {"token-3"} == {token.text for token in replaced}
        assert 3 == maker.made

    _with_redis(clean_redis_url, use)


def test_tokens_in_redis_are_sealed_and_end(clean_redis_url: str) -> None:
    """No token can be read from a dump, and Redis forgets it when it has ended."""

    async def use(client: Any) -> None:
        clock = _Clock()
        await RedisTokenCache(client, VAULT, clock).get("a", _Maker(clock))
        stored = await client.get(token_key("a"))
        assert b"token" not in stored
        assert 195 <= await client.ttl(token_key("a")) <= 200
        assert not await client.exists(token_key("a") + ":lock")
        # another master key: the stored token is as good as none
        maker = _Maker(clock)
        other = RedisTokenCache(client, Vault([os.urandom(32)]), clock)
        await other.get("a", maker)
        assert 1 == maker.made

    _with_redis(clean_redis_url, use)


def test_a_failure_is_told_and_leaves_no_lock(clean_redis_url: str) -> None:
    """Whoever asks next may try again at once."""

    async def use(client: Any) -> None:
        clock = _Clock()

        async def fail() -> Token:
            raise MintError(Misconfigured("no"))

        cache = RedisTokenCache(client, VAULT, clock)
        with pytest.raises(MintError) as caught:
            await cache.get("a", fail)
        assert Misconfigured("no") == caught.value.outcome
        assert "token-1" == (await cache.get("a", _Maker(clock))).text

    _with_redis(clean_redis_url, use)


def test_a_dead_process_does_not_block_the_others(clean_redis_url: str) -> None:
    """Its lock has a lifetime; until then the token that is still good is used."""

    async def use(client: Any) -> None:
        clock = _Clock()
        maker = _Maker(clock)
        await RedisTokenCache(client, VAULT, clock).get("a", maker)
        await client.set(token_key("a") + ":lock", "dead process", px=150)
        clock.now_s += 150
        found = await RedisTokenCache(client, VAULT, clock).get("a", maker)
        assert "token-1" == found.text
        clock.now_s += 500
        found = await RedisTokenCache(client, VAULT, clock).get("a", maker)
        assert "token-2" == found.text

    _with_redis(clean_redis_url, use)
