"""The independent count itself, against cases that a person can follow."""

from collections.abc import Sequence

import numpy as np
import pytest

from gateway.demo.count import (
    Counted,
    Fix,
    Happening,
    PushKey,
    Sighting,
    count_events,
    count_pushes,
)
from gateway.demo.plane import Zone, distances_m, is_razor, scale_m, zone_of
from gateway.demo.world import Town, load_town, moved, people_of

D = "phone-000"
SHOP = Zone("shop-01", {"shop", "fashion"}, None, 20.0)


@pytest.fixture(scope="module")
def town() -> Town:
    return load_town()


def _track(*steps: tuple[float, float] | tuple[float, float, float]) -> list[Fix]:
    """Fixes from (seconds, distance) or (seconds, distance, seconds when it was known)."""
    fixes = []
    for at_s, distance_m, *known in steps:
        known_at = round(1000 * (known[0] if known else at_s + 1))
        fixes.append(Fix(round(at_s * 1000), known_at, 5.0, [distance_m], 0))
    return fixes


def _events(town: Town, fixes: Sequence[Fix]) -> Counted:
    return count_events(town, [SHOP], {D: list(fixes)}, {})


CASES = [
    ("one fix near the edge is not enough", [(0, -2), (5, 40)], set()),
    ("two are", [(0, -2), (5, -3)], {("enter", 0)}),
    ("one deep inside is", [(0, -6)], {("enter", 0)}),
    ("unsure fixes keep the first one", [(0, -2), (5, 10), (10, -2)], {("enter", 0)}),
    ("a fix outside forgets it", [(0, -2), (5, 40), (10, -2)], set()),
    ("one fix outside is no exit", [(0, -6), (5, 40), (10, -6)], {("enter", 0)}),
    ("two are, and it was at the first", [(0, -6), (5, 40), (10, 40)], {("enter", 0), ("exit", 5)}),
    ("near the edge is not outside", [(0, -6), (5, 24), (10, 24)], {("enter", 0)}),
]


@pytest.mark.parametrize(("name", "steps", "expected"), CASES, ids=[case[0] for case in CASES])
def test_visits(
    town: Town, name: str, steps: list[tuple[float, float]], expected: set[tuple[str, int]]
) -> None:
    """Enter by one clear or two fixes, exit by two; each at the first of its run."""
    found = {(one.kind, one.at // 1000) for one in _events(town, _track(*steps)).due}
    assert expected == {one for one in found if one[0] != "dwell"}, name


DWELLS = [
    ("proven", [(0, -6), (300, -6)], True),
    ("by timer, while nothing is heard", [(0, -6)], True),
    ("by timer before the first fix outside", [(0, -6), (250, 40), (260, 40)], True),
    ("not when left before", [(0, -6), (100, 40), (110, 40)], None),
    ("perhaps, when leaving was told too late", [(0, -6), (100, 40, 250), (110, 40, 250)], False),
    ("when a doubt is dispelled", [(0, -6), (100, 40), (250, -6)], True),
]


@pytest.mark.parametrize(("name", "steps", "expected"), DWELLS, ids=[case[0] for case in DWELLS])
def test_dwells(
    town: Town, name: str, steps: list[tuple[float, ...]], expected: bool | None
) -> None:
    """240 s of stay (the town's fitting-room trigger), by later fixes or by the timer."""
    counted = _events(town, _track(*steps))  # type: ignore[arg-type]
    dwell = Happening(D, "dwell", "shop-01", 240_000, 240)
    found = True if dwell in counted.due else False if dwell in counted.possible else None
    assert expected is found, name


def test_beacon_visits_end_by_silence(town: Town) -> None:
    """A gap of the silence limit ends one visit and begins the next; late news are not judged."""
    heard = [Sighting(at * 1000, at * 1000 + 500, 0) for at in (0, 100, 400)]
    zone_id = "till-shop-05"
    counted = count_events(town, [], {}, {(D, zone_id): heard})
    expected = {("enter", 0), ("exit", 340), ("enter", 400), ("exit", 640)}
    assert expected == {(one.kind, one.at // 1000) for one in counted.due}
    late = [Sighting(0, 500, 0), Sighting(100_000, 250_000, 0)]
    assert {(D, zone_id)} == count_events(town, [], {}, {(D, zone_id): late}).unsure


def test_pushes_follow_triggers_and_people(town: Town) -> None:
    """One welcome a zone, for who can be reached; an exit that is followed by an enter is open."""
    people = people_of(town, 40)
    by_device = {one.device_id: one for one in people}
    due = {
        Happening(D, "enter", "shop-02", 1000),
        Happening(D, "exit", "shop-02", 9000),
        Happening(D, "enter", "shop-02", 20_000),
        *(Happening(one, "enter", "shop-03", 1000) for one in by_device),
    }
    sent, open_ = count_pushes(town, people, Counted(due, set(), set()))
    user = by_device[D].user_id
    assert PushKey("welcome", user, "shop-02") in sent
    assert {PushKey("come-back", user)} == {one for one in open_ if one.trigger_id == "come-back"}
    welcomed = {one.user_id for one in sent if one[::2] == ("welcome", "shop-03")}
    reachable = {p.user_id for p in people if p.provider and p.allows_push and not p.lag_s}
    assert reachable == welcomed


def test_the_plane_measures_metres(town: Town) -> None:
    """Circles, areas with holes and corridors, in metres from their edges, negative inside."""
    zones = [zone_of(feature) for feature in town.geofences]
    assert max(scale_m(zone) for zone in zones) < 75
    by_id = {zone.id: (zone, feature) for zone, feature in zip(zones, town.geofences, strict=True)}
    circle, feature = by_id["shop-01"]
    centre = tuple(feature["geometry"]["coordinates"])
    away = moved(centre, circle.reach_m + 10, 0)
    found = distances_m([circle], np.array([centre[0], away[0]]), np.array([centre[1], away[1]]))
    assert np.allclose([[-circle.reach_m], [10]], found, atol=0.02)
    mall = by_id["mall"][0]
    court = distances_m([mall], np.array([11.5748]), np.array([48.1405]))
    assert 10 < court[0, 0] < 25  # in the hole: outside, by the way to its edge


def test_razors_are_near_a_threshold() -> None:
    """At the edge, at the accuracy inside it, and at the end of the exit buffer."""
    accuracy_m = np.array([5.0, 5.0, 5.0, 5.0, 5.0])
    distances = np.array([[0.1], [-5.1], [25.1], [120.1], [10.0]])
    assert [True, True, True, True, False] == is_razor(distances, accuracy_m, [120]).tolist()
