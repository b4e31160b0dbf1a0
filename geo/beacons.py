"""Beacon identity: one canonical key per beacon, whatever way it was written.

Keys: ``ibeacon:<uuid>:<major>:<minor>``, ``eddystone-uid:<namespace>:<instance>``,
``altbeacon:<40 hex>``, ``mac:<aa:bb:cc:dd:ee:ff>``. A set of beacons is named by a prefix:
``ibeacon:<uuid>``, ``ibeacon:<uuid>:<major>``, ``eddystone-uid:<namespace>``, and
``altbeacon:<32 hex>`` or ``altbeacon:<36 hex>``. Rotating addresses identify nothing: ``mac:``
is for tags with a fixed address.
"""

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

PATH_LOSS_EXPONENT = 2.7  # indoors with people; 2.0 is free space
DEFAULT_POWER_DBM = -59.0  # at 1 m, where a beacon does not say or says nonsense
LEAST_POWER_DBM, MOST_POWER_DBM = -100.0, -20.0  # uncalibrated beacons send values outside
INVALID_RSSI_DBM = frozenset({0.0, 127.0})  # unknown, and the controller's word for "not available"

Kind = Literal["ibeacon", "eddystone-uid", "altbeacon", "mac"]
_HEX = re.compile(r"[0-9a-f]*\Z")
_EDDYSTONE = (20, 12)
_SHAPES = {
    "ibeacon": "ibeacon:<uuid>:<major>:<minor>",
    "eddystone-uid": "eddystone-uid:<20 hex namespace>:<12 hex instance>",
    "altbeacon": "altbeacon:<40 hex>",
    "mac": "mac:<12 hex>",
}


class BeaconError(ValueError):
    """A beacon key or advertisement that cannot be read, and why."""


class Beacon(NamedTuple):
    """One beacon (all parts) or a set of beacons (leading parts), in canonical spelling."""

    kind: Kind
    parts: tuple[str, ...]

    @property
    def key(self) -> str:
        """The canonical key."""
        return format_beacon_key(self)

    @property
    def is_set(self) -> bool:
        """Whether it names more than one beacon."""
        if self.kind == "altbeacon":
            return len(self.parts[0]) < 40
        return len(self.parts) < {"ibeacon": 3, "eddystone-uid": 2, "mac": 1}[self.kind]


def parse_beacon_key(text: str, *, allow_set: bool = False) -> Beacon:
    """Reads a key in any usual spelling: case, dashes, colons in hex and a ``0x`` are free.

    Args:
        text: the key.
        allow_set: accept a prefix that names a set of beacons.

    Raises:
        BeaconError: what is wrong with which part.
    """
    kind, _, rest = text.strip().partition(":")
    kind = kind.lower()
    if kind == "ibeacon":
        beacon = Beacon("ibeacon", _ibeacon(rest))
    elif kind == "eddystone-uid":
        beacon = Beacon("eddystone-uid", _eddystone(rest))
    elif kind == "altbeacon":
        beacon = Beacon("altbeacon", (_altbeacon(rest),))
    elif kind == "mac":
        mac = _hex(rest, 12, "the address")
        beacon = Beacon("mac", (":".join(mac[i : i + 2] for i in range(0, 12, 2)),))
    else:
        known = ", ".join(_SHAPES.values())
        raise BeaconError(f"{text!r} is no beacon key; use one of {known}")
    if beacon.is_set and not allow_set:
        raise BeaconError(f"{text!r} names a set of beacons; one beacon is {_SHAPES[kind]}")
    return beacon


def format_beacon_key(beacon: Beacon) -> str:
    """The canonical key of a beacon or set."""
    return ":".join((beacon.kind, *beacon.parts))


