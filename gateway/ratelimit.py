"""Rate limits: the generic cell rate algorithm (GCRA), kept in Redis with Redis's clock.

Model: a subject (an API key, a device) has a limit of so many units a second and a burst. A request
spends as many units as it carries pings. The state is one number a subject that ends by itself.

Source: draft-ietf-httpapi-ratelimit-headers (``RateLimit-Policy``, ``RateLimit``), RFC 9110 10.2.3.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple

from redis.asyncio import Redis

from gateway import metrics
from gateway.auth import Principal
from gateway.config import Settings
from gateway.errors import Problem
from gateway.sharding import CONFIG_TAG, shard_of, shard_tag, subject_field

_SCRIPT = files("gateway").joinpath("lua/gcra.lua").read_text("utf-8")


class Limit(NamedTuple):
    """At most ``burst`` units at once, and ``per_s`` units a second in the long run."""

    name: str
    per_s: float
    burst: int

    @property
    def policy(self) -> str:
        """The limit as the ``RateLimit-Policy`` header tells it."""
        return f'"{self.name}";q={self.burst};w={max(1, math.ceil(self.burst / self.per_s))}'


class Spent(NamedTuple):
    """What became of one subject's request."""

    retry_after_s: float  # 0: allowed
    left: int


class RateLimiter:
    """The limits of the settings; a limit of 0 a second is no limit and costs nothing."""

    def __init__(self, client: Redis, settings: Settings, shard_count: int) -> None:
        self._gcra = client.register_script(_SCRIPT)
        self._shard_count = shard_count
        self._key = Limit("key", settings.rate_limit_key_per_s, settings.rate_limit_key_burst)
        self._device = Limit(
            "device", settings.rate_limit_device_per_s, settings.rate_limit_device_burst
        )

    @property
    def limits_devices(self) -> bool:
        """Whether devices have a limit at all."""
        return bool(self._device.per_s)

    async def spend_key(self, principal: Principal, cost: int = 1) -> dict[str, str]:
        """Take units from the caller's key; the headers that tell what is left.

        Raises:
            Problem: ``rate-limited``, with ``Retry-After``.
        """
        if not self._key.per_s:
            return {}
        subject = f"{CONFIG_TAG}:rate:{principal.tenant}/{principal.key_id}"
        if principal.device_id is not None:
            subject += f"/{principal.device_id}"
        spent = (await self._spend(self._key, {subject: cost}))[subject]
        headers = {
            "RateLimit-Policy": self._key.policy,
            "RateLimit": f'"key";r={spent.left};t={math.ceil(spent.retry_after_s)}',
        }
        if spent.retry_after_s:
            raise _limited(self._key, spent, headers)
        return headers

    async def spend_devices(self, tenant: str, pings: Mapping[str, int]) -> dict[str, Problem]:
        """Take each device's pings from its limit; a problem for each device that is over it.

        One call carries many devices, so one that is over its limit does not fail the others.
        """
        if not self._device.per_s:
            return {}
        by_shard: dict[int, dict[str, int]] = defaultdict(dict)
        names: dict[str, str] = {}
        for device_id, number in pings.items():
            field = subject_field(tenant, device_id)
            shard = shard_of(field, self._shard_count)
            subject = f"{shard_tag(shard)}:rate:{field.decode()}"
            by_shard[shard][subject] = number
            names[subject] = device_id
        refused: dict[str, Problem] = {}
        for costs in by_shard.values():
            for subject, spent in (await self._spend(self._device, costs)).items():
                if spent.retry_after_s:
                    refused[names[subject]] = _limited(self._device, spent, {})
        return refused

    async def _spend(self, limit: Limit, costs: Mapping[str, int]) -> dict[str, Spent]:
        interval_us = 1_000_000 / limit.per_s
        reply = await self._gcra(
            keys=list(costs), args=[f"{interval_us:.3f}", limit.burst, *costs.values()]
        )
        return {
            subject: Spent(reply[2 * i] / 1e6, int(reply[2 * i + 1]))
            for i, subject in enumerate(costs)
        }


def _limited(limit: Limit, spent: Spent, headers: Mapping[str, str]) -> Problem:
    metrics.RATE_LIMITED.labels(limit.name).inc()
    wait_s = max(1, math.ceil(spent.retry_after_s))
    return Problem(
        "rate-limited",
        f"This {limit.name} may spend {limit.per_s:g} units a second, {limit.burst} at once. "
        f"Try again in {wait_s} s.",
        headers={**headers, "Retry-After": str(wait_s)},
    )
