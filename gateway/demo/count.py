"""The independent slow count: which events and pushes a town's traffic must give.

Brute force on purpose, and nothing of the gateway is used: every position against every zone, plain
haversine and shapely in a local plane, and the published rules of zones and triggers written down
once more as loops. Where the truth depends on how fast the machine was (a dwell timer against a
position that was already on its way), the count knows when each answer came and says *possible*
instead of *due*.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from gateway.demo.plane import Zone
from gateway.demo.world import Person, Town

MAX_ACCURACY_M = 100.0
EXIT_BUFFER_M = 20.0
EXIT_ACCURACY_M = 50.0


class Fix(NamedTuple):
    """A position that was posted; ``known_at`` is when its answer came (both epoch ms)."""

    at: int
    known_at: int
    accuracy_m: float
    distances_m: Sequence[float]  # to each zone's edge, negative inside
    lag_ms: int


class Sighting(NamedTuple):
    """A sighting that was posted, resolved: whose, and in which beacon zone."""

    at: int
    known_at: int
    lag_ms: int


class Happening(NamedTuple):
    """An event as both sides name it. ``detail``: seconds of a dwell, metres of an approach."""

    device_id: str
    kind: str
    zone_id: str
    at: int
    detail: int = 0

    def __str__(self) -> str:
        time = datetime.fromtimestamp(self.at / 1000, UTC).isoformat(timespec="milliseconds")[11:23]
        detail = f" {self.detail}" if self.detail else ""
        return f"{self.device_id} {self.kind}{detail} {self.zone_id} at {time}"


class Counted(NamedTuple):
    """What must be there, what may be, and (device, zone) pairs that cannot be judged."""

    due: set[Happening]
    possible: set[Happening]
    unsure: set[tuple[str, str]]


class PushKey(NamedTuple):
    """A push as both sides name it; ``zone_id`` only where the cooldown is per zone."""

    trigger_id: str
    user_id: str
    zone_id: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in self if part)


def count_events(
    town: Town,
    zones: Sequence[Zone],
    fixes: dict[str, list[Fix]],
    sightings: dict[tuple[str, str], list[Sighting]],
) -> Counted:
    """Every event of geofences and beacon zones.

    Args:
        town: hastened, as it was installed.
        zones: its geofences, in the order of each fix's distances.
        fixes: of each device, in the order of time.
        sightings: of each device and beacon zone, in the order of time.
    """
    counted = Counted(set(), set(), set())
    for device_id, track in fixes.items():
        for position, zone in enumerate(zones):
            stays = _dwell_seconds(town, zone.tags)
            _count_zone(counted, device_id, track, position, zone.id, stays)
            for ring_m in _ring_metres(town, zone.tags):
                entered = _visits(track, position, ring_m)
                counted.due.update(
                    Happening(device_id, "approach", zone.id, visit.since, ring_m)
                    for visit in entered
                )
    silence_ms = {zone["id"]: zone["policy"]["silence_exit_s"] * 1000 for zone in town.beacons}
    for (device_id, zone_id), heard in sightings.items():
        _count_beacon(counted, device_id, zone_id, heard, silence_ms[zone_id])
    return counted


def count_pushes(
    town: Town, people: Sequence[Person], counted: Counted
) -> tuple[set[PushKey], set[PushKey]]:
    """The pushes that must have arrived, and those that may have.

    Every cooldown of the town outlasts the check, so that there is one push a key at most.
    """
    happened = sorted(counted.due | counted.possible, key=lambda one: one.at)
    due: set[PushKey] = set()
    possible: set[PushKey] = set()
    for trigger in town.triggers:
        if trigger["on"]["event"] == "custom":
            ordered = [one for one in people if one.order is not None]
            due |= {
                PushKey(trigger["id"], one.user_id) for one in ordered if _reachable(trigger, one)
            }
            continue
        for one, key in _asked(town, people, trigger, happened):
            is_sure = one in counted.due and (one.device_id, one.zone_id) not in counted.unsure
            is_sure = is_sure and not _comes_back(trigger, one, happened)
            (due if is_sure else possible).add(key)
    # Which exit spent the cooldown, and whether its push was taken back, is a matter of order.
    cancelable = {one["id"] for one in town.triggers if "cancel_on" in one}
    doubtful = {key for key in due & possible if key.trigger_id in cancelable}
    return due - doubtful, possible - (due - doubtful)


def _asked(
    town: Town, people: Sequence[Person], trigger: dict[str, Any], happened: Sequence[Happening]
) -> Iterator[tuple[Happening, PushKey]]:
    """The events that ask for a push of this trigger, with the push's name."""
    tags = {zone["id"]: set(zone["properties"]["tags"]) for zone in town.geofences}
    tags |= {zone["id"]: set(zone["tags"]) for zone in town.beacons}
    counters = {zone["id"] for zone in town.beacons if zone.get("receivers")}
    person_of = {person.device_id: person for person in people}
    is_per_zone = trigger["cooldown"]["per"] == "zone"
    for one in happened:
        person = person_of[one.device_id]
        is_fresh = not person.lag_s or one.zone_id in counters
        if not (is_fresh and _listens(trigger["on"], one, tags[one.zone_id])):
            continue
        if _fits(trigger.get("audience"), person) and _reachable(trigger, person):
            zone_id = one.zone_id if is_per_zone else ""
            yield one, PushKey(trigger["id"], person.user_id, zone_id)


