"""The demo town: its fixtures, its people, and the streets they walk.

``hastened`` is the one place where the demo's speed touches configuration: durations of the town
are divided by it, the wall clock is not.
"""

import copy
import hashlib
import heapq
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

SHORTEST_SILENCE_S = 5
EARTH_RADIUS_M = 6_371_008.8
LAT_M = math.radians(1) * EARTH_RADIUS_M  # metres a degree of latitude
TUNNEL_LAG_S = 200.0  # how late phones without a network report: past every trigger's max_age_s

Point = tuple[float, float]  # lon, lat
Document = dict[str, Any]


class FixturesMissing(RuntimeError):
    """The town is not where it should be; the text says what to do."""


class Town(NamedTuple):
    """The fixtures as they are posted, and what people and streets are made from."""

    geofences: list[Document]
    beacons: list[Document]
    receivers: list[Document]
    triggers: list[Document]
    users: Document
    devices: Document
    streets: "Streets"


class Person(NamedTuple):
    """Somebody with a phone. ``lag_s``: how late their phone reports (no network underground)."""

    number: int
    user_id: str
    device_id: str
    first_name: str
    tier: str
    locale: str
    timezone: str
    is_vip: bool
    allows_push: bool
    has_cart: bool
    order: str | None
    provider: str | None
    address: str
    transmitter: str | None
    lag_s: float


class Streets:
    """Where one can walk."""

    def __init__(self, nodes: dict[str, Sequence[float]], edges: list[list[str]]) -> None:
        self._points: dict[str, Point] = {name: (lon, lat) for name, (lon, lat) in nodes.items()}
        self._next: dict[str, list[tuple[str, float]]] = {name: [] for name in nodes}
        for one, other in edges:
            length_m = distance_m(self._points[one], self._points[other])
            self._next[one].append((other, length_m))
            self._next[other].append((one, length_m))
        self.shops = sorted(name for name in nodes if name.startswith(("shop-", "mall"))
                            and not name.endswith("-door"))  # fmt: skip
        self.corners = sorted(name for name in nodes if name.startswith("x"))

    def point(self, name: str) -> Point:
        """Where a node is."""
        return self._points[name]

    def route(self, start: str, end: str) -> list[Point]:
        """The shortest way (Dijkstra), both ends included."""
        queue: list[tuple[float, str]] = [(0.0, start)]
        best_m, came_from = {start: 0.0}, dict[str, str]()
        while queue:
            walked_m, here = heapq.heappop(queue)
            if here == end:
                break
            for there, length_m in self._next[here]:
                if walked_m + length_m < best_m.get(there, math.inf):
                    best_m[there], came_from[there] = walked_m + length_m, here
                    heapq.heappush(queue, (best_m[there], there))
        names = [end]
        while names[-1] != start:
            names.append(came_from[names[-1]])
        return [self._points[name] for name in reversed(names)]


def load_town(folder: Path | None = None) -> Town:
    """Read the fixtures.

    Args:
        folder: where they are; else beside the packages, as in a checkout, or in ./fixtures.

    Raises:
        FixturesMissing: they are not there.
    """
    candidates = [folder] if folder else [Path(__file__).parents[2] / "fixtures", Path("fixtures")]
    found = next((one for one in candidates if (one / "geofences.geojson").is_file()), None)
    if found is None:
        looked = ", ".join(str(one) for one in candidates)
        raise FixturesMissing(
            f"No fixtures in {looked}. Run the demo from a checkout of the repository."
        )

    def read(name: str) -> Any:
        return json.loads((found / name).read_text(encoding="utf-8"))

    streets = read("streets.json")
    return Town(
        geofences=read("geofences.geojson")["features"],
        beacons=read("beacons.json"),
        receivers=read("receivers.json"),
        triggers=read("triggers.json"),
        users=read("users.json"),
        devices=read("devices.json"),
        streets=Streets(streets["nodes"], streets["edges"]),
    )


