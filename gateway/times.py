"""Instants in JSON: RFC 3339 strings out, strings or epoch milliseconds in."""

from datetime import UTC, datetime, timedelta

from gateway.errors import Problem

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_MS = 253_402_300_799_999  # the end of the year 9999


def rfc3339(at: int) -> str:
    """An instant (epoch ms) as text in UTC with milliseconds, e.g. ``2026-12-01T09:30:00.000Z``."""
    moment = _EPOCH + timedelta(milliseconds=at)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_instant(text: str, parameter: str) -> int:
    """Epoch ms of a query parameter: RFC 3339 with an offset, or epoch milliseconds.

    Raises:
        Problem: it is neither.
    """
    if text.isascii() and text.isdigit() and int(text) <= _LATEST_MS:
        return int(text)
    try:
        # A plus sign that was not percent-encoded arrives as a blank.
        moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Problem(
            "invalid-request",
            f"{parameter} is {text!r}; give RFC 3339 with an offset (2026-12-01T09:30:00Z) "
            "or epoch milliseconds.",
            errors=[(f"query {parameter}", "is not an instant")],
        )
    return (moment - _EPOCH) // timedelta(milliseconds=1)
