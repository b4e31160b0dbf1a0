"""The cases of bad positions that are known to break geofencing in the field, by name."""

import random
from collections.abc import Callable
from typing import Any

import pytest

New = Callable[..., Any]


def kinds(device: Any) -> list[str]:
    return [event.kind.value for event in device.events]


def test_over_confident_outlier(new_device: New, new_rule: New) -> None:
    """A phone at rest reports 200.2 m out at 1.9 m accuracy, then 717.6 m at 10.9 m."""
    device = new_device(new_rule(scale_m=50.0))
    track = [(0, -45, 5.0), (60, 200.2, 1.9), (72, -44, 5.0), (200, 717.6, 10.9), (212, -45, 5.0)]
    for at_s, distance_m, accuracy_m in track:
        device.ping(at_s, distance_m, accuracy_m=accuracy_m)
    assert ["enter"] == kinds(device)


def test_jitter_around_the_radius(new_device: New, new_rule: New) -> None:
    """Distances of 40, 96, 104, 95, ... to the centre of a 100 m circle are one enter, no exit."""
    device = new_device(new_rule())
    for i, from_centre_m in enumerate([40, 96, 104, 95, 106, 98, 103, 92, 109, 99, 118, 97]):
        device.ping(i * 10, from_centre_m - 100)
    assert ["enter"] == kinds(device)


@pytest.mark.parametrize("inradius_m", [12.0, 21.0])
def test_small_shop(new_device: New, new_rule: New, inradius_m: float) -> None:
    """A shop 24 to 42 m deep is entered and left, though no fix is surer than it is deep."""
    device = new_device(new_rule(scale_m=inradius_m))
    walk = [200, 60, 20, -2, -inradius_m / 2, -inradius_m, -3, 25, 90, 150]
    for i, distance_m in enumerate(walk):
        device.ping(i * 20, distance_m, accuracy_m=25.0)
    assert ["enter", "exit"] == kinds(device)


def test_border_walk(new_device: New, new_rule: New) -> None:
    """Who walks along the border for an hour, 8 m in and 15 m out, is there once."""
    device = new_device(new_rule())
    for i in range(360):
        device.ping(i * 10, (-8 if i % 3 else 15) + i % 5, accuracy_m=4.0 + i % 7)
    assert ["enter"] == kinds(device)


def test_random_walk_inside(new_device: New, new_rule: New) -> None:
    """Jitter of half the radius around the middle never ends the visit."""
    device = new_device(new_rule())
    chance = random.Random(5)
    for i in range(2000):
        off_m = (chance.gauss(0, 50) ** 2 + chance.gauss(0, 50) ** 2) ** 0.5
        device.ping(i * 10, min(off_m, 119) - 100, accuracy_m=30.0)
    assert ["enter"] == kinds(device)


@pytest.mark.parametrize(
    ("distance_m", "accuracy_m"), [(1000, 17_000), (700, 1414), (16_000, 17_000)]
)
def test_accuracy_of_kilometres(
    new_device: New, new_rule: New, distance_m: float, accuracy_m: float
) -> None:
    """Fixes that may as well be inside end nothing, however many."""
    device = new_device(new_rule())
    device.ping(0, -50)
    for i in range(1, 6):
        device.ping(i * 60, distance_m, accuracy_m=accuracy_m)
    assert ["enter"] == kinds(device)


def test_coarse_but_far_away(new_device: New, new_rule: New) -> None:
    """A fix of 17 km accuracy 400 km away does show that the device has left."""
    device = new_device(new_rule())
    device.ping(0, -50)
    for i in (1, 2):
        device.ping(i * 100, 400_000, accuracy_m=17_000)
    assert ["enter", "exit"] == kinds(device)


def test_exit_is_not_delayed_for_ever(new_device: New, new_rule: New) -> None:
    """With 150 m accuracy a 50 m circle is left 71 m from its edge, not at 170 m."""
    device = new_device(new_rule(scale_m=50.0))
    device.ping(0, -50)
    for i in (1, 2):
        device.ping(i * 10, 71, accuracy_m=150.0)
    assert ["enter", "exit"] == kinds(device)


def test_stale_phantom_enter(new_device: New, new_rule: New) -> None:
    """A stored fix from before the exit arrives after it: late, no phantom enter, nothing stuck."""
    device = new_device(new_rule())
    device.ping(0, -50)
    device.ping(100, 500)
    device.ping(110, 500)
    assert [] == device.ping(50, -50)
    assert [] == device.ping(120, 600)
    assert ["enter", "exit"] == kinds(device)
    assert [("enter", 200)] == device.ping(200, -50)


def test_fifteen_hundred_enters(new_device: New, new_rule: New) -> None:
    """A client that reports an enter 1,500 times in 20 minutes gives one event."""
    device = new_device(new_rule())
    for i in range(1500):
        device.ping(i * 0.8, -50)
    assert ["enter"] == kinds(device)


def test_slow_reporter_can_leave(new_device: New, new_rule: New) -> None:
    """A phone that reports every ten minutes leaves with its third fix outside."""
    device = new_device(new_rule())
    device.ping(0, -50)
    for i in range(1, 4):
        device.ping(i * 600, 900)
    assert ["enter", "exit"] == kinds(device)


def test_two_outliers_far_apart(new_device: New, new_rule: New) -> None:
    """Outliers more than the window apart, with the device inside between, add up to nothing."""
    device = new_device(new_rule())
    for i in range(20):
        device.ping(i * 200, 300 if i % 2 else -50)
    assert ["enter"] == kinds(device)


def test_jump_into_a_zone(new_device: New, new_rule: New) -> None:
    """A jump of 3 km in 5 s into a zone is held; the zone is not entered."""
    device = new_device(new_rule())
    device.ping(0, 2900)
    assert [] == device.ping(5, -50, north_m=3000)
    assert [] == device.ping(10, 2900)
    assert "held" == device.verdicts[1]
