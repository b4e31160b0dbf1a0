"""One whole run: which measurements, in which order, and what each budget gets of them.

A measurement that fails leaves its budgets without a value and says why; the others go on.
"""

import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bench import ingest, kernels, pushes
from bench.budgets import BUDGETS, Found, Row, check_names, rows
from bench.ingest import Measured, Profile
from bench.machine import describe_machine
from bench.rig import Rig

BATCHED, SINGLE = "city-100", "city-1"
NEEDS = {
    "pings_batched": BATCHED,
    "push_latency_p99": BATCHED,
    "one_ping_requests": SINGLE,
    "one_ping_p99": SINGLE,
}
PUSHES_A_SECOND_OF_RUN = 1_000


class Options(NamedTuple):
    """What to run. ``seconds`` is the length of one measurement."""

    only: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    seconds: float = 4.0
    full: bool = False
    workers: int = 1


class Outcome(NamedTuple):
    """What a run found."""

    machine: dict[str, Any]
    budgets: list[Row]
    profiles: list[Row]
    problems: list[str]


class Suite:
    """One run; ``say`` is told what is measured now.

    ``names`` are the budgets and ``profiles`` the loads that it will measure.
    """

    def __init__(self, options: Options, say: Callable[[str], None]) -> None:
        """Check the options.

        Raises:
            ValueError: a name is not that of a budget or a profile.
        """
        self._options = options
        self._say = say
        named = check_names(options.only)
        self.names = named if options.only or not options.profiles else frozenset[str]()
        self.profiles = self._wanted_profiles()
        self._found: dict[str, Found] = {}
        self._measured: dict[str, Measured] = {}
        self._rows: list[Row] = []
        self._problems: list[str] = []

    def run(self) -> Outcome:
        """Measure everything that was asked for."""
        machine = describe_machine()
        self._kernels()
        if self.profiles or "quiet_device_bytes" in self.names:
            with tempfile.TemporaryDirectory(prefix="gateway-bench-") as name:
                machine["redis"] = self._with_gateway(Path(name))
        if "pushes_dispatched" in self.names:
            self._attempt("pushes_dispatched", self._dispatch)
        machine |= {
            "seconds": self._options.seconds,
            "workers": self._options.workers,
            "load_after": round(os.getloadavg()[0], 2),
            "at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        }
        budgets = rows(self._found, self.names) if self.names else []
        return Outcome(machine, budgets, self._rows, self._problems)

    def _wanted_profiles(self) -> list[Profile]:
        options = self._options
        needed = {NEEDS[name] for name in self.names if name in NEEDS}
        if options.only or options.profiles:
            wanted = tuple(needed | set(options.profiles))
            return ingest.chosen_profiles(wanted, full=options.full) if wanted else []
        return ingest.chosen_profiles((), full=options.full)

    def _kernels(self) -> None:
        if "decode_ping" in self.names:
            self._say("decode")
            self._found["decode_ping"] = kernels.decode_ping()
        wanted = [one for one in BUDGETS if one.name in kernels.LOCATE_BUDGETS]
        if any(one.name in self.names and not one.needs_full for one in wanted) or (
            self._options.full and any(one.name in self.names for one in wanted)
        ):
            self._say("fence index")
            found, _ = kernels.locate_and_build(full=self._options.full)
            self._found |= found

    def _with_gateway(self, folder: Path) -> str:
        self._say("starting a gateway")
        try:
            with Rig(folder / "gateway", workers=self._options.workers) as rig:
                version = rig.redis_version
                if "quiet_device_bytes" in self.names:
                    self._attempt("quiet_device_bytes", partial(self._quiet, rig))
                for profile in self.profiles:
                    self._attempt(profile.name, partial(self._profile, rig, profile))
                self._attempt("ceilings and pushes", partial(self._around, rig, folder))
                return version
        except Exception as error:  # noqa: BLE001 - what cannot be measured is said, the rest goes on
            self._problems.append(f"gateway: {error}")
            return ""

    def _quiet(self, rig: Rig) -> None:
        self._found["quiet_device_bytes"] = ingest.quiet_device(rig)

    def _profile(self, rig: Rig, profile: Profile) -> None:
        search = profile.name in (BATCHED, SINGLE)
        measured = ingest.measure(rig, profile, self._options.seconds, search=search)
        self._measured[profile.name] = measured
        self._rows.append(ingest.row_of(measured))

    def _around(self, rig: Rig, folder: Path) -> None:
        """The ceilings beside what was measured, and pushes at the rate that was found."""
        seconds = self._options.seconds
        batched, single = self._measured.get(BATCHED), self._measured.get(SINGLE)
        if batched and "pings_batched" in self.names:
            self._found["pings_batched"] = ingest.batched(rig, batched, seconds)
        if single and self.names & {"one_ping_requests", "one_ping_p99"}:
            self._found |= ingest.one_by_one(single, folder, seconds)
        if batched and "push_latency_p99" in self.names:
            self._say("from ping to provider")
            self._found["push_latency_p99"] = pushes.push_latency(
                rig, folder, batched.profile, batched.knee.rate, 2 * seconds
            )

    def _dispatch(self) -> None:
        count = max(2_000, round(PUSHES_A_SECOND_OF_RUN * self._options.seconds))
        with tempfile.TemporaryDirectory(prefix="gateway-bench-") as name:
            done = pushes.dispatch(Path(name), count)
        note = f"{done.cpu_us:.0f} us of processor time a push, all threads"
        self._found["pushes_dispatched"] = Found(done.per_s, done.client_alone_per_s, note)

    def _attempt(self, what: str, work: Callable[[], None]) -> None:
        self._say(what)
        try:
            work()
        except Exception as error:  # noqa: BLE001 - what cannot be measured is said, the rest goes on
            self._problems.append(f"{what}: {error}")
