"""Whom a trigger is for: a tree of predicates, compiled once, asked for every event.

Inner nodes are ``{"all": [...]}``, ``{"any": [...]}`` and ``{"not": node}``; an empty ``all``
holds, an empty ``any`` does not. Leaves:

* ``{"attribute": name, OP: value, ...}``: every comparison must hold; dots in ``name`` are a path.
* ``{"property": name, OP: value, ...}``: the same over the properties of the event at hand.
* ``{"tag": name}``: the person has the tag.
* ``{"event": name, "within_s": n, "min": 1, "max": m}``: custom events, ``within_s`` included.
* ``{"visits": {"zone": id} | {"tag": name} | "here", "min": 1, "max": m}``: visits so far, with the
  one that is going on.

OP is ``eq ne gt gte lt lte in contains exists``. **A missing value, or one of another kind (text
against number), fails every comparison, also ``ne``**; only ``{"exists": false}`` and ``not`` hold
for it. Numbers compare with numbers, text with text (so RFC 3339 instants in UTC sort), truth with
truth.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from triggers.document import nearest
from triggers.model import InvalidTrigger
from triggers.subject import Subject

MAX_DEPTH: Final = 16
MAX_NODES: Final = 256
_MISSING: Final = object()


class Moment(NamedTuple):
    """What a predicate is asked about."""

    subject: Subject
    now: int
    properties: Mapping[str, Any] = {}
    zone_id: str | None = None


class Answer(NamedTuple):
    """Whether a predicate holds, and the values that made it so."""

    holds: bool
    detail: str


Predicate = Callable[[Moment], Answer]


def everyone(moment: Moment) -> Answer:
    """The audience of a trigger that names none."""
    return Answer(holds=True, detail="everyone")


def compile_audience(doc: object, pointer: str = "/audience") -> Predicate:
    """The predicate of an audience document; None is everyone.

    Raises:
        InvalidTrigger: with the JSON pointer of the node that is wrong, and why.
    """
    if doc is None:
        return everyone
    return _Compiler().node(doc, pointer, 0)


class _Compiler:
    """Compiles one tree; counts its nodes, since each costs time at every event."""

    def __init__(self) -> None:
        self._nodes = 0

    def node(self, doc: object, pointer: str, depth: int) -> Predicate:
        self._nodes += 1
        if depth > MAX_DEPTH or self._nodes > MAX_NODES:
            raise InvalidTrigger(
                pointer, f"is too large: at most {MAX_DEPTH} levels and {MAX_NODES} nodes"
            )
        if not isinstance(doc, dict) or not doc:
            raise InvalidTrigger(pointer, f"must be an object with one of {', '.join(_KINDS)}")
        kind = next((name for name in _KINDS if name in doc), None)
        if kind is None:
            word = str(next(iter(doc)))
            raise InvalidTrigger(
                f"{pointer}/{word}", f"is no predicate; {nearest(word, list(_KINDS))}"
            )
        _only(doc, _KINDS[kind], pointer)
        if kind in {"all", "any"}:
            return self._many(kind, doc[kind], f"{pointer}/{kind}", depth)
        if kind == "not":
            return _negated(self.node(doc["not"], f"{pointer}/not", depth + 1))
        return _LEAVES[kind](doc, pointer)

    def _many(self, kind: str, docs: object, pointer: str, depth: int) -> Predicate:
        if not isinstance(docs, list):
            raise InvalidTrigger(pointer, "must be a list of predicates")
        nodes = [self.node(doc, f"{pointer}/{i}", depth + 1) for i, doc in enumerate(docs)]
        return _all(nodes) if kind == "all" else _any(nodes)


def _all(nodes: list[Predicate]) -> Predicate:
    def holds(moment: Moment) -> Answer:
        answers = []
        for node in nodes:
            answer = node(moment)
            if not answer.holds:
                return answer
            answers.append(answer.detail)
        return Answer(holds=True, detail="; ".join(answers) or "everyone")

    return holds


def _any(nodes: list[Predicate]) -> Predicate:
    def holds(moment: Moment) -> Answer:
        details = []
        for node in nodes:
            answer = node(moment)
            if answer.holds:
                return answer
            details.append(answer.detail)
        return Answer(holds=False, detail="none of: " + "; ".join(details))

    return holds


def _negated(node: Predicate) -> Predicate:
    def holds(moment: Moment) -> Answer:
        answer = node(moment)
        return Answer(not answer.holds, f"not ({answer.detail})")

    return holds


def _compared(source: str) -> Callable[[dict[str, Any], str], Predicate]:
    def leaf(doc: dict[str, Any], pointer: str) -> Predicate:
        name = _text(doc, source, pointer)
        tests = {op: value for op, value in doc.items() if op != source}
        if not tests:
            raise InvalidTrigger(pointer, f"compares nothing; add one of {', '.join(_OPERATORS)}")
        for op, value in tests.items():
            _check_operand(op, value, f"{pointer}/{op}")
        wanted = " and ".join(f"{op} {value!r}" for op, value in tests.items())

        def holds(moment: Moment) -> Answer:
            values = moment.properties if source == "property" else moment.subject.attributes
            value = _lookup(values, name)
            shown = "missing" if value is _MISSING else repr(value)
            ok = all(_OPERATORS[op](value, operand) for op, operand in tests.items())
            return Answer(ok, f"{source} {name} is {shown}, wanted {wanted}")

        return holds

    return leaf


def _tagged(doc: dict[str, Any], pointer: str) -> Predicate:
    tag = _text(doc, "tag", pointer)

    def holds(moment: Moment) -> Answer:
        ok = tag in moment.subject.tags
        return Answer(ok, f"tag {tag} is {'present' if ok else 'absent'}")

    return holds


def _happened(doc: dict[str, Any], pointer: str) -> Predicate:
    name = _text(doc, "event", pointer)
    low, high, wanted = _range(doc, pointer)
    within_s = doc.get("within_s")
    if within_s is not None and not (_is_number(within_s) and within_s > 0):
        raise InvalidTrigger(f"{pointer}/within_s", "must be a number of seconds above 0")
    stretch = "so far" if within_s is None else f"in the last {within_s} s"

    def holds(moment: Moment) -> Answer:
        instants = moment.subject.events.get(name, ())
        if within_s is not None:
            since = moment.now - within_s * 1000
            instants = tuple(at for at in instants if at >= since)
        count = len(instants)
        return Answer(low <= count <= high, f"{count} x {name} {stretch}, wanted {wanted}")

    return holds


def _visited(doc: dict[str, Any], pointer: str) -> Predicate:
    low, high, wanted = _range(doc, pointer)
    where = doc["visits"]
    if where != "here":
        if not isinstance(where, dict) or len(where) != 1 or not where.keys() <= {"zone", "tag"}:
            raise InvalidTrigger(
                f"{pointer}/visits", 'must be {"zone": id}, {"tag": name} or "here"'
            )
        _text(where, next(iter(where)), f"{pointer}/visits")

    def holds(moment: Moment) -> Answer:
        if where == "here":
            place, count = "this zone", moment.subject.visits.get(moment.zone_id or "", 0)
        elif "zone" in where:
            place, count = f"zone {where['zone']}", moment.subject.visits.get(where["zone"], 0)
        else:
            place, count = f"tag {where['tag']}", moment.subject.tag_visits.get(where["tag"], 0)
        return Answer(low <= count <= high, f"{count} visits of {place}, wanted {wanted}")

    return holds


def _range(doc: dict[str, Any], pointer: str) -> tuple[int, float, str]:
    """The bounds of a count: at least one, unless only a maximum is named."""
    for bound in ("min", "max"):
        value = doc.get(bound, 0)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise InvalidTrigger(f"{pointer}/{bound}", "must be a whole number, 0 or more")
    low = doc.get("min", 0 if "max" in doc else 1)
    high = doc.get("max", float("inf"))
    if high < low:
        raise InvalidTrigger(f"{pointer}/max", f"is below the minimum of {low}")
    return low, high, f"at least {low}" if high == float("inf") else f"{low} to {high}"


def _lookup(values: Mapping[str, Any], name: str) -> Any:
    """The value of an attribute; a name with dots walks into objects unless it exists as it is."""
    if name in values:
        return values[name]
    value: Any = values
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _MISSING
        value = value[part]
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind_of(value: object) -> str:
    if _is_number(value):
        return "number"
    return type(value).__name__


def _alike(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, operand: _kind_of(value) == _kind_of(operand) and test(value, operand)


def _is_in(value: Any, operand: list[Any]) -> bool:
    return any(_kind_of(value) == _kind_of(choice) and value == choice for choice in operand)


def _contains(value: Any, operand: Any) -> bool:
    if isinstance(value, str):
        return isinstance(operand, str) and operand in value
    return isinstance(value, list | tuple) and _is_in(operand, list(value))


def _exists(value: Any, operand: bool) -> bool:
    return (value is not _MISSING and value is not None) == operand


_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "eq": _alike(operator.eq),
    "ne": _alike(operator.ne),
    "gt": _alike(operator.gt),
    "gte": _alike(operator.ge),
    "lt": _alike(operator.lt),
    "lte": _alike(operator.le),
    "in": _is_in,
    "contains": _contains,
    "exists": _exists,
}
_LEAVES: Final[dict[str, Callable[[dict[str, Any], str], Predicate]]] = {
    "attribute": _compared("attribute"),
    "property": _compared("property"),
    "tag": _tagged,
    "event": _happened,
    "visits": _visited,
}
_KINDS: Final[dict[str, tuple[str, ...]]] = {
    "all": ("all",),
    "any": ("any",),
    "not": ("not",),
    "attribute": ("attribute", *_OPERATORS),
    "property": ("property", *_OPERATORS),
    "tag": ("tag",),
    "event": ("event", "within_s", "min", "max"),
    "visits": ("visits", "min", "max"),
}


def _check_operand(op: str, value: object, pointer: str) -> None:
    if op == "exists":
        if not isinstance(value, bool):
            raise InvalidTrigger(pointer, "must be true or false")
    elif op == "in":
        if not isinstance(value, list) or not all(_is_scalar(item) for item in value):
            raise InvalidTrigger(pointer, "must be a list of texts, numbers or truths")
    elif op in {"gt", "gte", "lt", "lte"}:
        if not (_is_number(value) or isinstance(value, str)):
            raise InvalidTrigger(pointer, "must be a number or a text")
    elif not _is_scalar(value):
        raise InvalidTrigger(pointer, "must be a text, a number, true or false")


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | bool) or _is_number(value)


def _text(doc: dict[str, Any], field: str, pointer: str) -> str:
    value = doc[field]
    if not isinstance(value, str) or not value:
        raise InvalidTrigger(f"{pointer}/{field}", "must be a text that is not empty")
    return value


def _only(doc: dict[str, Any], known: tuple[str, ...], pointer: str) -> None:
    for name in doc:
        if name not in known:
            raise InvalidTrigger(
                f"{pointer}/{name}", f"is not a field here; {nearest(name, known)}"
            )
