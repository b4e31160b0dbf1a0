"""A micro-batch of one tenant: pings as columns, sorted by device, event time and fingerprint.

Each device of the batch has a *slot* (0..n-1); its pings begin at ``bounds[slot]`` and end before
``bounds[slot + 1]``.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gateway.columns import F64, I64, U32, PingColumns
from gateway.sharding import shard_of, subject_field
from triggers.quiet import Pings

KNOWN_FIELDS = 200_000  # names kept in memory; forgotten all at once when there are more


class FieldNames:
    """``tenant/id`` fields and their shards, remembered for the devices that post often."""

    def __init__(self, shard_count: int) -> None:
        self._shard_count = shard_count
        self._known: dict[str, dict[str, tuple[bytes, int]]] = {}

    def of(self, tenant: str, device_ids: Sequence[str]) -> tuple[list[bytes], I64]:
        """Fields and shards of these devices."""
        known = self._known.setdefault(tenant, {})
        try:
            pairs = list(map(known.__getitem__, device_ids))
        except KeyError:
            self._learn(tenant, known, device_ids)
            pairs = list(map(known.__getitem__, device_ids))
        fields, shards = zip(*pairs, strict=True)
        return list(fields), np.array(shards, np.int64)

    def _learn(
        self, tenant: str, known: dict[str, tuple[bytes, int]], device_ids: Sequence[str]
    ) -> None:
        if len(known) >= KNOWN_FIELDS:
            known.clear()
        for device_id in device_ids:
            field = subject_field(tenant, device_id)
            known[device_id] = (field, shard_of(field, self._shard_count))


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
        cls, tenant: str, columns: PingColumns, post: I64, received_at: I64, names: FieldNames
    ) -> "Batch":
        """The batch of these pings; ``post`` is per ping, ``received_at`` per post."""
        device_ids = list(dict.fromkeys(columns.device_ids))
        slots = dict(zip(device_ids, range(len(device_ids)), strict=True))
        slot = np.array(list(map(slots.__getitem__, columns.device_ids)), np.int64)
        order = np.lexsort((columns.fingerprint, columns.at, slot))
        device = slot[order]
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
            received_at,
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
