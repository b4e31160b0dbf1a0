"""What is fixed at the first start of an installation: id, shard count, format of the keys.

It stands in the hash ``{c}:installation``; every process reads it before it does anything else.
"""

import time
import uuid
from typing import NamedTuple

from redis.asyncio import Redis

from gateway.config import ConfigError
from gateway.sharding import CONFIG_TAG

KEY = f"{CONFIG_TAG}:installation"
FORMAT = 1


class Installation(NamedTuple):
    """The facts that never change."""

    id: str
    shard_count: int
    created_at: int


async def open_installation(client: Redis, shard_count: int) -> Installation:
    """The installation in this Redis, made now if there is none.

    Raises:
        ConfigError: it has another number of shards, or was written by a newer gateway.
    """
    pipe = client.pipeline(transaction=True)
    pipe.hsetnx(KEY, "id", str(uuid.uuid4()))
    pipe.hsetnx(KEY, "shards", str(shard_count))
    pipe.hsetnx(KEY, "format", str(FORMAT))
    pipe.hsetnx(KEY, "created_at", str(time.time_ns() // 1_000_000))
    pipe.hgetall(KEY)
    stored: dict[bytes, bytes] = (await pipe.execute())[-1]
    if int(stored[b"format"]) > FORMAT:
        raise ConfigError(
            f"This Redis was written by a newer gateway (format {int(stored[b'format'])}, this "
            f"one knows {FORMAT}). Use that version, or another Redis."
        )
    if int(stored[b"shards"]) != shard_count:
        raise ConfigError(
            f"shards = {shard_count} does not fit: this installation was started with "
            f"{int(stored[b'shards'])} shards, which cannot change. Set shards to "
            f"{int(stored[b'shards'])}, or start anew with an empty Redis."
        )
    return Installation(stored[b"id"].decode(), shard_count, int(stored[b"created_at"]))
