"""``gateway replay``: send a recorded track as a device would have."""

import json
import time
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from gateway.api_client import ApiClient, ApiError
from gateway.cli import api_options, fail, progress
from gateway.replay import plan_replay
from gateway.tracks import TrackError, read_track

COUNTS = ("accepted", "duplicates", "late")


@click.command("replay")
@click.argument("track", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--device", required=True, metavar="ID", help="Whose pings they are.")
@click.option("--device-column", metavar="NAME", help="CSV column that tells devices apart.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    help="Times as fast as recorded. [default: all at once]",
)
@click.option("--keep-times", is_flag=True, help="Send the recorded times, not fresh ones.")
@click.option("--timezone", default="UTC", help="Zone of times that name none. [default: UTC]")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@api_options
def replay(
    *,
    track: Path,
    device: str,
    device_column: str | None,
    speed: float | None,
    keep_times: bool,
    timezone: str,
    as_json: bool,
    url: str,
    key: str,
) -> None:
    """Send TRACK (GPX, CSV, GeoJSON or OwnTracks .rec) through the API."""
    try:
        found = read_track(track, ZoneInfo(timezone), device_column)
    except (TrackError, ZoneInfoNotFoundError) as error:
        fail(str(error))
    for rejected in found.rejected[:10]:
        click.echo(f"not sent: {rejected}", err=True)
    started = time.time()
    plan = plan_replay(found.points, device, round(started * 1000), speed, keep_times=keep_times)
    counts = dict.fromkeys((*COUNTS, "rejected"), 0)
    client = ApiClient(url, key)
    with progress("Replaying", len(found.points)) as advance:
        for batch in plan.batches:
            time.sleep(max(0.0, started + batch.after_s - time.time()))
            try:
                answer = client.call("POST", "/v1/pings", json={"pings": batch.pings}).json()
            except ApiError as error:
                fail(str(error))
            for name in COUNTS:
                counts[name] += answer[name]
            counts["rejected"] += len(answer["rejected"])
            for refused in answer["rejected"][:3]:
                click.echo(f"rejected: {refused['detail']}", err=True)
            advance(len(batch.pings))
    client.close()
    counts["unreadable"] = len(found.rejected)
    words = ", ".join(f"{number} {name}" for name, number in counts.items())
    click.echo(json.dumps(counts) if as_json else words)
