"""The data directory: one owner at a time.

``gateway serve`` holds the lock while it runs. A command that needs the private Redis for a moment
takes it only if nobody serves; so who starts or stops Redis always holds the lock.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO

from gateway.config import ConfigError, Settings
from gateway.private_redis import PrivateRedis

LOCK_FILE = "gateway.lock"
LOCK_INTERVAL_S = 0.05
OWNER_WAIT_S = 30.0


class DataDirLock:
    """The exclusive right to start and stop what lives in a data directory; freed by any exit.

    Raises on entry:
        ConfigError: another process held it all the time.
    """

    def __init__(self, data_dir: Path, wait_s: float = 0.0) -> None:
        self._path = data_dir / LOCK_FILE
        self._wait_s = wait_s
        self._file: IO[str] | None = None

    def __enter__(self) -> "DataDirLock":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("a+")
        os.set_inheritable(file.fileno(), False)
        deadline = time.monotonic() + self._wait_s
        while not _try_lock(file):
            if time.monotonic() >= deadline:
                owner = _owner(file)
                file.close()
                raise ConfigError(
                    f"{self._path.parent} is in use by another gateway{owner}. Stop it, or choose "
                    "another --data-dir."
                )
            time.sleep(LOCK_INTERVAL_S)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


@contextmanager
def reachable_redis(settings: Settings) -> Iterator[str]:
    """The URL of a running Redis for a short command.

    It is the one that is set, else the one that serves this data directory, else a private one that
    runs for the moment.
    """
    if settings.redis_url:
        yield settings.redis_url
        return
    private = PrivateRedis(settings.data_dir, settings.durability)
    try:
        lock = DataDirLock(settings.data_dir).__enter__()
    except ConfigError:
        _wait_until_up(private)
        yield private.url
        return
    try:
        yield private.start()
    finally:
        private.stop()
        lock.__exit__(None, None, None)


def _wait_until_up(private: PrivateRedis) -> None:
    """The owner of the lock is about to start its server; never start a second one on its files."""
    deadline = time.monotonic() + OWNER_WAIT_S
    while not private.is_running():
        if time.monotonic() > deadline:
            raise ConfigError(
                "The gateway that uses this data directory has no running Redis. Look at its log."
            )
        time.sleep(LOCK_INTERVAL_S)


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner(file: IO[str]) -> str:
    file.seek(0)
    pid = file.read().strip()
    return f" (process {pid})" if pid.isdigit() else ""
