"""``gateway import`` and ``gateway export``: geofences in and out of files, through the API."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click
import msgspec

from gateway.api_client import ApiClient, ApiError
from gateway.cli import api_options, fail, progress

PIECE_BYTES = 256 * 1024
SHOWN_ERRORS = 20
FORMATS = ("geojson", "geojsonseq", "csv", "kml")
_ENDINGS = {
    ".geojson": "geojson",
    ".json": "geojson",
    ".geojsonl": "geojsonseq",
    ".geojsons": "geojsonseq",
    ".ndjson": "geojsonseq",
    ".csv": "csv",
    ".kml": "kml",
}


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--format", "format_", type=click.Choice(FORMATS), help="[default: by the ending]")
@click.option("--tag", multiple=True, help="Give every geofence this tag, too; may be repeated.")
@click.option("--radius-m", type=float, help="Radius of points that have none.")
@click.option("--id-property", metavar="NAME", help="Property that holds the id.")
@click.option("--repair", is_flag=True, help="Repair rings that cross themselves.")
@click.option("--dry-run", is_flag=True, help="Check and count, store nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON.")
@api_options
def import_(
    *,
    file: Path,
    format_: str | None,
    tag: tuple[str, ...],
    radius_m: float | None,
    id_property: str | None,
    repair: bool,
    dry_run: bool,
    as_json: bool,
    url: str,
    key: str,
) -> None:
    """Import the geofences in FILE (GeoJSON, GeoJSON sequence, CSV or KML); safe to repeat.

    Exit 1 if an entry was refused; the others are stored.
    """
    chosen = format_ or _ENDINGS.get(file.suffix.lower())
    wanted = {
        "format": chosen,
        "tag": list(tag),
        "radius_m": radius_m,
        "id_property": id_property,
        "repair": repair or None,
        "dry_run": dry_run or None,
    }
    params = {name: value for name, value in wanted.items() if value}
    client = ApiClient(url, key)
    with progress("Sending", file.stat().st_size) as advance:
        try:
            answer = client.call(
                "POST",
                "/v1/geofences/import",
                content=_pieces(file, advance),
                params=params,
            )
        except ApiError as error:
            fail(str(error))
    client.close()
    report = answer.json()
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
    else:
        _show(report, is_dry_run=dry_run)
    sys.exit(1 if report["failed"] or report["aborted"] else 0)


@click.command("export")
@click.option("--format", "format_", type=click.Choice(FORMATS), help="[default: by the ending]")
@click.option("--tag", multiple=True, help="Only geofences with this tag; may be repeated.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write. [default: stdout]",
)
@api_options
def export(
    *, format_: str | None, tag: tuple[str, ...], output: Path | None, url: str, key: str
) -> None:
    """Export the geofences as a file that can be imported again."""
    chosen = format_ or _ENDINGS.get(output.suffix.lower() if output else "", "geojson")
    client = ApiClient(url, key)
    params = {"format": chosen, "tag": list(tag)}
    target: BinaryIO = output.open("wb") if output else sys.stdout.buffer
    try:
        with progress("Receiving", None) as advance:
            for piece in client.stream("/v1/geofences/export", params):
                target.write(piece)
                advance(len(piece))
    except ApiError as error:
        fail(str(error))
    finally:
        client.close()
        if output:
            target.close()


def _pieces(file: Path, advance: Callable[[int], None]) -> Iterator[bytes]:
    with file.open("rb") as source:
        while piece := source.read(PIECE_BYTES):
            yield piece
            advance(len(piece))


def _show(report: dict[str, Any], *, is_dry_run: bool) -> None:
    for error in report["errors"][:SHOWN_ERRORS]:
        name = f" {error['id']}" if error.get("id") else ""
        click.echo(
            f"refused: entry {error['index']}{name}: {error['pointer']} {error['detail']}", err=True
        )
    if report["failed"] > SHOWN_ERRORS:
        click.echo(f"refused: {report['failed'] - SHOWN_ERRORS} more (see --json)", err=True)
    if report["aborted"]:
        click.echo(f"stopped before the end: {report['aborted']}", err=True)
    counts = ", ".join(
        f"{report[name]} {name}" for name in ("created", "updated", "unchanged", "failed")
    )
    click.echo(f"{'Would be: ' if is_dry_run else ''}{counts}")
