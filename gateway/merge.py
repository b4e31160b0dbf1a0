"""Making one user of two: an anonymous one who logged in, say.

What is merged never allows more than either had: the stricter consent holds, every cooldown and cap
that either has spent stays spent, and both logs of consents are kept.
"""

from typing import Any

import msgspec

from gateway.consents import ConsentLog
from gateway.document import Client
from gateway.people import RECENT_LIFETIME_MS, People, Stored
from gateway.person import User, stricter
from gateway.sharding import shard_of, shard_tag, subject_field

CHUNK = 500


class Merger:
    """Merges users. ``now`` is epoch ms and always an argument."""

    def __init__(
        self, client: Client, people: People, consent_log: ConsentLog, shard_count: int
    ) -> None:
        self._client: Any = client
        self._people = people
        self._consent_log = consent_log
        self._shard_count = shard_count

    async def merge(
        self, tenant: str, into_id: str, from_id: str, *, now: int
    ) -> Stored[User] | None:
        """Make ``from_id`` part of ``into_id`` and delete it; None if there is no ``from_id``.

        Safe to repeat after a crash: budgets are carried before devices are linked, and the old
        record goes last.

        Raises:
            VersionConflict: other writers never stop.
        """
        source = await self._people.user(tenant, from_id)
        if source is None:
            return None
        await self._carry_budgets(tenant, f"user:{from_id}", f"user:{into_id}")
        await self._carry_events(tenant, from_id, into_id)
        target = await self._people.user(tenant, into_id)
        known = target.person if target else User(id=into_id)
        merged = await self._people.put_user(
            tenant,
            merged_user(known, source.person),
            now=now,
            expected=target.document.version if target else "absent",
        )
        await self._carry_consents(tenant, from_id, into_id)
        await self._consent_log.record(
            tenant, "users", into_id, merged.person.consents, source=f"merge of {from_id}", now=now
        )
        for device in await self._people.devices_of(tenant, from_id):
            await self._people.link(tenant, device.id, into_id, now=now)
        await self._people.delete_user(tenant, from_id, now=now)
        await self._client.delete(self._consent_log.key(tenant, "users", from_id))
        return merged

    async def _carry_budgets(self, tenant: str, before: str, after: str) -> None:
        """Whatever the old owner has spent, the new one has spent, too."""
        tag = shard_tag(shard_of(subject_field(tenant, after), self._shard_count))
        old_tag = shard_tag(shard_of(subject_field(tenant, before), self._shard_count))
        pattern = f"{old_tag}:spend:{tenant}:*"
        async for key in self._client.scan_iter(match=pattern, count=CHUNK):
            scope, _, form = key.decode().removeprefix(old_tag).rpartition(":")
            if scope.endswith(f":{before}"):
                shared = scope.removesuffix(before)
                await self._carry_budget(key, f"{tag}{shared}{after}:{form}")

    async def _carry_budget(self, old: bytes, new: str) -> None:
        kind, left_ms = await self._client.type(old), await self._client.pttl(old)
        if kind == b"zset":
            taken = dict(await self._client.zrange(old, 0, -1, withscores=True))
            if taken:
                await self._client.zadd(new, taken, nx=True)
        else:
            holder = await self._client.get(old)
            if holder is None:
                return
            if holder.isdigit():
                await self._client.incrby(new, int(holder))
            else:
                await self._client.set(new, holder, nx=True)
        if left_ms < 0:
            await self._client.persist(new)
        elif await self._client.pttl(new) < left_ms:
            await self._client.pexpire(new, left_ms)
        await self._client.delete(old)

    async def _carry_events(self, tenant: str, from_id: str, into_id: str) -> None:
        old, new = (self._people.recent_key(tenant, one) for one in (from_id, into_id))
        events = dict(await self._client.zrange(old, 0, -1, withscores=True))
        if events:
            await self._client.zadd(new, events)
            await self._client.pexpire(new, RECENT_LIFETIME_MS)
            await self._client.delete(old)

    async def _carry_consents(self, tenant: str, from_id: str, into_id: str) -> None:
        old, new = (self._consent_log.key(tenant, "users", one) for one in (from_id, into_id))
        for _, fields in await self._client.xrange(old):
            await self._client.xadd(new, fields)


def merged_user(into: User, other: User) -> User:
    """Both as one: the first's own values win, consents are the stricter ones."""
    targets = {(t.provider, t.address): t for t in (*other.targets, *into.targets)}
    return msgspec.structs.replace(
        into,
        attributes={**other.attributes, **into.attributes},
        tags=tuple(dict.fromkeys((*into.tags, *other.tags))),
        timezone=into.timezone or other.timezone,
        locale=into.locale or other.locale,
        consents=stricter(into.consents, other.consents),
        targets=tuple(targets.values()),
    )
