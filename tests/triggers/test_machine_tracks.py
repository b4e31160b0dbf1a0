"""Recorded tracks give the events that were looked through once by eye and stored.

The tracks are not part of the repository; where they are absent the tests say so and skip.
After a change that is meant to change events, ``UPDATE_GOLDEN=1`` writes the file anew: read the
difference.
"""

import csv
import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from math import cos, hypot, radians
from pathlib import Path
from typing import Any

import pytest

from triggers.ids import fingerprint, zone_key
from triggers.machine import StepContext, run
from triggers.model import Event, Fix, Policy, Verdict, ZoneCrossing, ZoneFix, ZoneRule

REPOSITORY = Path(__file__).parents[2]
DATA = REPOSITORY.parent / "shared" / "data"
GOLDEN = REPOSITORY / "fixtures" / "golden" / "tracks.json"
METRES_PER_DEGREE = 111_195.0

Place = tuple[int, float, float]  # epoch ms, latitude, longitude

# Circles: latitude, longitude, radius in metres, and what their rule adds.
ZONES: dict[str, dict[str, tuple[float, float, float, dict[str, Any]]]] = {
    "walk": {
        "start": (52.62915, -8.66175, 60.0, {"dwell_s": (60,)}),
        "quarter": (52.62620, -8.64530, 250.0, {"dwell_s": (60, 300)}),
        "kiosk": (52.63320, -8.65700, 12.0, {"detect_cross": True}),
        "bridge": (52.65905, -8.63175, 80.0, {"approach_m": (200, 500)}),
        "border": (52.66300, -8.62450, 150.0, {}),
        "end": (52.67275, -8.57075, 500.0, {"dwell_s": (120,)}),
    },
    "bus": {
        "queen-square": (53.4080, -2.9820, 150.0, {"dwell_s": (120, 600)}),
        "stop-north": (53.4410, -2.9330, 80.0, {"dwell_s": (60,)}),
        "stop-east": (53.4490, -2.9150, 80.0, {"dwell_s": (60,)}),
        "corner": (53.4190, -2.9680, 40.0, {"detect_cross": True}),
        "centre": (53.4110, -2.9700, 900.0, {"approach_m": (1000,)}),
    },
}


def walk() -> dict[str, list[Place]]:
    """A person on foot, about a fix a second."""
    text = (DATA / "walk-2019-02-18.gpx").read_text()
    points = re.findall(r'<trkpt lat="(.+?)" lon="(.+?)">.*?<time>(.+?)</time>', text, re.DOTALL)
    return {"walker": [(_epoch_ms(at), float(lat), float(lon)) for lat, lon, at in points]}


def bus() -> dict[str, list[Place]]:
    """Several buses of one route, about a fix in 20 s."""
    tracks: dict[str, list[Place]] = {}
    with (DATA / "liverpool-bus-route14.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            place = (_epoch_ms(row["timestamp"]), float(row["latitude"]), float(row["longitude"]))
            tracks.setdefault(row["vehicle_id"], []).append(place)
    return tracks


TRACKS = {"walk": walk, "bus": bus}


@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded tracks are not beside the repository")
@pytest.mark.parametrize("name", sorted(TRACKS))
def test_recorded_track(name: str) -> None:
    """Same track, same events, to the instant and the id."""
    found = [_brief(event) for event in _events(name)]
    stored = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("UPDATE_GOLDEN"):
        stored[name] = found
        GOLDEN.write_text(json.dumps(stored, indent=1) + "\n")
    assert stored[name] == found


@pytest.mark.skipif(not DATA.is_dir(), reason="the recorded tracks are not beside the repository")
@pytest.mark.parametrize("name", sorted(TRACKS))
def test_recorded_track_in_any_portions(name: str) -> None:
    """Portions of a hundred, each sent twice and backwards, give the very same events."""
    whole = [event.id for event in _events(name)]
    assert whole == [event.id for event in _events(name, portion=100)]


def _events(name: str, portion: int | None = None) -> Iterator[Event]:
    rules = {rule.key: rule for rule in _rules(name)}
    for device_id, places in sorted(TRACKS[name]().items()):
        ctx = StepContext("acme", device_id)
        fixes = list(_fixes(name, sorted(set(places))))
        record = None
        for begin in range(0, len(fixes), portion or len(fixes)):
            batch = fixes[begin : begin + (portion or len(fixes))]
            ran = run(record, batch if portion is None else batch[::-1] * 2, rules, ctx)
            record = ran.record
            yield from ran.events
            assert Verdict.HELD not in ran.verdicts


def _rules(name: str) -> Iterator[ZoneRule]:
    for zone_id, (_, _, radius_m, more) in ZONES[name].items():
        key = zone_key("acme", "geofence", zone_id)
        yield ZoneRule(key, "geofence", zone_id, radius_m, Policy(), **more)


def _fixes(name: str, places: list[Place]) -> Iterator[Fix]:
    before = places[0]
    for place in places:
        at, lat, lon = place
        zones, crossings = [], []
        for zone_id, circle in ZONES[name].items():
            key = zone_key("acme", "geofence", zone_id)
            zones.append(ZoneFix(key, hypot(*_offset_m(circle, place)) - circle[2]))
            fraction = _entry_fraction(circle, before, place)
            if fraction is not None:
                crossings.append(ZoneCrossing(key, fraction))
        before = place
        print_ = fingerprint(at, round(lat * 1e7), round(lon * 1e7))
        yield Fix(at, at, lat, lon, None, False, print_, tuple(zones), tuple(crossings))


def _offset_m(circle: tuple[float, float, float, Any], place: Place) -> tuple[float, float]:
    """Metres east and north of the centre; flat, which is right within metres at this size."""
    north_m = (place[1] - circle[0]) * METRES_PER_DEGREE
    return (place[2] - circle[1]) * METRES_PER_DEGREE * cos(radians(circle[0])), north_m


def _entry_fraction(
    circle: tuple[float, float, float, Any], begin: Place, end: Place
) -> float | None:
    """Where the straight way first meets the circle, if it does."""
    (x0, y0), (x1, y1) = _offset_m(circle, begin), _offset_m(circle, end)
    dx, dy = x1 - x0, y1 - y0
    square, half = dx * dx + dy * dy, x0 * dx + y0 * dy
    under = half * half - square * (x0 * x0 + y0 * y0 - circle[2] ** 2)
    if square == 0 or under < 0:
        return None
    fraction = (-half - under**0.5) / square
    return fraction if 0 <= fraction <= 1 else None


def _brief(event: Event) -> str:
    at = datetime.fromtimestamp(event.occurred_at / 1000, UTC).isoformat(timespec="milliseconds")
    detail = event.dwell_s if event.dwell_s is not None else event.within_m
    words = [at, event.device_id, event.kind, event.zone_id, detail, event.reason, event.confidence]
    return " ".join([str(word) for word in [*words, event.id] if word is not None])


def _epoch_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)
