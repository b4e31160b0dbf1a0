"""What holds for any input: order, repetition, batching, timers, kills; and a slow reference."""

from collections.abc import Sequence
from itertools import pairwise
from math import hypot
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from triggers.ids import zone_key
from triggers.machine import StepContext, advance, run, step
from triggers.model import Event, Fix, Policy, ZoneCrossing, ZoneFix, ZoneRule
from triggers.state import HEADER_SIZE, decode, encode

START = 1_760_000_000_000
CTX = StepContext("acme", "phone-1")


def geofence(zone_id: str, *, dwell_s: tuple[int, ...] = (), **fields: Any) -> ZoneRule:
    more = {k: fields.pop(k) for k in ("approach_m", "detect_cross") if k in fields}
    key = zone_key("acme", "geofence", zone_id)
    return ZoneRule(key, "geofence", zone_id, 100.0, Policy(**fields), dwell_s, **more)


ROBUST = geofence("robust", dwell_s=(60, 300), max_evidence_age_s=150, approach_m=(150,))
EAGER = geofence("eager", dwell_s=(30, 120), preset="immediate", silence_exit_s=120)
RULES = {rule.key: rule for rule in (ROBUST, EAGER)}

DISTANCES = st.sampled_from([-90.0, -5.0, 10.0, 35.0, 140.0, 400.0])
ACCURACIES = st.sampled_from([4.0, 30.0, 90.0, 17_000.0])
READINGS = st.tuples(DISTANCES, DISTANCES, ACCURACIES)
GAPS_S = st.sampled_from([1, 30, 60, 150, 301])
TRACKS = st.lists(st.tuples(GAPS_S, READINGS), min_size=1, max_size=25)


def make_fix(at_s: int, reading: tuple[float, float, float]) -> Fix:
    robust_m, eager_m, accuracy_m = reading
    at = START + at_s * 1000
    zones = (ZoneFix(ROBUST.key, robust_m), ZoneFix(EAGER.key, eager_m))
    return Fix(at, at, 53.0, 8.0, accuracy_m, fingerprint=at_s + 1, zones=zones)


def make_track(track: Sequence[tuple[int, tuple[float, float, float]]]) -> list[Fix]:
    at_s, fixes = 0, []
    for gap_s, reading in track:
        at_s += gap_s
        fixes.append(make_fix(at_s, reading))
    return fixes


def essence(events: Sequence[Event]) -> list[tuple[Any, ...]]:
    """Events without what may differ by who reported first: a timer or a ping."""
    return sorted((e.id, e.kind, e.zone_id, e.occurred_at, e.dwell_s or 0) for e in events)


@settings(max_examples=60, deadline=None)
@given(TRACKS, st.randoms(use_true_random=False))
def test_order_and_repetition(track: Any, chance: Any) -> None:
    """Any permutation of a batch, with any repetition, gives byte-identical record and events."""
    fixes = make_track(track)
    expected = run(None, fixes, RULES, CTX)
    shuffled = fixes + chance.choices(fixes, k=5)
    chance.shuffle(shuffled)
    found = run(None, shuffled, RULES, CTX)
    assert (expected.record, expected.events, expected.due_at) == (
        found.record,
        found.events,
        found.due_at,
    )


@settings(max_examples=60, deadline=None)
@given(TRACKS, st.lists(st.integers(0, 25), max_size=6))
def test_batching_and_resending(track: Any, cuts: list[int]) -> None:
    """However the track is cut into batches, each sent twice, the result is the same."""
    fixes = make_track(track)
    expected = run(None, fixes, RULES, CTX)
    record, events = None, []
    bounds = sorted({0, len(fixes), *[c for c in cuts if c < len(fixes)]})
    for begin, end in pairwise(bounds):
        for _ in range(2):
            ran = run(record, fixes[begin:end], RULES, CTX)
            record = ran.record
            events += ran.events
    again = run(record, fixes, RULES, CTX)
    assert (expected.record, list(expected.events)) == (record, events)
    assert (record, ()) == (again.record, again.events)


