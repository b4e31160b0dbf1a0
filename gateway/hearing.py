"""From posted sightings to evidence: who is meant, and for which beacon zones.

A phone (``device_id``) that hears a zone's beacon is itself meant. A receiver (``receiver_id``)
that hears a transmitter means the device that carries it; transmitters that no device carries are
strangers' and leave no trace.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from gateway.auth import Principal
from gateway.errors import Problem
from gateway.presence import Hearing, Presence
from gateway.tenant_view import TenantView
from gateway.wire import Refusal, Sighting, check_time, to_ms
from geo.advertisement import parse_advertisement
from geo.beacons import BeaconError, is_rssi, parse_beacon_key, trusted_power_dbm
from triggers.ids import fingerprint_of_id
from triggers.model import Heard

Carriers = Callable[[str, Sequence[str]], Awaitable[dict[str, str]]]


class Spotted(NamedTuple):
    """One sighting, read: which transmitter, when, how strong."""

    sighting: Sighting
    beacon_key: str
    seen_at: int
    measured_power_dbm: float


class Understood(NamedTuple):
    """What a call's sightings mean. ``strangers`` counts those that mean nobody here."""

    heard: list[tuple[str, Heard]]
    strangers: int


def spot(
    principal: Principal,
    sightings: Sequence[Sighting],
    indexes: Sequence[int],
    refusals: list[Refusal],
    received_at: int,
) -> list[Spotted]:
    """The sightings that can be read; the others are added to ``refusals``."""
    spotted = []
    for index, sighting in zip(indexes, sightings, strict=True):
        try:
            spotted.append(_spot(principal, sighting, received_at))
        except (BeaconError, ValueError) as error:
            refusals.append(Refusal(index, "invalid-sighting", str(error)))
        except Problem as problem:
            refusals.append(Refusal(index, problem.kind.slug, problem.detail))
    return spotted


async def understand(
    view: TenantView, spotted: Sequence[Spotted], carriers: Carriers, received_at: int
) -> Understood:
    """The evidence that these sightings are."""
    heard_by_receivers = [s for s in spotted if s.sighting.receiver_id is not None]
    keys = list(dict.fromkeys(s.beacon_key for s in heard_by_receivers))
    carrier_of = await carriers(view.tenant, keys) if keys else {}
    heard: list[tuple[str, Heard]] = []
    strangers = 0
    for one in spotted:
        device_id, places = _meant(view.presence, one, carrier_of)
        if device_id is None or not places:
            strangers += 1
            continue
        heard += [(device_id, _heard(one, place, received_at)) for place in places]
    return Understood(heard, strangers)


def _spot(principal: Principal, sighting: Sighting, received_at: int) -> Spotted:
    if (sighting.receiver_id is None) == (sighting.device_id is None):
        raise ValueError("name who heard it: either receiver_id or device_id")
    if sighting.device_id is not None:
        principal.require("ingest")
        principal.require_device(sighting.device_id)
    if sighting.receiver_id is not None:
        principal.require_receiver(sighting.receiver_id)
    if not is_rssi(sighting.rssi_dbm):
        raise ValueError(f"rssi_dbm {sighting.rssi_dbm:g} is no reading")
    seen_at = received_at if sighting.seen_at is None else to_ms(sighting.seen_at)
    why = check_time(seen_at, received_at)
    if why is not None:
        raise ValueError(why.replace("recorded_at", "seen_at"))
    key, power_dbm = _transmitter(sighting)
    if sighting.measured_power_dbm is not None:
        power_dbm = sighting.measured_power_dbm
    return Spotted(sighting, key, seen_at, trusted_power_dbm(power_dbm))


def _transmitter(sighting: Sighting) -> tuple[str, float | None]:
    """The transmitter's key, and its power at 1 m if the advertisement says so."""
    if sighting.beacon is not None:
        return _named(sighting.beacon), None
    if sighting.advertisement is not None:
        for advertised in parse_advertisement(sighting.advertisement).beacons:
            return advertised.beacon.key, advertised.power_dbm
    if sighting.address is not None:
        return parse_beacon_key(f"mac:{sighting.address}").key, None
    raise ValueError("name the transmitter: beacon, an advertisement with one, or address")


def _named(beacon: str | dict[str, str | int]) -> str:
    if isinstance(beacon, str):
        return parse_beacon_key(beacon).key
    for names in (("uuid", "major", "minor"), ("namespace", "instance"), ("mac",)):
        if set(names) == set(beacon) - {"type"}:
            kind = {"uuid": "ibeacon", "namespace": "eddystone-uid", "mac": "mac"}[names[0]]
            parts = ":".join(str(beacon[name]) for name in names)
            return parse_beacon_key(f"{kind}:{parts}").key
    raise ValueError(
        "beacon parts are {uuid, major, minor}, {namespace, instance} or {mac}; "
        f"not {{{', '.join(sorted(beacon))}}}"
    )


def _meant(
    presence: Presence, one: Spotted, carrier_of: dict[str, str]
) -> tuple[str | None, list[Hearing]]:
    """The device that is meant, and the zones it is evidence for."""
    receiver_id = one.sighting.receiver_id
    if receiver_id is None:
        zones = presence.zones_of_beacon(one.beacon_key)
        return one.sighting.device_id, [Hearing(key, 0.0) for key in zones]
    return carrier_of.get(one.beacon_key), presence.zones_of_receiver(receiver_id)


def _heard(one: Spotted, place: Hearing, received_at: int) -> Heard:
    sighting = one.sighting
    identity = sighting.sighting_id or (
        f"{sighting.receiver_id or sighting.device_id} {one.beacon_key} {one.seen_at} "
        f"{sighting.rssi_dbm:g}"
    )
    return Heard(
        at=one.seen_at,
        received_at=received_at,
        key=place.key,
        rssi_dbm=sighting.rssi_dbm + place.rssi_offset_dbm,
        measured_power_dbm=one.measured_power_dbm,
        fingerprint=fingerprint_of_id(identity),
    )
