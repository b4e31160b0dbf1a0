"""Bluetooth LE advertisements to beacons: iBeacon, AltBeacon, Eddystone, BTHome v2 buttons.

Input is the whole advertising data: a row of (length, type, payload) structures. Frames that
cannot be understood are left out; structures cut short end the reading, as receivers do.
Sources: Bluetooth Core Specification Vol 3 Part C 11 (structures), AltBeacon specification,
the Eddystone protocol specification, the BTHome v2 format.
"""

from collections.abc import Iterator
from typing import NamedTuple

from geo.beacons import Beacon, BeaconError, format_beacon_key, trusted_power_dbm

_MANUFACTURER, _SERVICE_DATA = 0xFF, 0x16
_EDDYSTONE, _BTHOME = 0xFEAA, 0xFCD2
_ZERO_TO_ONE_METRE_DB = 41  # Eddystone states the power at 0 m
_SCHEMES = ("http://www.", "https://www.", "http://", "https://")
_DOMAINS = (".com", ".org", ".edu", ".net", ".info", ".biz", ".gov")
_BUTTONS = {
    0x01: "press",
    0x02: "double_press",
    0x03: "triple_press",
    0x04: "long_press",
    0x05: "long_double_press",
    0x06: "long_triple_press",
    0x80: "hold_press",
}
# Sizes of BTHome objects; one that is not here ends the reading, as its length is unknown.
_BTHOME_SIZES = {
    **dict.fromkeys((0x00, 0x01, 0x09, 0x2E, 0x2F, 0x3A, 0x46, 0x57, 0x58, 0x59, 0x60), 1),
    **dict.fromkeys(range(0x0F, 0x12), 1),
    **dict.fromkeys(range(0x15, 0x2E), 1),
    **dict.fromkeys((0x02, 0x03, 0x06, 0x07, 0x08, 0x0C, 0x0D, 0x0E, 0x12, 0x13, 0x14), 2),
    **dict.fromkeys((0x3C, 0x3D, 0x3F, 0x40, 0x41, 0x43, 0x44, 0x45, 0x47, 0x48, 0x49, 0x4A), 2),
    **dict.fromkeys((0x51, 0x52, 0x56, 0x5A, 0x5D, 0x5E, 0x5F, 0x61, 0xF0), 2),
    **dict.fromkeys((0x04, 0x05, 0x0A, 0x0B, 0x42, 0x4B, 0xF2), 3),
    **dict.fromkeys((0x3E, 0x4C, 0x4D, 0x4E, 0x4F, 0x50, 0x55, 0x5B, 0x5C, 0xF1), 4),
}


class Advertised(NamedTuple):
    """A beacon in an advertisement, and its power at 1 m."""

    beacon: Beacon
    power_dbm: float

    @property
    def key(self) -> str:
        """The beacon's canonical key."""
        return format_beacon_key(self.beacon)


class Telemetry(NamedTuple):
    """Eddystone TLM: health of the beacon whose other frames come from the same address."""

    battery_mv: int | None
    temperature_c: float | None
    advertisements: int
    uptime_s: float


class Button(NamedTuple):
    """A BTHome v2 button event; drop repeats by ``packet_id`` (newer modulo 256)."""

    mac: str | None  # only where the device puts it into the advertisement
    packet_id: int | None
    presses: tuple[str | None, ...]  # one per button; None: not pressed
    battery_percent: int | None


class Advertisement(NamedTuple):
    """All that was understood."""

    beacons: tuple[Advertised, ...] = ()
    url: str | None = None  # Eddystone URL
    telemetry: Telemetry | None = None
    button: Button | None = None
    encrypted: bool = False  # a BTHome frame that needs its bind key


def parse_advertisement(data: bytes | str) -> Advertisement:
    """Reads advertising data, as bytes or hexadecimal.

    Raises:
        BeaconError: text that is not hexadecimal, or data longer than extended advertising allows.
    """
    if isinstance(data, str):
        try:
            data = bytes.fromhex(data.strip().removeprefix("0x"))
        except ValueError as e:
            raise BeaconError("the advertisement must be hexadecimal") from e
    if len(data) > 1650:
        raise BeaconError(f"an advertisement has at most 1,650 bytes, not {len(data):,}")
    out = Advertisement()
    for kind, payload in _structures(data):
        if kind == _MANUFACTURER:
            found = _ibeacon(payload) or _altbeacon(payload)
            if found:
                out = out._replace(beacons=(*out.beacons, found))
        elif kind == _SERVICE_DATA and len(payload) > 2:
            out = _service(out, int.from_bytes(payload[:2], "little"), payload[2:])
    return out


