"""Replaying a track through the HTTP API, as a phone would have sent it.

Model: the spacing of the recorded times is kept, so dwell and confirmation see what happened; the
whole track is shifted so that its last position is fresh when it is sent. At speed 1 it runs as it
was walked; at speed N it is sent in an Nth of the time, its beginning being as old as it must be.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from gateway.tracks import Point

MAX_BATCH = 500


class Batch(NamedTuple):
    """Pings to send together, ``after_s`` from the start."""

    after_s: float
    pings: list[dict[str, Any]]


class Plan(NamedTuple):
    """What to send and when; ``shift_ms`` was added to every recorded time."""

    batches: list[Batch]
    shift_ms: int


def plan_replay(
    points: Sequence[Point],
    device_id: str,
    started_at: int,
    speed: float | None = None,
    *,
    keep_times: bool = False,
    interval_s: float = 1.0,
) -> Plan:
    """Divide a track (in the order of time) into the batches that are sent.

    Args:
        points: the track.
        device_id: whose pings they are; points with a device of their own get it as a suffix.
        started_at: epoch ms when sending begins.
        speed: how many times as fast as recorded; None sends all at once.
        keep_times: send the recorded times unchanged.
        interval_s: how much sending time one batch spans.
    """
    first, last = points[0].recorded_at, points[-1].recorded_at
    lasts_ms = (last - first) / speed if speed else 0.0
    shift_ms = 0 if keep_times else round(started_at + lasts_ms - last)
    batches: list[Batch] = []
    for point in points:
        after_s = (point.recorded_at - first) / speed / 1000 if speed else 0.0
        is_new = not batches or len(batches[-1].pings) >= MAX_BATCH
        if is_new or after_s - batches[-1].after_s >= interval_s:
            batches.append(Batch(after_s, []))
        batches[-1].pings.append(_ping(point, device_id, shift_ms))
    return Plan(batches, shift_ms)


def _ping(point: Point, device_id: str, shift_ms: int) -> dict[str, Any]:
    optional = dict(_measures(point))
    return {
        "device_id": f"{device_id}-{point.device}" if point.device else device_id,
        "lat": point.lat,
        "lon": point.lon,
        "recorded_at": point.recorded_at + shift_ms,
        **optional,
    }


def _measures(point: Point) -> Iterator[tuple[str, float]]:
    """The optional fields that a ping may have; loggers write -1 for what they do not know."""
    if point.accuracy_m is not None and point.accuracy_m >= 0:
        yield "accuracy_m", point.accuracy_m
    if point.altitude_m is not None:
        yield "altitude_m", point.altitude_m
    if point.speed_mps is not None and point.speed_mps >= 0:
        yield "speed_mps", point.speed_mps
    if point.heading_deg is not None and 0 <= point.heading_deg <= 360:
        yield "heading_deg", point.heading_deg
