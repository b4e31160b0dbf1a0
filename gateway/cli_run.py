"""Commands that run something until it is stopped: the worker, the sandbox, the demo, the bench."""

from pathlib import Path
from typing import Any

import click

from gateway.cli import setting_flags
from gateway.config import Settings


@click.command("worker")
@setting_flags()
def worker(settings: Settings) -> None:
    """Run timers and dispatch without the API, beside `gateway serve --no-background`."""
    from gateway.server import work

    work(settings)


@click.command("sandbox")
@click.option("--host", default="127.0.0.1", help="Address to listen on. [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(1, 65535), default=9443, help="[default: 9443]")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".data/sandbox"),
    help="Where its certificates are written. [default: .data/sandbox]",
)
def sandbox(host: str, port: int, data_dir: Path) -> None:
    """Serve emulators of all providers, to test against; see docs/sandbox.md."""
    from senders.sandbox.server import serve

    url = f"https://{host}:{port}"
    click.echo(
        f"Provider sandbox on {url}.\n  CA       {data_dir / 'sandbox-ca.pem'}\n"
        f"  Arrived  {url}/_sandbox/messages\nCtrl-C stops.",
        err=True,
    )
    serve(port, data_dir, host)


@click.command("demo")
@click.option("--check", is_flag=True, help="Run bounded, compare with an independent count.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".data/demo"),
    help="Where everything is kept between runs. [default: .data/demo]",
)
@click.option("--fresh", is_flag=True, help="Begin with an empty data directory.")
@click.option("--host", default="127.0.0.1", help="Where to listen. [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="[default: 8080 if free]")
@click.option("--phones", type=click.IntRange(1, 999), default=200, help="[default: 200]")
@click.option(
    "--speed",
    type=click.FloatRange(1, 60),
    default=20.0,
    help="How many times as fast as in life the town runs. [default: 20]",
)
@click.option("--seed", type=int, default=7, help="Of all chance. [default: 7]")
@click.option("--duration-s", type=click.FloatRange(min=1), help="Stop by itself after so long.")
@click.pass_context
def demo(
    ctx: click.Context,
    *,
    check: bool,
    data_dir: Path,
    fresh: bool,
    host: str,
    port: int,
    phones: int,
    speed: float,
    seed: int,
    duration_s: float | None,
) -> None:
    """Show everything at work: a city's shops, simulated phones, and the provider sandbox."""
    from gateway.demo import run as demonstration

    if check:
        ctx.exit(demonstration.check(seed=seed))
    ctx.exit(
        demonstration.run(
            data_dir=data_dir,
            fresh=fresh,
            host=host,
            port=port,
            phones=phones,
            speed=speed,
            seed=seed,
            duration_s=duration_s,
        )
    )


@click.command("bench")
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")
@click.option("--only", multiple=True, metavar="NAME", help="Measure this budget; repeatable.")
@click.option(
    "--profile", "profiles", multiple=True, metavar="NAME", help="Run this load; repeatable."
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.5, 600),
    default=4.0,
    help="Length of one measurement. [default: 4]",
)
@click.option("--full", is_flag=True, help="A million geofences too; takes minutes more.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, help="[default: 1]")
@click.option("--write", is_flag=True, help="Put the tables into docs/benchmarks.md.")
@click.pass_context
def bench(ctx: click.Context, /, **options: Any) -> None:
    """Measure every budget on this machine, and the ceiling beside it; three to four minutes.

    Exit 1 if a budget is missed.
    """
    from gateway.bench import run

    ctx.exit(run(**options))
