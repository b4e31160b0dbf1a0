"""`gateway serve` as a process: start, stop, restart, and what survives a kill."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from gateway.private_redis import PrivateRedis

pytestmark = pytest.mark.e2e

WAIT_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gateway.cli", *arguments]


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {WAIT_S} s until {what}"
        time.sleep(0.05)


class Gateway:
    """A running `gateway serve`."""

    def __init__(self, folder: Path, port: int, *flags: str) -> None:
        self.folder, self.port = folder, port
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder.parent / f"serve-{time.monotonic_ns()}.log"
        arguments = ["--port", str(port), "--data-dir", str(folder), "--workers", "2", *flags]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command("serve", *arguments), stdout=output, stderr=output, cwd=folder.parent
            )

    def ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            assert self.process.poll() is None, self.log.read_text()
            return False

    def wait_ready(self) -> "Gateway":
        until(self.ready, "ready")
        return self

    def workers(self) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if "redis" not in child.name()]

    def redis(self, not_pid: int = 0) -> psutil.Process | None:
        """The private Redis; never the one of ``not_pid``."""
        found = [
            child
            for child in psutil.Process(self.process.pid).children()
            if "redis" in child.name() and child.pid != not_pid
        ]
        return found[0] if found else None

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)


@contextmanager
def serving(folder: Path, port: int, *flags: str) -> Iterator[Gateway]:
    gateway = Gateway(folder, port, *flags)
    try:
        yield gateway
    finally:
        if gateway.process.poll() is None:
            gateway.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A data directory; whatever still runs in it is stopped at the end."""
    place = tmp_path / "data"
    yield place
    private = PrivateRedis(place)
    if private.is_running():
        import redis

        client = redis.Redis.from_url(private.url)
        client.shutdown(nosave=True)
        client.close()


def make_key(folder: Path, scopes: str = "manage") -> str:
    done = subprocess.run(
        command(*f"keys create --tenant acme --scopes {scopes} --data-dir".split(), str(folder)),
        capture_output=True, text=True, check=True, cwd=folder.parent,
    )  # fmt: skip
    return done.stdout.strip()


