"""The vector path: devices that are in no zone, near none, and have nothing pending.

Most pings are of this kind. Their records are 60-byte headers (``triggers.state``), so a batch
is judged as arrays, with the very rules of ``machine.step``: at or before the watermark a ping is a
duplicate (its fingerprint is among the last eight) or late; else it is accepted and moves time,
position and fingerprints. A device with anything out of the ordinary (an entry, a flag, an
implausible jump) is left to ``machine.run``; which those are is part of the answer.

The caller sorts pings by device, event time and fingerprint.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from triggers.state import HEADER_SIZE, NEVER, RECENT, VERSION

HEADER = np.dtype(
    [
        ("version", "<u1"),
        ("flags", "<u1"),
        ("entries", "<u2"),
        ("watermark", "<i8"),
        ("lat", "<i4"),
        ("lon", "<i4"),
        ("recent", "<u4", (8,)),
        ("heard", "<i8"),
    ]
)
SUSPECT_SPEED_MPS = 250.0  # below the limit of the state machine, which decides about suspects
METRES_PER_DEGREE = 111_320.0

ACCEPTED, DUPLICATE, LATE = 0, 1, 2

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
U32 = NDArray[np.uint32]


class Pings(NamedTuple):
    """Pings sorted by device, event time and fingerprint."""

    device: I64  # position of the ping's device in the list of records
    at: I64  # event time, ms
    lat: F64
    lon: F64
    fingerprint: U32

    def only(self, which: NDArray[Any]) -> "Pings":
        """Some of the pings, in order."""
        return Pings(
            self.device[which],
            self.at[which],
            self.lat[which],
            self.lon[which],
            self.fingerprint[which],
        )


class Judged(NamedTuple):
    """What became of a batch."""

    verdicts: NDArray[np.uint8]  # per ping: ACCEPTED, DUPLICATE or LATE (suspects: not decided)
    suspects: NDArray[np.bool_]  # per device: leave it to the state machine
    changed: NDArray[np.bool_]  # per device: its record moved
    records: NDArray[np.uint8]  # per device: HEADER_SIZE bytes


def judge(records: Sequence[bytes | None], pings: Pings) -> Judged:
    """Judge the pings of quiet devices.

    ``records`` are by device, None where there is none; of a longer record only the header is read.
    """
    device, at, fingerprint = pings.device, pings.at, pings.fingerprint
    heads = _heads(records)
    leads = np.ones(len(device), bool)  # the first ping of its device at its instant
    leads[1:] = (device[1:] != device[:-1]) | (at[1:] != at[:-1])
    leader = np.maximum.accumulate(np.where(leads, np.arange(len(device)), 0))
    is_over = at <= heads["watermark"][device]
    is_seen = (heads["recent"][device] == fingerprint[:, None]).any(axis=1)
    is_seen |= ~leads & ~is_over & (fingerprint == fingerprint[leader])
    is_old = is_over | ~leads
    verdicts = np.where(is_old, np.where(is_seen, DUPLICATE, LATE), ACCEPTED).astype(np.uint8)
    taken = np.flatnonzero(~is_old)
    suspects = heads["flags"] != 0
    if len(taken):
        suspects |= _jumps(heads, pings.only(taken))
        _move(heads, pings.only(taken))
    changed = np.zeros(len(heads), bool)
    changed[device[taken]] = True
    return Judged(verdicts, suspects, changed, heads.view(np.uint8).reshape(-1, HEADER_SIZE))


def _heads(records: Sequence[bytes | None]) -> NDArray[np.void]:
    fresh = np.zeros(1, HEADER)
    fresh["version"] = VERSION
    fresh["watermark"] = NEVER
    fresh["heard"] = NEVER
    blank = fresh.tobytes()
    joined = b"".join([r or blank for r in records])
    if len(joined) != len(records) * HEADER_SIZE:
        joined = b"".join([(r or blank)[:HEADER_SIZE] for r in records])
    return np.frombuffer(joined, HEADER).copy()


def _jumps(heads: NDArray[np.void], pings: Pings) -> NDArray[np.bool_]:
    """Per device: whether some ping implies a speed that the state machine should look at."""
    device, at, lat, lon, _ = pings
    first = np.ones(len(device), bool)
    first[1:] = device[1:] != device[:-1]
    before_at, before_lat, before_lon = np.roll(at, 1), np.roll(lat, 1), np.roll(lon, 1)
    before_at[first] = heads["watermark"][device[first]]
    before_lat[first] = heads["lat"][device[first]] * 1e-7
    before_lon[first] = heads["lon"][device[first]] * 1e-7
    seconds = (at - np.maximum(before_at, -(2**62))) / 1000.0
    east = np.abs(lon - before_lon)
    east = np.minimum(east, 360.0 - east) * np.cos(np.radians(lat))
    metres = np.hypot(lat - before_lat, east) * METRES_PER_DEGREE
    is_known = before_at != NEVER
    suspects = np.zeros(len(heads), bool)
    suspects[device[is_known & (metres > SUSPECT_SPEED_MPS * seconds)]] = True
    return suspects


def _move(heads: NDArray[np.void], pings: Pings) -> None:
    """Move each device to its last ping, and remember the fingerprints of its last eight."""
    device, at, lat, lon, fingerprint = pings
    last = np.ones(len(device), bool)
    last[:-1] = device[1:] != device[:-1]
    ends = np.flatnonzero(last)
    who = device[ends]
    starts = np.r_[0, ends[:-1] + 1]
    count = ends - starts + 1
    heads["watermark"][who] = at[ends]
    heads["lat"][who] = np.rint(lat[ends] * 1e7)
    heads["lon"][who] = np.rint(lon[ends] * 1e7)
    slot = np.arange(RECENT)
    fresh = fingerprint[np.maximum(ends[:, None] - slot, starts[:, None])]
    older = np.take_along_axis(heads["recent"][who], np.maximum(slot - count[:, None], 0), axis=1)
    heads["recent"][who] = np.where(slot < count[:, None], fresh, older)
