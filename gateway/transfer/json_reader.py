"""GeoJSON as it comes: a FeatureCollection, an array, or one Feature after another.

The last covers newline-delimited GeoJSON and GeoJSON text sequences (RFC 8142): between values,
white space and record separators are skipped.
"""

import codecs
import json
from collections.abc import Iterator
from typing import Any, NoReturn

from gateway.transfer.feature import Entry, UnreadableFile

MAX_FEATURE_CHARS = 32 * 1024 * 1024
BETWEEN = " \t\r\n\x1e\ufeff"


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decoder = json.JSONDecoder(parse_constant=_no_constant)


class _More(Exception):
    """The buffer ends before the value does."""


class JsonReader:
    """Feed pieces, get entries. Raises ``UnreadableFile`` where the text stops being GeoJSON."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0
        self._needed = 0  # do not try again before the buffer is so long
        self._index = 0
        self._inside = ""  # "": between values, "[": in an array of features, "{": in an object
        self._members: dict[str, Any] = {}
        self._is_last = False

    def feed(self, piece: bytes) -> Iterator[Entry]:
        """The entries that are complete with this piece."""
        try:
            self._text = self._text[self._at :] + self._decode.decode(piece)
        except UnicodeDecodeError:
            raise UnreadableFile("The file is not UTF-8.") from None
        self._at = 0
        if len(self._text) >= self._needed:
            yield from self._entries()

    def finish(self) -> Iterator[Entry]:
        """The last entries."""
        self._is_last = True
        yield from self._entries()
        if self._inside or self._text[self._at :].strip(BETWEEN):
            raise UnreadableFile(f"The file ends in the middle, after {self._index} features.")

    def _entries(self) -> Iterator[Entry]:
        try:
            while self._skip():
                entry = self._step()
                if entry is not None:
                    yield entry
        except _More:
            if len(self._text) - self._at > MAX_FEATURE_CHARS:
                raise self._broken("a feature is too large, or the text is no JSON") from None
            # Twice as much before the next attempt, so that a large feature is not parsed often.
            self._needed = min(2 * (len(self._text) - self._at), MAX_FEATURE_CHARS + 1)
        else:
            self._needed = 0

    def _step(self) -> Entry | None:
        char = self._text[self._at]
        if self._inside == "":
            self._begin(char)
            return None
        if char == ",":
            self._at += 1
            return None
        if self._inside == "{":
            return self._member(char)
        if char == "]":
            self._at += 1
            self._inside = "{" if self._members else ""
            return None
        return self._entry(self._value())

    def _begin(self, char: str) -> None:
        if char not in "[{":
            raise self._broken(f"{char!r} begins neither an object nor an array")
        self._at += 1
        self._inside = char
        self._members = {}

    def _member(self, char: str) -> Entry | None:
        """One member of a top-level object; the features of a collection are not kept."""
        if char == "}":
            self._at += 1
            self._inside = ""
            members, self._members = self._members, {}
            if members.get("type") == "FeatureCollection":
                return None
            return self._entry(members)
        start = self._at
        try:
            name = self._value()
            self._expect(":")
            if name == "features":
                self._expect("[")
                self._inside = "["
                self._members["type"] = "FeatureCollection"
                return None
            self._members[str(name)] = self._value()
        except _More:
            self._at = start
            raise
        return None

    def _entry(self, value: Any) -> Entry:
        index, self._index = self._index, self._index + 1
        if isinstance(value, dict):
            return Entry(index, value)
        return Entry(index, None, "is not an object; a GeoJSON Feature is needed")

    def _value(self) -> Any:
        self._skip()
        try:
            value, end = _decoder.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            if self._is_last:
                raise self._broken(f"{error.msg} in line {error.lineno}") from None
            raise _More from None
        except (ValueError, RecursionError) as error:
            raise self._broken(str(error)) from None
        if end == len(self._text) and not self._is_last and not isinstance(value, dict | list):
            raise _More  # a number or word may go on
        self._at = end
        return value

    def _expect(self, char: str) -> None:
        if not self._skip():
            raise _More
        if self._text[self._at] != char:
            raise self._broken(f"{char!r} is missing")
        self._at += 1

    def _skip(self) -> bool:
        """Go to the next character that means something; whether there is one."""
        text, at = self._text, self._at
        while at < len(text) and text[at] in BETWEEN:
            at += 1
        self._at = at
        return at < len(text)

    def _broken(self, why: str) -> UnreadableFile:
        return UnreadableFile(f"After {self._index} features the file is not GeoJSON: {why}.")
