"""Who changed what: one entry for every change by the management API, per tenant.

Entries are kept in a capped stream and never hold document contents.
"""

from typing import Any

import msgspec

from gateway.document import Client
from gateway.sharding import CONFIG_TAG

CAP = 100_000


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change."""

    at: int
    actor: str  # key id, or "cli"
    action: str  # create, replace, patch, delete, import, merge, consent, ...
    kind: str
    id: str
    version: int = 0
    detail: str = ""


class Audit:
    """Appends and lists entries; ``at`` is epoch ms and always given."""

    def __init__(self, client: Client) -> None:
        self._client: Any = client

    async def record(self, tenant: str, entry: Entry) -> None:
        """Append an entry."""
        await self._client.xadd(
            audit_key(tenant), {"a": msgspec.json.encode(entry)}, maxlen=CAP, approximate=True
        )

    async def page(
        self, tenant: str, *, before: str = "", limit: int = 100
    ) -> tuple[list[Entry], str | None]:
        """Entries, newest first, older than ``before``; and where the next page starts."""
        newest = f"({before}" if before else "+"
        found = await self._client.xrevrange(audit_key(tenant), newest, "-", count=limit + 1)
        entries = [msgspec.json.decode(fields[b"a"], type=Entry) for _, fields in found[:limit]]
        return entries, found[limit - 1][0].decode() if len(found) > limit else None

    async def forget(self, tenant: str) -> None:
        """Delete a tenant's log."""
        await self._client.delete(audit_key(tenant))


def audit_key(tenant: str) -> str:
    """The stream of a tenant's log."""
    return f"{CONFIG_TAG}:audit:{tenant}"
