"""Wall time: clock times, weekdays and time zones as people write them, and their instants.

A local wall time becomes an instant for each day anew, through UTC, so that windows are right on
the days when clocks change. Never is an offset kept.
"""

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final, Self
from zoneinfo import ZoneInfo

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MINUTES_A_DAY: Final = 1440
_LAST_INSTANT_MS = 253_402_300_799_999  # the end of year 9999
_CLOCK = re.compile(r"(\d\d):(\d\d)")


class Instant(int):
    """Epoch milliseconds; in JSON also an RFC 3339 string with its offset."""

    @classmethod
    def from_json(cls, value: object) -> Self:
        """From ``1767225600000`` or ``"2026-01-01T00:00:00Z"``."""
        if isinstance(value, int) and not isinstance(value, bool):
            if 0 <= value <= _LAST_INSTANT_MS:
                return cls(value)
            raise ValueError("epoch milliseconds must lie between 0 and the year 9999")
        return cls(_epoch_ms(value))


class ClockTime(int):
    """Minutes after local midnight, 0 to 1440; in JSON ``"HH:MM"``."""

    @classmethod
    def from_json(cls, value: object) -> Self:
        """From ``"00:00"`` to ``"24:00"``."""
        match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
        minutes = int(match[1]) * 60 + int(match[2]) if match and int(match[2]) < 60 else -1
        if not 0 <= minutes <= MINUTES_A_DAY:
            raise ValueError(f"{value!r} is no time of day; write HH:MM between 00:00 and 24:00")
        return cls(minutes)


class Days(frozenset[int]):
    """Weekdays, Monday 0; in JSON ``"mon-fri"``, ``"sat,sun"``, or a list of such."""

    @classmethod
    def from_json(cls, value: object) -> Self:
        """From days and ranges of days; a range may run over the week's end (``"fri-mon"``)."""
        entries = value if isinstance(value, list) else [value]
        spans: list[str] = []
        for entry in entries:
            if not isinstance(entry, str):
                hint = "write e.g. ['mon-fri', 'sun']"
                raise ValueError(f"{entry!r} is no day; {hint}")  # noqa: TRY004 - a wrong value
            spans += entry.lower().split(",")
        days = cls(day for span in spans for day in _days_of(span.strip()))
        if not days:
            raise ValueError("name at least one day, or leave the field out for every day")
        return days


class Timezone(str):
    """Whose wall clock counts: ``"zone"`` (the place's), ``"device"``, or an IANA name."""

    __slots__ = ()

    @classmethod
    def from_json(cls, value: object) -> Self:
        """From one of the two words or a name such as ``"Europe/Madrid"``."""
        if isinstance(value, str) and (value in {"zone", "device"} or known_zone(value)):
            return cls(value)
        raise ValueError(
            f"{value!r} is no time zone; write an IANA name such as 'Europe/Madrid', "
            "or 'zone' or 'device'"
        )


class ZoneName(str):
    """An IANA time zone that this installation knows."""

    __slots__ = ()

    @classmethod
    def from_json(cls, value: object) -> Self:
        """From a name such as ``"Europe/Madrid"``."""
        if isinstance(value, str) and known_zone(value):
            return cls(value)
        raise ValueError(f"{value!r} is no IANA time zone; write e.g. 'Europe/Madrid'")


@lru_cache(maxsize=1024)
def known_zone(name: str | None) -> ZoneInfo | None:
    """The time zone of that name, or None: phones send all sorts of things."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        return None


def first_known(*names: str | None) -> ZoneInfo | None:
    """The first of these time zones that exists."""
    return next((zone for name in names if (zone := known_zone(name))), None)


def local_date(at: int, zone: ZoneInfo) -> date:
    """The calendar day of an instant there."""
    return local_time(at, zone).date()


def local_time(at: int, zone: ZoneInfo) -> datetime:
    """The wall clock of an instant there."""
    return datetime.fromtimestamp(at / 1000, zone)


@lru_cache(maxsize=8192)
def instant_of(day: date, minutes: int, zone: ZoneInfo, *, is_end: bool) -> int:
    """When the wall clock there shows ``minutes`` after midnight on ``day``, in epoch milliseconds.

    A time that the clock skips is the first valid instant after the gap. A time that it shows
    twice is the earlier instant, or the later one if it is an end: a window is never cut short.
    """
    local = datetime.combine(day, datetime.min.time()) + timedelta(minutes=minutes)
    readings = [local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    valid = [
        reading
        for reading in readings
        if reading.astimezone(zone).replace(tzinfo=None, fold=0) == local
    ]
    if not valid:
        found = _change_between(min(readings), max(readings), zone)
    else:
        found = max(valid) if is_end else min(valid)
    return int(found.timestamp()) * 1000


def _change_between(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """The instant at which the offset changes, to the second."""
    offset = after.astimezone(zone).utcoffset()
    low, high = int(before.timestamp()), int(after.timestamp())
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return datetime.fromtimestamp(high, UTC)


def _days_of(span: str) -> list[int]:
    first, _, last = span.partition("-")
    for name in (first, last or first):
        if name not in WEEKDAYS:
            raise ValueError(f"{name!r} is no day; write mon, tue, wed, thu, fri, sat or sun")
    start, end = WEEKDAYS.index(first), WEEKDAYS.index(last or first)
    return [(start + step) % 7 for step in range((end - start) % 7 + 1)]


def _epoch_ms(value: object) -> int:
    hint = "write e.g. '2026-12-01T00:00:00Z' or epoch milliseconds"
    if not isinstance(value, str) or "T" not in value.upper():
        raise ValueError(f"{value!r} is no instant; {hint}")
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{value!r} is no instant; {hint}") from None
    if at.tzinfo is None:
        raise ValueError(f"{value!r} has no offset; {hint}")
    return max(0, round(at.timestamp() * 1000))
