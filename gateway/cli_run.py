"""Commands that run something until it is stopped: the worker, the sandbox, the demo, the bench."""

from pathlib import Path

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
@click.pass_context
def demo(ctx: click.Context, check: bool) -> None:
    """Show everything at work: a city's shops, simulated phones, and the provider sandbox."""
    from gateway.demo.run import run

    ctx.exit(run(check=check))


@click.command("bench")
@click.option("--json", "as_json", is_flag=True, help="Print the budgets as JSON.")
@click.option("--only", multiple=True, metavar="NAME", help="Measure these budgets only.")
@click.pass_context
def bench(ctx: click.Context, as_json: bool, only: tuple[str, ...]) -> None:
    """Measure every budget on this machine, and the ceiling beside it."""
    from gateway.bench import run

    ctx.exit(run(as_json=as_json, only=only))
