"""The load generator as its parent sees it, and the search for the knee."""

import subprocess
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec

from bench.generator import Seen, Setup, Shot
from bench.rig import ROOT, BenchError, environment

SHARES = (0.95, 0.85, 0.75, 0.65, 0.5)  # of what a closed loop reached
MOST_P99_MS = 500.0
LEAST_ACHIEVED = 0.97
MOST_BACKLOG_S = 0.25


class Load:
    """``with Load(setup) as load``: a generator process, connected."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.generator"],
            cwd=ROOT,
            env=environment({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.requests_a_lap = int(self._ask(self.setup, dict[str, int])["requests_a_lap"])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def fire(self, seconds: float, rate: float | None = None, requests: int | None = None) -> Seen:
        """One shot; ``rate`` in requests a second, None for a closed loop.

        Raises:
            BenchError: not one request was answered with 202.
        """
        shot = Shot(seconds, rate) if requests is None else Shot(seconds, rate, requests)
        seen: Seen = self._ask(shot, Seen)
        if not seen.answered:
            raise BenchError(f"no ping was accepted: {seen.error or seen}")
        return seen

    def lap(self, seconds: float = 60.0) -> Seen:
        """Every device pings once, as fast as it goes: a warm-up."""
        return self.fire(seconds, requests=self.requests_a_lap)

    def _ask(self, what: object, answer: type) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(what) + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise BenchError("the load generator ended; its output is above")
        return msgspec.json.decode(line, type=answer)


class Knee(NamedTuple):
    """The highest rate that was sustained, and what a closed loop reached."""

    rate: float  # requests a second
    seen: Seen  # at that rate
    most: Seen  # the closed loop
    is_sustained: bool  # False: even the lowest rate tried was not held; ``rate`` is what came


def find_knee(fire: Callable[[float, float | None], Seen], seconds: float) -> Knee:
    """The highest of some rates, going down from the closed loop's, that the server sustains.

    Sustained means: every request answered 202, at least 97 % of the rate achieved, p99 within
    500 ms, and less than a quarter of a second's requests behind at the end.
    """
    most = fire(seconds, None)
    reached = most.answered / most.seconds
    seen = most
    for share in SHARES:
        rate = reached * share
        seen = fire(seconds, rate)
        if is_sustained(seen, rate):
            return Knee(rate, seen, most, is_sustained=True)
    return Knee(seen.answered / seen.seconds, seen, most, is_sustained=False)


def is_sustained(seen: Seen, rate: float) -> bool:
    """Whether the server kept up with this rate."""
    return (
        not seen.refused
        and not seen.failed
        and seen.answered / seen.seconds >= LEAST_ACHIEVED * rate
        and seen.p99_ms <= MOST_P99_MS
        and seen.backlog <= MOST_BACKLOG_S * rate
    )
