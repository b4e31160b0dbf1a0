"""Beacon presence: quick to come, slow to go, and never fooled by a batch sent again."""

from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest

from triggers.machine import hear_run
from triggers.model import Heard, Verdict
from triggers.state import HEADER_SIZE, decode

New = Callable[..., Any]


@pytest.fixture
def phone(new_device: New, new_rule: New) -> Any:
    """A phone and a beacon zone with the defaults."""
    return new_device(new_rule("door", type="beacon", dwell_s=(60,)))


@pytest.mark.parametrize(
    ("policy", "sightings", "expected"),
    [
        ({}, [(0, -70)], [("enter", 0)]),
        ({}, [(0, -71)], []),
        ({}, [(0, -90), (10, -90)], [("enter", 0)]),
        ({}, [(0, -90), (10.001, -90)], []),
        ({}, [(0, -90), (11, -90), (22, -90)], [("enter", 22)]),
        ({}, [(0, -90), (11, -90), (20, -90)], [("enter", 11)]),
        ({}, [(0, 127), (1, 0)], []),
        ({"preset": "immediate"}, [(0, -95)], [("enter", 0)]),
        ({"enter_rssi_dbm": -60}, [(0, -65), (1, -65), (2, -65)], []),
        ({"enter_rssi_dbm": -60}, [(0, -58)], [("enter", 0)]),
        ({"enter_rssi_dbm": -60}, [(0, -58), (25, -64), (50, -64)], [("enter", 0)]),
        ({"enter_rssi_dbm": -60}, [(0, -58), (25, -66), (31, -66)], [("enter", 0), ("exit", 30)]),
        ({"proximity": "near"}, [(0, -73), (1, -73)], []),
        ({"proximity": "near"}, [(0, -71), (1, -71)], [("enter", 0)]),
        ({"proximity": "immediate"}, [(0, -52)], []),
        ({"proximity": "immediate"}, [(0, -50)], [("enter", 0)]),
        ({"silence_exit_s": 90}, [(0, -60), (80, -60), (160, -60)], [("enter", 0)]),
    ],
)
def test_enter(
    new_device: New, new_rule: New, policy: dict[str, Any], sightings: Any, expected: Any
) -> None:
    """One strong sighting enters, or two soon after one another; thresholds have hysteresis."""
    device = new_device(new_rule("door", type="beacon", **policy))
    assert expected == [e for at_s, rssi in sightings for e in device.hear(at_s, rssi)]


def test_exit_only_by_silence(phone: Any) -> None:
    """Weak and missing sightings end nothing; 30 s without any do, by timer, once."""
    phone.hear(0, -60)
    found = [e for at_s in range(5, 300, 25) for e in phone.hear(at_s, -99)]
    assert [("dwell", 60)] == found
    assert 310 == phone.due_s
    assert [] == phone.advance(309)
    assert [("exit", 310)] == phone.advance(310)
    assert [] == phone.advance(400)
    assert phone.due_s is None
    leave = phone.events[-1]
    assert ("silent", "medium", 30) == (leave.reason, leave.confidence, leave.evidence_age_s)
    assert 1 == len({e.visit_id for e in phone.events})


def test_gap_found_by_the_next_sighting(phone: Any) -> None:
    """Whether the timer fired or the next sighting came first cannot be seen in the events."""
    phone.hear(0, -60)
    assert [("exit", 30), ("enter", 100)] == phone.hear(100, -60)


def test_batch_sent_again(phone: Any) -> None:
    """After the exit, the same sightings open no new visit, however often they come."""
    batch = [(0, -60), (4, -80), (8, -65)]
    for at_s, rssi in batch:
        phone.hear(at_s, rssi)
    phone.advance(38)
    for at_s, rssi in batch * 2:
        assert [] == phone.hear(at_s, rssi)
    assert [Verdict.LATE, Verdict.LATE, Verdict.DUPLICATE] * 2 == phone.verdicts[-6:]
    phone.advance(1e4)
    assert HEADER_SIZE == len(phone.record)
    for at_s, rssi in batch:
        assert [] == phone.hear(at_s, rssi)
    assert ["enter", "exit"] == [e.kind for e in phone.events]


