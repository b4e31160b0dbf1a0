"""A micro-batch of one tenant: pings as columns, sorted by device, event time and fingerprint.

Each device of the batch has a *slot* (0..n-1); its pings are ``bounds[slot]`` to ``bounds[slot + 1]``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gateway.columns import F64, I64, U32, PingColumns, join
from gateway.sharding import shard_of, subject_field
from triggers.quiet import Pings

KNOWN_FIELDS = 200_000  # names kept in memory; forgotten all at once when there are more


class FieldNames:
    """``tenant/id`` fields and their shards, remembered for the devices that post often."""

    def __init__(self, shard_count: int) -> None:
        self._shard_count = shard_count
        self._known: dict[tuple[str, str], tuple[bytes, int]] = {}

    def of(self, tenant: str, device_ids: Sequence[str]) -> tuple[list[bytes], I64]:
        """Fields and shards of these devices."""
        known = self._known
        pairs = [known.get((tenant, d)) or self._learn(tenant, d) for d in device_ids]
        return [field for field, _ in pairs], np.array([shard for _, shard in pairs], np.int64)

    def _learn(self, tenant: str, device_id: str) -> tuple[bytes, int]:
        if len(self._known) >= KNOWN_FIELDS:
            self._known.clear()
        field = subject_field(tenant, device_id)
        pair = self._known[tenant, device_id] = (field, shard_of(field, self._shard_count))
        return pair


class Batch(NamedTuple):
    """See the module. ``post`` is the request a ping came with; ``received_at`` is per request."""

    tenant: str
    device_ids: list[str]
    fields: list[bytes]
    shards: I64
    bounds: I64
    device: I64
    at: I64
    lat: F64
    lon: F64
    accuracy_m: F64
    fingerprint: U32
    is_mock: NDArray[np.bool_]
    post: I64
    received_at: I64
    user_ids: dict[str, str]

    @classmethod
    def of(
        cls,
        tenant: str,
        parts: Sequence[PingColumns],
        received_at: Sequence[int],
        names: FieldNames,
    ) -> "Batch":
        """The batch of these requests."""
        columns = join(parts)
        slots: dict[str, int] = {}
        slot = np.array([slots.setdefault(d, len(slots)) for d in columns.device_ids], np.int64)
        post = np.repeat(np.arange(len(parts)), [len(part.device_ids) for part in parts])
        order = np.lexsort((columns.fingerprint, columns.at, slot))
        device = slot[order]
        device_ids = list(slots)
        fields, shards = names.of(tenant, device_ids)
        return cls(
            tenant,
            device_ids,
            fields,
            shards,
            np.searchsorted(device, np.arange(len(device_ids) + 1)),
            device,
            columns.at[order],
            columns.lat[order],
            columns.lon[order],
            columns.accuracy_m[order],
            columns.fingerprint[order],
            columns.is_mock[order],
            post[order],
            np.array(received_at, np.int64),
            columns.user_ids,
        )

    @property
    def pings(self) -> Pings:
        """What the vector path needs of the pings."""
        return Pings(self.device, self.at, self.lat, self.lon, self.fingerprint)

    def only(self, slots: I64) -> tuple["Batch", I64]:
        """What these devices (slots ascending) sent, and which pings of the batch that is."""
        if len(slots) == len(self.device_ids):
            return self, np.arange(len(self.device))
        renumbered = np.full(len(self.device_ids), -1)
        renumbered[slots] = np.arange(len(slots))
        device = renumbered[self.device]
        pings = np.flatnonzero(device >= 0)
        return (
            self._replace(
                device_ids=[self.device_ids[slot] for slot in slots.tolist()],
                fields=[self.fields[slot] for slot in slots.tolist()],
                shards=self.shards[slots],
                bounds=np.searchsorted(device[pings], np.arange(len(slots) + 1)),
                device=device[pings],
                at=self.at[pings],
                lat=self.lat[pings],
                lon=self.lon[pings],
                accuracy_m=self.accuracy_m[pings],
                fingerprint=self.fingerprint[pings],
                is_mock=self.is_mock[pings],
                post=self.post[pings],
            ),
            pings,
        )
