"""The checks of a decision, in order, each with the result that it stands for.

The order is that in which a person asks: is the trigger on, is the news fresh and sure, is it the
time, is it for this person, may and can they be reached, and only then whom an experiment leaves
out, so that those left out differ from the others in nothing but the push.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from triggers.audience import Moment
from triggers.model import Event, EventKind, Result
from triggers.schedule import QuietHours, in_windows, next_open_at, quiet_until
from triggers.subject import Subject, ZoneFacts
from triggers.tenant import TenantRules
from triggers.trigger import LiveTrigger, Trigger, ttl_s
from triggers.walltime import WEEKDAYS, first_known, local_time

Finding = tuple[bool, str]
_CONFIDENCE: Final = ("low", "medium", "high")
_WITHOUT_CONSENT: Final = frozenset({"webhook"})  # goes to the tenant, not to the person


class Quiet(NamedTuple):
    """Whether the hours are quiet, and until when; quiet without end if nobody knows the time."""

    is_quiet: bool
    until: int | None
    detail: str


@dataclass(frozen=True)
class Case:
    """Everything one decision is made from; what only some checks need is worked out when asked."""

    live: LiveTrigger
    event: Event
    subject: Subject
    zone: ZoneFacts | None
    now: int
    tenant: TenantRules

    @property
    def trigger(self) -> Trigger:
        """The configured rule."""
        return self.live.trigger

    @cached_property
    def variant(self) -> int:
        """Which variant the person gets."""
        return variant_for(self.trigger, self.subject.owner)

    @property
    def due_at(self) -> int:
        """When the push should go."""
        return self.now + self.trigger.delay_s * 1000

    @cached_property
    def expires_at(self) -> int:
        """The end of the message's life, which begins when it is due."""
        ends = self.due_at + ttl_s(self.trigger.variants[self.variant].message) * 1000
        end_at = self.trigger.schedule.end_at
        return ends if end_at is None else min(ends, int(end_at))

    @cached_property
    def quiet(self) -> Quiet:
        """Whether it is quiet when the push is due."""
        return quiet_for(self.trigger, self.subject, self.zone, self.due_at, self.tenant)


def policy_zone(
    policy: str, subject: Subject, zone: ZoneFacts | None, tenant: TenantRules
) -> ZoneInfo | None:
    """The time zone that a policy means; what is not known falls back, at last to the tenant's."""
    place = zone.timezone if zone is not None else None
    if policy == "zone":
        return first_known(place, subject.timezone, tenant.timezone)
    if policy == "device":
        return first_known(subject.timezone, place, tenant.timezone)
    return first_known(policy)


def quiet_for(
    trigger: Trigger, subject: Subject, zone: ZoneFacts | None, at: int, tenant: TenantRules
) -> Quiet:
    """Whether this trigger must be quiet at ``at``: marketing only; an unknown zone is quiet."""
    rules = tenant.quiet_hours if trigger.quiet_hours is None else trigger.quiet_hours
    if trigger.lane == "transactional":
        return Quiet(is_quiet=False, until=None, detail="transactional: not asked")
    if not isinstance(rules, QuietHours):
        return Quiet(is_quiet=False, until=None, detail="none")
    hours = f"quiet {_clock(rules.opens)} to {_clock(rules.closes)}"
    tz = policy_zone(rules.timezone, subject, zone, tenant)
    if tz is None:
        return Quiet(is_quiet=True, until=None, detail=f"{hours}, time zone unknown")
    until = quiet_until(rules, at, tz)
    local = _clock_at(at, tz)
    detail = f"{hours}, local time {local}"
    return Quiet(until is not None, until, detail)


def allowed_channels(trigger: Trigger, subject: Subject, tenant: TenantRules) -> tuple[str, ...]:
    """The trigger's channels, in its order, that may and can reach this person."""
    consented = has_consent(subject, tenant)
    return tuple(
        channel
        for channel in trigger.channels
        if channel in subject.channels and (consented or channel in _WITHOUT_CONSENT)
    )


def has_consent(subject: Subject, tenant: TenantRules) -> bool:
    """Whether the person may be pushed to: never against a no."""
    push, location = subject.consents
    if push is False or location is False:
        return False
    return push is True or not tenant.require_consent


def share_of(trigger: Trigger, purpose: str, owner: str) -> float:
    """A number in [0, 1), the same for the same person for ever, even over all people."""
    text = "\0".join((purpose, trigger.id, trigger.salt, owner))
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def variant_for(trigger: Trigger, owner: str) -> int:
    """Which variant a person gets: stable, in proportion to the weights."""
    weights = [variant.weight for variant in trigger.variants]
    if len(weights) == 1:
        return 0
    point = share_of(trigger, "variant", owner) * sum(weights)
    for position, weight in enumerate(weights):
        point -= weight
        if point < 0:
            return position
    return max(position for position, weight in enumerate(weights) if weight)


def check_enabled(case: Case) -> Finding:
    """The trigger is switched on."""
    return case.trigger.enabled, "on" if case.trigger.enabled else "switched off"


def check_started(case: Case) -> Finding:
    """Its validity has begun."""
    start_at = case.trigger.schedule.start_at
    detail = "has no start" if start_at is None else f"starts {when(start_at)}"
    return start_at is None or case.now >= start_at, detail


