"""``gateway config``: the settings in force."""

import click
import msgspec

from gateway.cli import setting_flags
from gateway.config import Settings, masked


@click.command("config")
@setting_flags()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of TOML.")
def show_config(settings: Settings, as_json: bool) -> None:
    """Print the settings in force, secrets hidden."""
    shown = masked(settings)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(shown)).decode())
        return
    for name, value in shown.items():
        click.echo(f"{name} = {msgspec.json.encode(value).decode()}")
