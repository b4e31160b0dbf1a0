"""The state machine: what a ping, a sighting or a timer does to a device's record.

Pure functions from (record, input, rules) to (record, events, verdict, next timer); the theory
stands at the head of ``triggers.transitions``, beside the table. What a ping says about each zone
is judged in ``triggers.evidence``.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from triggers.beacon_presence import forget_old_ends, hear, hear_run
from triggers.evidence import (
    IMPOSSIBLE_SPEED_MPS,
    VISITING,
    Sign,
    accuracy_of,
    implied_speed_mps,
    judge,
    weigh,
)
from triggers.model import EventKind, Fix, Stepped, Verdict, ZoneRule
from triggers.policy import Rules
from triggers.state import NEVER, RECENT, DeviceState, Entry, Kind, decode
from triggers.transitions import Signal
from triggers.visits import BEACON, OUTSIDE, Confidence, Mark, Ran, StepContext, Visits

__all__ = ["Ran", "StepContext", "advance", "hear", "hear_run", "run", "step"]

CROSS_GAP_MS = 600_000
CROSS_SPEED_MPS = 120.0  # the fastest trains; who flies over a zone does not cross it
CROSS_SURE_GAP_MS = 60_000  # over a longer gap the straight path is a guess

REMOVED = int(Signal.REMOVED)
INSIDE, UNSURE = Sign.INSIDE, Sign.UNSURE


class _Pending(NamedTuple):
    """A zone that the ping at hand must be applied to."""

    entry: Entry
    rule: ZoneRule
    rules: Rules
    distance_m: float
    sign: Sign


def step(
    record: bytes | None, fix: Fix, zones: Mapping[int, ZoneRule], ctx: StepContext
) -> Stepped:
    """Apply one ping.

    Args:
        record: the device's record, None for a device never heard of.
        fix: the ping, with its distance to every zone in reach and every zone the record has an
            entry for; a distance that is missing or NaN says nothing about its zone.
        zones: the rule of each of those zones. A rule with ``removed`` ends the visits to it; the
            entry of a geofence without rule is dropped in silence.
        ctx: whose record it is.

    Returns:
        The new record (the same bytes if nothing changed), the events in reporting order, the
        verdict, and when ``advance`` must be called if nothing else comes.

    Raises:
        RecordError: the record is damaged or of another version.
    """
    ran = run(record, (fix,), zones, ctx)
    return Stepped(ran.record, ran.events, ran.verdicts[0], ran.due_at)


def run(
    record: bytes | None,
    fixes: Sequence[Fix],
    zones: Mapping[int, ZoneRule],
    ctx: StepContext,
) -> Ran:
    """Apply several pings of one device in event order, whatever order they are given in.

    The same as ``step`` after ``step``, decoding and encoding once. Crossings of a ping whose
    forerunner in the batch was held are ignored: their path starts at a place that is not believed.
    """
    visits = Visits(decode(record), zones, ctx)
    verdicts = [Verdict.ACCEPTED] * len(fixes)
    is_path_known = True
    for position in sorted(range(len(fixes)), key=lambda i: (fixes[i].at, fixes[i].fingerprint)):
        verdict = verdicts[position] = _take(visits, fixes[position], is_path_known)
        if verdict is Verdict.ACCEPTED or verdict is Verdict.HELD:
            is_path_known = verdict is Verdict.ACCEPTED
    soon_at = max([fix.received_at for fix in fixes], default=0)
    return Ran(visits.record(), tuple(visits.events), tuple(verdicts), visits.due_at(soon_at))


def advance(
    record: bytes | None, now: int, zones: Mapping[int, ZoneRule], ctx: StepContext
) -> Stepped:
    """Let time pass: dwells and exits by silence that are due, visits to zones that are gone.

    Args:
        record: the device's record.
        now: epoch ms, processing time. A device whose latest evidence came late is judged as much
            later, so that the rest of its backlog can still speak.
        zones: the rules of all zones the record has entries for; an entry without rule is dropped.
        ctx: whose record it is.
    """
    visits = Visits(decode(record), zones, ctx)
    state = visits.state
    state.entries = [e for e in state.entries if e.phase == OUTSIDE or e.key in zones]
    for entry in state.entries:
        if entry.phase == OUTSIDE:
            continue
        rule = zones[entry.key]
        rules = visits.rules(rule, entry.ring_m)
        visits.pass_time(entry, rule, rules, until=now - entry.lag_ms, received_at=now)
        if rule.removed and entry.phase != OUTSIDE:
            visits.apply(entry, rule, REMOVED, Mark(now, now, "zone_removed"))
            entry.evidence_at = now
    visits.drop_ended()
    forget_old_ends(state, now)
    visits.order_by_time(0)
    return Stepped(visits.record(), tuple(visits.events), Verdict.ACCEPTED, visits.due_at(now))


def _take(visits: Visits, fix: Fix, is_path_known: bool) -> Verdict:
    """Apply one ping to the visits; move watermark, position and fingerprints."""
    state = visits.state
    speed_mps = implied_speed_mps(state, fix)
    is_suspect = fix.is_mock or speed_mps > IMPOSSIBLE_SPEED_MPS
    verdict = _verdict(visits, fix, is_suspect)
    if verdict is Verdict.ACCEPTED:
        crossed = is_path_known and fix.crossings and speed_mps <= CROSS_SPEED_MPS
        paths = list(_crossings(visits, fix)) if crossed else []
        start = len(visits.events)
        pending = _known_zones(visits, fix, is_suspect) if state.entries else []
        visits.order_by_time(start)
        start = len(visits.events)
        pending += _new_zones(visits, fix, is_suspect)
        for zone in pending:
            _apply(visits, fix, zone, is_suspect)
        for rule, mark in paths:
            visit = visits.visit_of(rule, mark.at)
            visits.report(EventKind.CROSS, rule, mark, occurred_at=mark.at, visit=visit)
        visits.order(start)
        if pending:
            visits.drop_ended()
        forget_old_ends(state, fix.at)
        state.watermark_at = fix.at
        state.lat_e7, state.lon_e7 = round(fix.lat * 1e7), round(fix.lon * 1e7)
    if verdict is Verdict.ACCEPTED or verdict is Verdict.HELD:
        state.recent = (fix.fingerprint, *state.recent[: RECENT - 1])
    return verdict


def _verdict(visits: Visits, fix: Fix, is_suspect: bool) -> Verdict:
    state = visits.state
    if fix.at <= state.watermark_at:
        return Verdict.DUPLICATE if fix.fingerprint in state.recent else Verdict.LATE
    if not is_suspect or visits.ctx.allow_mock or _is_mock_welcome(visits, fix):
        return Verdict.ACCEPTED
    return Verdict.DUPLICATE if fix.fingerprint in state.recent else Verdict.HELD


def _is_mock_welcome(visits: Visits, fix: Fix) -> bool:
    """Whether some zone at this place takes mocked fixes, as one set up for testing does."""
    rules = [visits.zones.get(key) for key, _ in fix.zones]
    return any(rule is not None and visits.rules(rule).allow_mock for rule in rules)


def _known_zones(visits: Visits, fix: Fix, is_suspect: bool) -> list[_Pending]:
    """Zones and rings that have an entry: their time passes up to the ping."""
    distances: dict[int, float] = dict(fix.zones)
    pending: list[_Pending] = []
    kept: list[Entry] = []
    for entry in visits.state.entries:
        if entry.kind == BEACON:
            kept.append(entry)
            continue
        rule = visits.zones.get(entry.key)
        if rule is None or (entry.ring_m and entry.ring_m not in rule.approach_m):
            continue
        kept.append(entry)
        rules = visits.rules(rule, entry.ring_m)
        distance_m = distances.get(entry.key, float("nan")) - entry.ring_m
        sign = _sign(visits, fix, rules, distance_m, is_suspect)
        is_proven = sign is INSIDE and not rule.removed
        if is_proven and visits.refresh(entry, rule, rules, at=fix.at, received_at=fix.received_at):
            continue
        visits.pass_time(
            entry, rule, rules, until=fix.at, received_at=fix.received_at, is_proven=is_proven
        )
        pending.append(_Pending(entry, rule, rules, distance_m, sign))
    visits.state.entries = kept
    return pending


def _new_zones(visits: Visits, fix: Fix, is_suspect: bool) -> list[_Pending]:
    """Zones and rings without an entry that the ping shows the device inside of; they get one."""
    if not fix.zones:
        return []
    pending: list[_Pending] = []
    entries = visits.state.entries
    known = {(entry.key, entry.ring_m) for entry in entries}
    for key, distance_m in fix.zones:
        rule = visits.zones.get(key)
        if rule is None or rule.removed:
            continue
        for ring_m in (0, *rule.approach_m):
            if distance_m > ring_m or (key, ring_m) in known:
                continue
            rules = visits.rules(rule, ring_m)
            sign = _sign(visits, fix, rules, distance_m - ring_m, is_suspect)
            if sign is INSIDE:
                entry = Entry(OUTSIDE, int(Kind.GEOFENCE), 0, 0, ring_m, key, 0, 0)
                entries.append(entry)
                pending.append(_Pending(entry, rule, rules, distance_m - ring_m, sign))
    return pending


def _sign(visits: Visits, fix: Fix, rules: Rules, distance_m: float, is_suspect: bool) -> Sign:
    if is_suspect and not (visits.ctx.allow_mock or rules.allow_mock):
        return UNSURE
    return judge(rules, distance_m, accuracy_of(rules, fix.accuracy_m))


def _apply(visits: Visits, fix: Fix, zone: _Pending, is_suspect: bool) -> None:
    entry, rule, rules, distance_m, sign = zone
    confidence: Confidence = "high"
    if rule.removed:
        signal, reason = REMOVED, "zone_removed"
    elif sign is UNSURE:
        return
    else:
        accuracy_m = accuracy_of(rules, fix.accuracy_m)
        signal, reason, confidence = weigh(
            entry, rules, sign, at=fix.at, distance_m=distance_m, accuracy_m=accuracy_m
        )
    is_initial = entry.phase not in VISITING and _is_initial(visits.state, entry, fix)
    mark = Mark(
        fix.at,
        fix.received_at,
        "initial" if is_initial else reason,
        "low" if is_suspect else confidence,
        fix.lat,
        fix.lon,
        fix.accuracy_m,
        fix.is_mock,
        silent=is_initial and rules.initial_silent,
    )
    visits.apply(entry, rule, signal, mark)


def _is_initial(state: DeviceState, entry: Entry, fix: Fix) -> bool:
    """Whether the visit that may begin was under way when the device was first seen."""
    if state.watermark_at == NEVER:
        entry.pending_at = fix.at
    return entry.pending_at != 0


def _crossings(visits: Visits, fix: Fix) -> Iterator[tuple[ZoneRule, Mark]]:
    """Zones the straight path passed through, the device being in them at neither end."""
    state = visits.state
    gap_ms = fix.at - state.watermark_at
    if state.watermark_at == NEVER or gap_ms > CROSS_GAP_MS:
        return
    visited = {e.key for e in state.entries if e.phase in VISITING and not e.ring_m}
    inside = {key for key, distance_m in fix.zones if distance_m <= 0}
    for key, fraction in fix.crossings:
        rule = visits.zones.get(key)
        if rule is None or rule.removed or not rule.detect_cross or key in visited | inside:
            continue
        rules = visits.rules(rule)
        if accuracy_of(rules, fix.accuracy_m) > rules.max_accuracy_m:
            continue
        lat, lon = _between(state, fix, fraction)
        yield (
            rule,
            Mark(
                state.watermark_at + round(gap_ms * fraction),
                fix.received_at,
                "path",
                "medium" if gap_ms <= CROSS_SURE_GAP_MS else "low",
                lat,
                lon,
                fix.accuracy_m,
                fix.is_mock,
            ),
        )


def _between(state: DeviceState, fix: Fix, fraction: float) -> tuple[float, float]:
    """The point at a fraction of the way from the last position, the short way round."""
    lat, lon = state.lat_e7 / 1e7, state.lon_e7 / 1e7
    east = (fix.lon - lon + 180.0) % 360.0 - 180.0
    lon = (lon + east * fraction + 180.0) % 360.0 - 180.0
    return round(lat + (fix.lat - lat) * fraction, 7), round(lon, 7)
