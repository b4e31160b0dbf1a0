"""``gateway serve``: the parent process that starts everything, watches it, and stops it in order.

Model: the parent holds the lock of the data directory, owns the private Redis (none if one is set)
and the serving processes. It imports no application code, so that it stays small and each serving
process loads everything afresh. Settings travel to them by environment.

Order of a stop (SIGTERM or SIGINT): ``/readyz`` turns 503, the drain delay passes, serving
processes finish what they have accepted, and Redis stops last. When the parent is killed, serving
processes notice and stop by themselves; a Redis left behind is taken over by the next start.
"""

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
import msgspec
import redis
from granian.constants import HTTPModes, Interfaces, Loops
from granian.log import LogLevels
from granian.server.mp import MPServer

from gateway.config import ConfigError, Settings, load_settings, to_environment
from gateway.data_dir import DataDirLock
from gateway.health import DRAIN_FILE
from gateway.private_redis import PrivateRedis

if TYPE_CHECKING:
    from litestar import Litestar

METRICS_FOLDER = "metrics"
PORT_WAIT_S = 5.0
WATCH_INTERVAL_S = 0.5
LOCK_WAIT_S = 10.0


def serve(settings: Settings) -> None:
    """Run the gateway until a signal stops it.

    Raises:
        ConfigError: the port is taken, the data directory is in use, or the settings do not fit
            the installation.
        RedisUnavailable: no private Redis can be started.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with DataDirLock(settings.data_dir, wait_s=LOCK_WAIT_S), _redis(settings) as url:
        _wait_for_port(settings.host, settings.port)
        asyncio.run(_check_installation(settings, url))
        _prepare(settings)
        click.echo(_welcome(settings), err=True)
        server = _DrainingServer(settings)
        server.serve()
        click.echo("Stopped. Everything acknowledged is stored.", err=True)


def work(settings: Settings) -> None:
    """Run timers and dispatch until a signal stops them; Redis must run already.

    Raises:
        ConfigError: the settings do not fit the installation.
    """
    import uvloop

    from gateway.log import configure_logging
    from gateway.services import build_services

    async def run() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopping.set)
        services = await build_services(msgspec.structs.replace(settings, background=True))
        click.echo("Worker: timers and dispatch. Ctrl-C stops.", err=True)
        try:
            await stopping.wait()
        finally:
            await services.close()

    configure_logging(settings)
    uvloop.run(run())


def create() -> "Litestar":
    """The application of one serving process (the server's factory); settings by environment."""
    # The fork has the parent's handlers, which would swallow a stop that comes while we load.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    from gateway.app import create_app
    from gateway.log import configure_logging

    settings = load_settings()
    configure_logging(settings)
    _stop_with_parent()
    return create_app(settings)


class _DrainingServer(MPServer):
    """The server, which answers ``/readyz`` with 503 for a while before it stops."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(
            "gateway.server:create",
            factory=True,
            address=settings.host,
            port=settings.port,
            interface=Interfaces.ASGI,
            http=HTTPModes.auto,
            loop=Loops.uvloop,
            workers=settings.workers,
            websockets=False,
            backlog=4096,
            backpressure=2048,
            respawn_failed_workers=True,
            respawn_interval=0,
            workers_kill_timeout=settings.stop_timeout_s,
            log_level=LogLevels.warning,
            process_name=None,
        )
        self._drain_file = settings.data_dir / DRAIN_FILE
        self._drain_s = settings.drain_s

    def signal_handler_interrupt(self, *_args: Any, **_kwargs: Any) -> None:
        """Drain, then stop; a second signal stops at once."""
        if self._drain_file.exists() or not self._drain_s:
            super().signal_handler_interrupt()  # type: ignore[no-untyped-call]
            return
        self._drain_file.touch()
        timer = threading.Timer(self._drain_s, super().signal_handler_interrupt)
        timer.daemon = True
        timer.start()


@contextmanager
def _redis(settings: Settings) -> Iterator[str]:
    """The URL of Redis; a private one is kept running as long as this context."""
    if settings.redis_url:
        yield settings.redis_url
        return
    private = PrivateRedis(
        settings.data_dir, settings.durability, settings.redis_maxmemory_bytes or None
    )
    private.start()
    stopping = threading.Event()
    watcher = threading.Thread(target=_keep_running, args=(private, stopping), daemon=True)
    watcher.start()
    try:
        yield private.url
    finally:
        stopping.set()
        watcher.join()
        stop_redis(private)


def stop_redis(private: PrivateRedis) -> None:
    """Stop the server of this data directory, whoever started it. The caller holds the lock."""
    private.stop()
    if private.is_running():
        client = redis.Redis.from_url(private.url)
        client.shutdown(nosave=True)  # the append-only file has everything
        client.close()


def _keep_running(private: PrivateRedis, stopping: threading.Event) -> None:
    while not stopping.wait(WATCH_INTERVAL_S):
        if private.is_running():
            continue
        click.echo("The private Redis has died; starting it again.", err=True)
        try:
            private.start()
        except RuntimeError as error:
            click.echo(str(error), err=True)


def _wait_for_port(host: str, port: int) -> None:
    """Wait until nobody listens here: processes of a killed gateway need a moment to go."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    deadline = time.monotonic() + PORT_WAIT_S
    while True:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                return
            except OSError as error:
                reason = error.strerror or str(error)
        if time.monotonic() > deadline:
            raise ConfigError(
                f"Cannot listen on {host}:{port}: {reason}. Stop what uses it, or choose another "
                "with --port or --host."
            )
        time.sleep(0.1)


async def _check_installation(settings: Settings, url: str) -> None:
    """Fail now, with one clear message, rather than in every serving process."""
    from gateway.installation import open_installation
    from gateway.redis_client import open_redis

    client = open_redis(url, settings.redis_timeout_s)
    try:
        await open_installation(client, settings.shards)
    except redis.RedisError as error:
        raise ConfigError(
            f"Redis cannot be used ({type(error).__name__}: {error}). Check redis_url, or leave it "
            "empty to use a private server."
        ) from None
    finally:
        await client.aclose()


def _prepare(settings: Settings) -> None:
    (settings.data_dir / DRAIN_FILE).unlink(missing_ok=True)
    folder = settings.data_dir / METRICS_FOLDER
    folder.mkdir(exist_ok=True)
    for stale in folder.glob("*.db"):
        stale.unlink()
    os.environ.update(to_environment(settings))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder.resolve())


def _welcome(settings: Settings) -> str:
    where = "your Redis" if settings.redis_url else f"a private Redis in {settings.data_dir}"
    return (
        f"Gateway on {settings.base_url} with {settings.workers} serving "
        f"process{'es' if settings.workers > 1 else ''} and {where}.\n"
        f"  API      {settings.base_url}/docs\n"
        f"  Health   {settings.base_url}/readyz?verbose\n"
        f"  Metrics  {settings.base_url}/metrics\n"
        f"  A key    gateway keys create --tenant acme --scopes manage,ingest,read "
        f"--data-dir {settings.data_dir}\n"
        "Ctrl-C stops."
    )


def _stop_with_parent(
    parent: int | None = None, stop: Callable[[], None] | None = None
) -> threading.Thread:
    """Stop this process when its parent is gone, however it went."""
    parent = os.getppid() if parent is None else parent
    stop = stop or (lambda: os.kill(os.getpid(), signal.SIGTERM))

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_INTERVAL_S)
        stop()

    thread = threading.Thread(target=watch, name="parent-watch", daemon=True)
    thread.start()
    return thread
