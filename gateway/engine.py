"""The engine of one process: catalogue, store, pipeline and the micro-batches before it."""

import asyncio
from dataclasses import dataclass

from redis.asyncio import Redis

from gateway.catalog import Catalog
from gateway.config import Settings
from gateway.effects import Effects
from gateway.installation import Installation
from gateway.intake import Intake
from gateway.measured_store import MeasuredStore
from gateway.people import People
from gateway.pipeline import HeardPost, Pipeline, Post
from gateway.privacy import LocationConsent
from gateway.registry import Registry
from gateway.sign_on import SignOn
from gateway.tally import Tally
from gateway.told import Tellings
from triggers.redis_store import RedisStore
from triggers.store import Retention

DECISIONS_PER_EVENT = 2


@dataclass(slots=True)
class Engine:
    """What turns pings and sightings into events and pushes."""

    catalog: Catalog
    store: RedisStore
    effects: Effects
    pipeline: Pipeline
    pings: Intake[Post, Tally]
    sightings: Intake[HeardPost, Tally]
    told: Tellings
    users: SignOn
    consent: LocationConsent

    async def close(self) -> None:
        """Take nothing more, and answer everything that was taken."""
        await asyncio.gather(self.pings.close(), self.sightings.close())


def compose_engine(
    settings: Settings, redis: Redis, installation: Installation, registry: Registry, people: People
) -> Engine:
    """Build the engine; ``catalog.load`` makes it know the tenants."""
    catalog = Catalog(registry)
    store = RedisStore(
        redis,
        Retention(
            events_cap=settings.events_max_per_shard,
            decisions_cap=DECISIONS_PER_EVENT * settings.events_max_per_shard,
            trail_lifetime_ms=settings.events_retention_s * 1000,
        ),
        replicas=settings.replicas if settings.durability == "replicated" else 0,
    )
    effects = Effects(people, installation.shard_count, is_cluster=store.is_cluster)
    pipeline = Pipeline(catalog, MeasuredStore(store), effects, installation.shard_count)
    return Engine(
        catalog,
        store,
        effects,
        pipeline,
        pings=Intake(
            pipeline.pings,
            window_ms=settings.batch_window_ms,
            max_batch=settings.batch_max_pings,
            max_waiting=settings.max_waiting_pings,
        ),
        sightings=Intake(
            pipeline.sightings,
            window_ms=settings.batch_window_ms,
            max_batch=settings.batch_max_pings,
            max_waiting=settings.max_waiting_pings,
        ),
        told=Tellings(catalog, store, effects, people, installation.shard_count),
        users=SignOn(people),
        consent=LocationConsent(people),
    )
