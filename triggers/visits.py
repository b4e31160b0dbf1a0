"""The visits of one device while inputs are applied: effects, timers, and the events they give.

``Visits`` holds a decoded record and carries out what the table of ``triggers.transitions`` says.
It decides nothing about evidence: that is the part of ``triggers.machine`` (pings) and
``triggers.beacon_presence`` (sightings).
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from triggers.ids import event_id, visit_id
from triggers.model import Event, EventKind, Policy, Verdict, ZoneRule
from triggers.policy import Rules, resolve
from triggers.state import DeviceState, Entry, Kind, Phase, encode
from triggers.transitions import TABLE, Effect, Signal

Confidence = Literal["low", "medium", "high"]

OUTSIDE, ENTERING, INSIDE, EXITING = (int(phase) for phase in Phase)
NOTHING, COUNT, OPEN, STAY, CLOSE, DROP = (int(effect) for effect in Effect)
SIGNALS = len(Signal)
SILENT = int(Signal.SILENT)
BEACON = int(Kind.BEACON)

LIVE_LAG_MS = 60_000  # evidence fresher than this counts as live
LAG_LIMIT_MS = 0xFFFF_FFFF
FRESH_EVIDENCE_S = 300  # a timer's dwell on fresher evidence is of medium confidence
NEVER_DUE = 2**63

# Exits before enters (an app that shows one place must end with the new one), dwells last.
RANK = {
    EventKind.EXIT: 0,
    EventKind.CROSS: 1,
    EventKind.APPROACH: 2,
    EventKind.ENTER: 3,
    EventKind.DWELL: 4,
}


class StepContext(NamedTuple):
    """Whose record it is, and what the tenant wants. ``policy`` fills what zones do not set."""

    tenant: str
    device_id: str
    user_id: str | None = None
    allow_mock: bool = False
    policy: Policy | None = None


class Mark(NamedTuple):
    """The input that an effect comes from."""

    at: int
    received_at: int
    reason: str
    confidence: Confidence = "high"
    lat: float | None = None
    lon: float | None = None
    accuracy_m: float | None = None
    is_mock: bool = False
    evidence_age_s: int | None = None
    silent: bool = False  # the visit opens without an enter event


class Ran(NamedTuple):
    """The answer to several inputs: one verdict each, in the order given."""

    record: bytes
    events: tuple[Event, ...]
    verdicts: tuple[Verdict, ...]
    due_at: int | None


class Visits:
    """A device's visits; ``events`` grows in the order of reporting."""

    def __init__(self, state: DeviceState, zones: Mapping[int, ZoneRule], ctx: StepContext) -> None:
        self.state = state
        self.zones = zones
        self.ctx = ctx
        self.policy = ctx.policy
        self.events: list[Event] = []

    def rules(self, rule: ZoneRule, ring_m: int = 0) -> Rules:
        """The rules of a zone, or of one of its approach rings."""
        return resolve(rule.policy, self.policy, rule.scale_m + ring_m, rule.type)

    def apply(self, entry: Entry, rule: ZoneRule, signal: int, mark: Mark) -> None:
        """Carry out what the table says; an entry that ends OUTSIDE is for the caller to drop."""
        entry.phase, effect = TABLE[entry.phase * SIGNALS + signal]
        if effect == STAY:
            self._stay(entry, rule, mark)
        elif effect == OPEN:
            self._open(entry, rule, mark)
        elif effect == CLOSE:
            self._close(entry, rule, mark)
        elif effect == COUNT and entry.phase == ENTERING:
            _witness(entry, mark.at, mark.received_at)

    def refresh(
        self, entry: Entry, rule: ZoneRule, rules: Rules, *, at: int, received_at: int
    ) -> bool:
        """Take evidence that a visit goes on, if that is all it says: no dwell, no silence ended.

        The short cut of nearly every fix inside a zone; else nothing is changed and False returned.
        """
        if entry.phase != INSIDE or (
            rules.silence_ms and at - entry.evidence_at >= rules.silence_ms
        ):
            return False
        if not entry.ring_m:
            stay_ms = at - entry.since_at
            for dwell_s in rule.dwell_s:
                if dwell_s > entry.dwelled_s and dwell_s * 1000 <= stay_ms:
                    return False
        _witness(entry, at, received_at)
        return True

    def pass_time(
        self,
        entry: Entry,
        rule: ZoneRule,
        rules: Rules,
        *,
        until: int,
        received_at: int,
        is_proven: bool = False,
    ) -> None:
        """Let everything happen to an entry that is due at or before ``until`` (event time).

        Args:
            entry: changed in place.
            rule: of its zone.
            rules: the same, resolved.
            until: event time, epoch ms.
            received_at: for the events.
            is_proven: evidence at ``until`` is about to prove the dwells; no timer claims them.
        """
        silent_at = entry.evidence_at + rules.silence_ms if rules.silence_ms else NEVER_DUE
        while entry.phase != OUTSIDE:
            dwell_at = _dwell_due(entry, rule, rules)
            if dwell_at <= silent_at:
                if dwell_at > until or (is_proven and silent_at > until):
                    return
                self._dwell_by_timer(entry, rule, dwell_at, received_at)
            elif silent_at <= until:
                mark = self._timer_mark(entry, silent_at, received_at, "silent")
                self.apply(entry, rule, SILENT, mark)
                entry.evidence_at = silent_at
            else:
                return

    def due_at(self, soon_at: int) -> int | None:
        """When a timer must look at this record, in processing time; None: never.

        Entries whose rule is missing or that must end because their zone is gone are due at once
        (``soon_at``): ``advance`` sees all rules.
        """
        due = NEVER_DUE
        for entry in self.state.entries:
            if entry.phase != OUTSIDE:
                due = min(due, self._entry_due(entry, soon_at))
        return None if due >= NEVER_DUE else due

    def drop_ended(self) -> None:
        """Forget entries that are OUTSIDE, but those that guard a beacon's past."""
        self.state.entries = [e for e in self.state.entries if e.phase or e.kind == BEACON]

    def report(
        self,
        kind: EventKind,
        rule: ZoneRule,
        mark: Mark,
        *,
        occurred_at: int,
        visit: str,
        detail: int = 0,
        dwell_s: int | None = None,
    ) -> None:
        """Add an event. ``visit`` names the visit it belongs to."""
        ctx = self.ctx
        is_ring = kind is EventKind.APPROACH
        self.events.append(
            Event(
                id=event_id(visit, kind.value, detail),
                kind=kind,
                tenant=ctx.tenant,
                device_id=ctx.device_id,
                occurred_at=occurred_at,
                received_at=mark.received_at,
                user_id=ctx.user_id,
                zone_type=rule.type,
                zone_id=rule.id,
                visit_id=None if is_ring else visit,
                confidence="low" if mark.is_mock else mark.confidence,
                reason=mark.reason,
                dwell_s=dwell_s,
                within_m=detail if is_ring else None,
                evidence_age_s=mark.evidence_age_s,
                lat=mark.lat,
                lon=mark.lon,
                accuracy_m=mark.accuracy_m,
                is_mock=mark.is_mock,
            )
        )

    def visit_of(self, rule: ZoneRule, entered_at: int) -> str:
        """The id of the visit that began then."""
        return visit_id(self.ctx.tenant, self.ctx.device_id, rule.type, rule.id, entered_at)

    def record(self) -> bytes:
        """The record, entries in one canonical order: equal states are equal bytes."""
        if len(self.state.entries) > 1:
            self.state.entries.sort(key=_place)
        return encode(self.state)

    def order(self, start: int) -> None:
        """Put the events that one input gave (from position ``start``) into reporting order."""
        if len(self.events) - start > 1:
            self.events[start:] = sorted(
                self.events[start:], key=lambda e: (RANK[e.kind], e.zone_id or "", e.within_m or 0)
            )

    def order_by_time(self, start: int) -> None:
        """The same for what time alone brought about."""
        if len(self.events) - start > 1:
            self.events[start:] = sorted(
                self.events[start:],
                key=lambda e: (e.occurred_at, RANK[e.kind], e.zone_id or "", e.dwell_s or 0),
            )

    def _open(self, entry: Entry, rule: ZoneRule, mark: Mark) -> None:
        if not mark.silent:
            visit = self.visit_of(rule, entry.since_at)
            kind = EventKind.APPROACH if entry.ring_m else EventKind.ENTER
            self.report(
                kind, rule, mark, occurred_at=entry.since_at, visit=visit, detail=entry.ring_m
            )
        self._stay(entry, rule, mark)

    def _stay(self, entry: Entry, rule: ZoneRule, mark: Mark) -> None:
        entry.tally = entry.streak = 0
        entry.pending_at = 0
        _witness(entry, mark.at, mark.received_at)
        if entry.ring_m:
            return
        for dwell_s in rule.dwell_s:
            if entry.dwelled_s < dwell_s and entry.since_at + dwell_s * 1000 <= mark.at:
                proof = mark._replace(evidence_age_s=0, confidence="high", reason="proven")
                self._dwell(entry, rule, dwell_s, proof)

    def _dwell_by_timer(self, entry: Entry, rule: ZoneRule, due_at: int, received_at: int) -> None:
        age_s = max(0, due_at - entry.evidence_at) // 1000
        mark = self._timer_mark(entry, due_at, received_at, "timer")
        confidence: Confidence = "medium" if age_s <= FRESH_EVIDENCE_S else "low"
        dwell_s = (due_at - entry.since_at) // 1000
        self._dwell(
            entry, rule, dwell_s, mark._replace(evidence_age_s=age_s, confidence=confidence)
        )

    def _dwell(self, entry: Entry, rule: ZoneRule, dwell_s: int, mark: Mark) -> None:
        entry.dwelled_s = dwell_s
        visit = self.visit_of(rule, entry.since_at)
        self.report(
            EventKind.DWELL,
            rule,
            mark,
            occurred_at=entry.since_at + dwell_s * 1000,
            visit=visit,
            detail=dwell_s,
            dwell_s=dwell_s,
        )

    def _close(self, entry: Entry, rule: ZoneRule, mark: Mark) -> None:
        if entry.ring_m:
            return
        visit = self.visit_of(rule, entry.since_at)
        is_seen_leaving = mark.reason in ("fix", "confirmed")
        occurred_at = entry.pending_at if is_seen_leaving and entry.pending_at else mark.at
        stay_s = max(0, occurred_at - entry.since_at) // 1000
        self.report(
            EventKind.EXIT, rule, mark, occurred_at=occurred_at, visit=visit, dwell_s=stay_s
        )

    def _timer_mark(self, entry: Entry, at: int, received_at: int, reason: str) -> Mark:
        age_s = max(0, at - entry.evidence_at) // 1000
        if entry.kind == BEACON:
            return Mark(at, received_at, reason, "medium", evidence_age_s=age_s)
        lat, lon = self.state.lat_e7 / 1e7, self.state.lon_e7 / 1e7
        return Mark(at, received_at, reason, "low", lat, lon, evidence_age_s=age_s)

    def _entry_due(self, entry: Entry, soon_at: int) -> int:
        rule = self.zones.get(entry.key)
        if rule is None or rule.removed:
            return soon_at
        rules = self.rules(rule, entry.ring_m)
        due = _dwell_due(entry, rule, rules)
        if rules.silence_ms:
            due = min(due, entry.evidence_at + rules.silence_ms)
        return due + entry.lag_ms if due < NEVER_DUE else due


def _place(entry: Entry) -> tuple[int, int]:
    return entry.key, entry.ring_m


def _witness(entry: Entry, at: int, received_at: int) -> None:
    entry.evidence_at = at
    lag_ms = received_at - at
    entry.lag_ms = 0 if lag_ms < LIVE_LAG_MS else min(lag_ms, LAG_LIMIT_MS)


def _dwell_due(entry: Entry, rule: ZoneRule, rules: Rules) -> int:
    """When the next dwell threshold is reached, if a timer may claim it then."""
    if entry.phase != INSIDE or entry.ring_m:
        return NEVER_DUE
    for dwell_s in rule.dwell_s:
        if dwell_s > entry.dwelled_s:
            due = entry.since_at + dwell_s * 1000
            is_fresh = due - entry.evidence_at <= rules.max_evidence_age_ms
            return due if is_fresh else NEVER_DUE
    return NEVER_DUE
