"""``gateway docs`` and ``gateway openapi``."""

from pathlib import Path

import click

from gateway.cli import fail

ROOT = Path(__file__).resolve().parent.parent


@click.command("docs")
@click.option("--write/--check", default=False, help="Write the generated parts, or only compare.")
@click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=ROOT,
    help="The repository. [default: where this program lives]",
)
def docs(write: bool, root: Path) -> None:
    """Make the generated parts of the documentation, or check that they are current."""
    from gateway.docs import stale_files

    stale = stale_files(root, write=write)
    for path in stale:
        click.echo(f"{'wrote' if write else 'out of date'}: {path.relative_to(root)}", err=True)
    if stale and not write:
        fail("Run `gateway docs --write` and commit the result.")


@click.command("openapi")
def openapi() -> None:
    """Print the OpenAPI 3.1 document."""
    from gateway.docs import openapi_document

    click.echo(openapi_document(), nl=False)
