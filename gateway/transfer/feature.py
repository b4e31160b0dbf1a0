"""What a reader gives for each entry of a file."""

from typing import Any

import msgspec


class UnreadableFile(ValueError):
    """The file as a whole cannot be read any further; what was read before stands."""


def number(text: str) -> int | float:
    """A number as JSON would have it: whole numbers stay whole.

    Raises:
        ValueError: it is none.
    """
    try:
        return int(text)
    except ValueError:
        return float(text)


class Entry(msgspec.Struct, frozen=True):
    """One entry: a GeoJSON Feature as posted, or why it is none. ``index`` counts from 0."""

    index: int
    feature: dict[str, Any] | None
    detail: str = ""
