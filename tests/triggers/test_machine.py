"""What ten rules promise of pings and timers, each field of the policy, one table after another."""

from collections.abc import Callable
from typing import Any

import pytest

from triggers.model import Verdict
from triggers.state import HEADER_SIZE, decode, entry_keys

New = Callable[..., Any]
PROVEN = [("dwell", 60, "proven", "high", 0)]
WIDE = ["enter@0", "exit@10", "enter@20"]
NAN = (float("nan"), 10)


@pytest.mark.parametrize(
    ("policy", "pings", "expected"),
    [
        # d, a, seconds apart by 10; events as kind@second
        ({}, [(500, 10), (-50, 10)], ["enter@10"]),
        ({}, [(500, 10), (-5, 10)], []),
        ({}, [(500, 10), (-5, 10), (-5, 10)], ["enter@10"]),
        ({}, [(500, 10), (-5, 10), (15, 10), (-5, 10)], ["enter@10"]),
        ({}, [(500, 10), (-5, 10), (80, 10), (-5, 10)], []),
        ({}, [(500, 10), (-50, 101), (-50, 101), (-50, 101)], []),
        ({}, [(-50, 10), (35, 10), (35, 10)], ["enter@0", "exit@10"]),
        ({}, [(-50, 10), (30, 10), (30, 10)], ["enter@0"]),
        ({}, [(-50, 10), (69, 150), (69, 150)], ["enter@0"]),
        ({}, [(-50, 10), (71, 150), (71, 150)], ["enter@0", "exit@10"]),
        ({}, [(-50, 10), (500, 10), (-50, 10), (500, 10)], ["enter@0"]),
        ({}, [(-50, 10), (500, 10), (15, 10), (500, 10)], ["enter@0", "exit@10"]),
        ({}, [(-50, 10), (500, 10), (-1, 90), (500, 10), (500, 10)], ["enter@0", "exit@30"]),
        ({"max_accuracy_m": 40}, [(-50, 41), (-50, 41), (-50, 41)], []),
        ({"max_accuracy_m": 40}, [(-50, 40)], ["enter@0"]),
        ({"scale_m": 300.0}, [(-290, 290)], ["enter@0"]),
        ({"scale_m": 300.0}, [(-50, 10), (39, 10), (39, 10)], ["enter@0"]),
        ({"scale_m": 300.0}, [(-50, 10), (41, 10), (41, 10)], ["enter@0", "exit@10"]),
        ({"exit_buffer_m": 0}, [(-50, 10), (11, 10), (11, 10)], ["enter@0", "exit@10"]),
        ({"exit_accuracy_cap_m": 0}, [(-50, 10), (21, 99), (21, 99)], ["enter@0", "exit@10"]),
        ({"enter_confirmations": 3}, [(-5, 10), (-5, 10)], []),
        ({"enter_confirmations": 3}, [(-5, 10), (-5, 10), (-5, 10)], ["enter@0"]),
        ({"enter_confirmations": 1}, [(-5, 10)], ["enter@0"]),
        ({"exit_confirmations": 1}, [(-50, 10), (50, 10)], ["enter@0", "exit@10"]),
        ({"exit_confirmations": 3}, [(-50, 10), *[(50, 10)] * 2], ["enter@0"]),
        ({"exit_confirmations": 3}, [(-50, 10), *[(50, 10)] * 3], ["enter@0", "exit@10"]),
        ({"confirm_window_s": 10}, [(-5, 10), (-5, 10)], ["enter@0"]),
        ({"confirm_window_s": 10}, [(-50, 10), (50, 10), (50, 10)], ["enter@0", "exit@10"]),
        ({"confirm_window_s": 9}, [(-5, 10), (-5, 10)], []),
        ({"confirm_window_s": 9}, [(-5, 10), (-5, 10), (-5, 10)], ["enter@20"]),
        ({"confirm_window_s": 9}, [(-50, 10), (50, 10), (50, 10)], ["enter@0"]),
        ({"confirm_window_s": 9}, [(-50, 10), *[(50, 10)] * 3], ["enter@0", "exit@30"]),
        ({"assumed_accuracy_m": 5}, [(-6, None)], ["enter@0"]),
        ({}, [(-31, None)], ["enter@0"]),
        ({}, [(-29, None)], []),
        ({}, [(-29, 0)], []),
        ({}, [(-31, float("nan"))], ["enter@0"]),
        ({"preset": "immediate"}, [(0, 5000), (0.1, 5000), (0, 5000)], WIDE),
        ({}, [(0, 0.0001), (0, 10)], ["enter@0"]),
        ({}, [(-50, 10), NAN, (500, 10), NAN, (500, 10)], ["enter@0", "exit@20"]),
    ],
)  # fmt: skip
def test_evidence(
    new_device: New, new_rule: New, policy: dict[str, Any], pings: list[Any], expected: list[str]
) -> None:
    """Every field of the policy decides as documented, at its very edge."""
    device = new_device(new_rule(**policy))
    found = []
    for position, (distance_m, accuracy_m) in enumerate(pings):
        found += device.ping(position * 10, distance_m, accuracy_m=accuracy_m)
    assert expected == [f"{kind}@{at_s:g}" for kind, at_s in found]


