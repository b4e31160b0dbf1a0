"""Removing a tenant with everything that is kept of it.

Model: first its keys are revoked, so that nothing new comes in; then its configuration goes,
through the registry, so that every process hears of it; then whatever else names the tenant. Names
are judged by their exact place in a key or field, never by a pattern alone: a device of another
tenant may well be called like this one.
"""

import re
from collections.abc import AsyncIterator
from typing import Any

from redis.asyncio import Redis

from gateway.keys import KEYS_KEY, USED_KEY, KeyStore
from gateway.registry import KINDS, Registry
from gateway.sharding import CONFIG_TAG

CHUNK = 1000
# Shared by all tenants: a field (or member) is ``tenant/id``.
_SHARED_HASHES = frozenset({"state", "devices", "users"})
_SHARED_SETS = frozenset({"timers"})
_KEY = re.compile(r"\{[^}]*\}:(?P<family>[^:]+)(?::(?P<rest>.*))?", re.DOTALL)


async def remove_tenant(client: Redis, tenant: str, now: int) -> int:
    """Remove a tenant; the number of keys, fields and documents that are gone.

    Running the command again after a failure goes on where it stopped.
    """
    keys = KeyStore(client)
    await keys.revoke_all(tenant, now)
    removed = await _remove_configuration(Registry(client), tenant, now)
    async for key in client.scan_iter(match="{*", count=CHUNK):
        removed += await _remove_from(client, key, tenant)
    ids = [key.id for key in await keys.list(tenant)]
    if ids:
        removed += await client.hdel(KEYS_KEY, *ids)
        await client.hdel(USED_KEY, *ids)
    return removed


def names_tenant(key: str, tenant: str) -> bool:
    """Whether a key belongs to this tenant alone."""
    match = _KEY.fullmatch(key)
    if match is None or match["rest"] is None:
        return False
    rest = match["rest"]
    if match["family"] == "outbox":  # outbox:<lane>:<tenant>
        rest = rest.partition(":")[2]
    return re.match(rf"{re.escape(tenant)}(?:[/:]|\Z)", rest) is not None


async def _remove_configuration(registry: Registry, tenant: str, now: int) -> int:
    removed = 0
    for kind in KINDS:
        while (page := await registry.page(tenant, kind, limit=CHUNK)).items:
            ids = [document_id for document_id, _ in page.items]
            removed += sum(await registry.delete_many(tenant, kind, ids, now=now))
    return removed


async def _remove_from(client: Redis, key: bytes, tenant: str) -> int:
    text = key.decode("utf-8", "surrogateescape")
    if names_tenant(text, tenant):
        return int(await client.unlink(key))
    match = _KEY.fullmatch(text)
    family = match["family"] if match and match["rest"] is None else ""
    removed = 0
    if family in _SHARED_HASHES:
        async for fields in _chunks(client.hscan_iter(key, match=f"{tenant}/*", count=CHUNK)):
            removed += await client.hdel(key, *fields)
    elif family in _SHARED_SETS:
        async for members in _chunks(client.zscan_iter(key, match=f"{tenant}/*", count=CHUNK)):
            removed += await client.zrem(key, *members)
    elif family in KINDS and text.startswith(CONFIG_TAG):
        removed += await client.srem(key, tenant)
    return removed


async def _chunks(pairs: AsyncIterator[Any]) -> AsyncIterator[list[Any]]:
    """The first halves of the pairs, in handy numbers."""
    chunk: list[Any] = []
    async for name, _ in pairs:
        chunk.append(name)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
