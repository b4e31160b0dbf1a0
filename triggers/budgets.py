"""What a push must take from before it may go: cooldown, limits, and the caps of a person.

Budgets are taken elsewhere, atomically; here stands only which ones. A scope names a budget inside
a tenant; the caller turns (scope, owner) into a complete Redis key. An owner of None is a budget
that all people share.
"""

from collections.abc import Callable
from typing import Final
from zoneinfo import ZoneInfo

from triggers.model import Check, Event, Result, Spend
from triggers.tenant import Caps
from triggers.trigger import Trigger
from triggers.walltime import local_date

SpendKey = Callable[[str, str | None], str]

_DAY_MS: Final = 86_400_000
_DATED_MS: Final = 2 * _DAY_MS  # the scope names the day; a day may have 25 hours


def cooldown_scope(trigger: Trigger, zone_id: str | None) -> str | None:
    """The scope of a trigger's cooldown, or None without one.

    Outside any zone (a custom event) a cooldown per zone is one per trigger.
    """
    cooldown = trigger.cooldown
    if cooldown is None or cooldown.seconds == 0:
        return None
    if cooldown.per == "group":
        return f"cooldown:group:{cooldown.group}"
    if cooldown.per == "zone" and zone_id is not None:
        return f"cooldown:zone:{trigger.id}:{zone_id}"
    return f"cooldown:trigger:{trigger.id}"


def budgets_of(
    trigger: Trigger, event: Event, owner: str, *, at: int, zone: ZoneInfo, spend_key: SpendKey
) -> tuple[Spend, ...]:
    """The budgets of one push of a trigger that is due ``at``; days are those of ``zone``."""
    spends = []
    scope, cooldown, limits = (
        cooldown_scope(trigger, event.zone_id),
        trigger.cooldown,
        trigger.limits,
    )
    if scope is not None and cooldown is not None:
        key = spend_key(scope, owner)
        spends.append(Spend(key, 1, cooldown.seconds * 1000, Result.COOLDOWN))
    if limits.per_user_per_day is not None:
        key = spend_key(f"limit:day:{trigger.id}:{local_date(at, zone)}", owner)
        spends.append(Spend(key, limits.per_user_per_day, _DATED_MS, Result.LIMIT_REACHED))
    if limits.per_user_total is not None:
        key = spend_key(f"limit:user:{trigger.id}", owner)
        spends.append(Spend(key, limits.per_user_total, 0, Result.LIMIT_REACHED))
    if limits.total is not None:
        key = spend_key(f"limit:total:{trigger.id}", None)
        spends.append(Spend(key, limits.total, 0, Result.LIMIT_REACHED))
    return tuple(spends)


def caps_of(
    caps: Caps, owner: str, *, at: int, zone: ZoneInfo, spend_key: SpendKey
) -> tuple[Spend, ...]:
    """The budgets that all marketing pushes to one person share; taken at dispatch."""
    spends = []
    if caps.min_gap_s:
        key = spend_key("cap:gap", owner)
        spends.append(Spend(key, 1, caps.min_gap_s * 1000, Result.FREQUENCY_CAP))
    if caps.per_day is not None:
        key = spend_key(f"cap:day:{local_date(at, zone)}", owner)
        spends.append(Spend(key, caps.per_day, _DATED_MS, Result.FREQUENCY_CAP))
    if caps.per_week is not None:
        key = spend_key("cap:week", owner)
        spends.append(Spend(key, caps.per_week, 7 * _DAY_MS, Result.FREQUENCY_CAP))
    return tuple(spends)


def budget_checks(trigger: Trigger) -> list[Check]:
    """The budgets in words, as checks that hold until a budget refuses."""
    checks = []
    if trigger.cooldown is not None and trigger.cooldown.seconds:
        per = trigger.cooldown.group or trigger.cooldown.per
        detail = f"1 in {trigger.cooldown.seconds} s per {per}"
        checks.append(Check(Result.COOLDOWN.value, ok=True, detail=detail))
    limits = trigger.limits
    named = {
        "a day": limits.per_user_per_day,
        "per person": limits.per_user_total,
        "in total": limits.total,
    }
    words = [f"{limit} {words}" for words, limit in named.items() if limit is not None]
    if words:
        checks.append(Check(Result.LIMIT_REACHED.value, ok=True, detail=", ".join(words)))
    return checks
