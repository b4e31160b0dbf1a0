"""When a trigger may speak: a validity, weekly windows, and the hours of quiet.

Windows are local wall time. A window that ends at or before its start runs over midnight and
belongs to the day on which it starts. All functions take the instant and the time zone.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

import msgspec

from triggers.walltime import (
    MINUTES_A_DAY,
    ClockTime,
    Days,
    Instant,
    Timezone,
    instant_of,
    local_date,
)

EVERY_DAY = Days(range(7))
_HORIZON_DAYS = 15  # a week, twice: a calendar may skip a whole day (Pacific/Apia, 2011-12-30)


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A weekly window, from (included) to (excluded), in local wall time."""

    opens: ClockTime = msgspec.field(name="from", default=ClockTime(0))
    closes: ClockTime = msgspec.field(name="to", default=ClockTime(MINUTES_A_DAY))
    days: Days = EVERY_DAY

    def __post_init__(self) -> None:
        """Refuse what could mean nothing or everything."""
        if self.opens == self.closes:
            raise ValueError("'from' equals 'to'; write 00:00 to 24:00 for the whole day")


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The validity (both ends included) and the weekly windows of a trigger."""

    start_at: Instant | None = None
    end_at: Instant | None = None
    windows: tuple[Window, ...] = ()
    timezone: Timezone = Timezone("zone")

    def __post_init__(self) -> None:
        """Refuse a validity that never is."""
        if self.start_at is not None and self.end_at is not None and self.end_at < self.start_at:
            raise ValueError("'end_at' lies before 'start_at'")


class QuietHours(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hours in which no marketing push may go, e.g. 21:00 to 08:00."""

    opens: ClockTime = msgspec.field(name="from")
    closes: ClockTime = msgspec.field(name="to")
    timezone: Timezone = Timezone("zone")
    days: Days = EVERY_DAY

    def __post_init__(self) -> None:
        """Refuse what could mean nothing or everything."""
        if self.opens == self.closes:
            raise ValueError("'from' equals 'to'; leave quiet hours out to have none")

    @property
    def window(self) -> Window:
        """The same hours as a window."""
        return Window(opens=self.opens, closes=self.closes, days=self.days)


def is_open(schedule: Schedule, now: int, tz: ZoneInfo | None) -> bool:
    """Whether the trigger may fire at ``now``; an unknown time zone with windows is closed."""
    if not _is_valid(schedule, now):
        return False
    return not schedule.windows or (tz is not None and in_windows(schedule.windows, now, tz))


def next_open_at(schedule: Schedule, now: int, tz: ZoneInfo | None) -> int | None:
    """The first instant from ``now`` on at which ``is_open``; None if never again."""
    earliest = max(now, schedule.start_at or 0)
    if not schedule.windows:
        opens: int | None = earliest
    elif tz is None:
        opens = None
    else:
        starts = [
            max(start, earliest)
            for start, end in _occurrences(schedule.windows, earliest, tz)
            if end > earliest
        ]
        opens = min(starts, default=None)
    return opens if opens is not None and _is_valid(schedule, opens) else None


def quiet_until(quiet: QuietHours, now: int, tz: ZoneInfo) -> int | None:
    """When the quiet in which ``now`` lies ends; None if it is not quiet."""
    stretches = _occurrences((quiet.window,), now, tz, days=2)
    return max((end for start, end in stretches if start <= now < end), default=None)


def in_windows(windows: Sequence[Window], now: int, tz: ZoneInfo) -> bool:
    """Whether ``now`` lies in one of the windows."""
    return any(start <= now < end for start, end in _occurrences(windows, now, tz, days=2))


def _is_valid(schedule: Schedule, at: int) -> bool:
    starts, ends = schedule.start_at, schedule.end_at
    return (starts is None or at >= starts) and (ends is None or at <= ends)


def _occurrences(
    windows: Sequence[Window], now: int, tz: ZoneInfo, days: int = _HORIZON_DAYS
) -> Iterator[tuple[int, int]]:
    """The stretches (start, end) of the windows, from those that began the day before ``now``."""
    yesterday = local_date(now, tz) - timedelta(days=1)
    for offset in range(days + 1):
        day = yesterday + timedelta(days=offset)
        for window in windows:
            if day.weekday() in window.days:
                runs_over = MINUTES_A_DAY if window.closes <= window.opens else 0
                start = instant_of(day, window.opens, tz, is_end=False)
                end = instant_of(day, window.closes + runs_over, tz, is_end=True)
                if start < end:
                    yield start, end
