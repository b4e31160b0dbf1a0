"""From a JSON document to a struct, with errors a person can act on.

The structs of this package name their JSON fields; types that JSON does not have (a time of day, a
set of weekdays, a time zone) are classes with ``from_json``.
"""

import difflib
import re
from collections.abc import Iterable
from typing import Any, Protocol, Self, TypeVar, cast

import msgspec
from msgspec import inspect

from triggers.model import InvalidTrigger

T = TypeVar("T")
_PATH_PART = re.compile(r"\.([^.\[\]`]+)|\[([^\]]*)\]")


class FromJson(Protocol):
    """A value with a JSON form of its own."""

    @classmethod
    def from_json(cls, value: object) -> Self:
        """The value; raises ``ValueError`` with what is wrong and what to write instead."""
        ...


def convert(doc: object, kind: type[T]) -> T:
    """The document as ``kind``.

    Raises:
        InvalidTrigger: with the JSON pointer of the first wrong field, what is wrong, and where
            a name is misspelt the nearest one.
    """
    try:
        return msgspec.convert(doc, kind, dec_hook=_from_json)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        parts = [name or index for name, index in _PATH_PART.findall(path)]
        raise _explained(reason, parts, kind) from error


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known word, or all of them."""
    words = list(known)
    close = difflib.get_close_matches(name, words, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(words)}"


def _from_json(kind: type, value: object) -> Any:
    return cast("type[FromJson]", kind).from_json(value)


def _explained(reason: str, parts: list[str], kind: type) -> InvalidTrigger:
    quoted = re.search(r"`([^`]+)`|'([^']*)'", reason)
    word = (quoted[1] or quoted[2] or "") if quoted else ""
    if reason.startswith("Object contains unknown field"):
        hint = nearest(word, _words(kind, parts))
        return InvalidTrigger(_pointer([*parts, word]), f"is not a field here; {hint}")
    if reason.startswith("Object missing required field"):
        return InvalidTrigger(_pointer([*parts, word]), "is required")
    if reason.startswith("Invalid enum value"):
        hint = nearest(word, _words(kind, parts))
        return InvalidTrigger(_pointer(parts), f"{word!r} is not allowed; {hint}")
    return InvalidTrigger(_pointer(parts), reason[:1].lower() + reason[1:].replace("`", ""))


def _pointer(parts: list[str]) -> str:
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def _words(kind: type, parts: list[str]) -> list[str]:
    """The field names, or the allowed values, at a place of the document."""
    place: inspect.Type = inspect.type_info(kind)
    for part in parts:
        place = _inside(place, part)
    words: list[str] = []
    for choice in _choices(place):
        if isinstance(choice, inspect.StructType):
            words += [field.encode_name for field in choice.fields]
        elif isinstance(choice, inspect.LiteralType):
            words += [str(value) for value in choice.values]
        elif isinstance(choice, inspect.EnumType):
            words += [str(member.value) for member in choice.cls]
    return words


def _inside(place: inspect.Type, part: str) -> inspect.Type:
    for choice in _choices(place):
        if isinstance(choice, inspect.StructType):
            for field in choice.fields:
                if field.encode_name == part:
                    return field.type
        elif isinstance(choice, inspect.ListType | inspect.VarTupleType):
            return choice.item_type
    return place


def _choices(place: inspect.Type) -> Iterable[inspect.Type]:
    if isinstance(place, inspect.Metadata):
        return _choices(place.type)
    return place.types if isinstance(place, inspect.UnionType) else (place,)