class _Step(NamedTuple):
    """A fix during a stay; ``doubted_by`` is the fix outside that was the latest word before it."""

    fix: Fix
    is_inside: bool
    doubted_by: Fix | None


class _Visit:
    """One stay, while it is being counted."""

    def __init__(self, since: int) -> None:
        self.since = since
        self.doubted_by: Fix | None = None
        self.ended_at: int | None = None
        self.steps: list[_Step] = []


def _visits(track: Sequence[Fix], position: int, ring_m: int = 0) -> list[_Visit]:
    """All stays within ``ring_m`` of a zone: in by one clear or two fixes, out by two."""
    visits: list[_Visit] = []
    visit: _Visit | None = None
    leaning_since: int | None = None
    for fix in track:
        distance_m = fix.distances_m[position] - ring_m
        is_inside = distance_m <= 0 and fix.accuracy_m <= MAX_ACCURACY_M
        is_outside = distance_m - min(fix.accuracy_m, EXIT_ACCURACY_M) > EXIT_BUFFER_M
        if visit is None:
            if is_inside and (leaning_since is not None or -distance_m >= fix.accuracy_m):
                visit = _Visit(fix.at if leaning_since is None else leaning_since)
                visit.steps.append(_Step(fix, True, None))
                visits.append(visit)
                leaning_since = None
            elif is_inside:
                leaning_since = fix.at
            elif is_outside:
                leaning_since = None
            continue
        visit.steps.append(_Step(fix, is_inside, visit.doubted_by))
        if is_inside:
            visit.doubted_by = None
        elif is_outside and visit.doubted_by is None:
            visit.doubted_by = fix
        elif is_outside and visit.doubted_by is not None:
            visit.ended_at = visit.doubted_by.at
            visit = None
    return visits


def _count_zone(
    counted: Counted,
    device_id: str,
    track: Sequence[Fix],
    position: int,
    zone_id: str,
    stays: Iterable[int],
) -> None:
    for visit in _visits(track, position):
        counted.due.add(Happening(device_id, "enter", zone_id, visit.since))
        if visit.ended_at is not None:
            counted.due.add(Happening(device_id, "exit", zone_id, visit.ended_at))
        for dwell_s in stays:
            due_at = visit.since + dwell_s * 1000
            verdict = _dwells(visit, due_at)
            if verdict is not None:
                found = Happening(device_id, "dwell", zone_id, due_at, dwell_s)
                (counted.due if verdict else counted.possible).add(found)