def test_repeated_sighting_is_no_second_one(phone: Any) -> None:
    """One weak sighting sent twice does not confirm itself."""
    phone.hear(0, -90)
    assert [] == phone.hear(0, -90)
    assert [Verdict.ACCEPTED, Verdict.DUPLICATE] == phone.verdicts
    assert [] == phone.advance(30)
    assert [] == phone.hear(0, -90)


def test_wrong_order_still_confirms(phone: Any) -> None:
    """Two weak sightings enter whichever comes first; the visit begins at the earlier."""
    phone.hear(5, -90)
    assert [("enter", 0)] == phone.hear(0, -90)
    assert [] == phone.hear(0, -90)
    assert [Verdict.LATE] == phone.verdicts[-1:]


def test_any_order_in_a_batch(phone: Any) -> None:
    """Every permutation and repetition of a batch gives the same record and events."""
    door = next(iter(phone.rules))
    batch = [
        Heard(1000 * at_s, 500_000, door, rssi)
        for at_s, rssi in [(0, -90), (9, -90), (40, -60), (45, -99), (60, -60), (100, -85)]
    ]
    expected = hear_run(None, batch, phone.rules, phone.ctx)
    assert ["enter", "exit", "enter", "exit"] == [e.kind for e in expected.events]
    for order in list(permutations(batch))[::37]:
        assert expected.record == hear_run(None, order * 2, phone.rules, phone.ctx).record
        assert expected.events == hear_run(None, order * 2, phone.rules, phone.ctx).events
    again = hear_run(expected.record, batch, phone.rules, phone.ctx)
    assert (expected.record, ()) == (again.record, again.events)


def test_zones_are_judged_apart(new_device: New, new_rule: New) -> None:
    """A receiver that is behind the others still opens its own zone."""
    device = new_device(new_rule("door", type="beacon"), new_rule("till", type="beacon"))
    device.hear(100, -60)
    assert [("enter", 80)] == device.hear(80, -60, zone="till")


def test_filter_follows_a_falling_signal(phone: Any) -> None:
    """The filter keeps fractions, so it arrives at a steady weaker signal."""
    phone.hear(0, -70)
    for at_s in range(1, 60):
        phone.hear(at_s, -79)
    assert pytest.approx(-79, abs=0.01) == decode(phone.record).entries[0].rssi_dbm


def test_dropouts_do_not_flap(new_device: New, new_rule: New) -> None:
    """Dropouts of up to 45 s under a limit of 60 s give one visit."""
    device = new_device(new_rule("door", type="beacon", silence_exit_s=60))
    instants = [0, 45, 46, 90, 135, 136, 180]
    assert [("enter", 0)] == [e for at_s in instants for e in device.hear(at_s, -68 - at_s % 7)]


def test_pings_leave_beacons_alone(new_device: New, new_rule: New) -> None:
    """A ping neither keeps a beacon visit alive nor ends it."""
    device = new_device(new_rule("door", type="beacon"), new_rule())
    device.hear(0, -60)
    assert [("enter", 100)] == device.ping(100, -50)
    assert 30 == device.due_s
    assert [("exit", 30)] == device.advance(101)
    assert [] == device.hear(10, -60)


def test_due_without_the_rules(new_device: New, new_rule: New) -> None:
    """Where rules of other entries are left out, the answer asks for a look with all of them."""
    device = new_device(new_rule("door", type="beacon"), new_rule(silence_exit_s=900))
    device.ping(0, -50)
    device.edit("shop", gone=True)
    device.hear(10, -60)
    assert 10.5 == device.due_s
    assert 2 == len(decode(device.record).entries)


def test_beacon_deleted(phone: Any) -> None:
    """A deleted beacon zone ends its visit at the next sighting or look."""
    phone.hear(0, -60)
    phone.edit("door", removed=True)
    assert [("exit", 10)] == phone.hear(10, -60)
    assert "zone_removed" == phone.events[-1].reason
    assert [] == phone.hear(11, -60)


def test_unknown_zone(phone: Any) -> None:
    """A sighting of a zone without rule is accepted and forgotten."""
    assert [] == phone.hear(0, -40, zone="elsewhere")
    assert HEADER_SIZE == len(phone.record)
