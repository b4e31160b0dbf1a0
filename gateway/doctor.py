"""``gateway doctor``: looks for what goes wrong in practice, and says how to cure it.

Each check gives one diagnosis: *ok*, *warn* (works, but will hurt), or *fail* (does not work).
"""

import os
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from gateway.config import ConfigError, Settings
from gateway.egress import network_policy
from gateway.installation import open_installation
from gateway.keys import KeyStore
from gateway.kinds import credential
from gateway.master_key import load_master_keys
from gateway.private_redis import APPENDFSYNC
from gateway.registry import Registry
from senders.model import SenderError
from senders.registry import dry_run
from senders.vault import Vault

MIN_REDIS = (6, 2)
MIN_FREE_BYTES = 1024**3
WARN_MEMORY_SHARE = 0.8
WARN_SKEW_S, FAIL_SKEW_S = 1.0, 30.0

Level = Literal["ok", "warn", "fail"]


class Diagnosis(NamedTuple):
    """What one check found; ``cure`` is empty when all is well."""

    name: str
    level: Level
    detail: str
    cure: str = ""


async def examine(settings: Settings, client: Redis) -> AsyncIterator[Diagnosis]:
    """Every diagnosis, in an order in which an earlier failure explains a later one."""
    yield _data_dir(settings)
    try:
        info = await client.info()
    except (RedisError, OSError) as error:
        yield Diagnosis("redis", "fail", str(error), "Start Redis, or correct redis_url.")
        return
    yield _redis_version(info)
    for diagnosis in await _persistence(settings, client, info):
        yield diagnosis
    yield await _eviction(client)
    yield _memory(info)
    yield await _clock(client)
    yield await _installation(settings, client)
    registry = Registry(client)
    yield await _tenants(registry, KeyStore(client))
    async for diagnosis in _credentials(settings, registry):
        yield diagnosis
    yield await _geofences(registry)


def _data_dir(settings: Settings) -> Diagnosis:
    path = settings.data_dir
    if not os.access(path, os.W_OK):
        return Diagnosis(
            "data_dir", "fail", f"{path} cannot be written", f"chown it, or set data_dir: {path}"
        )
    free_bytes = shutil.disk_usage(path).free
    detail = f"{path}, {free_bytes / 1024**3:.1f} GiB free"
    if free_bytes < MIN_FREE_BYTES:
        return Diagnosis(
            "data_dir", "warn", detail, "Make room: a full disk stops the private Redis."
        )
    return Diagnosis("data_dir", "ok", detail)


def _redis_version(info: Mapping[str, Any]) -> Diagnosis:
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version", info["redis_version"]))
    parts = tuple(int(part) for part in version.split(".")[:2])
    if parts < MIN_REDIS:
        return Diagnosis("redis version", "fail", f"{name} {version}", "Use Redis 6.2 or newer.")
    return Diagnosis("redis version", "ok", f"{name} {version}")


async def _persistence(
    settings: Settings, client: Redis, info: Mapping[str, Any]
) -> list[Diagnosis]:
    if not info.get("aof_enabled"):
        cure = "Set `appendonly yes` in Redis; without it a crash loses acknowledged pings."
        return [Diagnosis("persistence", "fail", "the append-only file is off", cure)]
    if info.get("aof_last_write_status") != "ok":
        cure = "Look at the disk of Redis: it cannot write its append-only file."
        return [Diagnosis("persistence", "fail", "the last write failed", cure)]
    wanted = APPENDFSYNC[settings.durability]
    found = await _setting(client, "appendfsync")
    detail = f"append-only file, appendfsync {found or 'unknown'}"
    if found is not None and found != wanted:
        cure = f"Set `appendfsync {wanted}` in Redis, or durability = everysec here."
        level: Level = "fail" if wanted == "always" else "warn"
        return [Diagnosis("persistence", level, detail, cure)]
    diagnoses = [Diagnosis("persistence", "ok", detail)]
    replicas = int(info.get("connected_slaves", 0))
    if settings.durability == "replicated" and replicas < settings.replicas:
        cure = "Connect replicas, or lower `replicas`; until then pings are answered with 503."
        diagnoses.append(Diagnosis("replicas", "fail", f"{replicas} connected", cure))
    return diagnoses