@settings(max_examples=60, deadline=None)
@given(TRACKS)
def test_timers_and_late_pings_agree(track: Any) -> None:
    """With every timer fired on time, or none at all, the same events come out."""
    fixes = make_track(track)
    silent = run(None, fixes, RULES, CTX)
    record, events, due_at = None, [], None
    for fix in fixes:
        while due_at is not None and due_at <= fix.at:
            fired = advance(record, due_at, RULES, CTX)
            assert fired.due_at is None or fired.due_at > due_at
            record, due_at = fired.record, fired.due_at
            events += fired.events
        stepped = step(record, fix, RULES, CTX)
        record, due_at = stepped.record, stepped.due_at
        events += stepped.events
    assert essence(silent.events) == essence(events)
    assert silent.record == record


@settings(max_examples=60, deadline=None)
@given(TRACKS)
def test_invariants_of_any_track(track: Any) -> None:
    """Enter and exit alternate; dwells lie in visits, each threshold once; records round-trip."""
    ran = run(None, make_track(track), RULES, CTX)
    assert ran.record == encode(decode(ran.record))
    assert len(ran.events) == len({e.id for e in ran.events})
    for zone in ("robust", "eager"):
        turns = [e for e in ran.events if e.zone_id == zone and e.kind in ("enter", "exit")]
        assert ["enter", "exit"] * (len(turns) // 2) == [
            e.kind for e in turns[: len(turns) // 2 * 2]
        ]
        assert [e.occurred_at for e in turns] == sorted(e.occurred_at for e in turns)
        ends = {e.visit_id: e.occurred_at for e in turns if e.kind == "exit"}
        begins = {e.visit_id: e.occurred_at for e in turns if e.kind == "enter"}
        for dwell in (e for e in ran.events if e.kind == "dwell" and e.zone_id == zone):
            assert begins[dwell.visit_id] + (dwell.dwell_s or 0) * 1000 == dwell.occurred_at
            assert dwell.occurred_at <= ends.get(dwell.visit_id, dwell.occurred_at)


RADIUS_M = 100.0
CIRCLE = geofence("circle", preset="immediate", detect_cross=True)
POINTS = st.tuples(st.integers(-400, 400), st.integers(-400, 400))


@settings(max_examples=60, deadline=None)
@given(st.lists(POINTS, min_size=2, max_size=10))
def test_sparse_pings_find_what_dense_ones_would(path: list[tuple[int, int]]) -> None:
    """Enters and crossings of a sparse track are the enters of a dense sampling of its path."""
    nearest = [_nearest_m(a, b) for a, b in pairwise(path)]
    assume(all(abs(d - RADIUS_M) > 2 for d in [*nearest, *[hypot(*p) for p in path]]))
    sparse = _walk(path, 30)
    dense = _walk(
        [
            (a[0] + (b[0] - a[0]) * i / 300, a[1] + (b[1] - a[1]) * i / 300)
            for a, b in pairwise(path)
            for i in range(300)
        ]
        + [path[-1]],
        0.1,
    )
    found = [e.occurred_at for e in sparse if e.kind in ("enter", "cross")]
    expected = [e.occurred_at for e in dense if e.kind == "enter"]
    assert len(expected) == len(found)
    assert all(-200 <= late_ms <= 30_000 for late_ms in map(int.__sub__, found, expected))


def _walk(path: Sequence[tuple[float, float]], interval_s: float) -> Sequence[Event]:
    fixes, before = [], path[0]
    for i, here in enumerate(path):
        at = START + round(i * interval_s * 1000)
        zones = (ZoneFix(CIRCLE.key, hypot(*here) - RADIUS_M),)
        fraction = _entry_fraction(before, here)
        crossings = () if fraction is None else (ZoneCrossing(CIRCLE.key, fraction),)
        lat, lon = here[1] / 111_195, here[0] / 111_195
        fixes.append(
            Fix(at, at, lat, lon, 5.0, fingerprint=i + 1, zones=zones, crossings=crossings)
        )
        before = here
    return run(None, fixes, {CIRCLE.key: CIRCLE}, CTX).events


def _nearest_m(a: tuple[float, float], b: tuple[float, float]) -> float:
    return min(
        hypot(a[0] + (b[0] - a[0]) * i / 500, a[1] + (b[1] - a[1]) * i / 500) for i in range(501)
    )


def _entry_fraction(a: tuple[float, float], b: tuple[float, float]) -> float | None:
    """Where the segment first meets the circle, from the quadratic equation."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    square = dx * dx + dy * dy
    half = a[0] * dx + a[1] * dy
    under = half * half - square * (a[0] ** 2 + a[1] ** 2 - RADIUS_M**2)
    if square == 0 or under < 0:
        return None
    fraction = (-half - under**0.5) / square
    return fraction if 0 <= fraction <= 1 else None


class Reference:
    """One zone judged slowly: everything known is gone through again from the start, each time."""

    def __init__(self, rule: ZoneRule) -> None:
        self.rule = rule
        self.is_eager = rule.policy.preset == "immediate"
        self.silence_s = rule.policy.silence_exit_s or 10**9
        self.max_age_s = rule.policy.max_evidence_age_s or 1800

    def events(self, history: Sequence[tuple[int, float, float]], clock_s: int) -> list[Any]:
        """(kind, second, dwell) of all that happened up to the clock."""
        self.out: list[Any] = []
        self.entered: int | None = None
        self.last = 0
        self.run: list[int] = []  # fixes of a doubt: inside while out, outside while in
        self.dwelled = 0
        for at_s, distance_m, accuracy_m in history:
            self._pass(at_s, self._side(distance_m, accuracy_m) == "in")
            self._fix(at_s, distance_m, accuracy_m)
        self._pass(clock_s, False)
        return self.out

    def _side(self, d: float, a: float) -> str:
        if self.is_eager:
            return "in" if d <= 0 else "out"
        if d <= 0:
            return "in" if a <= 100 else "?"
        is_clear = d - min(a, 50) > 20 and (a < 1000 or d - a > 20)
        return "out" if is_clear else "?"

    def _pass(self, until_s: int, is_proof: bool) -> None:
        is_open = self.entered is not None or bool(self.run)
        for second in range(self.last, until_s + 1) if is_open else ():
            is_doubted = self.entered is not None and bool(self.run)
            for dwell_s in self.rule.dwell_s if self.entered is not None and not is_doubted else ():
                is_due = second == self.entered + dwell_s > self.entered + self.dwelled
                will_be_proven = is_proof and self.last + self.silence_s > until_s
                if is_due and second - self.last <= self.max_age_s and not will_be_proven:
                    self._dwell(dwell_s)
            if second == self.last + self.silence_s:
                if self.entered is not None:
                    self.out.append(("exit", second, second - self.entered))
                self.entered, self.run = None, []
                return

    def _fix(self, at_s: int, d: float, a: float) -> None:
        side = self._side(d, a)
        if side == "?":
            return
        if self.entered is None:
            if side == "out":
                self.run = []
                return
            self.run.append(at_s)
            self.last = at_s
            begun = self._confirmed(1 if self.is_eager or -d >= a else 2)
            if begun is not None:
                self.entered, self.run, self.dwelled = begun, [], 0
                self.out.append(("enter", begun, 0))
                self._prove(at_s)
        elif side == "in":
            self.run, self.last = [], at_s
            self._prove(at_s)
        else:
            self.run.append(at_s)
            left = self._confirmed(1 if self.is_eager else 2)
            if left is not None:
                self.out.append(("exit", left, left - self.entered))
                self.entered, self.run = None, []

    def _confirmed(self, needed: int) -> int | None:
        """The first fix of the window that holds enough of the run, or the last window's."""
        first = self.run[0]
        members = 0
        for at_s in self.run:
            if at_s - first > 300:
                first, members = at_s, 0
            members += 1
        return first if members >= needed or len(self.run) > needed else None

    def _prove(self, at_s: int) -> None:
        for dwell_s in self.rule.dwell_s:
            if self.entered is not None and self.dwelled < dwell_s <= at_s - self.entered:
                self._dwell(dwell_s)

    def _dwell(self, dwell_s: int) -> None:
        assert self.entered is not None
        self.dwelled = dwell_s
        self.out.append(("dwell", self.entered + dwell_s, dwell_s))


class Life(RuleBasedStateMachine):
    """A device's life: pings, repeats, timers, crashes before a commit, zones deleted and made."""

    @initialize()
    def begin(self) -> None:
        self.record: bytes | None = None
        self.rules = dict(RULES)
        self.clock_s = 0
        self.fixes: list[Fix] = []
        self.history: dict[str, list[tuple[int, float, float]]] = {"robust": [], "eager": []}
        self.past: dict[str, list[Any]] = {"robust": [], "eager": []}
        self.seen: dict[str, list[Any]] = {"robust": [], "eager": []}
        self.ids: set[str] = set()

    @rule(gap_s=GAPS_S, reading=READINGS, is_killed=st.booleans())
    def ping(self, gap_s: int, reading: tuple[float, float, float], is_killed: bool) -> None:
        self.clock_s += gap_s
        fix = make_fix(self.clock_s, reading)
        if is_killed:
            step(self.record, fix, self.rules, CTX)  # done, but never committed
        self.fixes.append(fix)
        self.history["robust"].append((self.clock_s, reading[0], reading[2]))
        self.history["eager"].append((self.clock_s, reading[1], reading[2]))
        self.take(run(self.record, [fix], self.rules, CTX))

    @rule(gap_s=GAPS_S)
    def wait(self, gap_s: int) -> None:
        self.clock_s += gap_s
        self.take(advance(self.record, START + self.clock_s * 1000, self.rules, CTX))

    @precondition(lambda self: self.fixes)
    @rule(chance=st.randoms(use_true_random=False))
    def resend(self, chance: Any) -> None:
        again = chance.sample(self.fixes, min(6, len(self.fixes)))
        ran = run(self.record, again, self.rules, CTX)
        assert () == ran.events
        assert self.record == ran.record

    @rule(zone=st.sampled_from([ROBUST, EAGER]))
    def delete_and_make_again(self, zone: ZoneRule) -> None:
        gone = ZoneRule(zone.key, zone.type, zone.id, 100.0, zone.policy, removed=True)
        expected = Reference(zone).events(self.history[zone.id], self.clock_s)
        self.take(advance(self.record, START + self.clock_s * 1000, self.rules, CTX))
        now = START + self.clock_s * 1000
        self.take(advance(self.record, now, self.rules | {zone.key: gone}, CTX))
        if [k for k, *_ in expected if k != "dwell"][-1:] == ["enter"]:
            entered_s = [at_s for k, at_s, _ in expected if k == "enter"][-1]
            expected.append(("exit", self.clock_s, self.clock_s - entered_s))
        self.past[zone.id] += expected
        self.history[zone.id] = []

    def take(self, answer: Any) -> None:
        self.record = answer.record
        for event in answer.events:
            assert event.id not in self.ids
            self.ids.add(event.id)
            if event.kind != "approach":
                at_s = (event.occurred_at - START) // 1000
                self.seen[event.zone_id].append((event.kind.value, at_s, event.dwell_s or 0))

    @invariant()
    def agrees_with_reference(self) -> None:
        if self.record is None:
            return
        for zone in (ROBUST, EAGER):
            now = Reference(zone).events(self.history[zone.id], self.clock_s)
            self._compare(zone.id, self.past[zone.id] + now)

    def _compare(self, zone_id: str, expected: list[Any]) -> None:
        """All events but dwells in order; dwells as a set (their instants tell their order)."""
        found = self.seen[zone_id]
        assert [e for e in expected if e[0] != "dwell"] == [e for e in found if e[0] != "dwell"]
        late = [e for e in found if e[0] == "dwell"]
        assert sorted(e for e in expected if e[0] == "dwell" and e[1] <= self.clock_s) == sorted(
            late
        )

    @invariant()
    def record_is_small(self) -> None:
        if self.record is not None:
            assert len(self.record) <= HEADER_SIZE + 3 * 56


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=120, stateful_step_count=25, deadline=None)