@pytest.mark.parametrize(
    ("pings", "expected"),
    [
        ([(0, -50), (60, -50)], PROVEN),
        ([(0, -50), (59.9, -50)], []),
        ([(0, -50), (7000, -50)], [*PROVEN, ("dwell", 300, "proven", "high", 0)]),
        ([(0, -50), (100, 10)], [("dwell", 60, "timer", "medium", 60)]),
        ([(0, -50), (50, 500), (70, 500)], []),
        ([(0, -50), (50, 500), (70, -50)], PROVEN),
        ([(0, -50), (200, 500), (400, 500)], [("dwell", 60, "timer", "medium", 60)]),
        ([(0, -5), (70, -5)], PROVEN),
    ],
)  # fmt: skip
def test_dwell_by_pings(
    new_device: New, new_rule: New, pings: list[Any], expected: list[Any]
) -> None:
    """A dwell occurs at its threshold, proven by a later fix inside, or as the timer would say."""
    device = new_device(new_rule(dwell_s=(60, 300)))
    for at_s, distance_m in pings:
        device.ping(at_s, distance_m)
    dwells = [e for e in device.events if e.kind == "dwell"]
    seen = [("dwell", e.dwell_s, e.reason, e.confidence, e.evidence_age_s) for e in dwells]
    assert expected == seen
    assert all(e.occurred_at == device.events[0].occurred_at + e.dwell_s * 1000 for e in dwells)


def test_dwell_by_timer(new_device: New, new_rule: New) -> None:
    """A timer is asked for, reports each threshold once with the evidence's age, then rests."""
    device = new_device(new_rule(dwell_s=(60, 300)))
    device.ping(0, -50)
    assert 60 == device.due_s
    assert [] == device.advance(59.999)
    assert [("dwell", 60)] == device.advance(60)
    assert 300 == device.due_s
    assert [] == device.advance(61)
    device.ping(250, -50)
    assert [("dwell", 300)] == device.advance(400)
    assert [60, 50] == [e.evidence_age_s for e in device.events if e.kind == "dwell"]
    assert device.due_s is None
    assert [] == device.ping(500, -50)


def test_timer_and_ping_make_the_same_dwell(new_device: New, new_rule: New) -> None:
    """Whoever reports a dwell first, it is the same event of the same visit."""
    by_timer, by_ping = (new_device(new_rule(dwell_s=(60,))) for _ in range(2))
    for device in (by_timer, by_ping):
        device.ping(0, -50)
    by_timer.advance(60)
    by_ping.ping(90, -50)
    assert by_timer.events[1].id == by_ping.events[1].id
    assert by_timer.events[1].occurred_at == by_ping.events[1].occurred_at
    assert [] == by_timer.ping(90, -50)
    assert [] == by_ping.advance(90)


@pytest.mark.parametrize(("limit_s", "due_s"), [(59, None), (60, 60)])
def test_old_evidence_fires_no_timer(
    new_device: New, new_rule: New, limit_s: int, due_s: Any
) -> None:
    """A timer needs evidence no older than the policy says; a later fix still proves the dwell."""
    device = new_device(new_rule(dwell_s=(60,), max_evidence_age_s=limit_s))
    device.ping(0, -50)
    assert due_s == device.due_s
    assert (due_s is not None) == bool(device.advance(100))
    device.ping(5000, -50)
    assert 1 == len([e for e in device.events if e.kind == "dwell"])


def test_doubted_visit_dwells_not(new_device: New, new_rule: New) -> None:
    """While an exit is pending no timer runs; the fix that dispels the doubt proves the dwell."""
    device = new_device(new_rule(dwell_s=(60,)))
    device.ping(0, -50)
    device.ping(30, 500)
    assert device.due_s is None
    assert [] == device.advance(100)
    assert [("dwell", 60)] == device.ping(120, -50)


