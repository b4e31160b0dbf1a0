"""What follows from an outcome: the retry policy.

Pure: the same arguments, the same verdict. Counted attempts are delayed by full jitter,
``random(0, min(cap, base * 2 ** n))``, or by a fixed schedule for webhooks (Standard Webhooks).
``Retry-After`` is a floor, not a suggestion. Nothing is ever retried past its expiry. Throttling
and wrong credentials are not the message's fault and are not counted.

An ambiguous outcome (the request was written, no answer came) is retried under the same id for
transactional pushes, and is final for marketing: better one too few than two.
"""

from collections.abc import Callable
from typing import NamedTuple

from senders.model import (
    Ambiguous,
    Delivered,
    Lane,
    Misconfigured,
    Outcome,
    Provider,
    Rejected,
    RetryAfter,
    Unregistered,
)

Random = Callable[[], float]  # uniform in [0, 1)


class Ack(NamedTuple):
    """Finished. ``is_certain`` is false where the provider may or may not have taken it."""

    is_certain: bool = True
    reason: str = ""


class RetryAt(NamedTuple):
    """Send again at ``at``; ``attempt`` is how many attempts count so far."""

    at: int
    attempt: int
    reason: str


class Dead(NamedTuple):
    """Give up: it would come too late."""

    reason: str


class DropTarget(NamedTuple):
    """The address is dead: drop it if it was registered before ``since`` (0: now); next channel."""

    reason: str
    since: int


class NextChannel(NamedTuple):
    """This channel will not take it; go on with the next, or give up."""

    reason: str


class Park(NamedTuple):
    """The credential does not work: keep the push until it may be tried again."""

    reason: str


Verdict = Ack | RetryAt | Dead | DropTarget | NextChannel | Park


class Schedule(NamedTuple):
    """When counted attempts follow one another.

    With ``steps_s`` the n-th retry waits that step, plus up to a fifth; otherwise a random part of
    ``min(cap_s, base_s * 2 ** n)``, and never less than ``floor_s``.
    """

    base_s: float = 1.0
    cap_s: float = 60.0
    floor_s: float = 0.0
    attempts: int = 12
    steps_s: tuple[float, ...] = ()

    def delay_s(self, attempt: int, random: Random) -> float:
        """How long to wait after the ``attempt``-th counted attempt (from 1)."""
        if self.steps_s:
            step_s = self.steps_s[min(attempt, len(self.steps_s)) - 1]
            return step_s * (1 + 0.2 * random())
        # 2 ** 30 is beyond every cap; a larger power would overflow a float in the end.
        span_s = min(self.cap_s, self.base_s * 2.0 ** min(attempt - 1, 30))
        return self.floor_s + random() * span_s


PUSH = Schedule()
# FCM asks for ten seconds before the first retry.
FCM = Schedule(base_s=10.0, floor_s=10.0)
# Standard Webhooks: 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h.
WEBHOOK = Schedule(
    steps_s=(5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400), attempts=10
)
SCHEDULES: dict[Provider, Schedule] = {"fcm": FCM, "webhook": WEBHOOK}


def schedule_of(provider: Provider) -> Schedule:
    """The schedule of a provider's retries."""
    return SCHEDULES.get(provider, PUSH)


class Standing(NamedTuple):
    """What the policy needs to know of a push."""

    lane: Lane
    attempt: int  # counted attempts before this one
    expires_at: int  # epoch milliseconds; 0: never
    schedule: Schedule = PUSH


def decide(outcome: Outcome, push: Standing, now: int, random: Random) -> Verdict:
    """What to do after an outcome at ``now`` (epoch milliseconds)."""
    verdict: Verdict
    match outcome:
        case Delivered():
            verdict = Ack()
        case Unregistered(reason, since):
            verdict = DropTarget(reason, since)
        case Rejected(reason):
            verdict = NextChannel(reason)
        case Misconfigured(reason):
            verdict = Dead(f"expired: {reason}") if _is_late(push, now) else Park(reason)
        case Ambiguous(reason) if push.lane == "marketing":
            verdict = Ack(is_certain=False, reason=reason)
        case Ambiguous(reason):
            verdict = decide(RetryAfter(reason), push, now, random)
        case RetryAfter(reason, after_s, _, is_counted):
            attempts = push.attempt + is_counted
            delay_s = push.schedule.delay_s(max(1, attempts), random) + (after_s or 0)
            verdict = _retry(reason, push, attempts, now, delay_s)
    return verdict


def _retry(reason: str, push: Standing, attempts: int, now: int, delay_s: float) -> Verdict:
    if attempts >= push.schedule.attempts:
        return NextChannel(f"{reason}, after {attempts} attempts")
    at = now + max(1, round(delay_s * 1000))
    return Dead(f"expired: {reason}") if _is_late(push, at) else RetryAt(at, attempts, reason)


def _is_late(push: Standing, at: int) -> bool:
    return 0 < push.expires_at <= at
