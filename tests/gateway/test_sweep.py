"""Retention: what is old goes, what is not stays."""

import asyncio

from redis.asyncio import Redis

from gateway.audit import audit_key
from gateway.catalog import Catalog
from gateway.config import Settings
from gateway.registry import Registry
from gateway.sweep import Sweeper
from triggers import machine
from triggers.machine import StepContext
from triggers.model import Fix

NOW = 1_790_000_000_000
DAY_MS = 86_400_000


def record(at: int) -> bytes:
    return machine.step(None, Fix(at, at, 48.0, 11.0), {}, StepContext("acme", "d")).record


def test_devices_and_history_past_their_age_are_forgotten(clean_redis_url: str) -> None:
    """Devices not heard of for the retention time, and old entries of every stream."""

    async def main() -> None:
        client = Redis.from_url(clean_redis_url)
        registry = Registry(client)
        await registry.put("acme", "tenants", "settings", b"{}", now=NOW)
        for name, age_days in (("old", 200), ("young", 10)):
            await client.hset("{s:00}:state", f"acme/{name}", record(NOW - age_days * DAY_MS))
        for age_days in (400, 1):
            for n in range(200):  # trimming is by whole nodes of a hundred entries
                await client.xadd(
                    "{s:01}:events:acme", {"e": b"{}"}, id=f"{NOW - age_days * DAY_MS}-{n}"
                )
                await client.xadd(
                    audit_key("acme"), {"a": b"{}"}, id=f"{NOW - age_days * DAY_MS}-{n}"
                )
        sweeper = Sweeper(client, Settings(), registry, Catalog(registry), 4)
        assert 1 == await sweeper.sweep(NOW)
        assert [b"acme/young"] == await client.hkeys("{s:00}:state")
        assert 200 == await client.xlen("{s:01}:events:acme")
        assert 200 == await client.xlen(audit_key("acme"))
        assert (True, False) == (await sweeper.sweep_in_turn(NOW), await sweeper.sweep_in_turn(NOW))
        await client.aclose()

    asyncio.run(main())


def test_a_tenant_may_keep_places_for_less_long(clean_redis_url: str) -> None:
    """States, events and recordings older than `location_retention_s` go, to the entry."""

    async def main() -> None:
        client = Redis.from_url(clean_redis_url)
        registry = Registry(client)
        await registry.put("acme", "tenants", "acme", b'{"location_retention_s": 3600}', now=NOW)
        await registry.put("beta", "tenants", "beta", b"{}", now=NOW)
        minute_ms = 60_000
        for tenant in ("acme", "beta"):
            for minutes in (70, 50):
                at = NOW - minutes * minute_ms
                await client.hset("{s:00}:state", f"{tenant}/{minutes}", record(at))
                for stream in ("events", "history", "decisions"):
                    await client.xadd(f"{{s:00}}:{stream}:{tenant}", {"e": b"{}"}, id=f"{at}-0")
        catalog = Catalog(registry)
        await catalog.load()
        assert 1 == await Sweeper(client, Settings(), registry, catalog, 1).sweep(NOW)
        kept = {b"acme/50", b"beta/50", b"beta/70"}
        assert kept == set(await client.hkeys("{s:00}:state"))
        lengths = {
            (tenant, stream): await client.xlen(f"{{s:00}}:{stream}:{tenant}")
            for tenant in ("acme", "beta")
            for stream in ("events", "history", "decisions")
        }
        shorter = {("acme", "events"), ("acme", "history")}
        assert lengths == {one: 1 if one in shorter else 2 for one in lengths}
        await client.aclose()

    asyncio.run(main())