def test_silence(new_device: New, new_rule: New) -> None:
    """A visit without evidence for the limit ends when the limit passed, by timer or late ping."""
    by_timer, by_ping = (new_device(new_rule(silence_exit_s=600)) for _ in range(2))
    for device in (by_timer, by_ping):
        device.ping(0, -50)
        device.ping(100, -50)
        assert 700 == device.due_s
    assert [] == by_timer.advance(699)
    assert [("exit", 700)] == by_timer.advance(900)
    assert HEADER_SIZE == len(by_timer.record)
    assert [("exit", 700), ("enter", 1000)] == by_ping.ping(1000, -50)
    silent = by_timer.events[1]
    assert ("silent", "low", 700) == (silent.reason, silent.confidence, silent.dwell_s)
    assert silent.id == by_ping.events[1].id


def test_silence_ends_a_pending_enter(new_device: New, new_rule: New) -> None:
    """A pending enter without further evidence is forgotten, and the device is quiet again."""
    device = new_device(new_rule(silence_exit_s=60))
    device.ping(0, -5)
    assert 60 == device.due_s
    assert [] == device.advance(60)
    assert HEADER_SIZE == len(device.record)


def test_dwell_comes_before_the_silence_that_ends_it(new_device: New, new_rule: New) -> None:
    """Timers fire in the order of event time, however late one looks."""
    device = new_device(new_rule(dwell_s=(60, 300), silence_exit_s=100))
    device.ping(0, -50)
    assert [("dwell", 60), ("exit", 100)] == device.advance(9000)


def test_backlog_is_not_cut_by_timers(new_device: New, new_rule: New) -> None:
    """A device an hour behind gets its timers an hour later: the rest of its upload may follow."""
    device = new_device(new_rule(dwell_s=(300,), silence_exit_s=600))
    received_at = device.fix(3600, 0).at
    device.ping(0, -50, received_at=received_at)
    assert 300 + 3600 == device.due_s
    assert [] == device.advance(3601)
    device.ping(100, -50, received_at=received_at)
    assert [("dwell", 300)] == device.ping(400, -50, received_at=received_at)


@pytest.mark.parametrize(
    ("policy", "first", "expected"),
    [
        ({}, -50, [("enter", 0)]),
        ({"initial": "silent"}, -50, []),
        ({"initial": "silent"}, -5, []),
        ({"initial": "silent"}, 500, [("enter", 10)]),
    ],
)
def test_first_ping_inside(
    new_device: New, new_rule: New, policy: dict[str, Any], first: float, expected: list[Any]
) -> None:
    """A device first seen inside enters, or does so in silence; its exit is reported either way."""
    device = new_device(new_rule(**policy))
    assert expected == device.ping(0, first) + device.ping(10, -50)
    if expected == [("enter", 0)]:
        assert "initial" == device.events[0].reason
    device.ping(20, 500)
    assert "exit" == device.ping(30, 500)[0][0]


def test_zone_edited_while_occupied(new_device: New, new_rule: New) -> None:
    """A moved zone says nothing by itself; the next pings judge the visit anew."""
    device = new_device(new_rule(dwell_s=(60,)))
    device.ping(0, -50)
    device.edit("shop", version=1, scale_m=20.0, dwell_s=(60, 90))
    assert [("dwell", 60)] == device.advance(60)
    assert 90 == device.due_s
    device.ping(70, 500)
    assert [("exit", 70)] == device.ping(80, 500)


def test_threshold_added_below_one_reported(new_device: New, new_rule: New) -> None:
    """A shorter dwell configured after a longer one was reported does not fire afterwards."""
    device = new_device(new_rule(dwell_s=(60,)))
    device.ping(0, -50)
    device.ping(60, -50)
    device.edit("shop", dwell_s=(30, 60))
    assert [] == device.ping(100, -50)


@pytest.mark.parametrize("by", ["ping", "advance"])
def test_zone_deleted(new_device: New, new_rule: New, by: str) -> None:
    """A deleted zone ends its visit with its own reason; pending enters and rings just vanish."""
    device = new_device(new_rule(approach_m=(300,)), new_rule("kiosk"))
    device.ping(0, {"shop": -50, "kiosk": -5})
    device.edit("shop", removed=True)
    device.edit("kiosk", removed=True)
    assert [("exit", 20)] == (device.ping(20) if by == "ping" else device.advance(20))
    exit_event = device.events[-1]
    assert ("zone_removed", "shop", 20) == (
        exit_event.reason,
        exit_event.zone_id,
        exit_event.dwell_s,
    )
    assert HEADER_SIZE == len(device.record)


