"""The command line. Data on stdout, messages on stderr; exit codes 0 done, 1 failed, 2 usage."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click
from redis.exceptions import RedisError

from gateway import __version__
from gateway.config import (
    ConfigError,
    SettingInfo,
    Settings,
    describe_settings,
    load_settings,
    nearest_name,
)
from gateway.private_redis import RedisUnavailable

DEFAULT_COMMAND = "serve"

# Command name -> module that holds it, so that one command does not load the needs of all.
_COMMANDS = {
    "serve": "gateway.cli:serve",
    "worker": "gateway.cli_run:worker",
    "demo": "gateway.cli_run:demo",
    "sandbox": "gateway.cli_run:sandbox",
    "doctor": "gateway.cli_doctor:doctor",
    "keys": "gateway.cli_keys:keys",
    "tenants": "gateway.cli_keys:tenants",
    "import": "gateway.cli_transfer:import_",
    "export": "gateway.cli_transfer:export",
    "replay": "gateway.cli_replay:replay",
    "backtest": "gateway.cli_backtest:backtest",
    "dead": "gateway.cli_dead:dead",
    "bench": "gateway.cli_run:bench",
    "config": "gateway.cli_config:show_config",
    "openapi": "gateway.cli_docs:openapi",
    "docs": "gateway.cli_docs:docs",
}


class Commands(click.Group):
    """The commands, loaded when called; without a name it is ``serve``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All command names."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of this name."""
        if name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[name].partition(":")
        command: click.Command = getattr(__import__(module, fromlist=[attribute]), attribute)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Flags without a command belong to the default command."""
        if args and args[0].startswith("-") and args[0] not in ("--help", "-h", "--version"):
            args = [DEFAULT_COMMAND, *args]
        return super().parse_args(ctx, args or [DEFAULT_COMMAND])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with the nearest name for a wrong one."""
        if args[0] not in _COMMANDS:
            nearest = nearest_name(args[0], list(_COMMANDS))
            hint = f" Did you mean {nearest!r}?" if nearest else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Expected failures end with their message and exit code, not with a trace."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            for problem in error.problems:
                click.echo(f"Error: {problem}", err=True)
            ctx.exit(2)
        except RedisUnavailable as error:
            fail(str(error))
        except (RedisError, ConnectionError) as error:
            fail(f"Redis cannot be used: {error}. Check redis_url, or run `gateway doctor`.")


def fail(message: str) -> NoReturn:
    """End the command with this message and exit code 1."""
    raise click.ClickException(message)


def api_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``url`` and ``key`` of the gateway it talks to."""
    key = click.option(
        "--key", required=True, envvar="GATEWAY_API_KEY", help="An API key. [env: GATEWAY_API_KEY]"
    )
    url = click.option(
        "--url",
        default="http://127.0.0.1:8080",
        envvar="GATEWAY_URL",
        help="The gateway. [env: GATEWAY_URL; default: http://127.0.0.1:8080]",
    )
    return url(key(command))


@contextmanager
def progress(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, on a terminal only; call what it gives with each step."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task(title, total=total)
        yield lambda steps: bar.advance(task, steps)


def setting_flags(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command ``--config`` and the flags of these settings (all without names).

    The command gets ``settings``: defaults, file, environment and these flags together.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        chosen = [info for info in describe_settings() if not names or info.name in names]

        def run(config: Path | None, **arguments: Any) -> Any:
            flags = {info.name: arguments.pop(info.name) for info in chosen}
            return command(settings=load_settings(config, flags=flags), **arguments)

        run.__name__, run.__doc__ = command.__name__, command.__doc__
        decorated: Callable[..., Any] = run
        for info in reversed(chosen):
            decorated = _flag(info)(decorated)
        # Parameters that the command declared itself come after the settings.
        own = getattr(command, "__click_params__", [])
        decorated.__click_params__ = own + decorated.__click_params__  # type: ignore[attr-defined]
        return click.option(
            "--config",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Settings file. [env: GATEWAY_CONFIG; default: gateway.toml if it is there]",
        )(decorated)

    return decorate


def _flag(info: SettingInfo) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    flag = f"{info.flag}/--no-{info.flag[2:]}" if info.is_switch else info.flag
    default = f"; default: {info.default}" if info.default else ""
    return click.option(
        flag,
        info.name,
        default=None,
        metavar=None if info.is_switch else (info.unit or info.type.split(",")[0]).upper(),
        help=f"{info.help.replace('`', '')} [env: {info.variable}{default}]",
    )


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="gateway")
def main() -> None:
    """Location and beacon trigger gateway: pings and sightings in, the right push out, once."""


@click.command()
@setting_flags()
def serve(settings: Settings) -> None:
    """Serve the API and run timers and dispatch (the default command)."""
    from gateway.server import serve as run

    run(settings)


if __name__ == "__main__":
    sys.exit(main())
