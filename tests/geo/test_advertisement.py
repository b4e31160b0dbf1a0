"""Advertising data becomes beacons, telemetry and buttons; anything else is left out quietly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geo.advertisement import Advertisement, Button, parse_advertisement
from geo.beacons import BeaconError

IBEACON = "0201061AFF4C000215EB6D469624BE4663B15230D46B0E9CC9000D002AC0"
ALT_ID = "00112233445566778899aabbccddeeff00112233"
UID = "00112233445566778899" + "aabbccddeeff"


def service(uuid_le, frame):
    payload = bytes.fromhex(uuid_le + frame)
    return bytes([len(payload) + 1, 0x16]).hex() + payload.hex()


@pytest.mark.parametrize(
    ("data", "key", "power_dbm"),
    [
        (IBEACON, "ibeacon:eb6d4696-24be-4663-b152-30d46b0e9cc9:13:42", -64),
        (IBEACON[:-2] + "1e", "ibeacon:eb6d4696-24be-4663-b152-30d46b0e9cc9:13:42", -59),
        ("1bff1801beac" + ALT_ID + "c500", f"altbeacon:{ALT_ID}", -59),
        ("1bffbeacbeac" + ALT_ID + "b000", f"altbeacon:{ALT_ID}", -80),
        (
            "0303aafe" + service("aafe", "00ee" + UID + "0000"),
            "eddystone-uid:00112233445566778899:aabbccddeeff",
            -59,
        ),
        (
            service("aafe", "00f4" + UID),
            "eddystone-uid:00112233445566778899:aabbccddeeff",
            -53,
        ),
    ],
)
def test_beacons(data, key, power_dbm):
    """Identity and power at 1 m; impossible power falls back to -59 dBm."""
    (found,) = parse_advertisement(data).beacons
    assert (key, power_dbm) == (found.key, found.power_dbm)
    assert parse_advertisement(data) == parse_advertisement(bytes.fromhex(data))


def test_url_and_telemetry():
    """Eddystone URL is expanded; TLM knows what is not measured."""
    found = parse_advertisement(service("aafe", "10ee03" + "676f6f2e676c" + "07"))
    assert "https://goo.gl.com" == found.url
    found = parse_advertisement(service("aafe", "2000" + "0bb8" + "1980" + "00000010" + "00000064"))
    assert (3000, 25.5, 16, 10.0) == found.telemetry
    found = parse_advertisement(service("aafe", "2000" + "0000" + "8000" + "00000010" + "00000064"))
    assert (None, None, 16, 10.0) == found.telemetry


@pytest.mark.parametrize(
    ("frame", "button"),
    [
        ("44" + "0005" + "0164" + "3a01", Button(None, 5, ("press",), 100)),
        ("40" + "3a00" + "3a02", Button(None, None, (None, "double_press"), None)),
        (
            "46" + "ffeeddccbbaa" + "0007" + "3a04",
            Button("aa:bb:cc:dd:ee:ff", 7, ("long_press",), None),
        ),
        ("40" + "02c409" + "3a80", Button(None, None, ("hold_press",), None)),
        ("40" + "0164", None),
        ("20" + "3a01", None),
    ],
)
def test_bthome_buttons(frame, button):
    """Version 2, unencrypted; objects before the button are stepped over."""
    assert button == parse_advertisement(service("d2fc", frame)).button


def test_encrypted_frames_are_named_as_such():
    """They need the device's key."""
    assert parse_advertisement(service("d2fc", "41" + "00" * 12)).encrypted


def test_several_structures_in_one_advertisement():
    """A tag may be a beacon and a button at once."""
    found = parse_advertisement(IBEACON + service("d2fc", "403a01"))
    assert 1 == len(found.beacons)
    assert ("press",) == found.button.presses


@pytest.mark.parametrize("data", ["", "00", "ff", "02", IBEACON[:40], "1aff4c00", "03ff4c00"])
def test_cut_short_or_empty_data_holds_nothing(data):
    """As a receiver would see it."""
    assert Advertisement() == parse_advertisement(data)


@pytest.mark.parametrize("data", ["xyz", "0", b"\x00" * 1651])
def test_what_is_no_advertisement_is_refused(data):
    """Not hexadecimal, or longer than radio allows."""
    with pytest.raises(BeaconError):
        parse_advertisement(data)


@given(st.binary(max_size=80))
def test_any_bytes_are_read(data):
    """No exception, whatever a radio picks up."""
    parse_advertisement(data)
    parse_advertisement(bytes([min(len(data) + 3, 255), 0x16, 0xD2, 0xFC]) + data)
    parse_advertisement(bytes([min(len(data) + 3, 255), 0x16, 0xAA, 0xFE]) + data)
