"""The sandbox as a child process on a free port: for tests, the demo and benchmarks."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from http.client import HTTPSConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
POLL_S = 0.05


class SandboxError(RuntimeError):
    """The sandbox did not start, or refused a management call; the text says why."""


class SandboxProcess:
    """``with SandboxProcess(folder) as sandbox: sandbox.url``; ``sandbox.ca`` is what to trust.

    ``relay_url`` is the port whose connections go wrong on request.
    """

    def __init__(self, data_dir: Path, port: int | None = None) -> None:
        self.port = _free_port() if port is None else port
        self.relay_port = _free_port()
        self.data_dir = data_dir
        self.ca = data_dir / "sandbox-ca.pem"
        self.url = f"https://127.0.0.1:{self.port}"
        self.relay_url = f"https://127.0.0.1:{self.relay_port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start, and return once it answers.

        Raises:
            SandboxError: it ended, or does not answer in time.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True)
        log = self.data_dir / "sandbox.log"
        code = (
            "import sys, pathlib; from senders.sandbox.server import serve; "
            "serve(int(sys.argv[1]), pathlib.Path(sys.argv[2]), relay_port=int(sys.argv[3]))"
        )
        ports = str(self.port), str(self.relay_port)
        arguments = [sys.executable, "-c", code, ports[0], str(self.data_dir), ports[1]]
        with log.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                arguments, stdout=output, stderr=output, start_new_session=True
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise SandboxError(f"the sandbox did not start: {log.read_text()[-2000:]}")
            time.sleep(POLL_S)
        return self

    def stop(self) -> None:
        """Stop, and wait until it has ended."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def call(self, method: str, path: str, document: Any = None) -> Any:
        """Call the management API (``path`` after ``/_sandbox/``); returns the decoded answer.

        Raises:
            SandboxError: it refused.
            OSError: it cannot be reached.
        """
        trust = ssl.create_default_context(cafile=str(self.ca))
        connection = HTTPSConnection("127.0.0.1", self.port, timeout=10, context=trust)
        try:
            body = None if document is None else msgspec.json.encode(document)
            connection.request(method, f"/_sandbox/{path}", body)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:
            raise SandboxError(f"{method} {path}: {content.decode()}")
        return msgspec.json.decode(content) if content else None

    def messages(self, query: str = "") -> list[dict[str, Any]]:
        """Return accepted messages, oldest first; ``query`` such as ``"provider=apns"``."""
        answer = self.call("GET", f"messages?limit=10000&{query}")
        return list(answer["items"])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _is_ready(self) -> bool:
        try:
            return bool(self.call("GET", "health"))
        except (OSError, SandboxError):
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
