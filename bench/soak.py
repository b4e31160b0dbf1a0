"""Hours of traffic with everything that happens meanwhile; what grows, and how fast.

Run ``python -m bench.soak --minutes 60 --write``. The city is loaded at 70 % of what a closed loop
reached, in steps of ``--step`` seconds. Meanwhile geofences are edited, deleted and made again,
devices get new push addresses (some of them dead), and the provider has a brownout every minute.
After each step the processes and Redis are looked at. A slope is a straight line by least squares
through the second half of the samples, so that caches and histories have filled.
"""

import logging
import random
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from bench import report
from bench.generator import Seen, Setup
from bench.ingest import KNEE_SHARE, prepare_world
from bench.load import Load
from bench.machine import describe_machine, open_files, resident_bytes
from bench.pushes import device_document, install_offer, offered_devices, outbox_length
from bench.rig import ROOT, BenchError, Rig
from bench.worlds import World, city, feature
from gateway.api_client import ApiClient, ApiError
from gateway.docs import table
from senders.sandbox.process import SandboxError, SandboxProcess

DEVICES = 20_000
PROBE_S = 4.0
BROWNOUT_EVERY_S, BROWNOUT_S = 60.0, 10.0
EDITS_A_SECOND = 4
HOUR_S = 3600.0
HEADS = ["what", "first", "last", "most", "slope an hour"]
MB = 2**20

LEVELS = (  # what must not grow without end
    "gateway, resident MB",
    "gateway, open files",
    "Redis, used MB",
    "Redis, resident MB",
    "Redis, keys",
    "outbox, pushes waiting",
    "pushes delayed",
    "timers",
)
SERVICE = ("pings/s", "answer p99, ms", "requests not answered 202")


class Slope(NamedTuple):
    """How one quantity went. ``an_hour`` is of the second half."""

    name: str
    first: float
    last: float
    most: float
    an_hour: float | None  # None: of no use for this quantity


