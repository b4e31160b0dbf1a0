"""Beacon zones: sets of beacons, or of receivers, that one can be in.

A beacon zone is a set of beacons: a device is in it while it hears one of them. The other direction
has the same shape: a zone may name receivers, and a device is in it while one of them hears a
transmitter that the device carries. ``receiver.zone`` says the same from the receiver's side.
"""

from typing import Any

import msgspec

from gateway.kinds.fields import (
    InvalidDocument,
    Latitude,
    Longitude,
    check_id,
    check_metadata,
    check_place,
    check_policy,
    check_same_id,
    check_tags,
    check_timezone,
    convert,
    without_read_only,
)
from geo.beacons import BeaconError, parse_beacon_key
from triggers.model import Policy

MAX_BEACONS = 1000


class BeaconZone(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A zone made of beacons, receivers, or both."""

    id: str
    name: str | None = None
    beacons: list[str] = []  # keys, or prefixes such as ibeacon:<uuid>
    receivers: list[str] = []  # receiver ids
    tags: list[str] = []
    policy: Policy | None = None
    timezone: str | None = None
    lat: Latitude | None = None
    lon: Longitude | None = None
    metadata: dict[str, Any] = {}


def parse(zone_id: str, document: dict[str, Any]) -> dict[str, Any]:
    """The stored form of a posted beacon zone; beacon keys are normalised.

    Raises:
        InvalidDocument: the field that is wrong, and what to do.
    """
    check_same_id(document, zone_id)
    zone = convert({**without_read_only(document), "id": zone_id}, BeaconZone)
    if not zone.beacons and not zone.receivers:
        raise InvalidDocument("/beacons", "name at least one beacon, or one of receivers")
    for field in ("beacons", "receivers"):
        if len(getattr(zone, field)) > MAX_BEACONS:
            raise InvalidDocument(f"/{field}", f"has more than {MAX_BEACONS} entries")
    for index, receiver in enumerate(zone.receivers):
        check_id(receiver, f"/receivers/{index}")
    check_timezone(zone.timezone)
    check_policy(zone.policy)
    check_place(zone.lat, zone.lon)
    check_metadata(zone.metadata)
    checked = msgspec.structs.replace(
        zone,
        beacons=beacon_keys(zone.beacons, "/beacons", allow_set=True),
        receivers=list(dict.fromkeys(zone.receivers)),
        tags=check_tags(zone.tags),
    )
    stored: dict[str, Any] = msgspec.to_builtins(checked)
    return stored


def beacon_keys(keys: list[str], pointer: str, *, allow_set: bool) -> list[str]:
    """Beacon keys (or prefixes, which name sets) in their canonical form, without repetition.

    Raises:
        InvalidDocument: which key, and why.
    """
    normal = []
    for index, key in enumerate(keys):
        try:
            normal.append(parse_beacon_key(key, allow_set=allow_set).key)
        except BeaconError as error:
            raise InvalidDocument(f"{pointer}/{index}", str(error)) from None
    return list(dict.fromkeys(normal))


def read(stored: bytes) -> BeaconZone:
    """A stored beacon zone."""
    return _ZONES.decode(stored)


_ZONES = msgspec.json.Decoder(BeaconZone)
