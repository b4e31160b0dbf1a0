"""Which pushes an event asks for, and why the others do not go.

``decide`` gives exactly one decision for each (event, trigger), in the order in which budgets are
to be taken: higher priority first, then by trigger id. A decision ``sent`` carries its push and the
budgets it must take; where a budget is empty the caller stores ``refused(decision, result)``
instead. Nothing here waits, counts or remembers.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from triggers.budgets import SpendKey, budget_checks, budgets_of
from triggers.checks import CHECKS, UNASKED_AFTER, Case, allowed_channels, policy_zone
from triggers.ids import push_id
from triggers.model import Check, Decision, Event, EventKind, Push, Result
from triggers.subject import Subject, ZoneFacts
from triggers.tenant import TenantRules
from triggers.trigger import LiveTrigger

_UTC = ZoneInfo("UTC")


class Occasion(NamedTuple):
    """One event, its zone, and the triggers that listen to it."""

    event: Event
    zone: ZoneFacts | None
    triggers: Sequence[LiveTrigger]


def decide(
    triggers: Sequence[LiveTrigger],
    event: Event,
    subject: Subject,
    zone: ZoneFacts | None,
    *,
    now: int,
    tenant: TenantRules,
    spend_key: SpendKey,
) -> list[Decision]:
    """The decisions of one event."""
    return decide_all(
        [Occasion(event, zone, triggers)], subject, now=now, tenant=tenant, spend_key=spend_key
    )


def decide_all(
    occasions: Iterable[Occasion],
    subject: Subject,
    *,
    now: int,
    tenant: TenantRules,
    spend_key: SpendKey,
) -> list[Decision]:
    """The decisions of all events of one ping: priority rules over all of them.

    Events come in the order in which they happened, also those that nobody listens to: a visit
    that begins here counts for the events after it.
    """
    cases = []
    for order, (event, zone, triggers) in enumerate(occasions):
        subject = _arrived(subject, event, zone)
        cases += [
            (
                (-live.trigger.priority, live.trigger.id, order),
                Case(live, event, subject, zone, now, tenant),
            )
            for live in triggers
        ]
    cases.sort(key=itemgetter(0))
    return [_decision(case, spend_key) for _rank, case in cases]


def refused(decision: Decision, result: Result, detail: str = "") -> Decision:
    """The decision that stands when a budget of it was empty, or its push was taken back."""
    checks = tuple(
        msgspec.structs.replace(check, ok=False) if check.name == result.value else check
        for check in decision.checks
    )
    if all(check.ok for check in checks):
        checks += (Check(result.value, ok=False, detail=detail),)
    return msgspec.structs.replace(
        decision, result=result, checks=checks, pending=False, push=None, spends=()
    )


def refusals(decision: Decision) -> dict[Result, Decision]:
    """What to store for each budget that may turn out empty."""
    return {spend.refused: refused(decision, spend.refused) for spend in decision.spends}


def _arrived(subject: Subject, event: Event, zone: ZoneFacts | None) -> Subject:
    """The person with the visit counted that this event begins."""
    if event.kind is not EventKind.ENTER or event.zone_id is None:
        return subject
    visits, tag_visits = Counter(subject.visits), Counter(subject.tag_visits)
    visits[event.zone_id] += 1
    tag_visits.update(zone.tags if zone is not None else ())
    return msgspec.structs.replace(subject, visits=visits, tag_visits=tag_visits)


def _decision(case: Case, spend_key: SpendKey) -> Decision:
    checks, result = _checked(case)
    event, trigger = case.event, case.trigger
    sent = Decision(
        id=push_id(trigger.id, event.id),
        tenant=event.tenant,
        trigger_id=trigger.id,
        event_id=event.id,
        device_id=event.device_id,
        result=result,
        decided_at=case.now,
        checks=checks,
        user_id=case.subject.user_id,
        zone_id=event.zone_id,
        event_kind=event.kind,
        variant=case.variant,
    )
    if result is not Result.SENT:
        return sent
    push = _push(case, sent.id)
    policy = trigger.schedule.timezone
    day_zone = policy_zone(policy, case.subject, case.zone, case.tenant) or _UTC
    spends = budgets_of(
        trigger,
        event,
        case.subject.owner,
        at=push.not_before,
        zone=day_zone,
        spend_key=spend_key,
    )
    return msgspec.structs.replace(sent, pending=True, push=push, spends=spends)


def _checked(case: Case) -> tuple[tuple[Check, ...], Result]:
    """Every check with its values, and the result of the first that fails.

    A trigger that is off or out of its validity is not asked further: tenants keep many of those.
    """
    checks = []
    result = Result.SENT
    for name, stands_for, check in CHECKS:
        ok, detail = check(case)
        checks.append(Check(name, ok, detail))
        if not ok and result is Result.SENT:
            result = stands_for
            if result in UNASKED_AFTER:
                break
    if result is Result.SENT:
        checks += budget_checks(case.trigger)
    return tuple(checks), result


def _push(case: Case, identity: str) -> Push:
    trigger, event = case.trigger, case.event
    channel = allowed_channels(trigger, case.subject, case.tenant)[0]
    return Push(
        id=identity,
        tenant=event.tenant,
        device_id=event.device_id,
        trigger_id=trigger.id,
        trigger_version=case.live.version,
        variant=case.variant,
        lane=trigger.lane,
        event=event,
        created_at=case.now,
        not_before=case.quiet.until or case.due_at,
        expires_at=case.expires_at,
        user_id=case.subject.user_id,
        cancel_on=None if trigger.cancel_on is None else str(trigger.cancel_on),
        channel=trigger.channels.index(channel),
    )
