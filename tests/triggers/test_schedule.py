"""Windows and quiet hours are right by the wall clock, also on the nights when clocks change."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triggers.document import convert
from triggers.model import InvalidTrigger
from triggers.schedule import QuietHours, Schedule, Window, is_open, next_open_at, quiet_until
from triggers.walltime import instant_of, known_zone

ZONES = [
    "Europe/Madrid",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "America/St_Johns",
    "UTC",
]
NIGHT = convert({"from": "22:00", "to": "07:00"}, QuietHours)


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def schedule(**fields: object) -> Schedule:
    return convert(fields, Schedule)


@pytest.mark.parametrize(
    ("zone", "starts", "ends"),
    [
        ("Europe/Madrid", "2026-03-28T21:00Z", "2026-03-29T05:00Z"),
        ("Europe/Madrid", "2026-10-24T20:00Z", "2026-10-25T06:00Z"),
        ("America/New_York", "2026-03-08T03:00Z", "2026-03-08T11:00Z"),
        ("America/New_York", "2026-11-01T02:00Z", "2026-11-01T12:00Z"),
        ("Australia/Lord_Howe", "2026-04-04T11:00Z", "2026-04-04T20:30Z"),
        ("Australia/Lord_Howe", "2026-10-03T11:30Z", "2026-10-03T20:00Z"),
        ("Asia/Kathmandu", "2026-06-15T16:15Z", "2026-06-16T01:15Z"),
        ("Africa/Casablanca", "2026-02-14T21:00Z", "2026-02-15T07:00Z"),
        ("Africa/Casablanca", "2026-03-21T22:00Z", "2026-03-22T06:00Z"),
    ],
)
def test_quiet_from_22_to_7_on_nights_of_change(zone: str, starts: str, ends: str) -> None:
    """The quiet begins and ends at exactly these instants, to the millisecond."""
    tz = ZoneInfo(zone)
    start, end = ms(starts), ms(ends)
    assert quiet_until(NIGHT, start - 1, tz) is None
    assert end == quiet_until(NIGHT, start, tz)
    assert end == quiet_until(NIGHT, end - 1, tz)
    assert quiet_until(NIGHT, end, tz) is None


@pytest.mark.parametrize(
    ("day", "minutes", "is_end", "expected"),
    [
        (date(2026, 3, 29), 150, False, "2026-03-29T01:00Z"),  # 02:30 is skipped: 03:00 summer time
        (date(2026, 3, 29), 150, True, "2026-03-29T01:00Z"),
        (date(2026, 10, 25), 150, False, "2026-10-25T00:30Z"),  # 02:30 comes twice
        (date(2026, 10, 25), 150, True, "2026-10-25T01:30Z"),
        (date(2026, 7, 1), 1440, True, "2026-07-01T22:00Z"),
    ],
)
def test_times_that_are_skipped_or_come_twice(
    day: date, minutes: int, is_end: bool, expected: str
) -> None:
    """A gap gives the first instant after it; a repeated time the earlier start, the later end."""
    assert ms(expected) == instant_of(day, minutes, ZoneInfo("Europe/Madrid"), is_end=is_end)


def test_a_day_that_does_not_exist() -> None:
    """Apia had no 30 December 2011: its noon is the first instant of the 31st."""
    apia = ZoneInfo("Pacific/Apia")
    midnight = ms("2011-12-30T10:00Z")
    assert midnight == instant_of(date(2011, 12, 30), 720, apia, is_end=False)
    assert ms("2011-12-30T22:00Z") == instant_of(date(2011, 12, 31), 720, apia, is_end=False)
    noon_to_two = schedule(windows=[{"days": "fri", "from": "12:00", "to": "14:00"}])
    assert ms("2012-01-05T22:00Z") == next_open_at(noon_to_two, midnight - 1, apia)


@pytest.mark.parametrize(
    ("window", "at", "expected"),
    [
        ({"days": ["mon-fri"], "from": "11:30", "to": "14:00"}, "2026-12-01T10:30Z", True),
        ({"days": ["mon-fri"], "from": "11:30", "to": "14:00"}, "2026-12-01T10:29:59Z", False),
        ({"days": ["mon-fri"], "from": "11:30", "to": "14:00"}, "2026-12-01T13:00Z", False),
        ({"days": ["mon-fri"], "from": "11:30", "to": "14:00"}, "2026-12-05T11:00Z", False),
        ({"days": "sat", "from": "22:00", "to": "02:00"}, "2026-12-06T00:30Z", True),  # Sunday
        ({"days": "sat", "from": "22:00", "to": "02:00"}, "2026-12-05T00:30Z", False),
        ({"days": "sun"}, "2026-12-06T22:59:59Z", True),
        ({"days": "sun"}, "2026-12-06T23:00Z", False),
        ({"days": "fri-mon", "to": "24:00"}, "2026-12-07T12:00Z", True),
        ({"days": "fri-mon", "to": "24:00"}, "2026-12-08T12:00Z", False),
    ],
)
def test_windows(window: dict[str, object], at: str, expected: bool) -> None:
    """From is included, to is not; a window over midnight belongs to the day it starts on."""
    assert expected == is_open(schedule(windows=[window]), ms(at), ZoneInfo("Europe/Madrid"))


def test_validity_and_unknown_zone() -> None:
    """Both ends of the validity are included; windows without a known zone stay shut."""
    bounded = schedule(start_at="2026-12-01T00:00:00Z", end_at="2026-12-24T23:59:59+00:00")
    start, end = ms("2026-12-01T00:00Z"), ms("2026-12-24T23:59:59Z")
    answers = [is_open(bounded, at, None) for at in (start - 1, start, end, end + 1)]
    assert [False, True, True, False] == answers
    assert start == next_open_at(bounded, 0, None)
    assert next_open_at(bounded, end + 1, None) is None
    windowed = schedule(windows=[{"from": "10:00"}])
    assert not is_open(windowed, start, None)
    assert next_open_at(windowed, start, None) is None


def test_a_validity_that_ends_before_the_window_never_opens() -> None:
    """The next opening lies inside the validity, or there is none."""
    never = schedule(end_at="2026-12-01T09:00:00Z", windows=[{"from": "10:00", "to": "11:00"}])
    assert next_open_at(never, ms("2026-12-01T00:00Z"), ZoneInfo("UTC")) is None


@pytest.mark.parametrize(
    ("doc", "pointer", "says"),
    [
        ({"windows": [{"from": "25:00"}]}, "/windows/0/from", "HH:MM"),
        ({"windows": [{"from": "9:00"}]}, "/windows/0/from", "HH:MM"),
        ({"windows": [{"from": "10:00", "to": "10:00"}]}, "/windows/0", "whole day"),
        ({"windows": [{"days": ["mon", "funday"]}]}, "/windows/0/days", "funday"),
        ({"windows": [{"days": []}]}, "/windows/0/days", "at least one day"),
        ({"windows": [{"days": [1]}]}, "/windows/0/days", "is no day"),
        ({"windows": [{"form": "10:00"}]}, "/windows/0/form", "'from'"),
        ({"timezone": "Europe/Atlantis"}, "/timezone", "IANA"),
        ({"start_at": "2026-12-01"}, "/start_at", "instant"),
        ({"start_at": "2026-13-01T00:00:00Z"}, "/start_at", "instant"),
        ({"start_at": "2026-12-01T00:00:00"}, "/start_at", "no offset"),
        ({"start_at": -1}, "/start_at", "epoch milliseconds"),
        ({"start_at": 20, "end_at": 10}, "", "before"),
    ],
)
def test_wrong_schedules(doc: dict[str, object], pointer: str, says: str) -> None:
    """A wrong field is named, with what to write."""
    with pytest.raises(InvalidTrigger) as caught:
        convert(doc, Schedule)
    assert pointer == caught.value.pointer
    assert says in caught.value.detail


def test_unknown_zone_names() -> None:
    """What phones send as a zone is either known or nothing; never an error."""
    junk = [None, "", "Europe", "../../etc/passwd", "GMT+1:30", "\x00", "x" * 300]
    assert [None] * len(junk) == [known_zone(name) for name in junk]


times = st.integers(0, 1439).map(lambda minute: f"{minute // 60:02d}:{minute % 60:02d}")
windows = st.builds(
    lambda opens, closes, days: {"from": opens, "to": closes, "days": sorted(days)},
    times,
    times,
    st.sets(st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), min_size=1),
).filter(lambda window: window["from"] != window["to"])
instants = st.integers(ms("2010-01-01T00:00Z"), ms("2027-12-31T00:00Z"))


@settings(max_examples=120)
@given(st.lists(windows, min_size=1, max_size=3), instants, st.sampled_from(ZONES))
def test_next_opening_is_the_first(docs: list[dict[str, object]], now: int, zone: str) -> None:
    """At the next opening it is open, and at no probed instant before."""
    tz = ZoneInfo(zone)
    rules = schedule(windows=docs)
    opens = next_open_at(rules, now, tz)
    assert opens is not None
    assert is_open(rules, opens, tz)
    assert (opens == now) == is_open(rules, now, tz)
    assert not any(is_open(rules, at, tz) for at in range(now, opens, 3_600_000))
    assert opens == now or not is_open(rules, opens - 1, tz)


@settings(max_examples=120)
@given(windows, instants, st.sampled_from(ZONES))
def test_wall_clock_in_a_window(doc: dict[str, object], now: int, zone: str) -> None:
    """Away from clock changes a window is open exactly when the wall clock says so."""
    tz = ZoneInfo(zone)
    local = datetime.fromtimestamp(now / 1000, tz)
    shifts = {(local + timedelta(days=d)).utcoffset() for d in (-2, -1, 0, 1, 2)}
    if len(shifts) > 1:
        return
    window = convert(doc, Window)
    minute = local.hour * 60 + local.minute
    today, yesterday = local.weekday() in window.days, (local.weekday() - 1) % 7 in window.days
    if window.opens < window.closes:
        expected = today and window.opens <= minute < window.closes
    else:
        expected = (today and minute >= window.opens) or (yesterday and minute < window.closes)
    assert expected == is_open(Schedule(windows=(window,)), now, tz)


@settings(max_examples=120)
@given(st.dates(date(2009, 1, 1), date(2028, 1, 1)), st.integers(0, 1440), st.sampled_from(ZONES))
def test_instants_follow_the_wall_clock(day: date, minutes: int, zone: str) -> None:
    """A later wall time is never an earlier instant, and an end is never before its start."""
    tz = ZoneInfo(zone)
    start = instant_of(day, minutes, tz, is_end=False)
    assert start <= instant_of(day, minutes, tz, is_end=True)
    assert start <= instant_of(day + timedelta(days=1), minutes, tz, is_end=False)
    shown = datetime.fromtimestamp(start / 1000, UTC).astimezone(tz).replace(tzinfo=None)
    wanted = datetime.combine(day, datetime.min.time()) + timedelta(minutes=minutes)
    assert shown >= wanted
