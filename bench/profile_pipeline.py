"""Where the time of a ping goes: the application in this process, under a profiler.

Run ``python -m bench.profile_pipeline`` (``--world overlap`` or ``store``, ``--size 100``,
``--write`` for the documentation). The application is called as a server calls it, without sockets
and with a private Redis; first plainly, then under cProfile, which names the functions but makes
small ones look dearer than they are: trust it for the order, and the stages for the amounts.
"""

import asyncio
import cProfile
import pstats
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import click
import uvloop
from redis.asyncio import Redis

from bench import report
from bench.machine import describe_machine
from bench.rig import ROOT
from bench.traffic import bodies
from bench.worlds import LAPS, WORLDS, World
from gateway.app import create_app
from gateway.config import Settings
from gateway.docs import table
from gateway.keys import KeyStore
from gateway.private_redis import PrivateRedis
from gateway.registry import Registry
from gateway.wire import PINGS

TENANT = "bench"
IN_FLIGHT = 40
TOP = 25


class Function(NamedTuple):
    """One line of the profile."""

    name: str
    us: float  # own time a ping
    cumulative_us: float
    calls: float  # a ping


class Found(NamedTuple):
    """Microseconds a ping."""

    stages: dict[str, float]
    functions: list[Function]


class Application:
    """The application called as a server calls it (ASGI), without sockets."""

    def __init__(self, settings: Settings, key: str) -> None:
        self._app: Any = create_app(settings)
        self._head = [(b"authorization", f"Bearer {key}".encode()), (b"host", b"bench")]
        self._told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def start(self) -> None:
        """Start up by the lifespan protocol."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._life = asyncio.create_task(self._app(scope, self._told.get, self._said.put))
        await self._tell("startup")

    async def stop(self) -> None:
        """Shut down."""
        await self._tell("shutdown")
        await self._life

    async def _tell(self, what: str) -> None:
        await self._told.put({"type": f"lifespan.{what}"})
        said = await self._said.get()
        if not said["type"].endswith("complete"):
            raise RuntimeError(said.get("message", said["type"]))

    async def post(self, body: bytes) -> None:
        """Post pings.

        Raises:
            RuntimeError: the answer is not 202.
        """
        head = [*self._head, (b"content-type", b"application/json")]
        head.append((b"content-length", str(len(body)).encode()))
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
            "scheme": "http", "path": "/v1/pings", "raw_path": b"/v1/pings", "root_path": "",
            "query_string": b"", "headers": head, "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2), "state": {},
        }  # fmt: skip
        said: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            said.append(message)

        await self._app(scope, receive, send)
        if said[0]["status"] != 202:
            raise RuntimeError(f"{said[0]['status']} {said[-1].get('body')!r}")


async def profile(world: World, size: int, laps: int) -> Found:
    """Profile the application on some laps of a world, ``IN_FLIGHT`` requests at once."""
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as name:
        private = PrivateRedis(Path(name))
        private.start()
        try:
            key = await _furnish(private.url, world)
            settings = Settings(data_dir=Path(name), redis_url=private.url, background=False)
            application = Application(settings, key)
            await application.start()
            try:
                return await _profile(application, world, size, laps)
            finally:
                await application.stop()
        finally:
            private.stop()


async def _furnish(url: str, world: World) -> str:
    """Store the world's geofences; an API key."""
    client, now = Redis.from_url(url), time.time_ns() // 1_000_000
    lines = [line.rstrip() for line in world.features()]
    registry = Registry(client)
    for start in range(0, len(lines), 500):
        items = [
            (f"zone-{start + place}", None, line)
            for place, line in enumerate(lines[start : start + 500])
        ]
        await registry.put_many(TENANT, "geofences", items, now=now)
    made = await KeyStore(client).create(TENANT, ["ingest"], now)
    await client.aclose()
    return made.text


async def _profile(application: Application, world: World, size: int, laps: int) -> Found:
    started_at = time.time_ns() // 1_000_000 - 3_600_000
    lapped = [
        list(bodies(world, size, started_at + lap * 10_000, lap=lap % LAPS))
        for lap in range(2 * laps + 1)
    ]
    await _run(application, lapped[0])  # everybody's first ping
    pings = world.lat.shape[1] * laps
    spent = time.perf_counter()
    for body in lapped[1]:
        PINGS.decode(body, "json")
    stages = {"decode": (time.perf_counter() - spent) / world.lat.shape[1] * 1e6}
    spent, cpu = time.perf_counter(), time.process_time()
    for each in lapped[1 : laps + 1]:
        await _run(application, each)
    stages["whole request, elapsed"] = (time.perf_counter() - spent) / pings * 1e6
    stages["whole request, processor time"] = (time.process_time() - cpu) / pings * 1e6
    profiler = cProfile.Profile()
    profiler.enable()
    for each in lapped[laps + 1 :]:
        await _run(application, each)
    profiler.disable()
    return Found(stages, _functions(profiler, pings))


async def _run(application: Application, lap: list[bytes]) -> None:
    left = iter(lap)

    async def post_all() -> None:
        for body in left:
            await application.post(body)

    await asyncio.gather(*(post_all() for _ in range(IN_FLIGHT)))


def _functions(profiler: cProfile.Profile, pings: int) -> list[Function]:
    stats: dict[Any, Any] = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    found = []
    for (file, line, name), (_, calls, own_s, cumulative_s, _) in stats.items():
        path = Path(file)
        place = path.relative_to(ROOT) if path.is_relative_to(ROOT) else Path(path.name)
        shown = name if file == "~" else f"{place}:{line} {name}"
        found.append(
            Function(shown, own_s / pings * 1e6, cumulative_s / pings * 1e6, calls / pings)
        )
    return sorted(found, key=lambda one: one.us, reverse=True)[:TOP]


def as_markdown(world: str, size: int, found: Found) -> str:
    """The stages and the dearest functions."""
    stages = [[name, f"{us:.2f}"] for name, us in found.stages.items()]
    functions = [
        [f"`{one.name}`", f"{one.us:.2f}", f"{one.cumulative_us:.2f}", f"{one.calls:.3f}"]
        for one in found.functions
    ]
    machine = describe_machine()
    said = (
        f"{machine['cpu']}, Python {machine['python']}, load average {machine['load']}; world "
        f"`{world}`, {size} pings a request, {IN_FLIGHT} requests in flight. What the event loop "
        "waits for Redis is among the functions."
    )
    listed = table(["function", "own µs a ping", "cumulative", "calls a ping"], functions)
    return "\n\n".join([said, table(["stage", "µs a ping"], stages), listed])


@click.command()
@click.option("--world", type=click.Choice(["city", "overlap", "store"]), default="city")
@click.option("--devices", type=int, default=4_000)
@click.option("--size", type=int, default=100, help="Pings a request.")
@click.option("--laps", type=int, default=8, help="Pings a device, plainly and under the profiler.")
@click.option("--write", is_flag=True, help="Put it into docs/benchmarks.md.")
def main(world: str, devices: int, size: int, laps: int, write: bool) -> None:
    """Profile the pipeline."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(profile(WORLDS[world](devices), size, laps))
    text = as_markdown(world, size, found)
    click.echo(text)
    if write:
        report.put_part(ROOT, "profile", text)


if __name__ == "__main__":
    main()
