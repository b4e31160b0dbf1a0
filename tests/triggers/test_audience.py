"""A compiled audience says what the documents mean, missing values included."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triggers.audience import Moment, compile_audience
from triggers.model import InvalidTrigger
from triggers.subject import Subject

NOW = 1_800_000_000_000
ADA = Subject(
    device_id="phone-1",
    user_id="ada",
    attributes={
        "tier": "gold",
        "age": 41,
        "spent": 99.5,
        "vip": True,
        "sizes": ["m", "l"],
        "home": {"city": "Turin"},
        "a.b": 1,
        "nothing": None,
        "since": "2026-01-01T00:00:00Z",
    },
    tags=frozenset({"newsletter"}),
    events={"purchase": (NOW - 86_400_000, NOW - 1000), "cart": (NOW - 3_600_001,)},
    visits={"store-1": 3},
    tag_visits={"mall": 5},
)


@pytest.mark.parametrize(
    ("doc", "expected"),
    [
        (None, True),
        ({"all": []}, True),
        ({"any": []}, False),
        ({"not": {"any": []}}, True),
        ({"attribute": "tier", "in": ["gold", "silver"]}, True),
        ({"attribute": "tier", "in": []}, False),
        ({"attribute": "tier", "ne": "silver"}, True),
        ({"attribute": "age", "gte": 18, "lt": 41}, False),
        ({"attribute": "age", "gte": 18, "lte": 41}, True),
        ({"attribute": "spent", "gt": 99}, True),
        ({"attribute": "vip", "eq": True}, True),
        ({"attribute": "vip", "eq": 1}, False),  # truth is no number
        ({"attribute": "age", "gt": "18"}, False),  # text is no number
        ({"attribute": "age", "ne": "41"}, False),  # of another kind: every comparison fails
        ({"attribute": "sizes", "contains": "m"}, True),
        ({"attribute": "tier", "contains": "ol"}, True),
        ({"attribute": "age", "contains": 4}, False),
        ({"attribute": "home.city", "eq": "Turin"}, True),
        ({"attribute": "home.street", "exists": False}, True),
        ({"attribute": "a.b", "eq": 1}, True),
        ({"attribute": "since", "lt": "2026-06-01T00:00:00Z"}, True),
        ({"attribute": "absent", "eq": "x"}, False),
        ({"attribute": "absent", "ne": "x"}, False),
        ({"not": {"attribute": "absent", "eq": "x"}}, True),
        ({"attribute": "absent", "exists": False}, True),
        ({"attribute": "nothing", "exists": True}, False),
        ({"property": "total", "gt": 50}, True),
        ({"property": "currency", "eq": "EUR"}, False),
        ({"tag": "newsletter"}, True),
        ({"tag": "staff"}, False),
        ({"event": "purchase"}, True),
        ({"event": "purchase", "min": 2}, True),
        ({"event": "purchase", "min": 2, "within_s": 86_400}, True),  # exactly at the edge
        ({"event": "purchase", "min": 2, "within_s": 86_399.999}, False),
        ({"event": "purchase", "max": 1}, False),
        ({"event": "cart", "within_s": 3600}, False),
        ({"event": "refund", "max": 0}, True),
        ({"visits": {"zone": "store-1"}, "min": 3}, True),
        ({"visits": {"zone": "store-1"}, "min": 4}, False),
        ({"visits": {"zone": "store-2"}, "max": 0}, True),
        ({"visits": {"tag": "mall"}, "min": 5, "max": 5}, True),
        ({"visits": "here", "max": 2}, False),
        ({"visits": "here", "min": 3}, True),
    ],
)
def test_predicates(doc: object, expected: bool) -> None:
    """Each leaf and each operator, at its edges."""
    moment = Moment(ADA, NOW, {"total": 80}, "store-1")
    answer = compile_audience(doc)(moment)
    assert expected == answer.holds
    assert answer.detail


@pytest.mark.parametrize(
    ("doc", "pointer", "says"),
    [
        ([], "/audience", "must be an object"),
        ({}, "/audience", "must be an object"),
        ({"al": []}, "/audience/al", "'all'"),
        ({"all": {}}, "/audience/all", "list"),
        ({"all": [{"tag": "x"}, {"tag": ""}]}, "/audience/all/1/tag", "not empty"),
        ({"not": {"atribute": "x"}}, "/audience/not/atribute", "'attribute'"),
        ({"attribute": "tier"}, "/audience", "compares nothing"),
        ({"attribute": "tier", "equals": 1}, "/audience/equals", "not a field"),
        ({"attribute": "tier", "in": "gold"}, "/audience/in", "list"),
        ({"attribute": "tier", "exists": 1}, "/audience/exists", "true or false"),
        ({"attribute": "tier", "gt": True}, "/audience/gt", "number or a text"),
        ({"attribute": "tier", "eq": None}, "/audience/eq", "text"),
        ({"event": "x", "within_s": 0}, "/audience/within_s", "above 0"),
        ({"event": "x", "min": 3, "max": 2}, "/audience/max", "below"),
        ({"event": "x", "min": -1}, "/audience/min", "0 or more"),
        ({"event": "x", "min": True}, "/audience/min", "whole number"),
        ({"visits": "there"}, "/audience/visits", "here"),
        ({"visits": {"zone": 4}}, "/audience/visits/zone", "text"),
        ({"tag": "x", "all": []}, "/audience/tag", "not a field"),
    ],
)
def test_wrong_documents(doc: object, pointer: str, says: str) -> None:
    """The node that is wrong is named."""
    with pytest.raises(InvalidTrigger) as caught:
        compile_audience(doc)
    assert pointer == caught.value.pointer
    assert says in caught.value.detail


def test_size_is_bounded() -> None:
    """Neither depth nor breadth can make an event expensive."""
    deep: dict[str, Any] = {"tag": "x"}
    for _ in range(17):
        deep = {"not": deep}
    wide = {"all": [{"tag": "x"}] * 256}
    for doc in (deep, wide):
        with pytest.raises(InvalidTrigger, match="too large"):
            compile_audience(doc)


scalars = st.one_of(st.sampled_from(["a", "b"]), st.integers(0, 2), st.booleans(), st.just(1.0))
names = st.sampled_from(["x", "y", "z"])
leaves = st.one_of(
    st.builds(
        lambda name, op, value: {"attribute": name, op: value},
        names,
        st.sampled_from(["eq", "ne"]),
        scalars,
    ),
    st.builds(
        lambda name, op, value: {"attribute": name, op: value},
        names,
        st.sampled_from(["gt", "gte", "lt", "lte"]),
        st.one_of(st.integers(0, 2), st.sampled_from(["a", "b"])),
    ),
    st.builds(lambda name, value: {"attribute": name, "in": value}, names, st.lists(scalars)),
    st.builds(lambda name, value: {"attribute": name, "exists": value}, names, st.booleans()),
    st.builds(lambda name: {"tag": name}, names),
    st.builds(
        lambda name, within, low: {"event": name, "within_s": within, "min": low},
        names,
        st.integers(1, 4),
        st.integers(0, 3),
    ),
    st.builds(lambda name, high: {"visits": {"zone": name}, "max": high}, names, st.integers(0, 3)),
)
trees = st.recursive(
    leaves,
    lambda nodes: st.one_of(
        st.lists(nodes, max_size=3).map(lambda docs: {"all": docs}),
        st.lists(nodes, max_size=3).map(lambda docs: {"any": docs}),
        nodes.map(lambda doc: {"not": doc}),
    ),
    max_leaves=8,
)
people = st.builds(
    Subject,
    device_id=st.just("d"),
    attributes=st.dictionaries(names, scalars),
    tags=st.frozensets(names),
    events=st.dictionaries(
        names, st.lists(st.integers(NOW - 4000, NOW), max_size=4).map(tuple), max_size=3
    ),
    visits=st.dictionaries(names, st.integers(0, 4)),
)


def means(doc: Mapping[str, Any], who: Subject) -> bool:
    """The documents read literally, one node at a time."""
    match doc:
        case {"all": docs}:
            return all(means(node, who) for node in docs)
        case {"any": docs}:
            return any(means(node, who) for node in docs)
        case {"not": node}:
            return not means(node, who)
        case {"tag": name}:
            return name in who.tags
        case {"visits": {"zone": zone}, "max": high}:
            return who.visits.get(zone, 0) <= high
        case {"event": name, "within_s": within, "min": low}:
            recent = [at for at in who.events.get(name, ()) if NOW - at <= within * 1000]
            return len(recent) >= low
        case {"attribute": name, "exists": wanted}:
            return (name in who.attributes) == wanted
        case {"attribute": name, **test}:
            if name not in who.attributes:
                return False
            ((op, operand),) = test.items()
            return compares(who.attributes[name], op, operand)
    raise AssertionError(doc)


def compares(value: object, op: str, operand: Any) -> bool:
    if op == "in":
        return any(compares(value, "eq", choice) for choice in operand)
    kinds = [
        "truth" if isinstance(v, bool) else "text" if isinstance(v, str) else "number"
        for v in (value, operand)
    ]
    if kinds[0] != kinds[1]:
        return False
    signs = {"eq": "==", "ne": "!=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
    return bool(eval(f"value {signs[op]} operand", {"value": value, "operand": operand}))


@settings(max_examples=250)
@given(trees, people)
def test_compiled_is_what_the_document_means(doc: dict[str, Any], who: Subject) -> None:
    """The compiled predicate answers as a literal reading of the document does."""
    assert means(doc, who) == compile_audience(doc)(Moment(who, NOW)).holds
