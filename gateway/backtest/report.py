"""What a backtest found: people, pushes and hours, and why the rest got nothing."""

from collections import Counter, defaultdict
from collections.abc import Mapping

import msgspec

from gateway.backtest.departures import Departed
from gateway.times import rfc3339
from triggers.model import Decision, EventKind, Result

HOUR_MS = 3_600_000
MOST_EXAMPLES = 20  # of each result


class Traffic(msgspec.Struct):
    """What was played: counts of pings by what became of them, devices, first and last arrival."""

    pings: int = 0
    devices: int = 0
    accepted: int = 0
    duplicates: int = 0
    late: int = 0
    held: int = 0
    rejected: int = 0
    since: str | None = None
    until: str | None = None


class Hour(msgspec.Struct):
    """One hour (UTC) with pushes: how many, to how many people."""

    at: str
    pushes: int
    people: int


class Share(msgspec.Struct):
    """So many people got so many pushes."""

    pushes: int
    people: int


class Example(msgspec.Struct, omit_defaults=True):
    """One decision: who, where, when, and why."""

    at: str
    device_id: str
    event_id: str
    result: Result
    user_id: str | None = None
    zone_id: str | None = None
    event_kind: EventKind | None = None
    detail: str = ""


class Report(msgspec.Struct):
    """The answer.

    ``occasions`` are the events that the trigger listens to; each ends in exactly one of
    ``pushes``, ``waiting`` and the counts of ``reasons``.
    """

    trigger_id: str
    traffic: Traffic
    occasions: int
    pushes: int
    people: int
    waiting: int
    reasons: Mapping[Result, int]
    pushes_per_person: list[Share]
    hours: list[Hour]
    examples: list[Example]
    stopped: str | None
    took_ms: int = 0


class Ledger:
    """Counts the endings of one trigger's decisions."""

    def __init__(self, trigger_id: str) -> None:
        self._trigger_id = trigger_id
        self._reasons: Counter[Result] = Counter()
        self._sent: Counter[str] = Counter()  # by person
        self._hours: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self._examples: defaultdict[Result, list[Example]] = defaultdict(list)

    def refused(self, one: Decision) -> None:
        """Count a decision against a push."""
        self._reasons[one.result] += 1
        detail = next((check.detail for check in one.checks if not check.ok), "")
        self._show(
            Example(
                at=rfc3339(one.decided_at),
                device_id=one.device_id,
                event_id=one.event_id,
                result=one.result,
                user_id=one.user_id,
                zone_id=one.zone_id,
                event_kind=one.event_kind,
                detail=detail,
            )
        )

    def departed(self, one: Departed) -> None:
        """Count the end of a push, if it is one of this trigger."""
        push, event = one.push, one.push.event
        if push.trigger_id != self._trigger_id:
            return
        self._show(
            Example(
                at=rfc3339(one.at),
                device_id=push.device_id,
                event_id=event.id,
                result=one.result,
                user_id=push.user_id,
                zone_id=event.zone_id,
                event_kind=event.kind,
                detail=one.detail,
            )
        )
        if one.result is not Result.SENT:
            self._reasons[one.result] += 1
            return
        person = f"user:{push.user_id}" if push.user_id else f"device:{push.device_id}"
        self._sent[person] += 1
        self._hours[one.at // HOUR_MS * HOUR_MS][person] += 1

    def report(self, traffic: Traffic, waiting: int, stopped: str | None) -> Report:
        """The counts, in order."""
        pushes = sum(self._sent.values())
        reasons = dict(sorted(self._reasons.items(), key=lambda item: (-item[1], item[0].value)))
        shares = sorted(Counter(self._sent.values()).items())
        return Report(
            trigger_id=self._trigger_id,
            traffic=traffic,
            occasions=pushes + waiting + sum(reasons.values()),
            pushes=pushes,
            people=len(self._sent),
            waiting=waiting,
            reasons=reasons,
            pushes_per_person=[Share(count, people) for count, people in shares],
            hours=[
                Hour(rfc3339(at), sum(people.values()), len(people))
                for at, people in sorted(self._hours.items())
            ],
            examples=sorted(
                (one for listed in self._examples.values() for one in listed),
                key=lambda example: example.at,
            ),
            stopped=stopped,
        )

    def _show(self, example: Example) -> None:
        shown = self._examples[example.result]
        if len(shown) < MOST_EXAMPLES:
            shown.append(example)