def test_deleted_zone_is_never_entered(new_device: New, new_rule: New) -> None:
    """A tombstone that an index still returns changes nothing."""
    device = new_device(new_rule(removed=True))
    assert [] == device.ping(0, -50)
    assert HEADER_SIZE == len(device.record)


@pytest.mark.parametrize("by", ["ping", "advance"])
def test_zone_without_rule(new_device: New, new_rule: New, by: str) -> None:
    """An entry that nothing is known of any more is dropped without a word."""
    device = new_device(new_rule())
    device.ping(0, -50)
    device.edit("shop", gone=True)
    assert [] == (device.ping(20) if by == "ping" else device.advance(20))
    assert HEADER_SIZE == len(device.record)


def test_exit_before_enter(new_device: New, new_rule: New) -> None:
    """One ping that leaves and enters reports the exit first, whatever the zones are called."""
    device = new_device(
        new_rule("a", preset="immediate"),
        new_rule("b", preset="immediate", dwell_s=(5,)),
        new_rule("c", preset="immediate"),
    )
    device.ping(0, {"b": -50})
    device.ping(10, {"a": -50, "b": 50, "c": -50})
    expected = [("enter", "b"), ("dwell", "b"), ("exit", "b"), ("enter", "a"), ("enter", "c")]
    assert expected == [(e.kind, e.zone_id) for e in device.events]


def test_overlapping_zones_all_report(new_device: New, new_rule: New) -> None:
    """Zones know nothing of one another."""
    device = new_device(*[new_rule(f"z{i}") for i in range(5)])
    assert [("enter", 0)] * 5 == device.ping(0, -50)
    assert 5 == len(entry_keys(device.record))


@pytest.mark.parametrize(
    ("at_s", "fields", "verdict"),
    [
        (100, {}, Verdict.DUPLICATE),
        (100, {"fingerprint": 7}, Verdict.LATE),
        (50, {"fingerprint": 7}, Verdict.LATE),
        (0, {}, Verdict.DUPLICATE),
        (101, {}, Verdict.ACCEPTED),
        (101, {"is_mock": True}, Verdict.HELD),
        (200, {"north_m": 35_100}, Verdict.HELD),
        (200, {"north_m": 34_900}, Verdict.ACCEPTED),
        (100.1, {"north_m": 300}, Verdict.ACCEPTED),
    ],
)
def test_verdicts(
    new_device: New, new_rule: New, at_s: float, fields: dict[str, Any], verdict: Verdict
) -> None:
    """Late, repeated, mocked and impossible pings are told apart, and move nothing."""
    device = new_device(new_rule())
    device.ping(0, 500)
    device.ping(100, 500)
    before = decode(device.record)
    assert [] == [e for e in device.ping(at_s, 400, **fields) if verdict is not Verdict.ACCEPTED]
    assert verdict == device.verdicts[-1]
    after = decode(device.record)
    if verdict is Verdict.ACCEPTED:
        assert at_s * 1000 == after.watermark_at - before.watermark_at + 100_000
    else:
        assert (before.watermark_at, before.lat_e7) == (after.watermark_at, after.lat_e7)
        assert before.entries == after.entries


def test_held_ping_sent_again(new_device: New, new_rule: New) -> None:
    """A held ping counts as held once, then as a duplicate."""
    device = new_device(new_rule())
    for _ in range(2):
        device.ping(0, -50, is_mock=True)
    assert [Verdict.HELD, Verdict.DUPLICATE] == device.verdicts


@pytest.mark.parametrize(
    ("context", "policy", "expected"),
    [
        ({}, {}, []),
        ({"allow_mock": True}, {}, [("enter", 0)]),
        ({}, {"allow_mock": True}, [("enter", 0)]),
    ],
)
def test_mock_allowed(
    new_device: New, new_rule: New, context: dict[str, Any], policy: dict[str, Any], expected: Any
) -> None:
    """Where tenant or zone allow it, a mocked ping counts, flagged and of low confidence."""
    device = new_device(new_rule(**policy), **context)
    assert expected == device.ping(0, -50, is_mock=True)
    assert [(True, "low")] * len(expected) == [(e.is_mock, e.confidence) for e in device.events]


def test_mock_allowed_in_one_zone_only(new_device: New, new_rule: New) -> None:
    """A zone for testers does not open the others to mocked pings."""
    device = new_device(new_rule("lab", allow_mock=True), new_rule())
    device.ping(0, -50, is_mock=True)
    assert ["lab"] == [e.zone_id for e in device.events]


