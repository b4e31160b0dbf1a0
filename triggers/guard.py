"""The last look before a push goes: much may have changed since it was decided.

Pure: the caller acts on the answer, takes the budgets that ``Proceed`` names (all or none), and
suppresses the push with their result if one is empty.
"""

from typing import NamedTuple, cast
from zoneinfo import ZoneInfo

from triggers.budgets import SpendKey, caps_of
from triggers.checks import Quiet, allowed_channels, has_consent, quiet_for, when
from triggers.model import Event, EventKind, Push, Result, Spend
from triggers.subject import Subject, ZoneFacts
from triggers.tenant import TenantRules
from triggers.trigger import Channel, On, Trigger, Variant
from triggers.walltime import first_known

DIRECT = "direct"  # stands for a trigger where a push has none
_UTC = ZoneInfo("UTC")


class Proceed(NamedTuple):
    """Send it, on the first of ``channels``, once the budgets are taken."""

    spends: tuple[Spend, ...]
    channels: tuple[str, ...]


class Suppress(NamedTuple):
    """Do not send it, ever."""

    result: Result
    detail: str


class Wait(NamedTuple):
    """Not before ``until`` (epoch ms)."""

    until: int


Guarded = Proceed | Suppress | Wait


def guard(
    trigger: Trigger | None,
    push: Push,
    subject: Subject,
    *,
    zone: ZoneFacts | None,
    now: int,
    tenant: TenantRules,
    spend_key: SpendKey,
    is_canceled: bool = False,
) -> Guarded:
    """Whether a push may go now.

    ``trigger`` is the rule as it stands today (None: deleted, or a direct push, which has none);
    its text and audience do not matter any more, its switch and its end do. Transactional pushes
    pass quiet hours and caps, never consent.
    """
    trigger = direct_trigger(push) if trigger is None and push.message is not None else trigger
    if trigger is None:
        return Suppress(Result.DISABLED, "the trigger was deleted")
    stop = _stop(trigger, push, now, is_canceled=is_canceled)
    if stop is not None:
        return stop
    channels = allowed_channels(trigger, subject, tenant)
    if not channels:
        return _unreachable(subject, tenant)
    if now < push.not_before:
        return Wait(push.not_before)
    quiet = quiet_for(trigger, subject, zone, now, tenant)
    return _unless_quiet(quiet, push) or Proceed(
        _caps(push, subject, now, tenant, spend_key), channels
    )


def cancels(push: Push, event: Event) -> bool:
    """Whether this event takes back a push that has not gone yet.

    An exit or enter counts in the push's own zone, by the same device; a custom event counts for
    the same device or the same user. What happened before the push's own event takes nothing back.
    """
    if push.cancel_on is None or event.tenant != push.tenant:
        return False
    if event.id == push.event.id or event.occurred_at < push.event.occurred_at:
        return False
    is_same_user = push.user_id is not None and event.user_id == push.user_id
    if event.kind is EventKind.CUSTOM:
        is_same = is_same_user or event.device_id == push.device_id
        return is_same and push.cancel_on == f"event:{event.name}"
    is_same_zone = (event.zone_type, event.zone_id) == (push.event.zone_type, push.event.zone_id)
    return event.device_id == push.device_id and is_same_zone and push.cancel_on == event.kind.value


def direct_trigger(push: Push) -> Trigger:
    """A push that the tenant's back end sent itself, as a rule that always holds."""
    return Trigger(
        id=DIRECT,
        on=On(EventKind.CUSTOM, name=DIRECT),
        variants=(Variant(push.message or {}),),
        lane=push.lane,
        channels=cast("tuple[Channel, ...]", push.channels),
    )


def _stop(trigger: Trigger, push: Push, now: int, *, is_canceled: bool) -> Suppress | None:
    if is_canceled:
        return Suppress(Result.CANCELED, f"taken back by {push.cancel_on or 'request'}")
    if not trigger.enabled:
        return Suppress(Result.DISABLED, "switched off")
    end_at = trigger.schedule.end_at
    if end_at is not None and now > end_at:
        return Suppress(Result.ENDED, f"ended {when(end_at)}")
    if now >= push.expires_at:
        return Suppress(Result.EXPIRED, f"expired {when(push.expires_at)}")
    return None


def _unreachable(subject: Subject, tenant: TenantRules) -> Suppress:
    if not has_consent(subject, tenant):
        return Suppress(Result.NO_CONSENT, "consent was withdrawn or is missing")
    return Suppress(Result.NO_TARGET, "no channel of the trigger has an address any more")


def _unless_quiet(quiet: Quiet, push: Push) -> Guarded | None:
    if not quiet.is_quiet:
        return None
    if quiet.until is not None and quiet.until < push.expires_at:
        return Wait(quiet.until)
    return Suppress(Result.QUIET_HOURS, quiet.detail)


def _caps(
    push: Push, subject: Subject, now: int, tenant: TenantRules, spend_key: SpendKey
) -> tuple[Spend, ...]:
    if push.lane == "transactional":
        return ()
    day_zone = first_known(subject.timezone, tenant.timezone) or _UTC
    return caps_of(tenant.caps, subject.owner, at=now, zone=day_zone, spend_key=spend_key)
