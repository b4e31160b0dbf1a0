"""Composes dispatch for one process, and tells metrics and logs what it does."""

import asyncio
import os
import socket
from dataclasses import dataclass
from functools import cache

from prometheus_client import Counter, Histogram
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway import metrics
from gateway.cancellations import Cancellations
from gateway.config import Settings
from gateway.delivery import Delivery
from gateway.delivery_log import DeliveryLog
from gateway.effects import budget_key
from gateway.egress import network_policy
from gateway.engine import Engine
from gateway.inbox import Inboxes
from gateway.installation import Installation
from gateway.log import get_logger
from gateway.master_key import load_master_keys
from gateway.people import People
from gateway.registry import Registry
from gateway.sender_pool import SenderPool
from gateway.sharding import shard_tag
from senders.dead_letters import DeadLetters
from senders.dispatch import Dispatcher, Limits, wall_clock
from senders.model import Outcome
from senders.outbox import Outbox
from senders.pushes import Observer, Ready
from senders.token_cache import RedisTokenCache
from senders.vault import Vault
from triggers.budgets import SpendKey

_log = get_logger(__name__)

GAUGES_EVERY_S = 5.0


@dataclass(slots=True)
class Dispatching:
    """The dispatcher of this process and what it holds open."""

    dispatcher: Dispatcher
    outbox: Outbox
    dead: DeadLetters
    senders: SenderPool
    registry: Registry

    async def run(self) -> None:
        """Dispatch until canceled: what is in flight is finished first, the rest handed back."""
        dispatch = asyncio.create_task(self.dispatcher.run())
        gauges = asyncio.create_task(self._keep_gauges())
        try:
            await asyncio.shield(dispatch)
        except asyncio.CancelledError:
            self.dispatcher.stop()
            await dispatch
            raise
        finally:
            gauges.cancel()
            await self.senders.close()

    async def _keep_gauges(self) -> None:
        while True:
            try:
                await self.measure()
                metrics.HEARTBEAT_AT.labels("dispatch").set_to_current_time()
            except RedisError as error:
                _log.warning("gauges_unread", error=str(error))
            await asyncio.sleep(GAUGES_EVERY_S)

    async def measure(self) -> None:
        """Bring the gauges of the outbox up to date."""
        depths = await self.outbox.depth()
        for lane in ("transactional", "marketing"):
            length = sum(one.length for one in depths if one.stream.lane == lane)
            metrics.OUTBOX_PUSHES.labels(lane).set(length)
        oldest = min((one.oldest_at for one in depths if one.oldest_at), default=wall_clock())
        metrics.OUTBOX_OLDEST_AT.set(oldest / 1000)
        tenants = await self.registry.tenants_of("triggers")
        metrics.DEAD_LETTERS.set(sum([await self.dead.count(tenant) for tenant in tenants]))


class Watch(Observer):
    """Metrics and logs of dispatch."""

    def sent(self, ready: Ready, outcome: Outcome, took_ms: int) -> None:
        """Count an outcome."""
        counter, duration = _series(ready.target.provider, type(outcome))
        counter.inc()
        duration.observe(took_ms / 1000)

    def failed(self, what: str, error: Exception) -> None:
        """Say what is tried again."""
        metrics.FAILURES.labels("dispatch").inc()
        _log.warning("dispatch_failed", step=what, error=f"{type(error).__name__}: {error}")

    def gate_closed(self, gate: str, until: int) -> None:
        """Say which credential is not used for now."""
        _log.warning("credential_held_back", gate=gate, until=until)


@cache
def _series(provider: str, outcome: type[Outcome]) -> tuple[Counter, Histogram]:
    """Looking a series up by its labels costs more than counting."""
    tag = outcome.__struct_config__.tag
    return metrics.PUSHES.labels(provider, tag), metrics.SEND_DURATION.labels(provider)


def compose_dispatching(
    settings: Settings,
    redis: Redis,
    installation: Installation,
    *,
    registry: Registry,
    people: People,
    engine: Engine,
) -> Dispatching:
    """Build the dispatcher of this process; ``engine.catalog`` must be loaded before it runs."""
    shard_count = installation.shard_count
    master_keys = load_master_keys(settings)
    vault = Vault(master_keys)

    def spend_key(tenant: str) -> SpendKey:
        return lambda scope, owner: budget_key(tenant, scope, owner, shard_count)

    senders = SenderPool(
        registry,
        vault=vault,
        inboxes=Inboxes(redis, shard_count),
        tokens=RedisTokenCache(redis, vault),
        policy=network_policy(settings),
        clock=wall_clock,
    )
    delivery = Delivery(
        catalog=engine.catalog,
        people=people,
        store=engine.store,
        senders=senders,
        log=DeliveryLog(redis, people),
        cancellations=Cancellations(redis, shard_count),
        spend_key=spend_key,
        link_key=master_keys[0],
        base_url=settings.base_url,
        clock=wall_clock,
    )
    tags = [shard_tag(shard) for shard in range(shard_count)]
    outbox = Outbox(
        redis,
        tags,
        _consumer(),
        takeover_ms=settings.dispatch_claim_s * 1000,
        dead_letters_max=settings.dead_letters_max,
    )
    limits = Limits(most_in_flight=settings.dispatch_concurrency)
    return Dispatching(
        Dispatcher(outbox, delivery, limits=limits, observer=Watch()),
        outbox,
        DeadLetters(redis, tags),
        senders,
        registry,
    )


def _consumer() -> str:
    """A name that no other living process has."""
    return f"{socket.gethostname()}-{os.getpid()}"
