"""The record: what is written is read, and what cannot be read is refused with a reason."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triggers.state import (
    ENTRY_SIZE,
    HEADER_FORMAT,
    HEADER_SIZE,
    NEVER,
    VERSION,
    DeviceState,
    Entry,
    RecordError,
    decode,
    encode,
    entry_keys,
    fresh,
)

U8, U32, U64 = st.integers(0, 255), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
I64 = st.integers(-(2**63), 2**63 - 1)
ENTRIES = st.builds(
    Entry,
    phase=st.integers(0, 3),
    kind=st.integers(0, 1),
    tally=U8,
    streak=U8,
    ring_m=U32,
    key=U64,
    since_at=I64,
    evidence_at=I64,
    pending_at=I64,
    dwelled_s=U32,
    lag_ms=U32,
    rssi_dbm=st.floats(allow_nan=False),
)
STATES = st.builds(
    DeviceState,
    flags=U8,
    watermark_at=I64,
    lat_e7=st.integers(-900_000_000, 900_000_000),
    lon_e7=st.integers(-1_800_000_000, 1_800_000_000),
    recent=st.tuples(*[U32] * 8),
    beacon_watermark_at=I64,
    entries=st.lists(ENTRIES, max_size=5),
)


@settings(max_examples=60)
@given(STATES)
def test_round_trip(state: DeviceState) -> None:
    """Decoding gives what was encoded, encoding gives the same bytes."""
    record = encode(state)
    assert state == decode(record)
    assert record == encode(decode(record))
    assert list(dict.fromkeys(e.key for e in state.entries)) == entry_keys(record)


def test_quiet_device_is_a_header() -> None:
    """A device in no zone takes 60 bytes, laid out as documented."""
    record = encode(fresh())
    assert HEADER_SIZE == 60 == struct.calcsize(HEADER_FORMAT) == len(record)
    expected = (VERSION, 0, 0, NEVER, 0, 0, *[0] * 8, NEVER)
    assert expected == struct.unpack(HEADER_FORMAT, record)
    assert fresh() == decode(None) == decode(record)
    assert [] == entry_keys(None) == entry_keys(record)


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        (b"", "version nothing"),
        (b"\x09" + bytes(59), "version 9; this program reads 1"),
        (b"\x01" + bytes(40), "damaged device record: 41 bytes for 0 entries"),
        (b"\x01\x00\x01\x00" + bytes(56), "60 bytes for 1 entries"),
        (b"\x01\x00\x00\x00" + bytes(56 + ENTRY_SIZE), "for 0 entries"),
    ],
)
def test_unreadable_records(record: bytes, complaint: str) -> None:
    """A record of another version or length is refused in words, never misread."""
    with pytest.raises(RecordError, match=complaint):
        decode(record)


def test_too_many_entries() -> None:
    """The entry count has 16 bits; beyond them the device is refused, not truncated."""
    state = fresh()
    state.entries = [Entry(2, 0, 0, 0, 0, 1, 0, 0)] * 65_536
    with pytest.raises(RecordError, match="65535 zones"):
        encode(state)
