"""The Retry-After header (RFC 9110, section 10.2.3): seconds, or a date."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

LONGEST_S = 86_400.0


def retry_after_s(headers: Mapping[str, str], now_s: float) -> float | None:
    """Seconds to wait, at most a day; None if the header is absent or unreadable."""
    text = headers.get("retry-after")
    if not text:
        return None
    if text.strip().isdecimal():
        return min(float(text), LONGEST_S)
    try:
        at_s = parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None
    return min(max(0.0, at_s - now_s), LONGEST_S)
