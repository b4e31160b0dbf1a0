"""JSON documents into structs, with errors that name the field by its JSON pointer (RFC 6901)."""

import difflib
import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_AT = re.compile(r"^(?P<detail>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"missing required field `(?P<field>[^`]+)`")
_UNKNOWN = re.compile(r"contains unknown field `(?P<field>[^`]+)`")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


def convert(document: object, into: type[T], error: Callable[[str, str], Exception]) -> T:
    """Return ``document`` (decoded JSON) as ``into``.

    Args:
        document: what was posted.
        into: a msgspec Struct type.
        error: makes the exception to raise from (JSON pointer, detail).
    """
    try:
        return msgspec.convert(document, into)
    except msgspec.ValidationError as failure:
        raise error(*_explain(str(failure), into)) from None


def pointer(*parts: str | int) -> str:
    """A JSON pointer; ``~`` and ``/`` in the parts are escaped."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def _explain(text: str, into: Any) -> tuple[str, str]:
    found = _AT.match(text)
    detail, path = (found["detail"], found["path"] or "$") if found else (text, "$")
    steps = [name or index for name, index in _STEP.findall(path)]
    if missing := _MISSING.search(detail):
        return pointer(*steps, missing["field"]), "is required"
    if unknown := _UNKNOWN.search(detail):
        return pointer(*steps, unknown["field"]), "is not a field here" + _hint(
            unknown["field"], into
        )
    return pointer(*steps), detail[:1].lower() + detail[1:]


def _hint(name: str, into: Any) -> str:
    known = [field.encode_name for field in msgspec.structs.fields(into)]
    near = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {near[0]!r}?" if near else ""
