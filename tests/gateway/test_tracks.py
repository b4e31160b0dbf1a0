"""Tracks: every format gives the same points, and replay keeps their spacing."""

from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.replay import plan_replay
from gateway.tracks import Point, TrackError, parse_time, read_track

FIRST = Point(1_700_000_000_000, 52.5, 13.25)
SECOND = Point(1_700_000_060_500, 52.75, 13.5)

GPX = """<?xml version="1.0"?>
<gpx xmlns="http://www.topografix.com/GPX/1/1"><metadata><time>2001-01-01T00:00:00Z</time></metadata>
<trk><trkseg>
<trkpt lat="52.5" lon="13.25"><time>2023-11-14T22:13:20Z</time></trkpt>
<trkpt lat="52.75" lon="13.5"><time>2023-11-14T22:14:20.500Z</time></trkpt>
</trkseg></trk></gpx>"""
LINE = """{"type": "Feature", "geometry": {"type": "LineString",
"coordinates": [[13.25, 52.5], [13.5, 52.75]]},
"properties": {"coordTimes": ["2023-11-14T22:13:20Z", "2023-11-14T22:14:20.500Z"]}}"""
POINTS = """{"type": "FeatureCollection", "features": [
{"type": "Feature", "geometry": {"type": "Point", "coordinates": [13.5, 52.75]},
 "properties": {"timestamp": 1700000060500}},
{"type": "Feature", "geometry": {"type": "Point", "coordinates": [13.25, 52.5]},
 "properties": {"timestamp": 1700000000}}]}"""
REC = """2023-11-14T22:13:20Z\t*\t{"_type":"location","lat":52.5,"lon":13.25,"tst":1700000000}
2023-11-14T22:13:30Z\tlwt\t{"_type":"lwt","tst":1700000010}
2023-11-14T22:14:20Z\t*\t{"_type":"location","lat":52.75,"lon":13.5,"tst":1700000060.5}
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.gpx", GPX),
        ("a.csv", "Latitude,Longitude,Timestamp\n52.5,13.25,1700000000\n52.75,13.5,1700000060.5\n"),
        ("b.csv", "time;lat;lng\n1700000060.5;52.75;13.5\n2023-11-14 22:13:20;52.5;13.25"),
        ("c.csv", "\ufeffdate|y|x\n1700000000000|52.5|13.25\n1700000060500|52.75|13.5"),
        ("a.geojson", LINE),
        ("b.geojson", POINTS),
        ("a.geojsonl", LINE.replace("\n", " ")),
        ("a.rec", REC),
    ],
)  # fmt: skip
def test_every_format_gives_the_same_points(tmp_path: Path, name: str, text: str) -> None:
    """Whatever logger wrote it, in the order of time."""
    path = tmp_path / name
    path.write_text(text, "utf-8")
    track = read_track(path)
    assert [FIRST, SECOND] == track.points
    assert [] == track.rejected


def test_measures_are_read_with_their_units(tmp_path: Path) -> None:
    """Accuracy, altitude, speed (from km/h where the logger says so), heading, device."""
    path = tmp_path / "x.csv"
    path.write_text("lat,lon,tst,acc,alt,vel,cog,who\n1,2,1700000000,8,30,36,90,bus-1\n", "utf-8")
    (point,) = read_track(path, device_column="who").points
    assert Point(1_700_000_000_000, 1, 2, 8, 30, 10.0, 90, "bus-1") == point


def test_what_cannot_be_used_is_told(tmp_path: Path) -> None:
    """Bad rows are counted with their line; the others are used."""
    path = tmp_path / "x.csv"
    path.write_text("lat,lon,time\n1,2,1700000000\n91,2,1700000000\n1,x,5\n1,2,never\n", "utf-8")
    track = read_track(path)
    assert 1 == len(track.points)
    assert ["line 3", "line 4", "line 5"] == [row.partition(":")[0] for row in track.rejected]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("x.txt", "", "use a .gpx"),
        ("x.csv", "", "no column for lat"),
        ("x.csv", "a,b\n1,2", "no column for lat"),
        ("x.csv", "lat,lon\n1,2", "no column for time"),
        ("x.csv", "lat,lon,time\n", "no position"),
        ("x.gpx", "<gpx>", "not well-formed"),
        ("x.gpx", '<!DOCTYPE x [<!ENTITY a "b">]><gpx/>', "DOCTYPE"),
        ("x.geojson", "[]", "objects"),
        ("x.geojson", "{", "cannot be read"),
        ("x.geojson", LINE.replace("coordTimes", "other"), "coordTimes"),
        ("x.rec", "nothing", "no position"),
    ],
)
def test_unreadable_files_say_why(tmp_path: Path, name: str, text: str, why: str) -> None:
    """The message tells what is missing."""
    path = tmp_path / name
    path.write_text(text, "utf-8")
    with pytest.raises(TrackError, match=why):
        read_track(path)


@pytest.mark.parametrize(
    ("value", "zone", "expected"),
    [
        ("2023-11-14T22:13:20Z", UTC, 1_700_000_000_000),
        ("2023-11-14T23:13:20+01:00", UTC, 1_700_000_000_000),
        ("2023-11-14 23:13:20", ZoneInfo("Europe/Berlin"), 1_700_000_000_000),
        (1_700_000_000, UTC, 1_700_000_000_000),
        ("1700000000.25", UTC, 1_700_000_000_250),
        ("1700000000250", UTC, 1_700_000_000_250),
    ],
)
def test_times(value: object, zone: ZoneInfo, expected: int) -> None:
    """Seconds, milliseconds and text, with and without a zone."""
    assert expected == parse_time(value, zone)


@given(
    gaps_ms=st.lists(st.integers(0, 600_000), min_size=1, max_size=200),
    speed=st.one_of(st.none(), st.floats(0.5, 1000)),
)
@hypothesis_settings(max_examples=60, deadline=None)
def test_replay_keeps_spacing_and_ends_fresh(gaps_ms: list[int], speed: float | None) -> None:
    """Every point once, in order, with the recorded spacing; the last one fresh when it is sent."""
    started_at = 1_800_000_000_000
    times = [1_600_000_000_000]
    for gap in gaps_ms:
        times.append(times[-1] + gap)
    points = [Point(at, 1.0, 2.0) for at in times]
    plan = plan_replay(points, "d", started_at, speed)
    sent = [ping["recorded_at"] for batch in plan.batches for ping in batch.pings]
    assert [at + plan.shift_ms for at in times] == sent
    ends_at = started_at + ((times[-1] - times[0]) / speed if speed else 0)
    assert abs(sent[-1] - ends_at) <= 1
    assert sorted(batch.after_s for batch in plan.batches) == [b.after_s for b in plan.batches]
    assert max(len(batch.pings) for batch in plan.batches) <= 500


def test_replay_can_keep_the_recorded_times() -> None:
    """For looking at the past instead of acting on it; unknown measures (-1) are left out."""
    point = FIRST._replace(accuracy_m=-1.0, speed_mps=2.5, heading_deg=361.0, device="b")
    plan = plan_replay([point], "d", 0, keep_times=True)
    assert [
        {"device_id": "d-b", "lat": 52.5, "lon": 13.25, "recorded_at": FIRST.recorded_at,
         "speed_mps": 2.5}
    ] == plan.batches[0].pings  # fmt: skip
