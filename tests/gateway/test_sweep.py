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
