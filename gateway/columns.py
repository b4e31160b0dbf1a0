"""Pings as columns: the form in which a batch goes through the engine.

A micro-batch becomes one ``PingColumns``, whatever number of requests it joins. Nothing here makes
an object per ping beyond the decoded ones.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gateway.wire import (
    EARLIEST_AT,
    GPS_ROLLOVER_MS,
    MAX_FUTURE_S,
    Ping,
    Refusal,
    bad_ids,
    check_time,
    event_time,
    to_ms,
)
from triggers.ids import MIX_AT, MIX_FINAL, MIX_LAT, MIX_LON, fingerprint_of_id

LIMIT_MS = 2**52

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]


class PingColumns(NamedTuple):
    """Pings; ``accuracy_m`` is NaN where unknown."""

    position: I64  # of each ping in the list it came from
    device_ids: list[str]
    at: I64
    lat: F64
    lon: F64
    accuracy_m: F64
    fingerprint: U32
    is_mock: NDArray[np.bool_]
    user_ids: dict[str, str]  # device -> the user its last ping named


def to_columns(pings: Sequence[Ping], received_at: I64) -> tuple[PingColumns, list[Refusal]]:
    """Columns of the pings that can be, and refusals of the others (by position).

    Args:
        pings: decoded pings.
        received_at: per ping, epoch ms.
    """
    bad = _bad_names(pings)
    at = _times(pings, received_at)
    wrong = np.flatnonzero((at > received_at + MAX_FUTURE_S * 1000) | (at < EARLIEST_AT)).tolist()
    for position in wrong:
        why = check_time(int(at[position]), int(received_at[position]))
        bad.setdefault(position, why or "")
    refusals = [Refusal(position, "invalid-ping", bad[position]) for position in sorted(bad)]
    kept = np.arange(len(pings))
    if bad:
        kept = np.setdiff1d(kept, np.array(list(bad), np.int64))
        pings, at = [pings[i] for i in kept.tolist()], at[kept]
    lat = np.array([p.lat for p in pings], np.float64)
    lon = np.array([p.lon for p in pings], np.float64)
    accuracy_m = np.array([p.accuracy_m for p in pings], np.float64)
    accuracy_m[accuracy_m == 0] = np.nan  # zero is how phones say unknown
    columns = PingColumns(
        kept,
        [p.device_id for p in pings],
        at,
        lat,
        lon,
        accuracy_m,
        _fingerprints(pings, at, lat, lon),
        np.array([p.is_mock is True for p in pings], bool),
        {p.device_id: p.user_id for p in pings if p.user_id},
    )
    return columns, refusals


def fingerprints(at: I64, lat: F64, lon: F64) -> U32:
    """The array twin of ``triggers.ids.fingerprint``."""
    words = (
        at.view(np.uint64) * np.uint64(MIX_AT)
        ^ _e7(lat) * np.uint64(MIX_LAT)
        ^ _e7(lon) * np.uint64(MIX_LON)
    )
    words ^= words >> np.uint64(32)
    upper = (words * np.uint64(MIX_FINAL)) >> np.uint64(32)
    found: U32 = np.maximum(upper, 1).astype(np.uint32)
    return found


def _e7(degrees: F64) -> NDArray[np.uint64]:
    return np.rint(degrees * 1e7).astype(np.int64).view(np.uint64)


def _fingerprints(pings: Sequence[Ping], at: I64, lat: F64, lon: F64) -> U32:
    found = fingerprints(at, lat, lon)
    ping_ids = [p.ping_id for p in pings]
    if any(ping_ids):
        for position, ping_id in enumerate(ping_ids):
            if ping_id is not None:
                found[position] = fingerprint_of_id(ping_id)
    return found


def _times(pings: Sequence[Ping], received_at: I64) -> I64:
    """Event times in ms; corrected one by one only where a clock asks for it."""
    recorded: list[Any] = [p.recorded_at for p in pings]
    if set(map(type, recorded)) - {int}:
        recorded = [to_ms(one) for one in recorded]
    try:
        at = np.array(recorded, np.int64)
    except OverflowError:
        at = np.array([_bounded(one) for one in recorded], np.int64)
    for position in _odd_clocks(pings, at, received_at):
        sent_at = pings[position].sent_at
        at[position] = event_time(
            int(at[position]),
            None if sent_at is None else _bounded(to_ms(sent_at)),
            int(received_at[position]),
        )
    return at


def _bad_names(pings: Sequence[Ping]) -> dict[int, str]:
    """The positions of pings whose device or user has an impossible id, and why."""
    bad = bad_ids([p.device_id for p in pings])
    if any(p.user_id for p in pings):
        bad += bad_ids([p.user_id for p in pings])
    why = "device_id and user_id must not begin with ~ or have control characters"
    return dict.fromkeys(bad, why)


def _odd_clocks(pings: Sequence[Ping], at: I64, received_at: I64) -> list[int]:
    long_ago = np.flatnonzero(at < received_at - GPS_ROLLOVER_MS // 2).tolist()
    return long_ago + [i for i, sent_at in enumerate([p.sent_at for p in pings]) if sent_at]


def _bounded(instant_ms: int) -> int:
    """Keeps absurd instants inside 64 bits; they are refused afterwards as impossible."""
    return instant_ms if -LIMIT_MS < instant_ms < LIMIT_MS else (LIMIT_MS if instant_ms > 0 else 0)