def hastened(town: Town, speed: float) -> Town:
    """The town with its durations divided by ``speed``; see fixtures/README.md."""
    triggers, beacons = copy.deepcopy(town.triggers), copy.deepcopy(town.beacons)
    for trigger in triggers:
        if "dwell_s" in trigger["on"]:
            trigger["on"]["dwell_s"] = _divided(trigger["on"]["dwell_s"], speed)
        if "delay_s" in trigger:
            trigger["delay_s"] = _divided(trigger["delay_s"], speed)
        if "cooldown" in trigger:
            trigger["cooldown"]["seconds"] = _divided(trigger["cooldown"]["seconds"], speed)
    for beacon in beacons:
        policy = beacon["policy"]
        silence_s = _divided(policy["silence_exit_s"], speed)
        policy["silence_exit_s"] = max(silence_s, SHORTEST_SILENCE_S)
    return town._replace(triggers=triggers, beacons=beacons)


def people_of(town: Town, count: int) -> list[Person]:
    """The same ``count`` people each time."""
    return [_person(town, number) for number in range(count)]


def user_document(person: Person) -> Document:
    """What ``PUT /v1/users/{id}`` takes."""
    return {
        "attributes": {"first_name": person.first_name, "tier": person.tier},
        "tags": ["vip"] if person.is_vip else [],
        "timezone": person.timezone,
        "locale": person.locale,
        "consents": {"push": person.allows_push, "location": "precise"},
    }


def device_document(town: Town, person: Person, subscription: Document | None) -> Document:
    """What ``PUT /v1/devices/{id}`` takes; ``subscription`` is a browser's, for web push."""
    targets: list[Document] = []
    if person.provider == "webpush" and subscription is not None:
        targets = [
            {
                "provider": "webpush",
                "address": subscription["endpoint"],
                "keys": subscription["keys"],
            }
        ]
    elif person.provider is not None:
        targets = [{"provider": person.provider, "address": person.address}]
        if person.provider == "apns":
            targets[0]["app"] = town.devices["app"]
    return {
        "user_id": person.user_id,
        "targets": targets,
        "timezone": person.timezone,
        "locale": person.locale,
        "transmitters": [person.transmitter] if person.transmitter else [],
    }


def distance_m(one: Point, other: Point) -> float:
    """Great-circle distance (haversine)."""
    lat, other_lat = math.radians(one[1]), math.radians(other[1])
    half = math.sin((other_lat - lat) / 2) ** 2
    half += math.cos(lat) * math.cos(other_lat) * math.sin(math.radians(other[0] - one[0]) / 2) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(half))


def moved(point: Point, east_m: float, north_m: float) -> Point:
    """A point some metres away."""
    lon_m = LAT_M * math.cos(math.radians(point[1]))
    return point[0] + east_m / lon_m, point[1] + north_m / LAT_M


def _person(town: Town, number: int) -> Person:
    users, devices = town.users, town.devices
    names, tiers, locales = users["first_names"], users["tiers"], users["locales"]
    has_target = not _is_nth(number, devices["without_target_every"])
    provider = devices["providers"][number % len(devices["providers"])] if has_target else None
    is_tagged = _is_nth(number, users["tagged_every"])
    return Person(
        number=number,
        user_id=f"user-{number:03d}",
        device_id=f"phone-{number:03d}",
        first_name=names[number % len(names)],
        tier=tiers[number * 3 % len(tiers)],
        locale=locales[number % len(locales)],
        timezone=users["timezone"],
        is_vip=_is_nth(number, users["vip_every"]),
        allows_push=not _is_nth(number, users["push_refused_every"]),
        has_cart=_is_nth(number, users["cart_abandoned_every"]),
        order=f"M-{4100 + number}" if _is_nth(number, users["order_ready_every"]) else None,
        provider=provider,
        address=_address(number, provider),
        transmitter=f"{devices['transmitter']}{number}" if is_tagged else None,
        lag_s=TUNNEL_LAG_S if _is_nth(number, devices["tunnel_every"]) else 0.0,
    )


def _address(number: int, provider: str | None) -> str:
    """A token in the provider's form; its fixed beginning asks the sandbox for nothing special."""
    digest = hashlib.sha256(f"demo phone {number}".encode()).hexdigest()
    return {"apns": f"a11ce{digest[5:]}", "fcm": f"phone{number:03d}:APA91b{digest}"}.get(
        provider or "", ""
    )


def _is_nth(number: int, every: int) -> bool:
    return number % every == every - 1


def _divided(duration_s: float, speed: float) -> int:
    return max(1, round(duration_s / speed))
