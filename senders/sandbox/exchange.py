"""One request and one answer, as values: an emulator is a function from the one to the other.

Emulators are sans-IO: the time stands in the request, and what was accepted stands in the answer.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import msgspec


class Request(NamedTuple):
    """An HTTP request. ``headers`` has lower-case names; ``query`` is raw; ``at`` is epoch ms."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: int
    query: str = ""
    origin: str = ""  # scheme://host:port that the client asked for
    has_repeated_headers: bool = False
    http_version: str = "2"


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """A message that a provider took: what ``GET /_sandbox/messages`` lists.

    ``payload`` is the decoded message as JSON text.
    """

    provider: str
    target: str
    id: str
    received_at: int
    headers: dict[str, str]
    payload: msgspec.Raw


class Answer(NamedTuple):
    """An HTTP answer; ``accepted`` is set when the provider took a message."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    accepted: Accepted | None = None


class Emulator(Protocol):
    """One provider: judges requests, and knows its own way of saying no."""

    provider: str
    outcomes: Mapping[str, tuple[int, str]]  # what a magic target's outcome is here

    def answer(self, request: Request) -> Answer:
        """Judge a request by the provider's rules."""
        ...

    def refusal(self, status: int, reason: str, at: int, since: int | None = None) -> Answer:
        """Say no in the provider's own shape; ``since`` is when a dead target died (epoch ms)."""
        ...


NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # what decoding raises
JSON_TYPE = ("content-type", "application/json; charset=utf-8")
_encode = msgspec.json.Encoder().encode


def json_answer(status: int, document: Any, *headers: tuple[str, str]) -> Answer:
    """Return an answer with a JSON body."""
    return Answer(status, [JSON_TYPE, *headers], _encode(document))


def raw_json(document: Any) -> msgspec.Raw:
    """Return a document as JSON text that is embedded as it is."""
    return msgspec.Raw(_encode(document))


def as_json(content: bytes) -> msgspec.Raw:
    """Return JSON content as it is, and anything else as a JSON string."""
    try:
        msgspec.json.decode(content)
    except NOT_JSON:
        return raw_json(content.decode(errors="replace"))
    return msgspec.Raw(content)
