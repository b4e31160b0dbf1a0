"""Simulated people and what their phones post. Pure: the same seed gives the same walks.

Time in here is ``at_s``, seconds of the town since its start; ``Pace`` turns it into instants of
the wall clock. A phone takes a fix every few seconds while it moves and seldom while it lies still,
and uploads what it has gathered now and then: as phones do, to save their batteries.
"""

import math
import random
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from gateway.demo.world import Person, Point, Streets, Town, distance_m, moved

MOVING_FIX_S = 5.0
RESTING_FIX_S = 45.0
SETTLING_FIXES = 4  # after coming to rest, before the phone relaxes
UPLOAD_S = 30.0
TILL_S = 80.0  # how long one stands at a till
TILL_FIX_S = 15.0
POWER_AT_1_M_DBM = -59.0

Walk = Iterator["Moment"]


class Moment(NamedTuple):
    """A phone at one instant: what it believes, and where it truly is."""

    at_s: float
    fix: Point
    accuracy_m: float
    activity: str
    shop: str | None = None  # truly inside
    is_at_till: bool = False


class Pace(NamedTuple):
    """How the town's time runs on the wall clock."""

    started_at: int  # epoch ms
    speed: float

    def due_s(self, at_s: float) -> float:
        """Seconds of the wall clock after the start."""
        return at_s / self.speed

    def recorded_at(self, at_s: float, lag_s: float = 0.0) -> int:
        """The instant of a moment, epoch ms; ``lag_s`` wall-clock seconds before it is sent."""
        return self.started_at + round((at_s / self.speed - lag_s) * 1000)


class Post(NamedTuple):
    """A call of the API, ``due_s`` wall-clock seconds after the start. A sender keeps its order."""

    due_s: float
    sender: str
    path: str
    field: str
    items: list[dict[str, Any]]


class _Noise:
    """The error of a positioning receiver: it wanders, it does not jump."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._east_m = self._north_m = 0.0

    def blur(self, point: Point, deviation_m: float) -> Point:
        keep = 0.8
        fresh = deviation_m * math.sqrt(1 - keep * keep)
        self._east_m = keep * self._east_m + self._rng.gauss(0, fresh)
        self._north_m = keep * self._north_m + self._rng.gauss(0, fresh)
        lon, lat = moved(point, self._east_m, self._north_m)
        return round(lon, 6), round(lat, 6)


def walk(streets: Streets, person: Person, seed: int) -> Walk:
    """Somebody's day, for ever: to a shop, a stay, to the next."""
    rng = random.Random(f"{seed}/{person.device_id}")
    noise = _Noise(rng)
    here, at_s = rng.choice(streets.corners), rng.uniform(0, MOVING_FIX_S)
    while True:
        there = _next_stop(streets, here, rng)
        for moment in _stroll(streets.route(here, there), at_s, rng, noise):
            yield moment
            at_s = moment.at_s
        here = there
        if there in streets.shops:
            for moment in _stay(streets.point(there), there, at_s, rng, noise):
                yield moment
                at_s = moment.at_s


def uploads(town: Town, person: Person, pace: Pace, seed: int) -> Iterator[Post]:
    """What somebody's phone posts: positions, and the tills it hears."""
    tills = beacon_by_shop(town.beacons)
    gathered: list[Moment] = []
    upload_at_s = random.Random(f"{seed}/upload/{person.number}").uniform(0, UPLOAD_S)
    for moment in walk(town.streets, person, seed):
        if moment.at_s > upload_at_s:
            yield from _upload(person, gathered, tills, pace, upload_at_s)
            gathered = []
            upload_at_s += UPLOAD_S * math.ceil((moment.at_s - upload_at_s) / UPLOAD_S)
        gathered.append(moment)


def beacon_by_shop(beacons: Sequence[dict[str, Any]]) -> dict[str, str]:
    """The beacon at the till of each shop that has one."""
    return {zone["metadata"]["shop"]: zone["beacons"][0] for zone in beacons if zone.get("beacons")}


def rssi_dbm(distance_to_m: float, rng: random.Random) -> float:
    """What is heard at a distance: log-distance path loss indoors, and some fading."""
    loss_db = 27 * math.log10(max(distance_to_m, 0.3))
    return round(POWER_AT_1_M_DBM - loss_db + rng.uniform(-2, 2), 1)


def _next_stop(streets: Streets, here: str, rng: random.Random) -> str:
    """Mostly a shop, preferably a near one; now and then only a corner."""
    if rng.random() < 0.15:
        return rng.choice([corner for corner in streets.corners if corner != here])
    some = rng.sample([shop for shop in streets.shops if shop != here], 4)
    return min(some, key=lambda shop: distance_m(streets.point(here), streets.point(shop)))


def _stroll(route: Sequence[Point], at_s: float, rng: random.Random, noise: _Noise) -> Walk:
    speed_mps = rng.uniform(1.1, 1.6)
    walked_m, step_m = 0.0, speed_mps * MOVING_FIX_S
    for start, end in pairwise(route):
        length_m = distance_m(start, end)
        while walked_m + step_m <= length_m:
            walked_m += step_m
            at_s += MOVING_FIX_S
            part = walked_m / length_m
            true = (start[0] + (end[0] - start[0]) * part, start[1] + (end[1] - start[1]) * part)
            yield Moment(at_s, noise.blur(true, 3.5), round(rng.uniform(4, 12), 1), "walking")
        walked_m -= length_m


def _stay(inside: Point, shop: str, at_s: float, rng: random.Random, noise: _Noise) -> Walk:
    """Browse, then queue at the till; the phone relaxes while it lies still."""
    leave_at_s = at_s + rng.choice((60, 120, 200, 320, 450)) * rng.uniform(0.8, 1.3)
    till_at_s = leave_at_s - TILL_S if rng.random() < 0.7 else math.inf
    fixes = 0
    while at_s < leave_at_s:
        fixes += 1
        is_at_till = at_s >= till_at_s
        pause_s = MOVING_FIX_S if fixes <= SETTLING_FIXES else RESTING_FIX_S
        at_s += TILL_FIX_S if is_at_till else pause_s
        fix = noise.blur(inside, 5.0)
        yield Moment(at_s, fix, round(rng.uniform(8, 22), 1), "still", shop, is_at_till)


def _upload(
    person: Person, moments: Sequence[Moment], tills: dict[str, str], pace: Pace, at_s: float
) -> Iterator[Post]:
    due_s = pace.due_s(at_s)
    if moments:
        pings = [_ping(person, moment, pace) for moment in moments]
        yield Post(due_s, person.device_id, "/v1/pings", "pings", pings)
    heard = [one for one in moments if one.is_at_till and one.shop in tills]
    if heard:
        rng = random.Random(f"{person.device_id}/{heard[0].at_s}")
        sightings = [
            {
                "device_id": person.device_id,
                "beacon": tills[one.shop or ""],
                "rssi_dbm": rssi_dbm(rng.uniform(0.5, 1.8), rng),
                "seen_at": pace.recorded_at(one.at_s, person.lag_s),
            }
            for one in heard
        ]
        yield Post(due_s, person.device_id, "/v1/sightings", "sightings", sightings)


def _ping(person: Person, moment: Moment, pace: Pace) -> dict[str, Any]:
    lon, lat = moment.fix
    return {
        "device_id": person.device_id,
        "lat": lat,
        "lon": lon,
        "accuracy_m": moment.accuracy_m,
        "recorded_at": pace.recorded_at(moment.at_s, person.lag_s),
        "activity": moment.activity,
    }
