"""Retention: history past its age, devices not heard of for long, names of zones removed long ago.

Every process may sweep; a lease in Redis lets one do it at a time. Sweeping is idempotent, so a
crash in the middle costs nothing.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

from redis.asyncio import Redis

from gateway.audit import audit_key
from gateway.catalog import Catalog
from gateway.config import Settings
from gateway.log import get_logger
from gateway.registry import Registry
from gateway.sharding import CONFIG_TAG, shard_tag
from triggers.redis_store import ShardKeys, script_source
from triggers.state import seen_at

_log = get_logger(__name__)

SWEEP_EVERY_S = 300
LEASE_KEY = f"{CONFIG_TAG}:sweeping"
REMOVED_ZONES_MS = 30 * 86_400_000
SCAN_COUNT = 500
PAUSE_S = 0.002  # between chunks, so that intake is not felt to wait


class Sweeper:
    """See the module."""

    def __init__(
        self,
        client: Redis,
        settings: Settings,
        registry: Registry,
        catalog: Catalog,
        shard_count: int,
    ) -> None:
        self._client: Any = client
        self._settings = settings
        self._registry = registry
        self._catalog = catalog
        self._shard_count = shard_count
        self._forget: Any = client.register_script(script_source("sweep"))

    async def sweep_in_turn(self, now: int) -> bool:
        """Sweep if nobody else has lately; whether it did."""
        is_mine = await self._client.set(LEASE_KEY, "1", nx=True, ex=SWEEP_EVERY_S - 10)
        if is_mine:
            await self.sweep(now)
        return bool(is_mine)

    async def sweep(self, now: int) -> int:
        """Remove everything past its retention; how many devices were forgotten."""
        await self._registry.forget_removed(now - REMOVED_ZONES_MS)
        for tenant in await self._tenants():
            await self._trim(tenant, now)
        forgotten = 0
        for shard in range(self._shard_count):
            forgotten += await self._forget_unseen(shard, now)
        if forgotten:
            _log.info("devices_forgotten", count=forgotten)
        return forgotten

    async def _tenants(self) -> set[str]:
        tenants: set[str] = set()
        for kind in ("tenants", "geofences", "beacons", "triggers"):
            tenants |= set(await self._registry.tenants_of(kind))
        return tenants

    async def _trim(self, tenant: str, now: int) -> None:
        pipe = self._client.pipeline(transaction=False)
        # Whole nodes go faster; a promise about people's places is kept to the entry.
        is_rough = self._catalog.view(tenant).rules.location_retention_s is None
        for key, retention_s in self._streams(tenant):
            pipe.xtrim(key, minid=max(now - retention_s * 1000, 0), approximate=is_rough)
        oldest_at = now - self._settings.audit_retention_s * 1000
        pipe.xtrim(audit_key(tenant), minid=max(oldest_at, 0), approximate=True)
        await pipe.execute()

    def _streams(self, tenant: str) -> Iterator[tuple[str, int]]:
        settings = self._settings
        rules = self._catalog.view(tenant).rules
        most_s = rules.location_retention_s
        if most_s is None:
            most_s = max(settings.events_retention_s, rules.recording_retention_s)
        for shard in range(self._shard_count):
            keys = ShardKeys(shard)
            yield keys.events(tenant), min(settings.events_retention_s, most_s)
            yield keys.decisions(tenant), settings.decisions_retention_s
            yield f"{shard_tag(shard)}:deliveries:{tenant}", settings.decisions_retention_s
            yield keys.history(tenant), min(rules.recording_retention_s, most_s)

    async def _forget_unseen(self, shard: int, now: int) -> int:
        keys = ShardKeys(shard)
        cursor, forgotten = -1, 0
        while cursor != 0:
            cursor, found = await self._client.hscan(keys.state, max(cursor, 0), count=SCAN_COUNT)
            stale = [
                part
                for field, record in found.items()
                if seen_at(record) < now - self._kept_s(field) * 1000
                for part in (field, record)
            ]
            if stale:
                forgotten += await self._forget(keys=[keys.state, keys.timers], args=stale)
            await asyncio.sleep(PAUSE_S)
        return forgotten

    def _kept_s(self, field: bytes) -> int:
        """How long the state of a device is kept."""
        own_s = self._catalog.view(field.partition(b"/")[0].decode()).rules.location_retention_s
        kept_s = self._settings.device_retention_s
        return kept_s if own_s is None else min(kept_s, own_s)