def prefixes(key: str) -> list[str]:
    """All canonical keys that name this beacon: itself, then the sets it is in, narrow to wide."""
    beacon = parse_beacon_key(key)
    if beacon.kind == "altbeacon":
        return [f"altbeacon:{beacon.parts[0][:size]}" for size in (40, 36, 32)]
    return [
        format_beacon_key(Beacon(beacon.kind, beacon.parts[:size]))
        for size in range(len(beacon.parts), 0, -1)
    ]


class BeaconMatcher:
    """Which zones a heard beacon belongs to; zones name beacons and sets of beacons."""

    def __init__(self, zones: Iterable[tuple[int, Iterable[str]]]) -> None:
        found: dict[str, set[int]] = {}
        for zone, keys in zones:
            for key in keys:
                canonical = parse_beacon_key(key, allow_set=True).key
                found.setdefault(canonical, set()).add(zone)
        self._zones = {key: tuple(sorted(members)) for key, members in found.items()}

    def find(self, key: str) -> tuple[int, ...]:
        """Zones that name the beacon or a set it is in, ascending. ``key`` is canonical."""
        found: set[int] = set()
        for name in prefixes(key):
            found.update(self._zones.get(name, ()))
        return tuple(sorted(found))


def distance_m(rssi_dbm: float, power_dbm: float = DEFAULT_POWER_DBM) -> float:
    """A rough distance from signal strength (log-distance path loss, exponent 2.7).

    Good within a factor of two at best: a hint for people, never the judge of presence.
    """
    exponent = (trusted_power_dbm(power_dbm) - rssi_dbm) / (10 * PATH_LOSS_EXPONENT)
    return float(10.0 ** min(exponent, 4.0))


def trusted_power_dbm(power_dbm: float | None) -> float:
    """Measured power at 1 m, or the default where it is missing or cannot be."""
    if power_dbm is None or not LEAST_POWER_DBM <= power_dbm <= MOST_POWER_DBM:
        return DEFAULT_POWER_DBM
    return float(power_dbm)


def is_rssi(rssi_dbm: float) -> bool:
    """Whether a signal strength is a measurement (0 and 127 mean unknown)."""
    return rssi_dbm not in INVALID_RSSI_DBM and -128.0 <= rssi_dbm <= 20.0


def ibeacon_key(uuid: str, major: int, minor: int) -> str:
    """The key of an iBeacon from its parts."""
    return parse_beacon_key(f"ibeacon:{uuid}:{major}:{minor}").key


def _ibeacon(rest: str) -> tuple[str, ...]:
    uuid, *numbers = rest.split(":")
    plain = _hex(uuid, 32, "the uuid")
    if len(numbers) > 2:
        raise BeaconError(f"too many parts; use {_SHAPES['ibeacon']}")
    dashed = "-".join((plain[:8], plain[8:12], plain[12:16], plain[16:20], plain[20:]))
    return (dashed, *map(_number, numbers, ("major", "minor")))


def _number(text: str, name: str) -> str:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise BeaconError(f"the {name} must be 0 to 65535, not {text[:20]!r}")
    return str(int(text))


def _eddystone(rest: str) -> tuple[str, ...]:
    parts = rest.split(":")
    if len(parts) > 2:
        raise BeaconError(f"too many parts; use {_SHAPES['eddystone-uid']}")
    names = ("the namespace", "the instance")
    return tuple(map(_hex, parts, _EDDYSTONE, names))


def _altbeacon(rest: str) -> str:
    plain = _plain(rest)
    if len(plain) not in {32, 36, 40} or not _HEX.match(plain):
        raise BeaconError(f"the beacon id must be 40 hex digits, not {rest[:60]!r}")
    return plain


def _hex(text: str, digits: int, name: str) -> str:
    plain = _plain(text)
    if len(plain) != digits or not _HEX.match(plain):
        raise BeaconError(f"{name} must be {digits} hex digits, not {text[:60]!r}")
    return plain


def _plain(text: str) -> str:
    return re.sub(r"[-:\s]", "", text.lower().removeprefix("0x"))
