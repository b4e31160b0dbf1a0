"""The index finds exactly the triggers that a reading of each one by one would find."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from triggers.listening import Thresholds, TriggerIndex
from triggers.model import Event, EventKind
from triggers.trigger import LiveTrigger, live, parse_trigger


def rule(trigger_id: str, on: dict[str, Any], **fields: Any) -> LiveTrigger:
    doc = {"id": trigger_id, "on": on, "variants": [{"message": {"title": "Hi"}}]}
    return live(parse_trigger(doc | fields), 1)


def happened(kind: EventKind, zone_id: str | None = "z1", **fields: Any) -> Event:
    zone_type = fields.pop("zone_type", "geofence" if zone_id else None)
    return Event("e", kind, "t", "d", 0, 0, zone_type=zone_type, zone_id=zone_id, **fields)


def ids(found: list[LiveTrigger]) -> list[str]:
    return [trigger.trigger.id for trigger in found]


def test_thresholds_must_match() -> None:
    """A dwell, a ring and a custom name reach those that ask for exactly this one."""
    index = TriggerIndex(
        [
            rule("d300", {"event": "dwell", "dwell_s": 300}),
            rule("d600", {"event": "dwell", "dwell_s": 600, "zones": {"tags": ["mall"]}}),
            rule("a200", {"event": "approach", "within_m": 200, "zones": {"ids": ["z1"]}}),
            rule("cart", {"event": "custom", "name": "cart"}),
            rule("cross", {"event": "cross", "zones": {"ids": ["road"], "type": "geofence"}}),
        ]
    )
    assert ["d300"] == ids(index.for_event(happened(EventKind.DWELL, dwell_s=300)))
    mall = frozenset({"mall"})
    assert ["d600"] == ids(index.for_event(happened(EventKind.DWELL, dwell_s=600), mall))
    assert [] == ids(index.for_event(happened(EventKind.DWELL, dwell_s=600)))
    assert ["a200"] == ids(index.for_event(happened(EventKind.APPROACH, within_m=200)))
    assert [] == ids(index.for_event(happened(EventKind.APPROACH, "z2", within_m=200)))
    assert ["cart"] == ids(index.for_event(happened(EventKind.CUSTOM, None, name="cart")))
    assert [] == ids(index.for_event(happened(EventKind.CUSTOM, None, name="paid")))
    assert Thresholds((300, 600), (200,), cross=False) == index.thresholds("z1", mall)
    assert Thresholds((300,), (), cross=True) == index.thresholds("road", frozenset())
    assert Thresholds((300,), ()) == index.thresholds("road", frozenset(), "beacon")
    assert 5 == len(index)
    assert index.get("gone") is None


def test_removed_zones_fire_only_where_asked() -> None:
    """The end of a visit by removal of its zone reaches only triggers that ask for it."""
    index = TriggerIndex(
        [rule("bye", {"event": "exit"}), rule("gone", {"event": "exit"}, on_removed=True)]
    )
    assert ["bye", "gone"] == ids(index.for_event(happened(EventKind.EXIT)))
    assert ["gone"] == ids(index.for_event(happened(EventKind.EXIT, reason="zone_removed")))


places = st.one_of(
    st.just("all"),
    st.fixed_dictionaries(
        {},
        optional={
            "ids": st.lists(st.sampled_from(["z1", "z2"]), max_size=2),
            "tags": st.lists(st.sampled_from(["a", "b"]), max_size=2),
            "type": st.sampled_from(["geofence", "beacon"]),
        },
    ),
)
listeners = st.one_of(
    st.fixed_dictionaries({"event": st.sampled_from(["enter", "exit"]), "zones": places}),
    st.fixed_dictionaries(
        {"event": st.just("dwell"), "dwell_s": st.integers(1, 2), "zones": places}
    ),
)
events = st.one_of(
    st.builds(
        lambda kind, zone, zone_type: happened(kind, zone, zone_type=zone_type),
        st.sampled_from([EventKind.ENTER, EventKind.EXIT]),
        st.sampled_from(["z1", "z3"]),
        st.sampled_from(["geofence", "beacon"]),
    ),
    st.builds(lambda dwell_s: happened(EventKind.DWELL, dwell_s=dwell_s), st.integers(1, 2)),
)


def hears(trigger: LiveTrigger, event: Event, tags: frozenset[str]) -> bool:
    on = trigger.trigger.on
    where = on.where
    is_there = where.is_all or event.zone_id in where.ids or bool(where.tags & tags)
    is_type = where.type in {None, event.zone_type}
    return on.event == event.kind and on.dwell_s == event.dwell_s and is_there and is_type


@settings(max_examples=150)
@given(
    st.lists(st.tuples(listeners, st.integers(0, 2)), max_size=6),
    events,
    st.frozensets(st.sampled_from(["a", "b", "c"])),
)
def test_index_is_a_scan(
    docs: list[tuple[dict[str, Any], int]], event: Event, tags: frozenset[str]
) -> None:
    """Found are those that hear the event, each once, by priority and then id."""
    triggers = [rule(f"t{n}", on, priority=p) for n, (on, p) in enumerate(docs)]
    expected = sorted(
        (trigger for trigger in triggers if hears(trigger, event, tags)),
        key=lambda trigger: (-trigger.trigger.priority, trigger.trigger.id),
    )
    assert ids(expected) == ids(TriggerIndex(triggers).for_event(event, tags))
