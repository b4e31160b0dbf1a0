"""The binary record of a device: what the state machine remembers between two inputs.

Little endian. A header (``HEADER_FORMAT``): version u8, flags u8 (0), entry count u16, watermark
i64, latitude and longitude i32 of the last accepted ping, eight u32 fingerprints of the latest
pings (newest first, 0 is empty), beacon watermark i64. Then the entries, one per open visit,
pending transition, approach ring, or beacon visit lately ended. A device that is nowhere is its
header alone.

The watermark is the event time of the last ping that moved the state; the beacon watermark is the
latest end of a beacon visit whose entry is no longer kept. ``NEVER`` stands for neither yet.
"""

from enum import IntEnum
from struct import Struct

import msgspec

from triggers.model import TriggerError

VERSION = 1
HEADER_FORMAT = "<BBHqii8Iq"
ENTRY_FORMAT = "<BBBBIQqqqIId"
_HEADER = Struct(HEADER_FORMAT)
_ENTRY = Struct(ENTRY_FORMAT)
HEADER_SIZE = _HEADER.size
ENTRY_SIZE = _ENTRY.size
_KEY = Struct(f"<8xQ{ENTRY_SIZE - 16}x")
RECENT = 8
NEVER = -(2**63)
MAX_ENTRIES = 0xFFFF


class RecordError(TriggerError):
    """A stored record that this version cannot read; nothing was changed."""


class Phase(IntEnum):
    """Where a device stands with a zone."""

    OUTSIDE = 0
    ENTERING = 1  # evidence of being inside, not yet enough
    INSIDE = 2
    EXITING = 3  # still inside, with evidence of being outside that is not yet enough


class Kind(IntEnum):
    """What an entry is about."""

    GEOFENCE = 0
    BEACON = 1


class Entry(msgspec.Struct, gc=False):
    """What is remembered of one device and one zone (or one approach ring of a zone).

    ``OUTSIDE`` entries exist for beacons alone: they remember how far the evidence was judged, so
    that sightings sent again do not open a visit that has ended.
    """

    phase: int
    kind: int
    tally: int  # confirming fixes in the present confirmation window
    streak: int  # confirming fixes in a row, whatever time lies between
    ring_m: int  # 0: the zone itself; else the approach ring of this width
    key: int
    since_at: int  # entered, or (ENTERING) first fix of the confirming run
    evidence_at: int  # latest evidence of being inside
    # EXITING: first fix of the run outside. ENTERING: not 0 if the device was there when first
    # seen. Beacons: latest sighting, strong enough to count or not.
    pending_at: int = 0
    dwelled_s: int = 0  # longest dwell threshold reported
    lag_ms: int = 0  # how far behind the clock the latest evidence was when it came
    rssi_dbm: float = 0.0  # filtered, beacons only


class DeviceState(msgspec.Struct):
    """A decoded record."""

    flags: int
    watermark_at: int
    lat_e7: int
    lon_e7: int
    recent: tuple[int, ...]
    beacon_watermark_at: int
    entries: list[Entry]


def fresh() -> DeviceState:
    """The state of a device never heard of."""
    return DeviceState(0, NEVER, 0, 0, (0,) * RECENT, NEVER, [])


def decode(record: bytes | None) -> DeviceState:
    """The state in a record; a fresh one for None.

    Raises:
        RecordError: another version wrote it, or it is damaged.
    """
    if record is None:
        return fresh()
    count = _check(record)
    _, flags, _, watermark, lat, lon, *recent, heard = _HEADER.unpack_from(record)
    entries = (
        [Entry(*e) for e in _ENTRY.iter_unpack(memoryview(record)[HEADER_SIZE:])] if count else []
    )
    return DeviceState(flags, watermark, lat, lon, tuple(recent), heard, entries)


def encode(state: DeviceState) -> bytes:
    """The record of a state; ``encode(decode(record)) == record``.

    Raises:
        RecordError: the device has more than 65,535 entries.
    """
    entries = state.entries
    if len(entries) > MAX_ENTRIES:
        raise RecordError(f"a device cannot be in more than {MAX_ENTRIES} zones and rings at once")
    head = _HEADER.pack(
        VERSION,
        state.flags,
        len(entries),
        state.watermark_at,
        state.lat_e7,
        state.lon_e7,
        *state.recent,
        state.beacon_watermark_at,
    )
    if not entries:
        return head
    return head + b"".join([_ENTRY.pack(*msgspec.structs.astuple(e)) for e in entries])


def entry_keys(record: bytes | None) -> list[int]:
    """The distinct keys of all zones that the record has entries for, without decoding it."""
    if record is None or len(record) == HEADER_SIZE:
        return []
    _check(record)
    keys = [key for (key,) in _KEY.iter_unpack(memoryview(record)[HEADER_SIZE:])]
    return list(dict.fromkeys(keys))


def seen_at(record: bytes) -> int:
    """The latest event time in the record, epoch ms, without decoding it; ``NEVER`` if none."""
    _check(record)
    _, _, _, watermark, *_, heard = _HEADER.unpack_from(record)
    entries = _ENTRY.iter_unpack(memoryview(record)[HEADER_SIZE:])
    return int(max([watermark, heard, *(entry[7] for entry in entries)]))


def _check(record: bytes) -> int:
    if not record or record[0] != VERSION:
        found = record[0] if record else "nothing"
        raise RecordError(f"device record of version {found}; this program reads {VERSION}")
    count = int.from_bytes(record[2:4], "little")
    if len(record) != HEADER_SIZE + count * ENTRY_SIZE:
        raise RecordError(f"damaged device record: {len(record)} bytes for {count} entries")
    return count
