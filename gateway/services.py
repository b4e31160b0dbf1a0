"""The parts of one serving process, composed in one place.

Everything that has a lifetime is made in ``build_services`` and ended by ``Services.close``; routes
and loops get this one object and make nothing themselves.
"""

import asyncio
import gc
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway import metrics
from gateway.audit import Audit
from gateway.auth import Authenticator
from gateway.config import Settings
from gateway.consents import ConsentLog
from gateway.dispatching import Dispatching, compose_dispatching
from gateway.engine import Engine, compose_engine
from gateway.forget import Eraser
from gateway.health import Health
from gateway.history import History
from gateway.idempotency import KeptAnswers
from gateway.installation import Installation, open_installation
from gateway.keys import KeyStore
from gateway.live import Live
from gateway.log import get_logger
from gateway.master_key import load_master_keys
from gateway.merge import Merger
from gateway.owntracks import Passphrases
from gateway.people import People
from gateway.private_redis import PrivateRedis
from gateway.quarantine import Quarantine
from gateway.ratelimit import RateLimiter
from gateway.receipts import Receipts
from gateway.redis_client import open_redis
from gateway.registry import Registry
from gateway.sweep import Sweeper
from gateway.tokens import JwtKey, TokenVerifier
from gateway.watching import Watching
from gateway.worker import fire_timers, measure, merge_indexes, sweep
from senders.vault import Vault

REDIS_START_WAIT_S = 30.0
CANCEL_ROUNDS = 5
CANCEL_WAIT_S = 2.0
GC_THRESHOLD = (10_000, 20, 50)

_log = get_logger(__name__)

if TYPE_CHECKING:
    from gateway.mqtt import Subscriber


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
    passphrases: Passphrases
    watching: Watching
    consent_log: ConsentLog
    eraser: Eraser
    merger: Merger
    history: History
    live: Live
    answers: KeptAnswers
    receipts: Receipts
    link_keys: Sequence[bytes]
    engine: Engine
    dispatching: Dispatching
    started_at: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def spawn(self, task: asyncio.Task[None]) -> None:
        """Keep a background task until ``close`` ends it."""
        self.tasks.append(task)
        task.add_done_callback(_tell_if_failed)

    async def loops_run(self) -> str:
        """How many background tasks run; a check of readiness.

        Raises:
            RuntimeError: one has ended.
        """
        ended = [task.get_name() for task in self.tasks if task.done()]
        if ended:
            raise RuntimeError(f"{', '.join(ended)} ended; restart this process")
        return f"{len(self.tasks)} running"

    async def close(self) -> None:
        """End background tasks, then connections; what was acknowledged is already stored."""
        self.health.stop()
        await self.engine.close()
        await self._end_tasks()
        with suppress(RedisError):
            await self.authenticator.write_used()
        await self.redis.aclose()

    async def _end_tasks(self) -> None:
        """Cancel until all have ended: a library may lose one cancellation, not several."""
        pending = set(self.tasks)
        for _ in range(CANCEL_ROUNDS):
            if not pending:
                return
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=CANCEL_WAIT_S)
            for task in pending:
                _log.warning("task_still_runs", task=task.get_name(), stack=str(task.get_stack()))


def _tell_if_failed(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        _log.error("task_failed", task=task.get_name(), exc_info=error)


async def build_services(settings: Settings) -> Services:
    """Connect and compose; the caller closes.

    Raises:
        ConfigError: the settings do not fit the installation.
        RedisError: Redis could not be reached for ``REDIS_START_WAIT_S``.
    """
    subscriber = _subscriber(settings)
    redis = open_redis(redis_url(settings), settings.redis_timeout_s)
    try:
        installation = await _open_installation(redis, settings.shards)
    except BaseException:
        await redis.aclose()
        raise
    services = _compose(settings, redis, installation)

    async def redis_answers() -> str:
        await redis.ping()
        return "answers"

    services.health.add("redis", redis_answers)
    services.health.add("loops", services.loops_run)
    await services.health.check_all()
    services.spawn(asyncio.create_task(services.health.watch(), name="health"))
    services.spawn(asyncio.create_task(services.authenticator.follow(), name="keys"))
    await services.engine.catalog.load()
    services.spawn(asyncio.create_task(services.engine.catalog.follow(), name="changes"))
    services.spawn(asyncio.create_task(merge_indexes(services.engine), name="merge"))
    shards = installation.shard_count
    services.spawn(asyncio.create_task(measure(services.engine, redis, shards), name="measure"))
    if settings.background:
        services.spawn(asyncio.create_task(fire_timers(services.engine, shards), name="timers"))
        services.spawn(asyncio.create_task(services.dispatching.run(), name="dispatch"))
        sweeper = Sweeper(redis, settings, services.registry, services.engine.catalog, shards)
        services.spawn(asyncio.create_task(sweep(sweeper), name="sweep"))
    if subscriber is not None:
        services.spawn(asyncio.create_task(subscriber.follow(services), name="mqtt"))
    metrics.mark_started()
    # What is loaded now stays: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    # Pushes and pings in flight are thousands of young objects and hardly a cycle.
    gc.set_threshold(*GC_THRESHOLD)
    return services


def _subscriber(settings: Settings) -> "Subscriber | None":
    """Who takes a broker's messages, where one is set; an extra, so imported only then."""
    if not settings.mqtt_url:
        return None
    from gateway.mqtt import Subscriber

    return Subscriber(settings)


async def _open_installation(redis: Redis, shards: int) -> Installation:
    """The installation; Redis may be starting again just now, so it gets some time to answer."""
    deadline = time.monotonic() + REDIS_START_WAIT_S
    while True:
        try:
            return await open_installation(redis, shards)
        except (RedisError, OSError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


def _compose(settings: Settings, redis: Redis, installation: Installation) -> Services:
    master_keys = load_master_keys(settings)
    registry = Registry(redis)
    people = People(redis, installation.shard_count)
    consent_log = ConsentLog(redis, installation.shard_count)
    history = History(redis, installation.shard_count)
    keys = KeyStore(redis)
    tokens = TokenVerifier(
        lambda tenant, key_id: _find_jwt_key(registry, tenant, key_id),
        master_keys,
        settings.device_token_max_ttl_s,
    )
    engine = compose_engine(settings, redis, installation, registry, people)
    dispatching = compose_dispatching(
        settings, redis, installation, registry=registry, people=people, engine=engine
    )
    engine.effects.on_pushes = dispatching.dispatcher.nudge
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
        answers=KeptAnswers(redis, settings.idempotency_retention_s * 1000),
        receipts=Receipts(redis, people, dispatching.outbox),
        link_keys=master_keys,
        quarantine=Quarantine(redis, installation.shard_count),
        passphrases=Passphrases(engine.catalog, people),
        watching=Watching(engine.catalog, registry),
        engine=engine,
        dispatching=dispatching,
    )


async def _find_jwt_key(registry: Registry, tenant: str, key_id: str) -> JwtKey | None:
    document = await registry.get(tenant, "jwt_keys", key_id)
    return msgspec.json.decode(document.doc, type=JwtKey) if document else None


def redis_url(settings: Settings) -> str:
    """Where Redis is: the setting, else the private server of the data directory."""
    return settings.redis_url or PrivateRedis(settings.data_dir, settings.durability).url
