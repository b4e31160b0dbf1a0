"""Who holds what can have one holder only: push addresses, and transmitters.

Model: one hash field a thing, its value the id of the device that claimed it last. Things are
spread over the shards by their own name; an address is kept as a hash, not in the clear.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from importlib.resources import files
from typing import Any, NamedTuple

from gateway.document import Client
from gateway.sharding import shard_of, shard_tag
from senders.model import Target


class Thing(NamedTuple):
    """Something with one holder: the family of its key, and its field there."""

    family: str
    field: bytes


def address(tenant: str, target: Target) -> Thing:
    """A push address."""
    digest = blake2b(target.address.encode(), digest_size=16).hexdigest()
    return Thing("addresses", f"{tenant}/{target.provider}/{digest}".encode())


def transmitter(tenant: str, beacon_key: str) -> Thing:
    """A transmitter that a device carries."""
    return Thing("transmitters", f"{tenant}/{beacon_key}".encode())


class Holdings:
    """Claims and releases."""

    def __init__(self, client: Client, shard_count: int) -> None:
        source = (files("gateway") / "lua" / "release.lua").read_text()
        self._client: Any = client
        self._release: Any = client.register_script(source)
        self._shard_count = shard_count

    async def claim(self, things: Iterable[Thing], holder: str) -> dict[Thing, str]:
        """Make this the holder; who held before, where it was somebody else."""
        before: dict[Thing, str] = {}
        for thing in things:
            pipe = self._client.pipeline(transaction=True)
            pipe.hget(self._key(thing), thing.field)
            pipe.hset(self._key(thing), thing.field, holder)
            previous = (await pipe.execute())[0]
            if previous and previous.decode() != holder:
                before[thing] = previous.decode()
        return before

    async def release(self, things: Iterable[Thing], holder: str) -> None:
        """Hold them no longer; what somebody else has claimed since is left alone."""
        for thing in things:
            await self._release(keys=[self._key(thing)], args=[thing.field, holder])

    async def holders(self, things: Sequence[Thing]) -> list[str | None]:
        """Who holds each, in order; one call a shard."""
        found: dict[Thing, bytes | None] = {}
        by_key: dict[str, list[Thing]] = {}
        for thing in things:
            by_key.setdefault(self._key(thing), []).append(thing)
        for key, listed in by_key.items():
            values = await self._client.hmget(key, [thing.field for thing in listed])
            found.update(zip(listed, values, strict=True))
        return [value.decode() if (value := found[thing]) else None for thing in things]

    def _key(self, thing: Thing) -> str:
        return f"{shard_tag(shard_of(thing.field, self._shard_count))}:{thing.family}"