class Churn:
    """Edits of a running gateway, in a thread of its own, until it is stopped."""

    def __init__(self, rig: Rig, sandbox: SandboxProcess, world: World) -> None:
        self._rig, self._sandbox, self._world = rig, sandbox, world
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="churn", daemon=True)
        self._random = random.Random(5)
        self._walkers = offered_devices(DEVICES)
        self.done = 0
        self.failed = 0
        self.brownouts = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and heal the provider."""
        self._stopping.set()
        self._thread.join(60)

    def _run(self) -> None:
        api = self._rig.api("city")
        began, is_out = time.monotonic(), False
        try:
            while not self._stopping.wait(1 / EDITS_A_SECOND):
                since_s = (time.monotonic() - began) % BROWNOUT_EVERY_S
                should_be_out = since_s > BROWNOUT_EVERY_S - BROWNOUT_S
                try:
                    if should_be_out != is_out:
                        self._brown_out(should_be_out)
                        is_out = should_be_out
                    self._edit(api)
                    self.done += 1
                except (ApiError, SandboxError, OSError):
                    self.failed += 1
            if is_out:
                self._brown_out(False)
        finally:
            api.close()

    def _edit(self, api: ApiClient) -> None:
        dice = self._random
        number = dice.randrange(len(self._world.radius_m))
        path = f"/v1/geofences/zone-{number}"
        if dice.random() < 0.5:
            device_id = dice.choice(self._walkers)
            name = "sandbox-unregistered-" if dice.random() < 0.1 else ""
            document = device_document(f"{name}{device_id}-{dice.randrange(10**9)}")
            api.call("PUT", f"/v1/devices/{device_id}", json=document)
            return
        if dice.random() < 0.2:
            api.call("DELETE", path)
        lat, lon, radius_m = (
            float(column[number])
            for column in (self._world.zone_lat, self._world.zone_lon, self._world.radius_m)
        )
        api.call("PUT", path, json=feature(number, lat, lon, radius_m + dice.uniform(-5, 5)))

    def _brown_out(self, is_out: bool) -> None:
        self._sandbox.call("DELETE", "faults")
        if is_out:
            self.brownouts += 1
            self._sandbox.call("POST", "faults", {"provider": "fcm", "every": 2, "status": 503})


class Soaked(NamedTuple):
    """What a soak found."""

    machine: dict[str, Any]
    seconds: float
    rate: float  # pings a second asked for
    pings: int
    slopes: list[Slope]
    notes: list[str]


def soak(folder: Path, minutes: float, step_s: float, workers: int, console: Console) -> Soaked:
    """Run one soak.

    Raises:
        BenchError: something did not start, or a whole step went unanswered.
    """
    world = city(DEVICES)
    with Rig(folder / "gateway", workers=workers) as rig, SandboxProcess(folder / "box") as sandbox:
        prepare_world(rig, "city")
        install_offer(rig, sandbox, DEVICES)
        machine = describe_machine(rig.redis_version)
        with Load(Setup(rig.port, rig.key("city"), "city", DEVICES, 100, connections=32)) as load:
            load.lap()
            probe = load.fire(PROBE_S)
            rate = KNEE_SHARE * probe.answered / probe.seconds
            churn, samples = Churn(rig, sandbox, world), list[dict[str, float]]()
            began = time.monotonic()
            churn.start()
            try:
                while time.monotonic() - began < minutes * 60:
                    samples.append(sample(rig, load.fire(step_s, rate), time.monotonic() - began))
                    console.print(_line(samples[-1]), style="dim", soft_wrap=True)
            finally:
                churn.stop()
            seconds = time.monotonic() - began
        events = int(rig.counter("gateway_events_total"))
        arrived = sandbox.call("GET", "stats")["accepted"].get("fcm", 0)
    notes = [
        f"{churn.done} edits ({churn.failed} failed)",
        f"{churn.brownouts} brownouts of the provider",
        f"{events:,} events",
        f"{arrived:,} pushes arrived",
    ]
    pings = int(sum(one["pings"] for one in samples))
    return Soaked(machine, seconds, rate * 100, pings, slopes_of(samples), notes)


def sample(rig: Rig, seen: Seen, at_s: float) -> dict[str, float]:
    """What the processes and Redis look like after a step."""
    info: dict[str, Any] = rig.redis.info()
    pids = rig.serving_pids
    return {
        "at_s": at_s,
        "pings": seen.pings,
        "gateway, resident MB": sum(map(resident_bytes, pids)) / MB,
        "gateway, open files": sum(map(open_files, pids)),
        "Redis, used MB": int(info["used_memory"]) / MB,
        "Redis, resident MB": int(info["used_memory_rss"]) / MB,
        "Redis, keys": int(rig.redis.dbsize()),
        "outbox, pushes waiting": outbox_length(rig),
        "pushes delayed": _cards(rig, "{s:*}:delayed"),
        "timers": _cards(rig, "{s:*}:timers"),
        "answer p99, ms": seen.p99_ms,
        "pings/s": seen.pings / seen.seconds,
        "requests not answered 202": seen.refused + seen.failed,
    }


def slopes_of(samples: Sequence[dict[str, float]]) -> list[Slope]:
    """How each watched quantity went; the slope by least squares over the second half."""
    late = samples[len(samples) // 2 :]
    at_s = np.array([one["at_s"] for one in late])
    found = []
    for name in (*LEVELS, *SERVICE):
        values = [one[name] for one in samples]
        an_hour = None
        if name in LEVELS and len(late) > 1:
            line = np.polyfit(at_s, np.array([one[name] for one in late]), 1)
            an_hour = round(float(line[0]) * HOUR_S, 3)
        found.append(Slope(name, values[0], values[-1], max(values), an_hour))
    return found


def cells(slope: Slope) -> list[str]:
    """A slope as a person reads it."""
    numbers = ["" if value is None else report.number(value) for value in slope[1:]]
    return [slope.name, *numbers]


def as_markdown(soaked: Soaked) -> str:
    """The table of slopes, and what happened."""
    machine, minutes = soaked.machine, soaked.seconds / 60
    head = (
        f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}, Redis "
        f"{machine['redis']}, load average {machine['load']} before. {minutes:.0f} minutes at "
        f"{soaked.rate:,.0f} pings/s asked for; {soaked.pings:,} pings committed; "
        + "; ".join(soaked.notes)
        + "."
    )
    return f"{head}\n\n{table(HEADS, [cells(one) for one in soaked.slopes])}"


def _cards(rig: Rig, pattern: str) -> int:
    return sum(int(rig.redis.zcard(key)) for key in rig.redis.scan_iter(pattern, count=1000))


def _line(one: dict[str, float]) -> str:
    shown = ", ".join(f"{name} {report.number(one[name])}" for name in (*SERVICE, *LEVELS))
    return f"{one['at_s']:6.0f} s: {shown}"


@click.command()
@click.option("--minutes", type=click.FloatRange(0.1, 10_000), default=10.0)
@click.option("--step", "step_s", type=click.FloatRange(1, 600), default=10.0, help="Seconds.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, help="Serving processes.")
@click.option("--write", is_flag=True, help="Put the table into docs/benchmarks.md.")
def main(minutes: float, step_s: float, workers: int, write: bool) -> None:
    """Load the gateway for a long time, and tell what grows."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="gateway-soak-") as name:
        try:
            soaked = soak(Path(name), minutes, step_s, workers, Console(stderr=True))
        except BenchError as error:
            raise click.ClickException(str(error)) from None
    shown = Table(*HEADS)
    for one in soaked.slopes:
        shown.add_row(*cells(one))
    Console().print(shown)
    for note in soaked.notes:
        click.echo(note)
    if write:
        report.put_part(ROOT, "soak", as_markdown(soaked))


if __name__ == "__main__":
    main()
