"""``gateway backtest``: what a trigger would have done with recorded traffic or that of a file."""

import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from gateway.api_client import ApiClient, ApiError
from gateway.backtest.upload import DEVICE, Upload, read_upload
from gateway.cli import api_options, fail
from gateway.tracks import TrackError

SHOWN_HOURS = 48


@click.command("backtest")
@click.argument("trigger")
@click.argument(
    "file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option(
    "--draft",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A trigger document (JSON) that stands in for the stored one.",
)
@click.option("--since", metavar="INSTANT", help="Recorded traffic from here. [default: all]")
@click.option("--until", metavar="INSTANT", help="Recorded traffic up to here. [default: now]")
@click.option("--device", default=DEVICE, help="Whose pings a track has. [default: device]")
@click.option("--device-column", metavar="NAME", help="CSV column that tells devices apart.")
@click.option("--timezone", default="UTC", help="Zone of times that name none. [default: UTC]")
@click.option(
    "--sample",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    help="Share of the devices. [default: 1]",
)
@click.option(
    "--budget-s",
    type=click.FloatRange(0, 120, min_open=True),
    default=30.0,
    help="Seconds it may take. [default: 30]",
)
@click.option(
    "--assume-reachable",
    is_flag=True,
    help="As if everybody had consented and had an address on every channel.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON.")
@api_options
def backtest(
    *,
    trigger: str,
    file: Path | None,
    draft: Path | None,
    since: str | None,
    until: str | None,
    device: str,
    device_column: str | None,
    timezone: str,
    sample: float,
    budget_s: float,
    assume_reachable: bool,
    as_json: bool,
    url: str,
    key: str,
) -> None:
    """Tell what TRIGGER would have done with the traffic in FILE, else with what was recorded.

    FILE has pings (.json, .ndjson) or a track (GPX, CSV, GeoJSON, OwnTracks .rec). Nothing is sent,
    and nothing is stored.
    """
    asked: dict[str, Any] = {
        "sample": sample, "budget_s": budget_s, "assume_reachable": assume_reachable,
    }  # fmt: skip
    if draft is not None:
        asked["trigger"] = _document(draft)
    if file is None:
        bounds = {"since": since, "until": until}
        asked["recorded"] = {name: at for name, at in bounds.items() if at is not None}
    else:
        upload = _upload(file, device, timezone, device_column)
        for rejected in upload.rejected[:10]:
            click.echo(f"not played: {rejected}", err=True)
        asked["pings"] = json.loads(upload.pings)
    client = ApiClient(url, key, timeout_s=2 * budget_s + 60)
    try:
        report = client.call("POST", f"/v1/triggers/{trigger}/backtest", json=asked).json()
    except ApiError as error:
        fail(str(error))
    finally:
        client.close()
    if as_json:
        click.echo(json.dumps(report))
    else:
        _show(report)


def _document(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        fail(f"{path.name} is not JSON: {error}")


def _upload(file: Path, device: str, timezone: str, device_column: str | None) -> Upload:
    try:
        return read_upload(file, device, ZoneInfo(timezone), device_column)
    except (TrackError, ZoneInfoNotFoundError) as error:
        fail(str(error))


def _show(report: dict[str, Any]) -> None:
    traffic = report["traffic"]
    for one in report["rejected"][:10]:
        click.echo(f"not played: {one['index']}: {one['detail']}", err=True)
    click.echo(
        f"{traffic['pings']} pings of {traffic['devices']} devices, "
        f"{traffic['since'] or '-'} to {traffic['until'] or '-'}"
    )
    click.echo(f"{report['pushes']} pushes to {report['people']} people")
    for share in report["pushes_per_person"]:
        click.echo(f"  {share['people']} people got {share['pushes']}")
    for hour in report["hours"][:SHOWN_HOURS]:
        click.echo(f"  {hour['at'][:13]}h {hour['pushes']}")
    for reason, count in report["reasons"].items():
        click.echo(f"not sent: {count} {reason}")
    if report["waiting"]:
        click.echo(f"still waiting at the end: {report['waiting']}")
    if report["stopped"]:
        click.echo(
            f"stopped early: no more {report['stopped']} allowed; use --sample or --budget-s",
            err=True,
        )