async def _eviction(client: Redis) -> Diagnosis:
    policy = await _setting(client, "maxmemory-policy")
    if policy not in (None, "noeviction"):
        cure = "Set `maxmemory-policy noeviction`; any other policy deletes device state."
        return Diagnosis("eviction", "fail", str(policy), cure)
    return Diagnosis("eviction", "ok", policy or "unknown (CONFIG is not allowed)")


def _memory(info: Mapping[str, Any]) -> Diagnosis:
    used, limit = int(info["used_memory"]), int(info.get("maxmemory", 0))
    detail = f"{used / 1024**2:.0f} MiB used" + (f" of {limit / 1024**2:.0f}" if limit else "")
    if limit and used > limit * WARN_MEMORY_SHARE:
        return Diagnosis("memory", "warn", detail, "Give Redis more memory before intake stops.")
    return Diagnosis("memory", "ok", detail)


async def _clock(client: Redis) -> Diagnosis:
    before = time.time()
    seconds, micros = await client.time()
    skew_s = seconds + micros / 1e6 - (before + time.time()) / 2
    detail = f"Redis is {skew_s * 1000:+.0f} ms from here"
    if abs(skew_s) < WARN_SKEW_S:
        return Diagnosis("clock", "ok", detail)
    level: Level = "fail" if abs(skew_s) > FAIL_SKEW_S else "warn"
    return Diagnosis("clock", level, detail, "Run a time service (chrony, ntpd) on both machines.")


async def _installation(settings: Settings, client: Redis) -> Diagnosis:
    try:
        found = await open_installation(client, settings.shards)
    except ConfigError as error:
        return Diagnosis("installation", "fail", str(error), "See docs/configuration.md.")
    return Diagnosis("installation", "ok", f"{found.id}, {found.shard_count} shards")


async def _tenants(registry: Registry, keys: KeyStore) -> Diagnosis:
    tenants = set(await registry.tenants_of("tenants")) | await keys.tenants()
    now = time.time_ns() // 1_000_000
    open_keys = 0
    for tenant in tenants:
        open_keys += sum(key.record.is_active(now) for key in await keys.list(tenant))
    detail = f"{len(tenants)} tenants, {open_keys} active keys"
    if not open_keys:
        cure = "Make one: gateway keys create --tenant acme --scopes manage,ingest,read"
        return Diagnosis("keys", "warn", detail, cure)
    return Diagnosis("keys", "ok", detail)


async def _credentials(settings: Settings, registry: Registry) -> AsyncIterator[Diagnosis]:
    """Open each credential, and let its provider say whether it would be taken."""
    try:
        vault = Vault(load_master_keys(settings))
    except ConfigError as error:
        yield Diagnosis("master key", "fail", str(error), "Restore the master key from a backup.")
        return
    policy = network_policy(settings)
    async for chunk in registry.scan("credentials"):
        for stored in chunk:
            name = f"credential {stored.tenant}/{stored.id}"
            try:
                opened = credential.unseal(vault, stored.tenant, stored.id, stored.document.doc)
                trouble = await dry_run(opened, network_policy=policy)
            except SenderError as error:
                trouble = str(error)
            if trouble:
                cure = f"Correct it, and put it anew: PUT /v1/credentials/{stored.id}"
                yield Diagnosis(name, "fail", trouble, cure)
            else:
                yield Diagnosis(name, "ok", "its provider would take it")


async def _geofences(registry: Registry) -> Diagnosis:
    tenants = await registry.tenants_of("geofences")
    counts = [await registry.count(tenant, "geofences") for tenant in tenants]
    most = f", the most of one tenant {max(counts)}" if counts else ""
    return Diagnosis("geofences", "ok", f"{sum(counts)} in {len(counts)} tenants{most}")


async def _setting(client: Redis, name: str) -> str | None:
    """A setting of Redis; None where a hosted Redis does not tell."""
    try:
        found = await client.config_get(name)
    except ResponseError:
        return None
    values = {_text(key): _text(value) for key, value in found.items()}
    return values.get(name)


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
