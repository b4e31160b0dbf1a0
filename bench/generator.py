"""The load generator: one process, open loop, its own saturation reported.

Reads one JSON document a line from stdin (first a ``Setup``, then ``Shot`` after ``Shot``), writes
one ``Seen`` a line to stdout. In an open loop requests leave at fixed instants, whatever the
answers do, and latency counts from the instant a request should have left: a stalled server cannot
hide its stall (coordinated omission). A shot without a rate is a closed loop: every connection
sends again as soon as it is answered, which finds the most the server can do.
"""

import asyncio
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import cast

import msgspec
import uvloop

from bench.traffic import Format, Traffic
from bench.worlds import WORLDS

DRAIN_S = 15.0
GIVE_UP_BACKLOG_S = 10.0  # an open loop this far behind will not catch up


class Setup(msgspec.Struct):
    """Whom to load, with what."""

    port: int
    key: str
    world: str
    devices: int
    size: int = 100
    format: Format = "json"
    connections: int = 64


class Shot(msgspec.Struct):
    """One phase. ``rate`` is requests a second; None is a closed loop. ``requests`` bounds it."""

    seconds: float
    rate: float | None = None
    requests: int = 1_000_000_000


class Seen(msgspec.Struct):
    """What came of a shot. Latencies are of answers 202; ``refused`` counts answers 503."""

    requests: int
    answered: int
    refused: int
    failed: int
    pings: int  # accepted, as the answers say
    seconds: float  # until the last answer
    p50_ms: float
    p99_ms: float
    max_ms: float
    backlog: int  # requests that should have left by the end and had not
    lag_p99_ms: float  # how late the generator itself was
    cpu: float  # of the generator, share of a core
    error: str = ""  # the first answer that was not 202

    @property
    def is_saturated(self) -> bool:
        """Whether the generator, not the server, was the limit."""
        return self.cpu > 0.9


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request in flight."""

    def __init__(self, driver: "Driver") -> None:
        self._driver = driver
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self.intended = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def send(self, request: bytes, intended: float) -> None:
        """Send; ``intended`` is when this should have happened."""
        self.intended = intended
        assert self._transport is not None
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self._buffer[:head_end].lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if len(self._buffer) < head_end + 4 + length:
            return
        status, body = int(self._buffer[9:12]), self._buffer[head_end + 4 :]
        self._buffer = b""
        self._driver.answered(self, status, body)

    def connection_lost(self, exc: Exception | None) -> None:
        self._driver.lost(self, exc)


class Driver:
    """Sends the traffic over some connections."""

    def __init__(self, setup: Setup) -> None:
        world = WORLDS[setup.world](setup.devices)
        self._traffic = Traffic(world, setup.key, setup.size, setup.format)
        self._setup = setup
        self._idle: list[Connection] = []
        self._backlog: deque[float] = deque()
        self._busy = 0
        self._again_until = 0.0
        self._left = 0
        self._error = ""
        self._clear()

    @property
    def requests_a_lap(self) -> int:
        """Requests until every device has pinged once more."""
        return self._traffic.requests_a_lap

    async def connect(self) -> None:
        """Open the connections."""
        loop = asyncio.get_running_loop()
        for _ in range(self._setup.connections):
            _, connection = await loop.create_connection(
                lambda: Connection(self), "127.0.0.1", self._setup.port
            )
            self._idle.append(connection)

    async def run(self, shot: Shot) -> Seen:
        """Run one shot and tell what came of it."""
        self._clear()
        started, cpu = time.perf_counter(), time.process_time()
        if shot.rate is None:
            await self._closed(shot, started)
        else:
            await self._open(shot.rate, shot, started)
        backlog = len(self._backlog)
        await self._drain()
        ended = max(self._last_at, started + 1e-9)
        cpu_share = (time.process_time() - cpu) / (time.perf_counter() - started)
        return self._seen(ended - started, backlog, cpu_share)

    def answered(self, connection: Connection, status: int, body: bytes) -> None:
        """Count an answer, and send what waits."""
        now = self._last_at = time.perf_counter()
        if status == 202:
            self._latencies.append(now - connection.intended)
            self._pings += int(body.partition(b'"accepted":')[2].partition(b",")[0] or 0)
        else:
            self._refused += status == 503
            self._failed += status != 503
            self._error = self._error or f"{status} {body[:300].decode('latin-1')}"
        if self._backlog:
            self._send(connection, self._backlog.popleft())
        elif now < self._again_until and self._left > 0:
            self._left -= 1
            self._send(connection, now)
        else:
            self._busy -= 1
            self._idle.append(connection)

    def lost(self, connection: Connection, why: Exception | None) -> None:
        """The server closed a connection: whatever was on it has failed."""
        if connection in self._idle:
            self._idle.remove(connection)
        else:
            self._busy -= 1
            self._failed += 1
        self._error = self._error or f"connection lost: {why}"

    def _clear(self) -> None:
        self._latencies: list[float] = []
        self._lags: list[float] = []
        self._pings = self._refused = self._failed = self._sent = 0
        self._error = ""
        self._last_at = 0.0

    def _send(self, connection: Connection, intended: float) -> None:
        self._sent += 1
        connection.send(next(self._traffic), intended)

    async def _closed(self, shot: Shot, started: float) -> None:
        self._left = shot.requests
        self._again_until = started + shot.seconds
        while self._idle and self._left > 0:
            self._left -= 1
            self._busy += 1
            self._send(self._idle.pop(), time.perf_counter())
        await self._idle_or(self._again_until)
        self._again_until = 0.0

    async def _open(self, rate: float, shot: Shot, started: float) -> None:
        total, number = min(max(1, int(rate * shot.seconds)), shot.requests), 0
        while number < total:
            now = time.perf_counter()
            due = min(total, int((now - started) * rate) + 1)
            if due > number:
                self._lags.append(now - (started + number / rate))
            for place in range(number, due):
                self._offer(started + place / rate)
            number = due
            if len(self._backlog) > rate * GIVE_UP_BACKLOG_S:
                return
            await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))

    def _offer(self, intended: float) -> None:
        if self._idle:
            self._busy += 1
            self._send(self._idle.pop(), intended)
        else:
            self._backlog.append(intended)

    async def _idle_or(self, until: float) -> None:
        """Wait until nothing is in flight, or until an instant."""
        while self._busy and time.perf_counter() < until:  # noqa: ASYNC110 - cheapest when busy
            await asyncio.sleep(0.005)

    async def _drain(self) -> None:
        await self._idle_or(time.perf_counter() + DRAIN_S)
        if self._busy:
            self._failed += self._busy
            self._error = self._error or f"{self._busy} requests unanswered after {DRAIN_S:g} s"
        self._backlog.clear()

    def _seen(self, seconds: float, backlog: int, cpu: float) -> Seen:
        latencies = sorted(self._latencies)
        return Seen(
            requests=self._sent,
            answered=len(latencies),
            refused=self._refused,
            failed=self._failed,
            pings=self._pings,
            seconds=seconds,
            p50_ms=quantile(latencies, 0.5) * 1000,
            p99_ms=quantile(latencies, 0.99) * 1000,
            max_ms=quantile(latencies, 1.0) * 1000,
            backlog=backlog,
            lag_p99_ms=quantile(sorted(self._lags), 0.99) * 1000,
            cpu=cpu,
            error=self._error,
        )


def quantile(ascending: list[float], share: float) -> float:
    """The nearest-rank quantile; 0 of nothing."""
    if not ascending:
        return 0.0
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]


async def main() -> None:
    """Serve shots until stdin ends."""
    lines = _lines()
    driver = Driver(msgspec.json.decode(next(lines), type=Setup))
    await driver.connect()
    _say({"requests_a_lap": driver.requests_a_lap})
    while (line := await asyncio.to_thread(next, lines, "")) != "":
        _say(await driver.run(msgspec.json.decode(line, type=Shot)))


def _lines() -> Iterator[str]:
    while line := sys.stdin.readline():
        yield line


def _say(what: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    uvloop.run(main())
