"""``gateway doctor``."""

import click
import msgspec
from redis.asyncio import Redis

from gateway.cli import setting_flags
from gateway.cli_keys import with_redis
from gateway.config import Settings
from gateway.doctor import Diagnosis, examine

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command("doctor")
@setting_flags()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(ctx: click.Context, settings: Settings, as_json: bool) -> None:
    """Look for what goes wrong in practice; exit 1 if something fails."""

    async def work(client: Redis) -> list[Diagnosis]:
        found = []
        async for diagnosis in examine(settings, client):
            found.append(diagnosis)
            if not as_json:
                _show(diagnosis)
        return found

    first = Diagnosis("configuration", "ok", "every setting is known and in range")
    if not as_json:
        _show(first)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    found = [first, *with_redis(settings, work)]
    if as_json:
        click.echo(msgspec.json.encode([one._asdict() for one in found]).decode())
    ctx.exit(1 if any(one.level == "fail" for one in found) else 0)


def _show(one: Diagnosis) -> None:
    level = click.style(f"{one.level:4}", fg=COLOURS[one.level])
    click.echo(f"{level}  {one.name}: {one.detail}")
    if one.cure:
        click.echo(f"      {one.cure}")