def refused(*flags: str) -> "subprocess.Popen[str]":
    """A gateway that is expected to end by itself."""
    return subprocess.Popen(
        command("serve", *flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def authorized(gateway: Gateway, key: str) -> int:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.get(f"{gateway.url}/v1/system", headers=headers, timeout=10).status_code


def test_it_starts_stops_and_finds_its_data_again(folder: Path) -> None:
    """A key made while it runs works at once, and after a restart; SIGTERM ends with 0."""
    port = free_port()
    with serving(folder, port) as gateway:
        gateway.wait_ready()
        key = make_key(folder)
        assert 200 == authorized(gateway, key)
        assert 0 == gateway.stop()
    assert not PrivateRedis(folder).is_running()
    assert "Stopped" in gateway.log.read_text()
    with serving(folder, port) as gateway:
        assert 200 == authorized(gateway.wait_ready(), key)
        assert 2 == len(gateway.workers())


def test_a_second_gateway_on_the_same_place_is_refused(folder: Path) -> None:
    """The same port, or the same data directory: a clear error, exit 2, no harm to the first."""
    port = free_port()
    with serving(folder, port) as gateway:
        gateway.wait_ready()
        taken = refused("--port", str(port), "--data-dir", str(folder.parent / "other"))
        shared = refused("--port", str(free_port()), "--data-dir", str(folder))
        _, taken_words = taken.communicate(timeout=WAIT_S)
        _, shared_words = shared.communicate(timeout=WAIT_S)
        assert (2, True) == (taken.returncode, f"127.0.0.1:{port}" in taken_words)
        assert (2, True) == (shared.returncode, "in use by another gateway" in shared_words)
        assert gateway.ready()


def test_killing_the_parent_leaves_nothing_in_the_way(folder: Path) -> None:
    """Serving processes go by themselves; the next start takes over Redis, and stops it."""
    port = free_port()
    with serving(folder, port) as gateway:
        gateway.wait_ready()
        key = make_key(folder)
        workers = gateway.workers()
        gateway.process.kill()
        gateway.process.wait()
        until(lambda: not any(worker.is_running() for worker in workers), "workers are gone")
    assert PrivateRedis(folder).is_running()
    with serving(folder, port) as gateway:
        assert 200 == authorized(gateway.wait_ready(), key)
        assert 0 == gateway.stop()
    assert not PrivateRedis(folder).is_running()


def test_killed_parts_come_back(folder: Path) -> None:
    """A killed serving process is replaced, a killed Redis is started again with its data."""
    with serving(folder, free_port()) as gateway:
        gateway.wait_ready()
        key = make_key(folder)
        victim = gateway.workers()[0]
        victim.kill()
        until(
            lambda: (
                len(gateway.workers()) == 2
                and victim.pid not in [worker.pid for worker in gateway.workers()]
            ),
            "the worker is replaced",
        )
        killed = gateway.redis()
        assert killed is not None
        killed.kill()
        until(lambda: gateway.redis(killed.pid) is not None, "Redis is started again")
        until(lambda: authorized(gateway, key) == 200, "the key is there again")


FENCES = """{"type": "FeatureCollection", "features": [
{"type": "Feature", "id": "near", "geometry": {"type": "Point", "coordinates": [13.25, 52.5]},
 "properties": {"radius_m": 200}},
{"type": "Feature", "id": "bad", "geometry": {"type": "Point", "coordinates": [13.25, 152.5]},
 "properties": {"radius_m": 200}}]}"""


def test_client_commands_talk_to_it(folder: Path) -> None:
    """Fences go in and out of files, a track is replayed; counts on stdout, troubles on stderr."""
    fences, track = folder.parent / "fences.geojson", folder.parent / "walk.csv"
    fences.write_text(FENCES, "utf-8")
    rows = [f"{1_700_000_000 + i * 10},{52.49 + i / 5000},13.25" for i in range(100)]
    track.write_text("\n".join(["time,lat,lon", *rows, "never,1,2"]), "utf-8")
    with serving(folder, free_port()) as gateway:
        gateway.wait_ready()
        key = make_key(folder, "manage,ingest")

        def run(*arguments: str, key: str = key) -> "subprocess.CompletedProcess[str]":
            return subprocess.run(
                command(*arguments, "--url", gateway.url, "--key", key),
                capture_output=True, text=True, timeout=WAIT_S, check=False,
            )  # fmt: skip

        imported = run("import", str(fences), "--tag", "store")
        assert (1, "1 created, 0 updated, 0 unchanged, 1 failed\n") == (
            imported.returncode,
            imported.stdout,
        )
        assert "entry 1" in imported.stderr
        again = json.loads(run("import", str(fences), "--tag", "store", "--json").stdout)
        assert (0, 1) == (again["created"], again["unchanged"])
        exported = json.loads(run("export", "--tag", "store").stdout)
        assert ["near"] == [feature["id"] for feature in exported["features"]]
        replayed = run("replay", str(track), "--device", "d1", "--json")
        assert 0 == replayed.returncode, replayed.stderr + gateway.log.read_text()
        counts = json.loads(replayed.stdout)
        assert (100, 0, 1) == (counts["accepted"], counts["rejected"], counts["unreadable"])
        assert "line 102" in replayed.stderr
        wrong = run("replay", str(track), "--device", "d1", key="tgw_x")
        assert (1, True) == (wrong.returncode, "401" in wrong.stderr)


def test_it_drains_before_it_stops(folder: Path) -> None:
    """After SIGTERM `/readyz` turns 503 while requests are still served, then it stops."""
    with serving(folder, free_port(), "--drain-s", "1.5") as gateway:
        gateway.wait_ready()
        gateway.process.send_signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{gateway.url}/readyz").status_code == 503, "it drains")
        assert 200 == httpx.get(f"{gateway.url}/livez").status_code
        assert 0 == gateway.process.wait(WAIT_S)


def test_no_redis_says_what_to_do(tmp_path: Path) -> None:
    """A wrong redis_url ends at once with a cure, not with a trace."""
    done = subprocess.run(
        command("serve", "--port", str(free_port()), "--redis-url", "redis://127.0.0.1:1"),
        capture_output=True, text=True, timeout=WAIT_S, check=False, cwd=tmp_path,
        env={**os.environ},
    )  # fmt: skip
    assert 2 == done.returncode
    assert "Check redis_url" in done.stderr
    assert "Traceback" not in done.stderr
