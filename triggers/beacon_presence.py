"""Presence by beacons: what a sighting does to a device's record.

A sighting can only ever say *near*. RSSI fluctuates even at rest and packets are missed all the
time, so absence is never concluded from a weak or missing sighting, only from silence: no sighting
strong enough within the zone's silence limit. Entering takes one strong sighting, or two within
the confirmation window. Judged is the filtered RSSI, against thresholds or a proximity class (a
threshold relative to the beacon's measured power), both with hysteresis; distance is never the
judge, for path-loss models differ by a factor of three.

Each zone has its own watermark, since receivers report independently of one another and of the
phone. When a visit ends, its entry stays for a while as a guard, so that a batch sent again does
not open it anew; then the header's beacon watermark takes over.
"""

from collections.abc import Mapping, Sequence

from triggers.evidence import arriving
from triggers.model import Heard, Stepped, Verdict, ZoneRule
from triggers.policy import Rules
from triggers.state import DeviceState, Entry, Kind, decode
from triggers.transitions import Signal
from triggers.visits import (
    BEACON,
    ENTERING,
    INSIDE,
    OUTSIDE,
    Confidence,
    Mark,
    Ran,
    StepContext,
    Visits,
)

STRONG_RSSI_DBM = -70.0  # one sighting this strong needs no second
FILTER_GAP_MS = 20_000  # after a longer pause the filter starts anew
RISE, FALL = 0.5, 0.2  # share of a new reading: noise and bodies only ever weaken a signal
GUARD_MS = 600_000  # how long an ended visit is remembered by itself
UNKNOWN_RSSI_DBM = (0.0, 127.0)  # how radios say they could not measure

IN = int(Signal.IN)
REMOVED = int(Signal.REMOVED)


def hear(
    record: bytes | None, heard: Heard, zones: Mapping[int, ZoneRule], ctx: StepContext
) -> Stepped:
    """Apply one sighting.

    Args:
        record: the device's record, None for a device never heard of.
        heard: the sighting.
        zones: the rules of the beacon zone and of every zone the record has an entry for. A
            sighting of a zone without rule is accepted and changes nothing.
        ctx: whose record it is.

    Raises:
        RecordError: the record is damaged or of another version.
    """
    ran = hear_run(record, (heard,), zones, ctx)
    return Stepped(ran.record, ran.events, ran.verdicts[0], ran.due_at)


def hear_run(
    record: bytes | None,
    sightings: Sequence[Heard],
    zones: Mapping[int, ZoneRule],
    ctx: StepContext,
) -> Ran:
    """Apply several sightings of one device in event order, the strongest of an instant first.

    The same as ``hear`` after ``hear``, decoding and encoding once; verdicts in the order given.
    """
    visits = Visits(decode(record), zones, ctx)
    verdicts = [Verdict.ACCEPTED] * len(sightings)
    for position in sorted(range(len(sightings)), key=lambda i: _order(sightings[i])):
        verdicts[position] = _take(visits, sightings[position])
    latest_at = max([heard.at for heard in sightings], default=0)
    forget_old_ends(visits.state, latest_at)
    soon_at = max([heard.received_at for heard in sightings], default=0)
    return Ran(visits.record(), tuple(visits.events), tuple(verdicts), visits.due_at(soon_at))


def forget_old_ends(state: DeviceState, at: int) -> None:
    """Let the header's watermark take over from guards older than ``GUARD_MS``."""
    kept = []
    for entry in state.entries:
        if entry.phase == OUTSIDE and entry.evidence_at + GUARD_MS < at:
            state.beacon_watermark_at = max(state.beacon_watermark_at, entry.evidence_at)
        else:
            kept.append(entry)
    state.entries = kept


def _order(heard: Heard) -> tuple[int, int, float, int]:
    return heard.at, heard.key, -heard.rssi_dbm, heard.fingerprint


def _take(visits: Visits, heard: Heard) -> Verdict:
    """Apply one sighting to its zone's entry."""
    state = visits.state
    rule = visits.zones.get(heard.key)
    if rule is None or heard.rssi_dbm in UNKNOWN_RSSI_DBM:
        return Verdict.ACCEPTED
    rules = visits.rules(rule)
    entry = next((e for e in state.entries if e.key == heard.key and e.kind == BEACON), None)
    if entry is None:
        if heard.at <= state.beacon_watermark_at:
            return Verdict.LATE
        if not rule.removed and _is_near(rules, heard, heard.rssi_dbm, is_inside=False):
            entry = Entry(OUTSIDE, int(Kind.BEACON), 0, 0, 0, heard.key, 0, 0)
            state.entries.append(entry)
            _witness(visits, entry, rule, heard)
        return Verdict.ACCEPTED
    if heard.at <= max(entry.pending_at, entry.evidence_at):
        return _take_older(visits, entry, rule, heard)
    _take_newer(visits, entry, rule, heard)
    return Verdict.ACCEPTED


