"""Ids are functions of their input alone, and of all of it."""

import uuid

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from triggers import ids

NAMES = st.text(max_size=8)


def test_ids_never_change() -> None:
    """Stored ids stay valid for ever: these very values were handed out."""
    visit = ids.visit_id("acme", "phone-1", "geofence", "shop", 1_760_000_000_000)
    event = ids.event_id(visit, "dwell", 300)
    assert 2832815109094132791 == ids.zone_key("acme", "geofence", "shop")
    assert "3955ce3b-312d-8292-821d-984dd77a22f2" == visit
    assert "0abd67b4-5cd4-87cf-b49d-4062d7793352" == event
    assert "8cc92523-1e13-8421-8960-08325962b454" == ids.push_id("lunch", event)
    assert 3167745274 == ids.fingerprint(1_760_000_000_000, 530_000_000, -80_000_000)
    assert 3545456873 == ids.fingerprint_of_id("ping-1")


def test_ids_are_uuids() -> None:
    """APNs takes nothing but UUIDs; ours are version 8, RFC 9562 variant."""
    parsed = uuid.UUID(ids.push_id("lunch", "event"))
    assert (8, uuid.RFC_4122) == (parsed.version, parsed.variant)


@given(st.lists(NAMES, min_size=3, max_size=3), st.lists(NAMES, min_size=3, max_size=3))
def test_names_cannot_be_moved_across_fields(a: list[str], b: list[str]) -> None:
    """No choice of names makes two zones alike."""
    assert (a == b) == (ids.zone_key(*a) == ids.zone_key(*b))


@given(
    st.integers(-(2**62), 2**62),
    st.integers(-900_000_000, 900_000_000),
    st.integers(-1_800_000_000, 1_800_000_000),
)
def test_fingerprint_in_arrays(at: int, lat_e7: int, lon_e7: int) -> None:
    """Unsigned 64-bit arrays give the very same fingerprint, never 0."""
    at_u, lat_u, lon_u = np.array([at, lat_e7, lon_e7], np.int64).view(np.uint64)[:, None]
    x = at_u * np.uint64(ids.MIX_AT) ^ lat_u * np.uint64(ids.MIX_LAT)
    x ^= lon_u * np.uint64(ids.MIX_LON)
    x ^= x >> np.uint64(32)
    x *= np.uint64(ids.MIX_FINAL)
    x >>= np.uint64(32)
    expected = int(np.maximum(x, np.uint64(1))[0])
    assert expected == ids.fingerprint(at, lat_e7, lon_e7)
    assert 0 < expected < 2**32


def test_fingerprints_spread() -> None:
    """A track of 20,000 neighbouring fixes has no more collisions than chance allows."""
    made = {ids.fingerprint(1_760_000_000_000 + i * 1000, i * 9, -i * 7) for i in range(20_000)}
    assert len(made) >= 19_997
