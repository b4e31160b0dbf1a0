"""Which triggers listen to an event, and what the state machine must watch for them."""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from triggers.model import Event, EventKind, ZoneType
from triggers.trigger import LiveTrigger

_Kind = tuple[EventKind, int | str | None]  # with the threshold, ring or name


class Thresholds(NamedTuple):
    """What triggers want to know of a zone; each ascending."""

    dwell_s: tuple[int, ...] = ()
    approach_m: tuple[int, ...] = ()
    cross: bool = False


class TriggerIndex:
    """A tenant's triggers by what they listen to; immutable, cheap to build anew.

    Disabled triggers are in it, so that their silence can be explained.
    """

    def __init__(self, triggers: Iterable[LiveTrigger] = ()) -> None:
        self._everywhere: defaultdict[_Kind, list[LiveTrigger]] = defaultdict(list)
        self._by_id: defaultdict[tuple[_Kind, str], list[LiveTrigger]] = defaultdict(list)
        self._by_tag: defaultdict[tuple[_Kind, str], list[LiveTrigger]] = defaultdict(list)
        self._watched_everywhere: list[LiveTrigger] = []
        self._watched_by_id: defaultdict[str, list[LiveTrigger]] = defaultdict(list)
        self._watched_by_tag: defaultdict[str, list[LiveTrigger]] = defaultdict(list)
        self._by_trigger_id: dict[str, LiveTrigger] = {}
        for live in triggers:
            self._add(live)

    def __len__(self) -> int:
        return len(self._by_trigger_id)

    def get(self, trigger_id: str) -> LiveTrigger | None:
        """The trigger of that id."""
        return self._by_trigger_id.get(trigger_id)

    def for_event(self, event: Event, zone_tags: frozenset[str] = frozenset()) -> list[LiveTrigger]:
        """The triggers that listen to this event, each once, by priority, then id.

        The end of a visit because its zone was removed reaches only those that ask for it.
        """
        kind = (event.kind, _detail(event))
        found = list(self._everywhere.get(kind, ()))
        if event.zone_id is not None:
            found += self._by_id.get((kind, event.zone_id), ())
            for tag in zone_tags:
                found += self._by_tag.get((kind, tag), ())
        was_removed = event.reason == "zone_removed"
        unique = {
            live.trigger.id: live
            for live in found
            if _is_of_type(live, event.zone_type) and (live.trigger.on_removed or not was_removed)
        }
        return sorted(unique.values(), key=lambda live: (-live.trigger.priority, live.trigger.id))

    def thresholds(
        self, zone_id: str, zone_tags: frozenset[str], zone_type: ZoneType = "geofence"
    ) -> Thresholds:
        """Dwell thresholds, approach rings and crossings that some trigger waits for in a zone."""
        watching = [*self._watched_everywhere, *self._watched_by_id.get(zone_id, ())]
        for tag in zone_tags:
            watching += self._watched_by_tag.get(tag, ())
        if not watching:
            return Thresholds()
        listeners = [live.trigger.on for live in watching if _is_of_type(live, zone_type)]
        return Thresholds(
            tuple(sorted({on.dwell_s for on in listeners if on.dwell_s is not None})),
            tuple(sorted({on.within_m for on in listeners if on.within_m is not None})),
            any(on.event is EventKind.CROSS for on in listeners),
        )

    def _add(self, live: LiveTrigger) -> None:
        on = live.trigger.on
        kind, where = (on.event, on.detail), on.where
        self._by_trigger_id[live.trigger.id] = live
        is_watched = on.event in {EventKind.DWELL, EventKind.APPROACH, EventKind.CROSS}
        if where.is_all:
            self._everywhere[kind].append(live)
            if is_watched:
                self._watched_everywhere.append(live)
        for zone_id in where.ids:
            self._by_id[kind, zone_id].append(live)
            if is_watched:
                self._watched_by_id[zone_id].append(live)
        for tag in where.tags:
            self._by_tag[kind, tag].append(live)
            if is_watched:
                self._watched_by_tag[tag].append(live)


def _detail(event: Event) -> int | str | None:
    if event.kind is EventKind.DWELL:
        return event.dwell_s
    if event.kind is EventKind.APPROACH:
        return event.within_m
    return event.name if event.kind is EventKind.CUSTOM else None


def _is_of_type(live: LiveTrigger, zone_type: ZoneType | None) -> bool:
    wanted = live.trigger.on.where.type
    return wanted is None or wanted == zone_type
