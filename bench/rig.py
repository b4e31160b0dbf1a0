"""The processes a benchmark needs: a gateway with a private Redis, peers, bare servers.

Everything lives in a temporary folder and ends with its context.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import redis

from bench.machine import children
from gateway.api_client import ApiClient
from gateway.config import ENV_PREFIX
from gateway.private_redis import PrivateRedis

HOST = "127.0.0.1"
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0
LIVE_TIMEOUT_S = 600.0  # after the last call; a million geofences take some minutes
IMPORT_AT_ONCE = 50_000
ROOT = Path(__file__).resolve().parent.parent


class BenchError(RuntimeError):
    """Something that the benchmark needs did not work; the text says what and why."""


class Child:
    """One process in a session of its own, its output in a file."""

    def __init__(self, arguments: list[str], log: Path, settings: dict[str, Any] | None = None):
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=environment(settings or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until(self, is_ready: Callable[[], bool], what: str) -> None:
        """Wait for something that this process does.

        Raises:
            BenchError: it ended, or did not do it in two minutes; with the end of its output.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while not is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = self._log.read_text("utf-8", "replace")[-2000:]
                raise BenchError(f"{what} did not start:\n{tail}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop, and wait until it has ended."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()


class Rig:
    """``with Rig(folder) as rig``: a gateway on ``rig.port``, its Redis at ``rig.redis``."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.keys: dict[str, str] = {}
        self._settings = {
            "data_dir": self.data_dir,
            "port": self.port,
            "host": HOST,
            "log_level": "warning",
            "allowed_private_hosts": HOST,
        } | settings
        self._zones = 0

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.server = Child(["-m", "gateway", "serve"], self.folder / "gateway.log", self._settings)
        try:
            self.server.wait_until(lambda: answers(f"{self.url}/readyz"), "The gateway")
        except BaseException:
            self.server.stop()
            raise
        socket_path = str(PrivateRedis(self.data_dir).socket_path)
        self.redis = redis.Redis(unix_socket_path=socket_path)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.redis.close()
        self.server.stop()

    @property
    def redis_version(self) -> str:
        return str(self.redis.info("server")["redis_version"])

    @property
    def redis_pid(self) -> int:
        return int(self.redis.info("server")["process_id"])

    def worker(self) -> Child:
        """A process of timers and dispatch beside the server; the caller stops it."""
        return Child(["-m", "gateway", "worker"], self.folder / "worker.log", self._settings)

    def key(self, tenant: str) -> str:
        """A key of every scope for this tenant, which is made if it is new."""
        if tenant not in self.keys:
            done = subprocess.run(
                [sys.executable, "-m", "gateway", "keys", "create", "--tenant", tenant,
                 "--scopes", "manage,ingest,read", "--data-dir", str(self.data_dir)],
                cwd=ROOT, env=environment(self._settings), capture_output=True, text=True,
                check=False,
            )  # fmt: skip
            if done.returncode:
                raise BenchError(f"no key could be made: {done.stderr}")
            self.keys[tenant] = done.stdout.strip()
        return self.keys[tenant]

    def api(self, tenant: str) -> ApiClient:
        """A client with that tenant's key; the caller closes."""
        return ApiClient(self.url, self.key(tenant))

    def import_zones(self, tenant: str, features: Iterable[bytes]) -> float:
        """Import geofences (a line each) and wait until they are live; the seconds it took.

        Raises:
            BenchError: some were refused, or they do not come to life.
        """
        started, lines = time.perf_counter(), iter(features)
        api = self.api(tenant)
        try:
            while body := b"".join(islice(lines, IMPORT_AT_ONCE)):
                report = api.call(
                    "POST", "/v1/geofences/import?format=geojsonseq", content=body
                ).json()
                if report["failed"]:
                    raise BenchError(f"geofences were refused: {report['errors'][:3]}")
                self._zones += report["created"]
        finally:
            api.close()
        imported = time.perf_counter()
        while self.live_zones() < self._zones:
            if time.perf_counter() - imported > LIVE_TIMEOUT_S:
                raise BenchError(f"geofences are not live after {LIVE_TIMEOUT_S:g} s")
            time.sleep(0.1)
        return time.perf_counter() - started

    @property
    def serving_pids(self) -> list[int]:
        """The processes that serve, without the parent that only watches them."""
        return [pid for pid in children(self.server.pid) if pid != self.redis_pid]

    def live_zones(self) -> int:
        """Geofences in the index of the serving processes."""
        return int(self.counter("gateway_geofences"))

    def counter(self, name: str) -> float:
        """The sum of a metric over all its labels."""
        text = httpx.get(f"{self.url}/metrics", timeout=60, trust_env=False).text
        starts = (f"{name} ", f"{name}{{")
        found = [line for line in text.splitlines() if line.startswith(starts)]
        return sum(float(line.rpartition(" ")[2]) for line in found)

    def set_durability(self, durability: str) -> None:
        """``fsync`` or ``everysec``, from now on."""
        policy = {"fsync": "always", "everysec": "everysec"}[durability]
        self.redis.config_set("appendfsync", policy)


@contextmanager
def served(code: str, folder: Path, name: str, *arguments: str) -> Iterator[int]:
    """A child that listens on the port given as its first argument; yields the port."""
    port = free_port()
    child = Child(["-c", code, str(port), *arguments], folder / f"{name}.log")
    try:
        child.wait_until(lambda: is_listening(port), name)
        yield port
    finally:
        child.stop()


def environment(settings: dict[str, Any]) -> dict[str, str]:
    """Ours without the user's settings, and with these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    own = {f"{ENV_PREFIX}{name.upper()}": str(value) for name, value in settings.items()}
    return kept | own | {"GATEWAY_CONFIG": "", "PYTHONUNBUFFERED": "1"}


def answers(url: str) -> bool:
    """Whether it answers 200."""
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def is_listening(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