def _take_newer(visits: Visits, entry: Entry, rule: ZoneRule, heard: Heard) -> None:
    rules = visits.rules(rule)
    is_fresh = entry.phase != OUTSIDE and heard.at - entry.pending_at <= FILTER_GAP_MS
    rssi_dbm = _filtered(entry.rssi_dbm, heard.rssi_dbm) if is_fresh else heard.rssi_dbm
    is_near = _is_near(rules, heard, rssi_dbm, is_inside=entry.phase == INSIDE)
    start = len(visits.events)
    visits.pass_time(
        entry, rule, rules, until=heard.at, received_at=heard.received_at, is_proven=is_near
    )
    visits.order_by_time(start)
    if rule.removed:
        _remove(visits, entry, rule, heard)
        return
    if entry.phase == OUTSIDE:  # since long ago, or by the silence just found
        rssi_dbm = heard.rssi_dbm
        is_near = _is_near(rules, heard, rssi_dbm, is_inside=False)
    entry.rssi_dbm = rssi_dbm
    if is_near:
        _witness(visits, entry, rule, heard)
    else:
        entry.pending_at = heard.at


def _take_older(visits: Visits, entry: Entry, rule: ZoneRule, heard: Heard) -> Verdict:
    """A sighting from before the latest: at best the second one that a pending enter waits for."""
    rules = visits.rules(rule)
    is_second = (
        entry.phase == ENTERING
        and 0 < entry.since_at - heard.at <= rules.confirm_window_ms
        and _is_near(rules, heard, heard.rssi_dbm, is_inside=False)
    )
    if not is_second:
        return Verdict.DUPLICATE if heard.at == entry.pending_at else Verdict.LATE
    latest_at, evidence_at = entry.pending_at, entry.evidence_at
    signal = arriving(entry, rules, entry.since_at, is_deep=heard.rssi_dbm >= STRONG_RSSI_DBM)
    entry.since_at = heard.at
    mark = _mark(entry, heard)._replace(at=evidence_at)
    visits.apply(entry, rule, signal, mark)
    entry.pending_at = latest_at
    return Verdict.ACCEPTED


def _witness(visits: Visits, entry: Entry, rule: ZoneRule, heard: Heard) -> None:
    """Apply a sighting that is near enough to count."""
    start = len(visits.events)
    if entry.phase == OUTSIDE:
        entry.rssi_dbm = heard.rssi_dbm
    is_strong = heard.rssi_dbm >= STRONG_RSSI_DBM
    signal = arriving(entry, visits.rules(rule), heard.at, is_deep=is_strong)
    visits.apply(entry, rule, signal, _mark(entry, heard))
    entry.pending_at = heard.at
    visits.order(start)


def _remove(visits: Visits, entry: Entry, rule: ZoneRule, heard: Heard) -> None:
    if entry.phase != OUTSIDE:
        mark = Mark(heard.at, heard.received_at, "zone_removed")
        visits.apply(entry, rule, REMOVED, mark)
    entry.evidence_at = entry.pending_at = heard.at


def _mark(entry: Entry, heard: Heard) -> Mark:
    is_strong = heard.rssi_dbm >= STRONG_RSSI_DBM
    confidence: Confidence = "high" if is_strong else "medium"
    reason = "confirmed" if entry.streak > 1 else "heard"
    return Mark(heard.at, heard.received_at, reason, confidence)


def _is_near(rules: Rules, heard: Heard, rssi_dbm: float, *, is_inside: bool) -> bool:
    """Whether a (filtered) RSSI speaks for presence; leaving needs a weaker one than entering."""
    over_dbm = rssi_dbm - heard.measured_power_dbm
    if is_inside:
        return rssi_dbm >= rules.exit_rssi_dbm and over_dbm >= rules.exit_over_dbm
    return rssi_dbm >= rules.enter_rssi_dbm and over_dbm >= rules.enter_over_dbm


def _filtered(before_dbm: float, rssi_dbm: float) -> float:
    """Exponential smoothing in floats: integers would never follow a falling signal."""
    share = RISE if rssi_dbm > before_dbm else FALL
    return before_dbm + share * (rssi_dbm - before_dbm)
