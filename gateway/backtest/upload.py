"""Traffic in files, as the pings that ``POST /v1/pings`` takes.

``.ndjson`` and ``.jsonl`` have one ping a line, ``.json`` may have an array of pings; everything
else is a track (``gateway/tracks.py``).
"""

from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from gateway.tracks import Point, read_track

DEVICE = "device"
LINES = frozenset({".ndjson", ".jsonl"})
ENDINGS = {  # by media type
    "application/x-ndjson": ".ndjson",
    "application/jsonl": ".jsonl",
    "text/csv": ".csv",
    "application/gpx+xml": ".gpx",
    "application/geo+json": ".geojson",
}


class Upload(NamedTuple):
    """Pings as a JSON array, and why rows of the file are not among them."""

    pings: bytes
    rejected: list[str]


def read_upload(
    path: Path, device_id: str = DEVICE, zone: tzinfo = UTC, device_column: str | None = None
) -> Upload:
    """The pings in a file.

    Args:
        path: the ending of its name says the format.
        device_id: whose pings a track has; points with a device of their own keep that.
        zone: of times that name none.
        device_column: of a CSV file with several devices.

    Raises:
        TrackError: it is a track that cannot be read.
        OSError: it cannot be opened.
    """
    if path.suffix.lower() in LINES:
        lines = [line for line in path.read_bytes().splitlines() if line.strip()]
        return Upload(b"[" + b",".join(lines) + b"]", [])
    if path.suffix.lower() == ".json" and (text := path.read_bytes().lstrip()).startswith(b"["):
        return Upload(text, [])
    track = read_track(path, zone, device_column)
    pings = [_ping(point, device_id) for point in track.points]
    return Upload(msgspec.json.encode(pings), track.rejected)


def _ping(point: Point, device_id: str) -> dict[str, Any]:
    ping: dict[str, Any] = {
        "device_id": point.device or device_id,
        "lat": point.lat,
        "lon": point.lon,
        "recorded_at": point.recorded_at,
    }
    if point.accuracy_m is not None and point.accuracy_m >= 0:
        ping["accuracy_m"] = point.accuracy_m
    return ping