def check_ended(case: Case) -> Finding:
    """Its validity has not ended."""
    end_at = case.trigger.schedule.end_at
    detail = "has no end" if end_at is None else f"ends {when(end_at)}"
    return end_at is None or case.now <= end_at, detail


def check_mock(case: Case) -> Finding:
    """The position is real, or mocked ones are welcome."""
    ok = not case.event.is_mock or case.tenant.allow_mock
    return ok, "mocked position" if case.event.is_mock else "real position"


def check_age(case: Case) -> Finding:
    """The event is news."""
    age_ms = max(case.now, case.event.received_at) - case.event.occurred_at
    allowed_s = case.trigger.max_age_s
    return age_ms <= allowed_s * 1000, f"{age_ms / 1000:.0f} s old, at most {allowed_s} s"


def check_confidence(case: Case) -> Finding:
    """The event is sure enough."""
    given, wanted = case.event.confidence, case.trigger.min_confidence
    ok = wanted is None or _CONFIDENCE.index(given) >= _CONFIDENCE.index(wanted)
    return ok, f"{given}, at least {wanted or 'low'}"


def check_schedule(case: Case) -> Finding:
    """The wall clock stands in a window."""
    schedule = case.trigger.schedule
    if not schedule.windows:
        return True, "any time"
    tz = policy_zone(schedule.timezone, case.subject, case.zone, case.tenant)
    if tz is None:
        return False, "time zone unknown"
    local = _clock_at(case.now, tz)
    if in_windows(schedule.windows, case.now, tz):
        return True, f"local time {local}"
    return (
        False,
        f"local time {local}, opens {when(next_open_at(schedule, case.now, tz))}",
    )


def check_audience(case: Case) -> Finding:
    """The person belongs to the audience."""
    properties = case.event.properties or {}
    return case.live.audience(Moment(case.subject, case.now, properties, case.event.zone_id))


def check_visit(case: Case) -> Finding:
    """The person has been here often enough; outside a visit the coming one counts."""
    wanted = case.trigger.limits.from_visit
    visit = case.subject.visits.get(case.event.zone_id or "", 0)
    if case.event.kind in {EventKind.APPROACH, EventKind.CROSS}:
        visit += 1
    return wanted <= 1 or visit >= wanted, f"visit {visit}, from visit {wanted} on"


def check_consent(case: Case) -> Finding:
    """The person allows it, or a channel needs no leave."""
    push, location = case.subject.consents
    ok = has_consent(case.subject, case.tenant)
    detail = f"push {_yes_no(push)}, location {_yes_no(location)}"
    if not ok and case.tenant.require_consent and push is None:
        detail += ", required"
    return ok or bool(_WITHOUT_CONSENT.intersection(case.trigger.channels)), detail


def check_target(case: Case) -> Finding:
    """There is somewhere to send to."""
    found = allowed_channels(case.trigger, case.subject, case.tenant)
    return bool(found), f"{', '.join(found) or 'none'} of {', '.join(case.trigger.channels)}"


def check_quiet(case: Case) -> Finding:
    """It is not quiet, or the message still means something when the quiet ends."""
    quiet = case.quiet
    if not quiet.is_quiet:
        return True, quiet.detail
    if quiet.until is None:
        return False, quiet.detail
    held = quiet.until < case.expires_at
    return (
        held,
        f"{quiet.detail}, {'held' if held else 'expires before it ends,'} {when(quiet.until)}",
    )


def check_expiry(case: Case) -> Finding:
    """The message still lives when it is due."""
    return case.due_at < case.expires_at, f"due {when(case.due_at)}, until {when(case.expires_at)}"


def check_holdout(case: Case) -> Finding:
    """The person is not left out by the experiment."""
    share = case.trigger.holdout
    if not share:
        return True, "none"
    own = share_of(case.trigger, "holdout", case.subject.owner)
    return own >= share, f"{own:.4f}, held out below {share:g}"


UNASKED_AFTER: Final = frozenset({Result.DISABLED, Result.NOT_STARTED, Result.ENDED})
CHECKS: Final[tuple[tuple[str, Result, Callable[[Case], Finding]], ...]] = (
    ("enabled", Result.DISABLED, check_enabled),
    ("started", Result.NOT_STARTED, check_started),
    ("ended", Result.ENDED, check_ended),
    ("mock", Result.MOCK_LOCATION, check_mock),
    ("age", Result.STALE, check_age),
    ("confidence", Result.LOW_CONFIDENCE, check_confidence),
    ("schedule", Result.SCHEDULE, check_schedule),
    ("audience", Result.AUDIENCE, check_audience),
    ("visit", Result.AUDIENCE, check_visit),
    ("consent", Result.NO_CONSENT, check_consent),
    ("target", Result.NO_TARGET, check_target),
    ("quiet", Result.QUIET_HOURS, check_quiet),
    ("expiry", Result.EXPIRED, check_expiry),
    ("holdout", Result.HOLDOUT, check_holdout),
)


def when(at: int | None) -> str:
    """An instant as people read it, in UTC."""
    if at is None:
        return "never"
    return datetime.fromtimestamp(at // 1000, UTC).isoformat(" ")[:19] + "Z"


def _clock_at(at: int, tz: ZoneInfo) -> str:
    local = local_time(at, tz)
    return f"{WEEKDAYS[local.weekday()]} {local.hour:02d}:{local.minute:02d} ({tz.key})"


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _yes_no(consent: bool | None) -> str:
    return {True: "allowed", False: "refused", None: "not asked"}[consent]
