"""The parts of one serving process, composed in one place.

Everything that has a lifetime is made in ``build_services`` and ended by ``Services.close``; routes
and loops get this one object and make nothing themselves.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field

from redis.asyncio import Redis

from gateway import metrics
from gateway.config import ConfigError, Settings
from gateway.health import Health
from gateway.installation import Installation, open_installation
from gateway.private_redis import PrivateRedis
from gateway.redis_client import open_redis


@dataclass(slots=True)
class Services:
    """What routes and loops work with."""

    settings: Settings
    redis: Redis
    installation: Installation
    health: Health
    started_at: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def spawn(self, task: asyncio.Task[None]) -> None:
        """Keep a background task until ``close`` ends it."""
        self.tasks.append(task)

    async def close(self) -> None:
        """End background tasks, then connections; what was acknowledged is already stored."""
        self.health.stop()
        for task in reversed(self.tasks):
            task.cancel()
        for task in reversed(self.tasks):
            with suppress(asyncio.CancelledError):
                await task
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
    services = Services(settings, redis, installation, Health(settings.data_dir))

    async def redis_answers() -> str:
        await redis.ping()
        return "answers"

    services.health.add("redis", redis_answers)
    await services.health.check_all()
    services.spawn(asyncio.create_task(services.health.watch(), name="health"))
    metrics.mark_started()
    return services


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
