"""Cursor pages: ``{"items": [...], "next_cursor": null}`` and the ``Link`` header (RFC 8288).

A cursor is opaque to clients: base64url of where the next page starts.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from gateway.errors import Problem

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000


def encode_cursor(after: str) -> str:
    """The cursor of a place in an order."""
    return base64.urlsafe_b64encode(after.encode()).rstrip(b"=").decode()


def decode_cursor(cursor: str | None) -> str:
    """The place that a cursor names; the empty string for the start.

    Raises:
        Problem: it is no cursor of ours.
    """
    if not cursor:
        return ""
    try:
        return base64.b64decode(
            cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True
        ).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise Problem(
            "invalid-request",
            "The cursor is not one that this list gave. Start again without it.",
            errors=[("query cursor", "is not a cursor of this list")],
        ) from None


def check_limit(limit: int | None, most: int = MAX_LIMIT) -> int:
    """The page size.

    Raises:
        Problem: it is not between 1 and ``most``.
    """
    if limit is None:
        return min(DEFAULT_LIMIT, most)
    if not 1 <= limit <= most:
        raise Problem(
            "invalid-request",
            f"limit is {limit}; it must be between 1 and {most}.",
            errors=[("query limit", f"must be between 1 and {most}")],
        )
    return limit


def page(items: Sequence[Any], after: str | None) -> dict[str, Any]:
    """The body of a page."""
    return {"items": items, "next_cursor": None if after is None else encode_cursor(after)}


def link_header(
    path: str, query: Sequence[tuple[str, str]], after: str | None
) -> Mapping[str, str]:
    """``Link: <...>; rel="next"`` with the same query, or nothing on the last page."""
    if after is None:
        return {}
    pairs = [(name, value) for name, value in query if name != "cursor"]
    target = f"{quote(path)}?{urlencode([*pairs, ('cursor', encode_cursor(after))])}"
    return {"Link": f'<{target}>; rel="next"'}
