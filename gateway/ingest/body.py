"""Bodies by their shape: apps and receivers name wrong content types, so none is asked for."""

from typing import Any
from urllib.parse import parse_qsl

import msgspec

from gateway.ingest.model import Posted, UnreadableBody

MAX_FORM_FIELDS = 500
_SPACE = b" \t\r\n\xef\xbb\xbf"  # with the byte order mark


def looks_like_json(body: bytes) -> bool:
    """Whether it starts as a JSON object or array."""
    return body[:64].lstrip(_SPACE)[:1] in (b"{", b"[")


def read_json(body: bytes) -> Any:
    """The decoded object or array.

    Raises:
        UnreadableBody: it is no JSON, or a bare value.
    """
    try:
        document = msgspec.json.decode(body.lstrip(_SPACE))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableBody(f"The body is not JSON: {error}") from None
    if not isinstance(document, dict | list):
        raise UnreadableBody("The body is neither a JSON object nor an array.")
    return document


def read_form(body: bytes) -> dict[str, str]:
    """The fields of a form or query string; the last of equal names counts.

    Raises:
        UnreadableBody: there are far too many.
    """
    try:
        text = body.decode("utf-8", "replace").strip().lstrip("?")
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS))
    except ValueError as error:
        raise UnreadableBody(f"The body is not a form: {error}") from None


def read_any(posted: Posted) -> Any:
    """The body as JSON or form with the query's fields behind it; the query where it is empty.

    Raises:
        UnreadableBody: it is neither.
    """
    if not posted.body.strip(_SPACE):
        return dict(posted.query)
    if looks_like_json(posted.body):
        return read_json(posted.body)
    return {**posted.query, **read_form(posted.body)}
