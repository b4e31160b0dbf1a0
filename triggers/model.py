"""The words of the trigger engine, as values.

Instants end in ``_at`` and are epoch milliseconds (int); other units stand in the names. Everything
here is immutable and knows no clock: time is always an argument.

Error tree: ``TriggerError`` is the root; ``InvalidTrigger`` carries the JSON pointer of the field
that is wrong.
"""

from enum import StrEnum
from typing import Any, Literal, NamedTuple

import msgspec

ZoneType = Literal["geofence", "beacon"]


class TriggerError(ValueError):
    """Root of this package's errors."""


class InvalidTrigger(TriggerError):
    """A trigger that cannot be: which field (JSON pointer), and why."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer}: {detail}")
        self.pointer = pointer
        self.detail = detail


class EventKind(StrEnum):
    """What can happen between a device and a zone, or be told by the tenant's back end."""

    ENTER = "enter"
    DWELL = "dwell"
    EXIT = "exit"
    CROSS = "cross"
    APPROACH = "approach"
    CUSTOM = "custom"


class Result(StrEnum):
    """The one result of every decision."""

    SENT = "sent"
    DISABLED = "disabled"
    NOT_STARTED = "not_started"
    ENDED = "ended"
    SCHEDULE = "schedule"
    QUIET_HOURS = "quiet_hours"
    AUDIENCE = "audience"
    NO_CONSENT = "no_consent"
    NO_TARGET = "no_target"
    COOLDOWN = "cooldown"
    FREQUENCY_CAP = "frequency_cap"
    LIMIT_REACHED = "limit_reached"
    STALE = "stale"
    LOW_CONFIDENCE = "low_confidence"
    HOLDOUT = "holdout"
    MOCK_LOCATION = "mock_location"
    CANCELED = "canceled"
    EXPIRED = "expired"


class Policy(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, cache_hash=True
):
    """How a zone's evidence is judged; ``None`` means the preset's own rule (see ``PRESETS``).

    Set per geofence and per tenant; the preset fills what is not set (triggers/policy.py).
    """

    preset: Literal["robust", "immediate"] | None = None  # None: the tenant's, else robust
    max_accuracy_m: float | None = None
    confirm_window_s: int | None = None
    enter_confirmations: int | None = None
    exit_confirmations: int | None = None
    exit_buffer_m: float | None = None
    exit_accuracy_cap_m: float | None = None
    assumed_accuracy_m: float | None = None
    max_evidence_age_s: int | None = None
    silence_exit_s: int | None = None
    initial: Literal["enter", "silent"] | None = None
    allow_mock: bool | None = None
    enter_rssi_dbm: float | None = None
    exit_rssi_dbm: float | None = None
    proximity: Literal["immediate", "near", "far"] | None = None


class ZoneRule(msgspec.Struct, frozen=True):
    """All that the state machine must know of one zone (its geometry lives elsewhere)."""

    key: int  # 64-bit, stable: zone_key(tenant, type, id)
    type: ZoneType
    id: str
    scale_m: float  # radius of a circle, else 2 * area / perimeter; 0 for beacon zones
    policy: Policy
    dwell_s: tuple[int, ...] = ()  # thresholds that some trigger listens to, ascending
    approach_m: tuple[int, ...] = ()  # rings that some trigger listens to, ascending
    detect_cross: bool = False
    version: int = 0
    removed: bool = False  # a tombstone: the zone is gone, its visits end at the next input


class ZoneFix(NamedTuple):
    """One zone that one ping must be judged against."""

    key: int
    distance_m: float  # signed distance to the edge; negative inside


class ZoneCrossing(NamedTuple):
    """A zone that the straight path between the previous ping and this one passed through."""

    key: int
    fraction: float  # where on the path it was entered, 0..1