def _dwells(visit: _Visit, due_at: int) -> bool | None:
    """Whether a stay lasts until ``due_at``: True surely, False possibly, None not at all.

    A doubted stay dwells only when the doubt is dispelled; but a timer that went off before the
    doubting fix was known did not know better.
    """
    for step in visit.steps:
        if step.fix.at >= due_at and (step.doubted_by is None or step.is_inside):
            return True
    if visit.ended_at is None and visit.doubted_by is None:
        return True
    doubts = [step.doubted_by for step in visit.steps] + [visit.doubted_by]
    is_maybe = any(fix is not None and fix.known_at >= due_at + fix.lag_ms for fix in doubts)
    return False if is_maybe else None


def _count_beacon(
    counted: Counted, device_id: str, zone_id: str, heard: Sequence[Sighting], silence_ms: int
) -> None:
    """A stay lasts while somebody hears; it ends ``silence_ms`` after the last sighting."""
    last: Sighting | None = None
    for sighting in heard:
        if last is None or sighting.at - last.at >= silence_ms:
            if last is not None:
                counted.due.add(Happening(device_id, "exit", zone_id, last.at + silence_ms))
            counted.due.add(Happening(device_id, "enter", zone_id, sighting.at))
        elif sighting.known_at >= last.at + silence_ms + last.lag_ms:
            counted.unsure.add((device_id, zone_id))  # told too late: the timer was first
        last = sighting
    if last is not None:
        counted.due.add(Happening(device_id, "exit", zone_id, last.at + silence_ms))


def _dwell_seconds(town: Town, tags: set[str]) -> set[int]:
    return {on["dwell_s"] for on in _listeners(town, tags) if "dwell_s" in on}


def _ring_metres(town: Town, tags: set[str]) -> set[int]:
    return {on["within_m"] for on in _listeners(town, tags) if "within_m" in on}


def _listeners(town: Town, tags: set[str]) -> Iterator[dict[str, Any]]:
    for trigger in town.triggers:
        on = trigger["on"]
        if "zones" in on and tags & set(on["zones"]["tags"]):
            yield on


def _listens(on: dict[str, Any], one: Happening, tags: set[str]) -> bool:
    wanted = on.get("dwell_s", on.get("within_m", 0))
    is_kind = on["event"] == one.kind and one.detail == wanted
    return is_kind and bool(tags & set(on["zones"]["tags"]))


def _fits(audience: dict[str, Any] | None, person: Person) -> bool:
    """Whether a person belongs to an audience, of the predicates that the town uses."""
    if audience is None:
        return True
    if "all" in audience:
        return all(_fits(part, person) for part in audience["all"])
    if "not" in audience:
        return not _fits(audience["not"], person)
    if audience.get("attribute") == "tier":
        return person.tier in audience.get("in", [audience.get("eq")])
    known = {
        ("tag", "vip"): person.is_vip,
        ("event", "order_ready"): person.order is not None,
        ("event", "cart_abandoned"): person.has_cart,
    }
    return next(known[leaf] for leaf in audience.items() if leaf[0] != "within_s")


def _reachable(trigger: dict[str, Any], person: Person) -> bool:
    """Whether somewhere to send to is left, and the person allows it."""
    channels: list[str] = trigger["channels"]
    if "webhook" in channels:
        return True
    return person.allows_push and ("inbox" in channels or person.provider is not None)


def _comes_back(trigger: dict[str, Any], one: Happening, happened: Sequence[Happening]) -> bool:
    """Whether the event that takes the push back follows in the same zone."""
    cancel = trigger.get("cancel_on")
    return cancel is not None and any(
        (other.device_id, other.kind, other.zone_id) == (one.device_id, cancel, one.zone_id)
        and other.at > one.at
        for other in happened
    )


def group_by_device(items: Iterable[tuple[str, Fix]]) -> dict[str, list[Fix]]:
    """Fixes by device, each device's in the order of time and each instant once."""
    tracks: defaultdict[str, dict[int, Fix]] = defaultdict(dict)
    for device_id, fix in items:
        tracks[device_id].setdefault(fix.at, fix)
    return {device: [one[at] for at in sorted(one)] for device, one in tracks.items()}
