"""The processes of the demo: a gateway with its own Redis, and the sandbox of all providers.

Both run as children in sessions of their own, so that Ctrl-C reaches the demo alone, which ends
them in order: first the gateway, which stops its Redis, then the sandbox.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from gateway.config import ENV_PREFIX
from gateway.data_dir import LOCK_FILE
from senders.sandbox.process import SandboxProcess

TENANT = "demo"
SCOPES = "manage,ingest,read"
HOST = "127.0.0.1"
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 40.0
KEY_FILE = "demo.key"
LOG_FILE = "gateway.log"


class StageError(RuntimeError):
    """Something did not start; the text says what and why."""


class Stage:
    """``with Stage(folder) as stage``: everything runs inside, and nothing of it afterwards.

    ``url`` and ``key`` are those of the gateway, ``sandbox`` is the providers' side.
    """

    def __init__(
        self, folder: Path, *, port: int = 0, host: str = HOST, fresh: bool = False
    ) -> None:
        """Choose ports; ``port`` 0 means 8080 if it is free.

        Raises:
            StageError: ``fresh``, and the folder holds something else than a gateway's data.
        """
        if fresh:
            _clear(folder)
        self._folder = folder
        self._host = host
        self.port = port or free_port(8080)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://{HOST}:{self.port}"
        self.key = ""
        self.sandbox = SandboxProcess(folder / "sandbox", free_port(9443))

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self.sandbox.start()
            self._start_gateway()
            self.key = self._api_key()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def data_dir(self) -> Path:
        """Where the gateway of this stage keeps its data."""
        return self._folder / "gateway"

    def check_alive(self) -> None:
        """See that the gateway still runs.

        Raises:
            StageError: it has ended; the text has the end of its log.
        """
        if self._process is None or self._process.poll() is not None:
            raise StageError(f"The gateway has ended. The end of its log:\n{self.log_tail()}")

    def log_tail(self) -> str:
        """The end of the gateway's log, without the requests that went well."""
        text = (self._folder / LOG_FILE).read_text("utf-8", "replace")
        lines = [line for line in text.splitlines() if '"level": "info"' not in line]
        return "\n".join(lines[-15:])

    def _start_gateway(self) -> None:
        with (self._folder / LOG_FILE).open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                [*_GATEWAY, "serve", "--host", self._host, "--port", str(self.port),
                 "--data-dir", str(self.data_dir), "--allowed-private-hosts", HOST],
                env=_environment(), stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_ready():
            self.check_alive()
            if time.monotonic() > deadline:
                raise StageError(
                    f"The gateway is not ready after {START_TIMEOUT_S:g} s. The end of its log:\n"
                    f"{self.log_tail()}"
                )
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def _api_key(self) -> str:
        """The key of the last run if it still opens, else a new one."""
        file = self._folder / KEY_FILE
        if file.is_file():
            known = file.read_text().strip()
            head = {"Authorization": f"Bearer {known}"}
            answer = httpx.get(f"{self.url}/v1/system", headers=head, trust_env=False, timeout=30)
            if answer.status_code == 200:
                return known
        made = subprocess.run(  # noqa: S603 - our own interpreter
            [*_GATEWAY, "keys", "create", "--tenant", TENANT, "--scopes", SCOPES,
             "--name", "demo", "--data-dir", str(self.data_dir)],
            env=_environment(), capture_output=True, text=True, check=False, start_new_session=True,
        )  # fmt: skip
        if made.returncode:
            raise StageError(f"No API key could be made: {made.stderr.strip()}")
        file.touch(mode=0o600)
        file.write_text(made.stdout)
        return made.stdout.strip()

    def _stop(self) -> None:
        """End everything; whoever is in a hurry and signals again does not leave a half behind."""
        process, self._process = self._process, None
        handlers = {number: signal.signal(number, signal.SIG_IGN) for number in _STOPS}
        try:
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(STOP_TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        finally:
            self.sandbox.stop()
            for number, handler in handlers.items():
                signal.signal(number, handler)


_STOPS = (signal.SIGINT, signal.SIGTERM)
_GATEWAY = (sys.executable, "-m", "gateway.cli")


def free_port(wanted: int) -> int:
    """This port if nobody listens on it, else any free one."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StageError(f"No port is free on {HOST}.")


def _environment() -> dict[str, str]:
    """Ours without the user's settings: the demo is the same whatever they are."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    return kept | {"GATEWAY_CONFIG": "", "PYTHONUNBUFFERED": "1"}


def _clear(folder: Path) -> None:
    if not folder.exists():
        return
    is_ours = (folder / "gateway" / LOCK_FILE).exists() or not any(folder.iterdir())
    if not is_ours:
        raise StageError(f"{folder} holds something else than a demo; remove it yourself.")
    shutil.rmtree(folder)
