"""The parts of one serving process, composed in one place.

Everything that has a lifetime is made in ``build_services`` and ended by ``Services.close``; routes
and loops get this one object and make nothing themselves.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway import metrics
from gateway.audit import Audit
from gateway.auth import Authenticator
from gateway.config import ConfigError, Settings
from gateway.consents import ConsentLog
from gateway.dispatching import Dispatching, compose_dispatching
from gateway.engine import Engine, compose_engine
from gateway.forget import Eraser
from gateway.health import Health
from gateway.history import History
from gateway.installation import Installation, open_installation
from gateway.keys import KeyStore
from gateway.live import Live
from gateway.master_key import load_master_keys
from gateway.merge import Merger
from gateway.owntracks import OwnTracks
from gateway.people import People
from gateway.private_redis import PrivateRedis
from gateway.quarantine import Quarantine
from gateway.ratelimit import RateLimiter
from gateway.redis_client import open_redis
from gateway.registry import Registry
from gateway.sweep import Sweeper
from gateway.tokens import JwtKey, TokenVerifier
from gateway.worker import fire_timers, merge_indexes, sweep
from senders.vault import Vault


@dataclass(slots=True)
class Services:
    """What routes and loops work with."""

    settings: Settings
    redis: Redis
    installation: Installation
    health: Health
    vault: Vault
    registry: Registry
    audit: Audit
    keys: KeyStore
    tokens: TokenVerifier
    authenticator: Authenticator
    limits: RateLimiter
    people: People
    quarantine: Quarantine
    owntracks: OwnTracks
    consent_log: ConsentLog
    eraser: Eraser
    merger: Merger
    history: History
    live: Live
    engine: Engine
    dispatching: Dispatching
    started_at: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def spawn(self, task: asyncio.Task[None]) -> None:
        """Keep a background task until ``close`` ends it."""
        self.tasks.append(task)

    async def close(self) -> None:
        """End background tasks, then connections; what was acknowledged is already stored."""
        self.health.stop()
        await self.engine.close()
        for task in reversed(self.tasks):
            task.cancel()
        for task in reversed(self.tasks):
            with suppress(asyncio.CancelledError):
                await task
        with suppress(RedisError):
            await self.authenticator.write_used()
        await self.redis.aclose()


async def build_services(settings: Settings) -> Services:
    """Connect and compose; the caller closes.

    Raises:
        ConfigError: the settings do not fit the installation.
        RedisError: Redis cannot be reached.
    """
    redis = open_redis(redis_url(settings), settings.redis_timeout_s)
    try:
        installation = await open_installation(redis, settings.shards)
    except BaseException:
        await redis.aclose()
        raise
    services = _compose(settings, redis, installation)

    async def redis_answers() -> str:
        await redis.ping()
        return "answers"

    services.health.add("redis", redis_answers)
    await services.health.check_all()
    services.spawn(asyncio.create_task(services.health.watch(), name="health"))
    services.spawn(asyncio.create_task(services.authenticator.follow(), name="keys"))
    await services.engine.catalog.load()
    services.spawn(asyncio.create_task(services.engine.catalog.follow(), name="changes"))
    services.spawn(asyncio.create_task(merge_indexes(services.engine), name="merge"))
    if settings.background:
        shards = installation.shard_count
        services.spawn(asyncio.create_task(fire_timers(services.engine, shards), name="timers"))
        services.spawn(asyncio.create_task(services.dispatching.run(), name="dispatch"))
        sweeper = Sweeper(redis, settings, services.registry, services.engine.catalog, shards)
        services.spawn(asyncio.create_task(sweep(sweeper), name="sweep"))
    metrics.mark_started()
    return services


def _compose(settings: Settings, redis: Redis, installation: Installation) -> Services:
    master_keys = load_master_keys(settings)
    registry = Registry(redis)
    people = People(redis, installation.shard_count)
    consent_log = ConsentLog(redis, installation.shard_count)
    history = History(redis, installation.shard_count)
    keys = KeyStore(redis)
    tokens = TokenVerifier(
        lambda tenant, key_id: _find_jwt_key(registry, tenant, key_id),
        master_keys[0],
        settings.device_token_max_ttl_s,
    )
    engine = compose_engine(settings, redis, installation, registry, people)
    return Services(
        settings=settings,
        redis=redis,
        installation=installation,
        health=Health(settings.data_dir),
        vault=Vault(master_keys),
        registry=registry,
        audit=Audit(redis),
        keys=keys,
        tokens=tokens,
        authenticator=Authenticator(keys, tokens),
        limits=RateLimiter(redis, settings, installation.shard_count),
        people=people,
        consent_log=consent_log,
        eraser=Eraser(redis, people, installation.shard_count),
        merger=Merger(redis, people, consent_log, installation.shard_count),
        history=history,
        live=Live(history),
        quarantine=Quarantine(redis, installation.shard_count),
        owntracks=OwnTracks(engine.catalog, registry, people),
        engine=engine,
        dispatching=compose_dispatching(
            settings, redis, installation, registry=registry, people=people, engine=engine
        ),
    )


async def _find_jwt_key(registry: Registry, tenant: str, key_id: str) -> JwtKey | None:
    document = await registry.get(tenant, "jwt_keys", key_id)
    return msgspec.json.decode(document.doc, type=JwtKey) if document else None


def redis_url(settings: Settings) -> str:
    """Where Redis is: the setting, else the private server of the data directory.

    Raises:
        ConfigError: no Redis is set and the private one does not run.
    """
    if settings.redis_url:
        return settings.redis_url
    private = PrivateRedis(settings.data_dir, settings.durability)
    if not private.is_running():
        raise ConfigError(
            f"No Redis runs for {settings.data_dir}. Start `gateway serve` with this data "
            "directory, or set redis_url."
        )
    return private.url
