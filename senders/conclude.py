"""From a decision about an entry to its next place: pure.

This is the one module that knows which ending leads where.
"""

from typing import NamedTuple

from senders.model import Outcome, Unregistered
from senders.pushes import (
    NoTarget,
    Prepared,
    Pushes,
    Ready,
    Settled,
    Split,
    Suppressed,
    Unusable,
    Wait,
)
from senders.retry import Ack, Dead, DropTarget, NextChannel, Park, RetryAt, Verdict
from senders.settlement import Bury, Claimed, Delay, Done, Requeue, Settlement


class Concluded(NamedTuple):
    """What to tell the application, and what to tell the outbox."""

    settled: Settled
    settlement: Settlement


class Work(NamedTuple):
    """An entry that may be sent."""

    claimed: Claimed
    ready: Ready


def conclude(
    pushes: Pushes, work: Work, outcome: Outcome, verdict: Verdict, parked_until: int
) -> Concluded:
    """The next place of an entry that was sent.

    ``parked_until`` is when its gate may open again, for the verdict ``Park``.
    """
    claimed, ready = work
    match verdict:
        case Ack(is_certain, reason):
            settled = Settled(claimed, ready, "sent" if is_certain else "unknown", reason, outcome)
            return Concluded(settled, _follow_up(work))
        case RetryAt(at, attempt, reason):
            settled = Settled(claimed, ready, "retrying", reason, outcome, at)
            payload = pushes.again(claimed.payload, attempt)
            return Concluded(settled, Delay(claimed, ready.push_id, at, payload))
        case Park(reason):
            return park(work, parked_until, reason, outcome)
        case DropTarget(reason) | NextChannel(reason):
            return _next_channel(pushes, Settled(claimed, ready, "next_channel", reason, outcome))
        case Dead(reason):
            return bury(Settled(claimed, ready, "dead", reason, outcome))


def conclude_unsent(pushes: Pushes, claimed: Claimed, prepared: Prepared) -> Concluded:
    """The next place of an entry that the application did not make ready."""
    match prepared:
        case Suppressed(reason):
            return Concluded(Settled(claimed, prepared, "suppressed", reason), Done(claimed))
        case Wait(push_id, until, reason):
            settled = Settled(claimed, prepared, "waiting", reason, due_at=until)
            return Concluded(settled, Delay(claimed, push_id, until, claimed.payload))
        case NoTarget(reason):
            return _next_channel(pushes, Settled(claimed, prepared, "next_channel", reason))
        case Split(payloads):
            return Concluded(Settled(claimed, prepared, "split"), Requeue(claimed, payloads))
        case Unusable(reason):
            return bury(Settled(claimed, prepared, "dead", reason))
        case Ready():
            raise TypeError("a ready push is concluded by its outcome")


def park(work: Work, until: int, reason: str, outcome: Outcome | None = None) -> Concluded:
    """The entry waits until its credential may be tried again; that is no attempt."""
    claimed, ready = work
    settled = Settled(claimed, ready, "parked", reason, outcome, until)
    return Concluded(settled, Delay(claimed, ready.push_id, until, claimed.payload))


def bury(settled: Settled) -> Concluded:
    """The entry goes to the dead letters, with its reason."""
    return Concluded(settled, Bury(settled.claimed, settled.reason))


def _next_channel(pushes: Pushes, settled: Settled) -> Concluded:
    claimed, reason = settled.claimed, settled.reason
    payload = pushes.advance(claimed.payload, reason)
    if payload is not None:
        return Concluded(settled, Requeue(claimed, (payload,)))
    if _is_nobody_there(settled):
        return Concluded(settled._replace(ending="undeliverable"), Done(claimed))
    return bury(settled._replace(ending="dead"))


def _is_nobody_there(settled: Settled) -> bool:
    """Without an address there is nothing that a replay of the dead letter could do."""
    return isinstance(settled.prepared, NoTarget) or isinstance(settled.outcome, Unregistered)


def _follow_up(work: Work) -> Settlement:
    follow_up = work.ready.follow_up
    return Delay(work.claimed, *follow_up) if follow_up else Done(work.claimed)