@pytest.mark.parametrize(
    ("gap_s", "case"),
    [
        (60, ((900, 900), {}, [("cross", 15)])),
        (600, ((900, 900), {}, [("cross", 150)])),
        (601, ((900, 900), {}, [])),
        (60, ((900, 900), {"north_m": 7300}, [])),
        (60, ((900, 900), {"accuracy_m": 101}, [])),
        (60, ((-50, 900), {}, [])),
        (60, ((900, -50), {}, [("enter", 60)])),
        (60, ((-5, 900), {}, [("cross", 15)])),
    ],
)
def test_cross(new_device: New, new_rule: New, gap_s: float, case: Any) -> None:
    """A zone passed between two pings is reported, if gap, speed and both ends allow."""
    ends, fields, expected = case
    device = new_device(new_rule(detect_cross=True))
    device.ping(0, ends[0])
    found = device.ping(gap_s, ends[1], crossed={"shop": 0.25}, **({"north_m": 2000} | fields))
    assert expected == found
    if found == [("cross", 15)]:
        event = device.events[-1]
        assert ("path", "medium", "shop") == (event.reason, event.confidence, event.zone_id)
        assert pytest.approx(53.0 + 500 / 111_195, abs=1e-6) == event.lat
        assert event.visit_id is not None


def test_cross_needs_the_flag_and_a_past(new_device: New, new_rule: New) -> None:
    """No crossing for a zone that does not ask, nor for a device without a last position."""
    device = new_device(new_rule(detect_cross=True), new_rule("kiosk"))
    assert [] == device.ping(0, 900, crossed={"shop": 0.5, "kiosk": 0.5})
    assert [("cross", 5)] == device.ping(10, 900, crossed={"shop": 0.5, "kiosk": 0.5})


def test_cross_over_the_date_line(new_device: New, new_rule: New) -> None:
    """The point of crossing lies on the short way round."""
    device = new_device(new_rule(detect_cross=True))
    device.ping(0, 900, lat=0.0, lon=179.99)
    device.ping(60, 900, lat=0.0, lon=-179.98, crossed={"shop": 0.5})
    assert pytest.approx(-179.995) == device.events[0].lon


def test_approach(new_device: New, new_rule: New) -> None:
    """Each ring is reported once per visit of the ring; jitter at its edge changes nothing."""
    device = new_device(new_rule(approach_m=(200, 1000)))
    walk = [1500, 990, 1010, 990, 500, 195, 205, 190, -50, 190, 230, 150, 1200, 1200, 900]
    found = [e for i, d in enumerate(walk) for e in device.ping(i * 30, d)]
    kinds = [("approach", 30.0), ("approach", 150.0), ("enter", 240.0), ("exit", 270.0)]
    assert [*kinds, ("approach", 420.0)] == found
    assert [1000, 200, None, None, 1000] == [e.within_m for e in device.events]
    assert {None} == {e.visit_id for e in device.events if e.kind == "approach"}


def test_ring_taken_from_the_configuration(new_device: New, new_rule: New) -> None:
    """A ring that no trigger listens to any more is forgotten at the next ping."""
    device = new_device(new_rule(approach_m=(200,)))
    device.ping(0, 100)
    device.edit("shop", approach_m=())
    assert [] == device.ping(10, 100)
    assert HEADER_SIZE == len(device.record)


def test_event_is_complete(new_device: New, new_rule: New) -> None:
    """An event names who, where, when, which visit and how sure."""
    device = new_device(new_rule(), user_id="ada")
    device.ping(0, -50, north_m=10)
    device.ping(60, 500, accuracy_m=7.0)
    device.ping(90, 500)
    enter, leave = device.events
    assert ("acme", "phone-1", "ada", "geofence", "shop") == (
        enter.tenant,
        enter.device_id,
        enter.user_id,
        enter.zone_type,
        enter.zone_id,
    )
    assert enter.visit_id == leave.visit_id
    assert enter.id != leave.id
    assert (60, "confirmed", "high") == (leave.dwell_s, leave.reason, leave.confidence)
    assert leave.received_at == leave.occurred_at + 30_500
    assert (53.0 + 10 / 111_195, 8.0, 10.0) == (enter.lat, enter.lon, enter.accuracy_m)


def test_nothing_due(new_device: New, new_rule: New) -> None:
    """Time alone changes nothing of a device that waits for nothing."""
    device = new_device(new_rule())
    device.ping(0, -50)
    record = device.record
    assert [] == device.advance(1e6)
    assert record == device.record
