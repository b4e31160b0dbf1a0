"""Removing a tenant takes all of it and nothing of anybody else."""

import asyncio
import time

import pytest
import redis
import redis.asyncio

from gateway.audit import Audit, Entry
from gateway.keys import KeyStore
from gateway.registry import Registry
from gateway.tenant_removal import names_tenant, remove_tenant

NOW = time.time_ns() // 1_000_000
FAMILIES = (
    "{s:00}:spend:%s:cap:u1", "{s:00}:events:%s", "{s:01}:decisions:%s", "{s:01}:trail:%s/d1",
    "{s:02}:outbox:marketing:%s", "{s:02}:dead:%s", "{s:03}:inbox:%s/u1", "{s:03}:history:%s",
)  # fmt: skip


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("{c}:geofences:acme", True),
        ("{c}:geofences:acme:ids", True),
        ("{s:00}:trail:acme/d1", True),
        ("{s:00}:outbox:transactional:acme", True),
        ("{s:00}:outbox:transactional:acme2", False),
        ("{c}:geofences:acme2", False),
        ("{c}:geofences", False),
        ("{s:00}:state", False),
        ("{s:00}:trail:globex/x:acme", False),
        ("{s:00}:trail:globex/acme", False),
        ("{s:00}:spend:marketing:acme", False),
        ("{s:00}:inbox:globex/a\n:acme", False),
        ("other:acme", False),
    ],
)
def test_a_key_is_judged_by_its_exact_place(key: str, expected: bool) -> None:
    """Ids of other tenants' devices may look like anything."""
    assert expected == names_tenant(key, "acme")


async def _fill(url: str, tenant: str) -> None:
    client = redis.asyncio.Redis.from_url(url)
    registry = Registry(client)
    await KeyStore(client).create(tenant, ["read"], NOW)
    await registry.put(tenant, "tenants", tenant, b"{}", now=NOW)
    for number in range(1200):
        await registry.put(tenant, "triggers", f"t{number}", b"{}", now=NOW)
        if number == 2:
            await registry.put(tenant, "geofences", "acme", b"{}", now=NOW)
            break
    await Audit(client).record(tenant, Entry(NOW, "k", "create", "x", "y"))
    for family in FAMILIES:
        await client.set(family % tenant, "x")
    for shard in ("{s:00}", "{s:03}"):
        for name in ("state", "devices", "users"):
            await client.hset(f"{shard}:{name}", f"{tenant}/acme", "x")
        await client.zadd(f"{shard}:timers", {f"{tenant}/acme": 1})
    await client.aclose()


def _everything(url: str) -> dict[bytes, object]:
    """Every key with its contents, but for the stream that tells of changes."""
    client = redis.Redis.from_url(url)
    found: dict[bytes, object] = {}
    for key in client.scan_iter():
        if key not in (b"{c}:changes", b"{c}:version", b"{c}:keys:version"):
            found[key] = client.dump(key)
    client.close()
    return found


def test_all_of_it_and_nothing_else(clean_redis_url: str) -> None:
    """Afterwards Redis is as if the tenant had never been, but for the counters of changes."""
    asyncio.run(_fill(clean_redis_url, "globex"))
    before = _everything(clean_redis_url)
    asyncio.run(_fill(clean_redis_url, "acme"))

    async def work() -> list[int]:
        client = redis.asyncio.Redis.from_url(clean_redis_url)
        removed = [await remove_tenant(client, "acme", NOW) for _ in range(2)]
        await client.aclose()
        return removed

    first, second = asyncio.run(work())
    assert first > 15
    assert 0 == second
    after = _everything(clean_redis_url)
    assert sorted(before) == sorted(after)
    client = redis.Redis.from_url(clean_redis_url)
    for key in after:
        kind = client.type(key)
        if kind == b"hash":
            assert not [f for f in client.hkeys(key) if f.startswith(b"acme/")], key
        if kind == b"zset":
            assert not [m for m in client.zrange(key, 0, -1) if m.startswith(b"acme/")], key
        if kind == b"set":
            assert b"acme" not in client.smembers(key), key
    client.close()
