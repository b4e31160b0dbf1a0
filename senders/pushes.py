"""What dispatch and the application say to one another.

Dispatch knows queues, providers and time; the application knows people, triggers and storage. For
every claimed entry the application answers what to do with it (``prepare``), and is told how it
ended (``settled``) before the entry leaves its place.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

from senders.flow import DEFAULT_LIMITS, GateLimits
from senders.model import Outcome, Rendered, Sender, Target
from senders.settlement import Claimed

Ending = Literal[
    "sent",  # the provider took it
    "unknown",  # it may or may not have arrived, and is not sent again
    "suppressed",  # the application decided against it; the reason is its own
    "waiting",  # for a later moment that the application named
    "retrying",  # after a failure that may pass
    "parked",  # until its credential may be tried again
    "next_channel",  # this channel would not take it
    "split",  # into one push for each target
    "undeliverable",  # no channel is left; the address was dead or there was none
    "dead",  # given up; it is in the dead letters
]


class FollowUp(NamedTuple):
    """A push that becomes due later unless it is canceled (``Outbox.cancel``) by then.

    Falling back to the next channel without a ``delivered`` receipt is such a push: the payload
    advanced to the next channel, under an id of its own.
    """

    push_id: str
    due_at: int
    payload: bytes


class Ready(NamedTuple):
    """Send it."""

    push_id: str
    message: Rendered
    target: Target
    sender: Sender
    gate: str  # pushes with the same gate share a credential: tenant, credential and its version
    attempt: int = 0
    limits: GateLimits = DEFAULT_LIMITS
    follow_up: FollowUp | None = None


class Suppressed(NamedTuple):
    """Do not send it, ever."""

    reason: str
    detail: str = ""


class Wait(NamedTuple):
    """Ask again at ``until`` (epoch ms)."""

    push_id: str
    until: int
    reason: str


class NoTarget(NamedTuple):
    """This channel has no address; go on with the next one."""

    reason: str


class Split(NamedTuple):
    """Several addresses: the push becomes these payloads, each with an id of its own."""

    payloads: tuple[bytes, ...]


class Unusable(NamedTuple):
    """The entry makes no sense, now or later; it goes to the dead letters."""

    reason: str


Prepared = Ready | Suppressed | Wait | NoTarget | Split | Unusable


class Settled(NamedTuple):
    """How one entry ended, for now or for good."""

    claimed: Claimed
    prepared: Prepared | None  # None: it was never prepared
    ending: Ending
    reason: str = ""
    outcome: Outcome | None = None  # what the provider said, if it was asked
    due_at: int | None = None  # when it comes again


class Pushes(Protocol):
    """The application's side of dispatch."""

    async def prepare(self, batch: Sequence[Claimed]) -> Sequence[Prepared]:
        """One answer for each entry, in order: guarded, rendered and addressed.

        The same entry may come again; what is reserved for it must be reserved under its id.
        An entry whose preparation raises, alone, is left to be taken over later.
        """
        ...

    def again(self, payload: bytes, attempt: int) -> bytes:
        """The payload of the same push with ``attempt`` counted attempts."""
        ...

    def advance(self, payload: bytes, reason: str) -> bytes | None:
        """The payload of the same push on its next channel, or None if there is none."""
        ...

    async def settled(self, batch: Sequence[Settled]) -> None:
        """Record how entries ended, drop dead addresses. The same ending may be told twice."""
        ...


class Observer:
    """Hooks for metrics and logs; override what is wanted."""

    def sent(self, ready: Ready, outcome: Outcome, took_ms: int) -> None:
        """A provider answered, or did not."""

    def ended(self, settled: Settled) -> None:
        """An entry reached its next place."""

    def failed(self, what: str, error: Exception) -> None:
        """A step of dispatch failed and will be tried again."""

    def gate_closed(self, gate: str, until: int) -> None:
        """A credential is not used until then (epoch ms)."""
