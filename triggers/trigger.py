"""A trigger: which events it listens to, for whom, when, how often, and what it says.

The struct is the JSON document of the API. ``parse_trigger`` is the only door: what comes out of it
can be decided without further checks.
"""

from typing import Annotated, Any, Final, Literal, NamedTuple, Self

import msgspec

from triggers.audience import Predicate, compile_audience
from triggers.document import convert
from triggers.model import EventKind, InvalidTrigger, ZoneType
from triggers.schedule import QuietHours, Schedule
from triggers.tenant import Count, Seconds

Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._~-]{0,127}$")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Channel = Literal["app_push", "web_push", "inbox", "webhook", "whatsapp", "sms", "email"]
Confidence = Literal["low", "medium", "high"]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]

DEFAULT_TTL_S: Final = 1800
MIN_TTL_S: Final = 30  # a message "now or never" still has to reach its provider
MAX_TTL_S: Final = 28 * 86_400  # what push services keep at most


class Zones(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which zones: those with one of the ids or one of the tags; neither: all."""

    ids: frozenset[Name] = frozenset()
    tags: frozenset[Name] = frozenset()
    type: ZoneType | None = None

    @property
    def is_all(self) -> bool:
        """Whether no zone is excluded by id or tag."""
        return not self.ids and not self.tags


ALL_ZONES: Final = Zones()


class On(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which events a trigger listens to."""

    event: EventKind
    zones: Zones | Literal["all"] = "all"
    dwell_s: Annotated[int, msgspec.Meta(ge=1, le=30 * 86_400)] | None = None
    within_m: Annotated[int, msgspec.Meta(ge=1, le=200_000)] | None = None
    name: Name | None = None

    @property
    def where(self) -> Zones:
        """The zones as a filter."""
        return ALL_ZONES if isinstance(self.zones, str) else self.zones

    @property
    def detail(self) -> int | str | None:
        """What tells this listener from others of its kind: threshold, ring or name."""
        return {
            EventKind.DWELL: self.dwell_s,
            EventKind.APPROACH: self.within_m,
            EventKind.CUSTOM: self.name,
        }.get(self.event)


class Cooldown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At most one push a person in ``seconds``: of this trigger, of it in a zone, or of a group."""

    seconds: Seconds
    per: Literal["zone", "trigger", "group"] = "zone"
    group: Id | None = None

    def __post_init__(self) -> None:
        """A group has a name, and only a group has."""
        if (self.per == "group") != (self.group is not None):
            raise ValueError("'group' names the group if, and only if, 'per' is 'group'")


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many pushes, and from which visit of a zone on."""

    per_user_per_day: Count | None = None  # a calendar day by the schedule's time zone
    per_user_total: Count | None = None
    total: Count | None = None
    from_visit: Count = 1


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message and its share of the people."""

    message: dict[str, Any]
    weight: Annotated[float, msgspec.Meta(ge=0, le=1_000_000)] = 1.0
    name: Name | None = None


class CancelOn(str):
    """What takes back a push that has not gone yet: ``exit``, ``enter`` or ``event:<name>``."""

    __slots__ = ()

    @classmethod
    def from_json(cls, value: object) -> Self:
        """From ``"exit"``, ``"enter"`` or ``{"event": name}``."""
        if isinstance(value, str) and value in {"exit", "enter"}:
            return cls(value)
        if isinstance(value, dict) and value.keys() == {"event"}:
            name = value["event"]
            if isinstance(name, str) and name:
                return cls(f"event:{name}")
        raise ValueError('must be "exit", "enter" or {"event": "<name of a custom event>"}')


class Trigger(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A configured rule. See docs/triggers.md for every field."""

    id: Id
    on: On
    variants: Annotated[tuple[Variant, ...], msgspec.Meta(min_length=1, max_length=20)]
    name: str = ""
    description: str = ""
    enabled: bool = True
    lane: Literal["marketing", "transactional"] = msgspec.field(name="class", default="marketing")
    audience: dict[str, Any] | None = None
    schedule: Schedule = Schedule()
    quiet_hours: QuietHours | Literal["off"] | None = None  # None: the tenant's
    cooldown: Cooldown | None = None
    limits: Limits = Limits()
    max_age_s: Seconds = 120
    min_confidence: Confidence | None = None
    on_removed: bool = False  # also when the zone itself was removed
    delay_s: Seconds = 0
    cancel_on: CancelOn | None = None
    holdout: Share = 0.0
    salt: str = ""  # changes who is held out and who gets which variant
    priority: int = 50
    channels: Annotated[tuple[Channel, ...], msgspec.Meta(min_length=1)] = (
        "app_push",
        "web_push",
        "inbox",
    )
    fallback_after_s: Seconds | None = None  # no receipt by then: the next channel


class LiveTrigger(NamedTuple):
    """A trigger at a version, ready to be decided."""

    trigger: Trigger
    version: int
    audience: Predicate


def parse_trigger(doc: dict[str, Any]) -> Trigger:
    """The trigger of a document.

    Raises:
        InvalidTrigger: with the JSON pointer of the first field that is wrong, why, and what to
            write instead.
    """
    trigger = convert(doc, Trigger)
    _check_listening(trigger)
    compile_audience(trigger.audience)
    if len(set(trigger.channels)) < len(trigger.channels):
        raise InvalidTrigger("/channels", "names a channel twice")
    for position, variant in enumerate(trigger.variants):
        _check_message(variant.message, f"/variants/{position}/message")
    if not any(variant.weight for variant in trigger.variants):
        raise InvalidTrigger("/variants", "at least one variant needs a weight above 0")
    return trigger


def live(trigger: Trigger, version: int) -> LiveTrigger:
    """The trigger with its audience compiled."""
    return LiveTrigger(trigger, version, compile_audience(trigger.audience))


def ttl_s(message: dict[str, Any]) -> int:
    """How long a message may wait on its way, in seconds."""
    value = message.get("ttl_s")
    return DEFAULT_TTL_S if value is None else max(int(value), MIN_TTL_S)


_NEEDS: Final = {
    EventKind.DWELL: ("dwell_s", "how many seconds of stay"),
    EventKind.APPROACH: ("within_m", "how many metres before the edge"),
    EventKind.CUSTOM: ("name", "which custom event"),
}


def _check_listening(trigger: Trigger) -> None:
    on = trigger.on
    for kind, (field, meaning) in _NEEDS.items():
        given = getattr(on, field) is not None
        if on.event == kind and not given:
            raise InvalidTrigger(f"/on/{field}", f"is required for {kind.value}: {meaning}")
        if on.event != kind and given:
            raise InvalidTrigger(f"/on/{field}", f"belongs to {kind.value}, not {on.event.value}")


def _check_message(message: dict[str, Any], pointer: str) -> None:
    if not message.get("title") and not message.get("body"):
        raise InvalidTrigger(pointer, "needs a title or a body")
    ttl = message.get("ttl_s")
    if ttl is None:
        return
    if isinstance(ttl, bool) or not isinstance(ttl, int) or not 0 <= ttl <= MAX_TTL_S:
        raise InvalidTrigger(f"{pointer}/ttl_s", f"must be whole seconds, 0 to {MAX_TTL_S}")
