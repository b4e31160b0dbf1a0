"""One key per beacon, however it is written; sets by prefix; distance as a hint."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo.beacons import (
    BeaconError,
    BeaconMatcher,
    distance_m,
    ibeacon_key,
    is_rssi,
    parse_beacon_key,
    prefixes,
    trusted_power_dbm,
)

UUID = "eb6d4696-24be-4663-b152-30d46b0e9cc9"
ALT = "00112233445566778899aabbccddeeff00112233"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (f"ibeacon:{UUID}:13:42", f"ibeacon:{UUID}:13:42"),
        (f"iBeacon:{UUID.upper().replace('-', '')}:0013:042", f"ibeacon:{UUID}:13:42"),
        (f" ibeacon:{UUID}:0:65535 ", f"ibeacon:{UUID}:0:65535"),
        (
            "eddystone-uid:0x00112233445566778899:AABBCCDDEEFF",
            "eddystone-uid:00112233445566778899:aabbccddeeff",
        ),
        (f"altbeacon:{ALT.upper()}", f"altbeacon:{ALT}"),
        (f"altbeacon:{ALT[:32]}-{ALT[32:36]}-{ALT[36:]}", f"altbeacon:{ALT}"),
        ("MAC:AABBCCDDEEFF", "mac:aa:bb:cc:dd:ee:ff"),
        ("mac:aa-bb-cc-dd-ee-ff", "mac:aa:bb:cc:dd:ee:ff"),
    ],
)
def test_spellings_lead_to_one_key(text, key):
    """Case, dashes and leading zeros do not matter; the canonical key is its own spelling."""
    assert key == parse_beacon_key(text).key
    assert key == parse_beacon_key(key).key


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no beacon key"),
        ("wifi:1", "no beacon key"),
        ("ibeacon:123:1:2", "uuid"),
        (f"ibeacon:{UUID}:70000:1", "major"),
        (f"ibeacon:{UUID}:1:-1", "minor"),
        (f"ibeacon:{UUID}:1:2:3", "too many"),
        (f"ibeacon:{UUID}:1", "set of beacons"),
        ("eddystone-uid:0011:22", "namespace"),
        ("altbeacon:0011", "40 hex"),
        ("mac:aa:bb", "12 hex"),
        ("mac:gg:bb:cc:dd:ee:ff", "12 hex"),
    ],
)
def test_bad_keys_say_what_is_wrong(text, words):
    """Which part, and what it should be."""
    with pytest.raises(BeaconError, match=words):
        parse_beacon_key(text)


def test_sets_match_the_beacons_in_them():
    """Zones may name single beacons, prefixes, or both; each zone answers once."""
    matcher = BeaconMatcher(
        [
            (1, [f"ibeacon:{UUID}"]),
            (2, [f"ibeacon:{UUID}:13", f"ibeacon:{UUID}:13:42"]),
            (3, [f"ibeacon:{UUID.upper()}:13:43"]),
            (4, ["eddystone-uid:00112233445566778899", "mac:AA:BB:CC:DD:EE:FF"]),
            (5, [f"altbeacon:{ALT[:32]}"]),
        ]
    )
    assert (1, 2) == matcher.find(ibeacon_key(UUID, 13, 42))
    assert (1, 2, 3) == matcher.find(ibeacon_key(UUID, 13, 43))
    assert (1,) == matcher.find(ibeacon_key(UUID, 14, 1))
    assert (4,) == matcher.find("eddystone-uid:00112233445566778899:aabbccddeeff")
    assert (4,) == matcher.find("mac:aa:bb:cc:dd:ee:ff")
    assert (5,) == matcher.find(f"altbeacon:{ALT}")
    assert () == matcher.find("mac:aa:bb:cc:dd:ee:00")
    assert [f"altbeacon:{ALT}", f"altbeacon:{ALT[:36]}", f"altbeacon:{ALT[:32]}"] == prefixes(
        f"altbeacon:{ALT}"
    )


@given(st.text(max_size=60))
def test_any_text_is_a_key_or_a_beacon_error(text):
    """No other exception."""
    with contextlib.suppress(BeaconError):
        assert parse_beacon_key(text, allow_set=True).parts


def test_distance_is_one_metre_at_the_measured_power():
    """Farther when weaker; nonsense power falls back to -59 dBm."""
    assert 1.0 == distance_m(-64, -64)
    assert distance_m(-80, -64) > distance_m(-70, -64) > 1.0 > distance_m(-50, -64)
    assert distance_m(-70, -59) == distance_m(-70, 30) == distance_m(-70)
    assert 10.0 == pytest.approx(distance_m(-59 - 27))
    assert distance_m(-1e9) < 1e5
    assert [-59.0, -59.0, -59.0, -64.0] == list(map(trusted_power_dbm, (None, 30, -101, -64)))
    assert [False, False, True, False] == list(map(is_rssi, (0, 127, -70, -200)))
