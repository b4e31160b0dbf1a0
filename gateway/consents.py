"""The log of consents: what a person allowed or withdrew, when, and by which source.

One stream a device or user; an entry for every change, never overwritten, deleted only with the
person. The present state stands in the record (``gateway/person.py``).
"""

from typing import Any

import msgspec

from gateway.document import Client
from gateway.people import Family
from gateway.person import Consents
from gateway.sharding import shard_of, shard_tag, subject_field


class ConsentEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answer of a person. ``at`` is when they gave it, ``recorded_at`` when we learned it."""

    at: int
    recorded_at: int
    source: str
    push: bool | None = None
    location: str | None = None
    policy_version: str | None = None


class ConsentLog:
    """Appends and lists entries."""

    def __init__(self, client: Client, shard_count: int) -> None:
        self._client: Any = client
        self._shard_count = shard_count

    async def record(
        self,
        tenant: str,
        family: Family,
        person_id: str,
        consents: Consents,
        *,
        source: str,
        now: int,
        at: int | None = None,
        policy_version: str | None = None,
    ) -> None:
        """Append what holds from now on."""
        entry = ConsentEntry(
            at=now if at is None else at,
            recorded_at=now,
            source=source,
            push=consents.push,
            location=consents.location,
            policy_version=policy_version,
        )
        key = self.key(tenant, family, person_id)
        await self._client.xadd(key, {"c": msgspec.json.encode(entry)})

    async def entries(self, tenant: str, family: Family, person_id: str) -> list[ConsentEntry]:
        """Every entry, oldest first."""
        found = await self._client.xrange(self.key(tenant, family, person_id))
        return [msgspec.json.decode(fields[b"c"], type=ConsentEntry) for _, fields in found]

    def key(self, tenant: str, family: Family, person_id: str) -> str:
        """The stream of a person."""
        shard = shard_of(subject_field(tenant, person_id), self._shard_count)
        return f"{shard_tag(shard)}:consents:{family}:{tenant}/{person_id}"
