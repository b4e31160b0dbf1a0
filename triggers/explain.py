"""A decision in words: why a push went or did not, and what became of it."""

from collections.abc import Sequence
from typing import Final

import msgspec

from triggers.checks import when
from triggers.model import Decision, Result
from triggers.trigger import Trigger

_MEANING: Final[dict[Result, str]] = {
    Result.SENT: "The push was handed over for sending.",
    Result.DISABLED: "The trigger is switched off or was deleted.",
    Result.NOT_STARTED: "The trigger's validity had not begun.",
    Result.ENDED: "The trigger's validity was over.",
    Result.SCHEDULE: "It was outside the trigger's time windows.",
    Result.QUIET_HOURS: "It was quiet hours, and the message would not have outlived them.",
    Result.AUDIENCE: "The person did not belong to the trigger's audience.",
    Result.NO_CONSENT: "The person has not allowed it.",
    Result.NO_TARGET: "There was no address on any channel of the trigger.",
    Result.COOLDOWN: "The person had been sent this recently.",
    Result.FREQUENCY_CAP: "The person had reached the number of pushes the tenant allows.",
    Result.LIMIT_REACHED: "A limit of the trigger was used up.",
    Result.STALE: "The event was known too late to be news.",
    Result.LOW_CONFIDENCE: "The position was not sure enough.",
    Result.HOLDOUT: "The person is in the group that an experiment leaves out.",
    Result.MOCK_LOCATION: "The position was mocked.",
    Result.CANCELED: "What the push was about had passed before it went.",
    Result.EXPIRED: "The message's life was over before it could go.",
}


class Happening(msgspec.Struct, frozen=True):
    """Something that befell a push later: a provider's answer, or a phone's receipt."""

    at: int
    what: str  # delivered, retry, rejected, shown, opened, ...
    channel: str = ""
    detail: str = ""


class Explanation(msgspec.Struct, frozen=True):
    """One line that answers, the checks one by one, and what happened afterwards."""

    summary: str
    checks: tuple[str, ...] = ()
    story: tuple[str, ...] = ()


def explain(
    decision: Decision,
    *,
    trigger: Trigger | None = None,
    last_sent_at: int | None = None,
    happenings: Sequence[Happening] = (),
) -> Explanation:
    """A decision for a person to read.

    ``trigger`` and ``last_sent_at`` (when this trigger, or its cooldown group, was last sent to the
    person before this decision) let a cooldown name its end.
    """
    story = tuple(_line(happening) for happening in sorted(happenings, key=lambda h: h.at))
    checks = tuple(
        f"{'ok' if check.ok else 'NO'}  {check.name}{': ' if check.detail else ''}{check.detail}"
        for check in decision.checks
    )
    if decision.result is Result.SENT:
        return Explanation(_sent(decision, happenings), checks, story)
    parts = [f"Not sent: {decision.result.value}.", _MEANING[decision.result]]
    if decision.result is Result.COOLDOWN:
        parts += _cooldown(decision, trigger, last_sent_at)
    else:
        parts += _failing(decision)
    return Explanation(" ".join(parts), checks, story)


def _sent(decision: Decision, happenings: Sequence[Happening]) -> str:
    if happenings:
        last = max(happenings, key=lambda happening: happening.at)
        return f"Sent: '{decision.trigger_id}'. Latest: {_line(last)}."
    decided_at = when(decision.decided_at)
    if decision.pending:
        return f"Accepted: '{decision.trigger_id}' waits in the outbox since {decided_at}."
    return f"Sent: '{decision.trigger_id}', decided {decided_at}."


def _cooldown(decision: Decision, trigger: Trigger | None, last_sent_at: int | None) -> list[str]:
    if last_sent_at is None:
        return _failing(decision)
    name = decision.trigger_id
    if trigger is None or trigger.cooldown is None:
        return [f"'{name}' was sent to this person at {when(last_sent_at)}."]
    if trigger.cooldown.group is not None:
        name = trigger.cooldown.group
    next_at = last_sent_at + trigger.cooldown.seconds * 1000
    sent = f"'{name}' was sent to this person at {when(last_sent_at)}"
    return [f"{sent}, next allowed at {when(next_at)}."]


def _failing(decision: Decision) -> list[str]:
    """The values of the check that decided: the first that failed."""
    details = [check.detail for check in decision.checks if not check.ok and check.detail]
    return [details[0][:1].upper() + details[0][1:] + "."] if details else []


def _line(happening: Happening) -> str:
    words = [when(happening.at), happening.what]
    if happening.channel:
        words.append(f"on {happening.channel}")
    return " ".join(words) + (f" ({happening.detail})" if happening.detail else "")
