"""``gateway demo``: everything at work, on one machine, from one command.

A private Redis, the gateway and the sandbox of all providers are started in a directory of their
own, furnished through the public API, and used by a town of simulated phones and receivers until
Ctrl-C; then all of it stops.
"""

import asyncio
import heapq
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

import click
import httpx

from gateway.api_client import ApiError
from gateway.cli import fail, progress
from gateway.demo import check as checking
from gateway.demo.install import document_count, install
from gateway.demo.numbers import as_shown, p99, quantile, read_metrics
from gateway.demo.phones import Pace, Post, uploads
from gateway.demo.receivers import news, reports
from gateway.demo.screen import Glance, Screen, choose_screen
from gateway.demo.stage import Stage, StageError
from gateway.demo.traffic import RefusedError, Traffic
from gateway.demo.world import FixturesMissing, Person, Town, hastened, load_town, people_of
from senders.sandbox.process import SandboxError

CHECK_SEED = 7
GLANCE_S = 1.0
RATE_OVER_S = 5.0
FAILURES = (ApiError, StageError, SandboxError, FixturesMissing, RefusedError)


def run(
    *,
    data_dir: Path,
    fresh: bool = False,
    port: int = 0,
    host: str = "127.0.0.1",
    phones: int = 200,
    speed: float = 20.0,
    seed: int = CHECK_SEED,
    duration_s: float | None = None,
) -> int:
    """Run the demo until a signal stops it, or for ``duration_s``; returns the exit code.

    Args:
        data_dir: where everything is kept between runs.
        fresh: begin with an empty directory.
        port: of the gateway; 0 takes 8080 if it is free.
        host: where the gateway listens; 0.0.0.0 lets a real phone take part.
        phones: how many people walk.
        speed: how many times as fast as in life the town runs.
        seed: of all chance.
        duration_s: stop by itself after so long.
    """
    with _interruptible(), _failures_told():
        town = hastened(load_town(), speed)
        people = people_of(town, phones)
        names = {person.user_id: person.first_name for person in people}
        title = f"{phones} phones in {len(town.geofences)} places, {speed:g} times as fast"
        screen = choose_screen(names, title)
        screen.say(
            f"Starting a private Redis, the gateway and the provider sandbox in {data_dir} ..."
        )
        try:
            with Stage(data_dir, port=port, host=host, fresh=fresh) as stage:
                _furnish(stage, town, people)
                screen.say(_where_to_look(stage))
                try:
                    _play(stage, screen, (town, people), speed=speed, seed=seed, until_s=duration_s)
                finally:
                    screen.close()
        except KeyboardInterrupt:
            screen.say("Stopping ...")
        screen.say(f"Everything has stopped; the data stay in {data_dir}.")
    return 0


def check(*, seed: int = CHECK_SEED) -> int:
    """Run bounded and compare with the independent count; 0 if everything is as counted."""
    with _interruptible(), _failures_told():
        town = hastened(load_town(), checking.SPEED)
        people = people_of(town, checking.PHONES)
        say = partial(click.echo)
        say("Starting a private Redis, the gateway and the provider sandbox ...")
        folder = tempfile.TemporaryDirectory(prefix="gateway-demo-")
        with folder as name, Stage(Path(name)) as stage, _log_told(stage):
            _furnish(stage, town, people)
            is_right = checking.run_check(checking.Check(stage, town, people, seed), say)
    return 0 if is_right else 1


def _furnish(stage: Stage, town: Town, people: list[Person]) -> None:
    with progress("Importing the town", document_count(town, people)) as advance:
        install(stage, town, people, advance)


def _play(
    stage: Stage,
    screen: Screen,
    cast: tuple[Town, list[Person]],
    *,
    speed: float,
    seed: int,
    until_s: float | None,
) -> None:
    """Let the town live, and show it."""
    pace = Pace(time.time_ns() // 1_000_000, speed)
    traffic = Traffic(stage.url, stage.key)

    async def live() -> None:
        watching = asyncio.create_task(_watch(stage, screen, traffic))
        playing = asyncio.create_task(
            traffic.play(_posts(*cast, pace, seed), pace.started_at, until_s or float("inf"))
        )
        done, _ = await asyncio.wait((watching, playing), return_when=asyncio.FIRST_COMPLETED)
        for task in (watching, playing):
            task.cancel()
        await asyncio.gather(watching, playing, return_exceptions=True)
        for task in done:
            task.result()

    try:
        asyncio.run(live())
    except* RefusedError as refused:
        raise refused.exceptions[0] from None


def _posts(town: Town, people: list[Person], pace: Pace, seed: int) -> Iterator[Post]:
    streams = [uploads(town, person, pace, seed) for person in people]
    streams += [reports(town, people, pace, seed), news(people, pace, seed)]
    return heapq.merge(*streams, key=lambda post: post.due_s)


async def _watch(stage: Stage, screen: Screen, traffic: Traffic) -> None:
    """Show the present every second, from what /metrics and the sandbox say."""
    started, after = time.monotonic(), 0
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        first = read_metrics((await client.get(f"{stage.url}/metrics")).text)
        counts = [(started, first.pings)]
        while True:
            await asyncio.sleep(GLANCE_S)
            stage.check_alive()
            numbers = read_metrics((await client.get(f"{stage.url}/metrics")).text)
            messages = await asyncio.to_thread(stage.sandbox.messages, f"after={after}")
            after = messages[-1]["sequence"] if messages else after
            now = time.monotonic()
            counts = [one for one in counts if now - one[0] <= RATE_OVER_S] or counts[-1:]
            since, pings = counts[0]
            counts.append((now, numbers.pings))
            screen.show(
                Glance(
                    elapsed_s=now - started,
                    pings_per_s=(numbers.pings - pings) / (now - since),
                    ingest_p99_ms=p99(traffic.latencies_ms),
                    push_p99_ms=1000 * quantile(numbers.push_latency - first.push_latency, 0.99),
                    numbers=numbers,
                    fresh=[as_shown(message) for message in messages],
                )
            )


def _where_to_look(stage: Stage) -> str:
    has_console = httpx.get(f"{stage.url}/", trust_env=False, timeout=30).status_code < 400
    lines = [
        "",
        "Where to look",
        *([f"  Console    {stage.url}/"] if has_console else []),
        f"  API        {stage.url}/docs",
        f"  API key    {stage.key}",
        f"  Events     curl -H 'Authorization: Bearer {stage.key}' '{stage.url}/v1/events?limit=5'",
        f"  Arrived    curl --cacert {stage.sandbox.ca} {stage.sandbox.url}/_sandbox/messages",
        f"  Metrics    {stage.url}/metrics",
        "",
        "Your own phone, with OwnTracks (needs --host 0.0.0.0 and this machine's address):",
        "  Preferences > Connection > Mode: HTTP",
        f"  URL        http://<this machine>:{stage.port}/ingest/owntracks",
        "  Username   anything        Password   the API key above",
        f"  or alone   http://<this machine>:{stage.port}/i/<the API key>/owntracks",
        "",
        "Ctrl-C stops everything.",
        "",
    ]
    return "\n".join(lines)


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM stops as Ctrl-C does."""

    def stop(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _log_told(stage: Stage) -> Iterator[None]:
    """What the gateway had to say when something failed, before its log goes."""
    try:
        yield
    except FAILURES:
        click.echo(f"The end of the gateway's log:\n{stage.log_tail()}", err=True)
        raise


@contextmanager
def _failures_told() -> Iterator[None]:
    """What can be expected to go wrong ends with its message and exit code 1."""
    try:
        yield
    except FAILURES as error:
        fail(str(error))
