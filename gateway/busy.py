"""Which devices of a batch need the state machine, and the fixes it is given for them."""

from collections.abc import Iterator, Sequence
from math import isnan
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gateway.batch import Batch
from gateway.tenant_view import TenantView
from geo.model import Hits
from triggers.model import Fix, ZoneCrossing, ZoneFix
from triggers.quiet import HEADER, Judged
from triggers.state import HEADER_SIZE, NEVER, entry_keys

MAX_CROSS_GAP_MS = 600_000

Records = Sequence[bytes | None]


class Busy(NamedTuple):
    """Devices for the state machine (slots ascending), and the zones their paths passed through."""

    is_busy: NDArray[np.bool_]
    slots: NDArray[np.int64]
    crossings: dict[int, tuple[ZoneCrossing, ...]]  # by ping


def find_busy(view: TenantView, batch: Batch, hits: Hits, records: Records, judged: Judged) -> Busy:
    """Busy are devices with a zone in reach, an entry, a mocked or suspect fix, or a crossing."""
    if view.rules.recording:
        is_busy = np.ones(len(batch.device_ids), bool)
    else:
        is_busy = judged.suspects.copy()
        is_busy[batch.device[hits.point]] = True
        is_busy[batch.device[batch.is_mock]] = True
        if set(map(len, filter(None, records))) - {HEADER_SIZE}:
            is_busy |= np.array([r is not None and len(r) != HEADER_SIZE for r in records], bool)
    crossings = _crossings(view, batch, records) if view.detects_cross else {}
    if crossings:
        is_busy[batch.device[list(crossings)]] = True
    return Busy(is_busy, np.flatnonzero(is_busy), crossings)


def fixes_of(
    view: TenantView, batch: Batch, hits: Hits, records: Records, busy: Busy
) -> Iterator[list[Fix]]:
    """For each busy device, its fixes in order, each with the zones it must be judged against."""
    zones = _zones_by_ping(view, batch, hits, records, busy)
    received_at = batch.received_at[batch.post]
    for slot in busy.slots.tolist():
        pings = slice(int(batch.bounds[slot]), int(batch.bounds[slot + 1]))
        yield [
            Fix(
                at,
                received,
                lat,
                lon,
                None if isnan(accuracy_m) else accuracy_m,
                is_mock,
                fingerprint,
                zones.get(ping, ()),
                busy.crossings.get(ping, ()),
            )
            for ping, at, received, lat, lon, accuracy_m, is_mock, fingerprint in zip(
                range(pings.start, pings.stop),
                batch.at[pings].tolist(),
                received_at[pings].tolist(),
                batch.lat[pings].tolist(),
                batch.lon[pings].tolist(),
                batch.accuracy_m[pings].tolist(),
                batch.is_mock[pings].tolist(),
                batch.fingerprint[pings].tolist(),
                strict=True,
            )
        ]


def _zones_by_ping(
    view: TenantView, batch: Batch, hits: Hits, records: Records, busy: Busy
) -> dict[int, tuple[ZoneFix, ...]]:
    """Zones in reach of each ping, and those its device may have entries for, with distances."""
    found: dict[int, dict[int, float]] = {}
    for ping, key, distance_m in zip(
        hits.point.tolist(), hits.key.tolist(), hits.distance_m.tolist(), strict=True
    ):
        found.setdefault(ping, {})[key] = distance_m
    pings, keys = _entry_pairs(batch, records, busy, found)
    if pings:
        where = np.array(pings, np.int64)
        distances = view.index.distances(
            np.array(keys, np.uint64), batch.lat[where], batch.lon[where]
        )
        for ping, key, distance_m in zip(pings, keys, distances.tolist(), strict=True):
            if not isnan(distance_m):  # not in the index: a beacon zone, or removed
                found.setdefault(ping, {})[key] = distance_m
    return {
        ping: tuple([ZoneFix(key, zones[key]) for key in sorted(zones)])
        for ping, zones in found.items()
    }


def _entry_pairs(
    batch: Batch, records: Records, busy: Busy, found: dict[int, dict[int, float]]
) -> tuple[list[int], list[int]]:
    pings: list[int] = []
    keys: list[int] = []
    for slot in busy.slots.tolist():
        record = records[slot]
        entries = set(entry_keys(record)) if record is not None else set()
        for ping in range(int(batch.bounds[slot]), int(batch.bounds[slot + 1])):
            known = found.get(ping, {})
            missing = entries - known.keys()
            pings += [ping] * len(missing)
            keys += missing
            entries |= known.keys()  # an earlier ping of the batch may have entered them
    return pings, keys


def _crossings(
    view: TenantView, batch: Batch, records: Records
) -> dict[int, tuple[ZoneCrossing, ...]]:
    """Zones between each ping and the one before it (in the batch, else the device's last)."""
    blank = bytes(HEADER_SIZE)
    heads = np.frombuffer(b"".join([(r or blank)[:HEADER_SIZE] for r in records]), HEADER)
    watermark = np.where(heads["version"] == 0, NEVER, heads["watermark"])[batch.device]
    first = np.ones(len(batch.device), bool)
    first[1:] = batch.device[1:] != batch.device[:-1]
    before_at, lat0, lon0 = np.roll(batch.at, 1), np.roll(batch.lat, 1), np.roll(batch.lon, 1)
    stored = first | (before_at <= watermark)
    before_at = np.where(stored, watermark, before_at)
    lat0 = np.where(stored, heads["lat"][batch.device] * 1e-7, lat0)
    lon0 = np.where(stored, heads["lon"][batch.device] * 1e-7, lon0)
    gap_ms = batch.at - np.maximum(before_at, -(2**62))
    usable = np.flatnonzero((gap_ms > 0) & (gap_ms <= MAX_CROSS_GAP_MS))
    crossed = view.index.crossings(lat0[usable], lon0[usable], batch.lat[usable], batch.lon[usable])
    found: dict[int, list[ZoneCrossing]] = {}
    for segment, key, fraction in zip(
        crossed.segment.tolist(), crossed.key.tolist(), crossed.fraction.tolist(), strict=True
    ):
        found.setdefault(int(usable[segment]), []).append(ZoneCrossing(key, fraction))
    return {ping: tuple(sorted(zones)) for ping, zones in found.items()}