class Fix(msgspec.Struct, frozen=True):
    """One ping, seen by the state machine.

    ``zones`` names every zone with ``distance_m`` up to its reach (0, or its widest approach ring)
    and every zone the device has an entry for.
    """

    at: int  # event time: when the position was true
    received_at: int
    lat: float
    lon: float
    accuracy_m: float | None = None
    is_mock: bool = False
    fingerprint: int = 0  # 32 bits; equal for the same ping sent again
    zones: tuple[ZoneFix, ...] = ()
    crossings: tuple[ZoneCrossing, ...] = ()


class Heard(msgspec.Struct, frozen=True):
    """One beacon sighting, seen by the state machine: a device's evidence for one beacon zone."""

    at: int
    received_at: int
    key: int  # of the beacon zone
    rssi_dbm: float
    measured_power_dbm: float = -59.0  # at 1 m
    fingerprint: int = 0


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that happened. ``id`` is a function of the input: same input, same id."""

    id: str
    kind: EventKind
    tenant: str
    device_id: str
    occurred_at: int
    received_at: int
    user_id: str | None = None
    zone_type: ZoneType | None = None
    zone_id: str | None = None
    visit_id: str | None = None
    confidence: Literal["low", "medium", "high"] = "high"
    reason: str | None = None  # confirmed, timer, silent, zone_removed, path, ...
    dwell_s: int | None = None  # the threshold of a dwell; the length of the stay on exit
    within_m: int | None = None  # the ring of an approach
    evidence_age_s: int | None = None
    lat: float | None = None
    lon: float | None = None
    accuracy_m: float | None = None
    is_mock: bool = False
    name: str | None = None  # of a custom event
    properties: dict[str, Any] | None = None


class Verdict(StrEnum):
    """What became of one ping or sighting."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    LATE = "late"
    HELD = "held"  # kept and flagged (mock, impossible speed); state did not move


class Stepped(NamedTuple):
    """The answer of the state machine: the new record, what happened, what became of the input."""

    record: bytes  # encoded device state, ready to store
    events: tuple[Event, ...]
    verdict: Verdict
    due_at: int | None  # when `advance` must be called if nothing else comes; None: no timer


class Spend(msgspec.Struct, frozen=True, array_like=True):
    """One budget that a push must take from: at most ``limit`` takes per ``window_ms``.

    A cooldown is a limit of 1. Taking is idempotent by ``push_id``. ``refused`` is the decision's
    result when nothing is left.
    """

    key: str  # complete Redis key
    limit: int
    window_ms: int  # 0: for ever
    refused: Result


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """One check of a decision, with its values, as a person wants to read it."""

    name: str
    ok: bool
    detail: str = ""


class Push(msgspec.Struct, frozen=True, omit_defaults=True):
    """A push that a decision asks for: the outbox entry. Rendered and addressed at dispatch."""

    id: str  # deterministic: uuid of (trigger, event)
    tenant: str
    device_id: str
    trigger_id: str
    trigger_version: int
    variant: int
    lane: Literal["transactional", "marketing"]
    event: Event
    created_at: int
    not_before: int = 0
    expires_at: int = 0
    user_id: str | None = None
    cancel_on: str | None = None
    attempt: int = 0
    channel: int = 0  # index into the trigger's channel order (fallback)
    target: str = ""  # one address of several; empty: all that the channel has
    message: dict[str, Any] | None = None  # of a direct push, which has no trigger
    channels: tuple[str, ...] = ()  # of a direct push
    holds: tuple[Spend, ...] = ()  # budgets that must still be taken at dispatch


class Decision(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was decided for one (event, trigger), and why. ``id`` equals the push's id."""

    id: str
    tenant: str
    trigger_id: str
    event_id: str
    device_id: str
    result: Result
    decided_at: int
    checks: tuple[Check, ...] = ()
    user_id: str | None = None
    zone_id: str | None = None
    event_kind: EventKind | None = None
    variant: int | None = None
    pending: bool = False  # sent, but still waiting in the outbox
    push: Push | None = None  # never stored; None when suppressed
    spends: tuple[Spend, ...] = ()  # never stored
