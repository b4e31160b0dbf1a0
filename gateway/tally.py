"""Counting: what became of each request's pings, and what a commit made happen."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gateway import metrics
from gateway.effects import Decided
from gateway.wire import Refusal
from triggers import quiet
from triggers.model import Result, Verdict

HELD = 3
CODES = {
    Verdict.ACCEPTED: quiet.ACCEPTED,
    Verdict.DUPLICATE: quiet.DUPLICATE,
    Verdict.LATE: quiet.LATE,
    Verdict.HELD: HELD,
}


class Tally(NamedTuple):
    """What became of the pings or sightings of one request; each is in exactly one count.

    ``refused`` are pings that cannot be, by their position in the request.
    """

    accepted: int = 0
    duplicates: int = 0
    late: int = 0
    held: int = 0
    refused: tuple[Refusal, ...] = ()


def tallies_of(verdicts: NDArray[np.uint8], post: NDArray[np.int64], posts: int) -> list[Tally]:
    """The tally of each request: verdict codes and request positions are per ping."""
    counts = np.bincount(post * 4 + verdicts, minlength=posts * 4).reshape(posts, 4)
    return [Tally(a, d, late, held) for a, d, late, held in counts.tolist()]


def with_refusals(
    tallies: list[Tally], refusals: Sequence[Refusal], post: NDArray[np.int64]
) -> list[Tally]:
    """The tallies with the refusals of each request; ``post`` is per ping, requests in order."""
    if not refusals:
        return tallies
    starts = np.searchsorted(post, np.arange(len(tallies)))
    for refusal in refusals:
        which = int(post[refusal.index])
        own = Refusal(refusal.index - int(starts[which]), refusal.type, refusal.detail)
        tallies[which] = tallies[which]._replace(refused=(*tallies[which].refused, own))
    return tallies


def count_pings(tallies: Sequence[Tally]) -> None:
    """Count a batch's pings, by what became of them."""
    metrics.count(
        metrics.PINGS,
        {
            "accepted": sum([tally.accepted for tally in tallies]),
            "duplicate": sum([tally.duplicates for tally in tallies]),
            "late": sum([tally.late for tally in tallies]),
            "held": sum([tally.held for tally in tallies]),
            "rejected": sum([len(tally.refused) for tally in tallies]),
        },
    )


def tally_of(verdicts: Sequence[Verdict]) -> Tally:
    """The tally of one request."""
    found = Counter(verdicts)
    accepted, duplicates, late, held = (found[verdict] for verdict in CODES)
    return Tally(accepted, duplicates, late, held)


def count_effects(committed: Sequence[Decided], refused: Mapping[str, Result]) -> bool:
    """Count the events and decisions that a commit made happen; whether it wrote pushes.

    A push that waits in the outbox is counted when dispatch has its final result.
    """
    if not committed:
        return False
    events = Counter(str(event.kind) for one in committed for event in one.events)
    metrics.count(metrics.EVENTS, events)
    decisions = Counter(
        str(refused.get(decision.id, decision.result))
        for one in committed
        for decision in one.decisions
        if decision.push is None or decision.id in refused
    )
    metrics.count(metrics.DECISIONS, decisions)
    return any(one.commit.pushes for one in committed)
