"""Records of stock apps and receivers that could not be read, kept for a person to look at.

One stream a tenant, ``{s:NN}:quarantine:<tenant>`` on the shard of the tenant's name, field ``q`` a
JSON ``Quarantined``. It is bounded, and gone a week after the last such record.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from gateway import metrics
from gateway.document import Client
from gateway.ingest.model import Bad
from gateway.sharding import shard_of, shard_tag

MOST_KEPT = 2000
MOST_KEPT_PER_CALL = 100
LIFETIME_S = 7 * 86_400
MAX_RAW_CHARS = 2000


class Quarantined(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record that was not taken. ``raw`` is its beginning, as JSON."""

    received_at: int
    format: str
    reason: str
    raw: str
    device_id: str | None = None
    receiver_id: str | None = None


class Quarantine:
    """The quarantines of all tenants."""

    def __init__(self, client: Client, shard_count: int) -> None:
        self._client: Any = client
        self._shard_count = shard_count

    async def add(
        self,
        tenant: str,
        format_: str,
        bad: Sequence[Bad],
        received_at: int,
        *,
        device_id: str | None = None,
        receiver_id: str | None = None,
    ) -> None:
        """Keep the first records of a call, and count all. Stored when this returns.

        Raises:
            RedisError: nothing is stored.
        """
        if not bad:
            return
        metrics.QUARANTINED.labels(format_).inc(len(bad))
        key = self._key(tenant)
        pipe = self._client.pipeline(transaction=True)
        for one in bad[:MOST_KEPT_PER_CALL]:
            entry = Quarantined(
                received_at,
                format_,
                one.reason,
                _shown(one.raw),
                getattr(one.raw, "device_id", None) or device_id,
                getattr(one.raw, "receiver_id", None) or receiver_id,
            )
            pipe.xadd(key, {"q": msgspec.json.encode(entry)}, maxlen=MOST_KEPT, approximate=True)
        pipe.expire(key, LIFETIME_S)
        await pipe.execute()

    async def page(
        self, tenant: str, limit: int, before: str = ""
    ) -> tuple[list[dict[str, Any]], str | None]:
        """The latest records first, and where the next page starts."""
        newest = f"({before}" if before else "+"
        rows = await self._client.xrevrange(self._key(tenant), newest, "-", count=limit)
        items = [{"id": row.decode(), **msgspec.json.decode(fields[b"q"])} for row, fields in rows]
        return items, items[-1]["id"] if len(items) == limit else None

    async def clear(self, tenant: str) -> int:
        """Forget all records of a tenant; how many there were."""
        pipe = self._client.pipeline(transaction=True)
        pipe.xlen(self._key(tenant))
        pipe.delete(self._key(tenant))
        return int((await pipe.execute())[0])

    def _key(self, tenant: str) -> str:
        return quarantine_key(tenant, self._shard_count)


def quarantine_key(tenant: str, shard_count: int) -> str:
    """Where a tenant's quarantine is."""
    return f"{shard_tag(shard_of(tenant.encode(), shard_count))}:quarantine:{tenant}"


def _shown(raw: Any) -> str:
    if isinstance(raw, bytes):
        return raw[:MAX_RAW_CHARS].decode("utf-8", "backslashreplace")
    if raw == "":
        return ""  # withheld
    return msgspec.json.encode(raw).decode()[:MAX_RAW_CHARS]