def _structures(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 1 < len(data):
        length = data[at]
        if length == 0 or at + 1 + length > len(data):
            return  # padding, or cut short
        yield data[at + 1], data[at + 2 : at + 1 + length]
        at += 1 + length


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def _ibeacon(payload: bytes) -> Advertised | None:
    if len(payload) < 25 or payload[:4] != b"\x4c\x00\x02\x15":
        return None
    raw = payload[4:20].hex()
    uuid = "-".join((raw[:8], raw[8:12], raw[12:16], raw[16:20], raw[20:]))
    major, minor = (int.from_bytes(payload[at : at + 2], "big") for at in (20, 22))
    beacon = Beacon("ibeacon", (uuid, str(major), str(minor)))
    return Advertised(beacon, trusted_power_dbm(_signed(payload[24])))


def _altbeacon(payload: bytes) -> Advertised | None:
    """Any company id counts; the code BE AC follows it."""
    if len(payload) < 26 or payload[2:4] != b"\xbe\xac":
        return None
    beacon = Beacon("altbeacon", (payload[4:24].hex(),))
    return Advertised(beacon, trusted_power_dbm(_signed(payload[24])))


def _service(out: Advertisement, uuid: int, frame: bytes) -> Advertisement:
    if uuid == _BTHOME:
        return _bthome(out, frame)
    if uuid != _EDDYSTONE:
        return out
    if frame[0] == 0x00 and len(frame) >= 18:  # the two reserved bytes at the end may be absent
        beacon = Beacon("eddystone-uid", (frame[2:12].hex(), frame[12:18].hex()))
        power = trusted_power_dbm(_signed(frame[1]) - _ZERO_TO_ONE_METRE_DB)
        return out._replace(beacons=(*out.beacons, Advertised(beacon, power)))
    if frame[0] == 0x10 and len(frame) >= 4 and frame[2] < len(_SCHEMES):
        return out._replace(url=_url(frame))
    if frame[0] == 0x20 and len(frame) >= 14 and frame[1] == 0x00:
        return out._replace(telemetry=_telemetry(frame))
    return out


def _url(frame: bytes) -> str:
    text = _SCHEMES[frame[2]]
    for byte in frame[3:]:
        if byte < 7:
            text += _DOMAINS[byte] + "/"
        elif byte < 14:
            text += _DOMAINS[byte - 7]
        elif 0x20 < byte < 0x7F:
            text += chr(byte)
    return text


def _telemetry(frame: bytes) -> Telemetry:
    millivolts = int.from_bytes(frame[2:4], "big")
    warmth = int.from_bytes(frame[4:6], "big", signed=True)
    return Telemetry(
        millivolts or None,
        None if warmth == -0x8000 else warmth / 256,
        int.from_bytes(frame[6:10], "big"),
        int.from_bytes(frame[10:14], "big") / 10,
    )


def _bthome(out: Advertisement, frame: bytes) -> Advertisement:
    info = frame[0]
    if info >> 5 != 2:
        return out
    if info & 1:
        return out._replace(encrypted=True)
    mac, at = None, 1
    if info & 2:
        mac, at = frame[6:0:-1].hex(":"), 7
    packet_id = battery = None
    presses: list[str | None] = []
    for kind, value in _objects(frame[at:]):
        if kind == 0x00:
            packet_id = value[0]
        elif kind == 0x01:
            battery = value[0]
        elif kind == 0x3A:
            presses.append(_BUTTONS.get(value[0]))
    if not presses:
        return out
    return out._replace(button=Button(mac, packet_id, tuple(presses), battery))


def _objects(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        kind = data[at]
        size = _BTHOME_SIZES.get(kind)
        if kind in {0x53, 0x54} and at + 1 < len(data):  # text and raw carry their length
            at, size = at + 1, data[at + 1]
        if size is None or at + 1 + size > len(data):
            return
        yield kind, data[at + 1 : at + 1 + size]
        at += 1 + size
