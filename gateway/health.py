"""Whether this process can do its work.

Checks run in the background and their results are kept, so that a probe costs nothing and cannot
overload what it asks about. ``/livez`` needs no check: a process that answers lives, and a trouble
of Redis must not restart processes.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

CHECK_INTERVAL_S = 1.0
CHECK_TIMEOUT_S = 5.0
DRAIN_FILE = "draining"

# A check returns what it found; it raises when the process is not ready.
Check = Callable[[], Awaitable[str]]


class Finding(NamedTuple):
    """What one check found last."""

    name: str
    is_ok: bool
    detail: str


class Health:
    """The checks of one process and their latest findings."""

    def __init__(self, data_dir: Path) -> None:
        self._drain_file = data_dir / DRAIN_FILE
        self._checks: dict[str, Check] = {}
        self._findings: dict[str, Finding] = {}
        self._stopping = False

    def add(self, name: str, check: Check) -> None:
        """Ask this check from now on; until it has passed once, the process is not ready."""
        self._checks[name] = check
        self._findings[name] = Finding(name, False, "not checked yet")

    def stop(self) -> None:
        """From now on the process is not ready."""
        self._stopping = True

    async def watch(self) -> None:
        """Run all checks again and again; ends by cancellation."""
        while True:
            await self.check_all()
            await asyncio.sleep(CHECK_INTERVAL_S)

    async def check_all(self) -> None:
        """Run all checks once, side by side."""
        findings = await asyncio.gather(
            *(self._check(name, check) for name, check in self._checks.items())
        )
        self._findings.update({finding.name: finding for finding in findings})

    def findings(self) -> list[Finding]:
        """The latest findings, and whether the process is stopping."""
        is_stopping = self._stopping or self._drain_file.exists()
        serving = Finding("serving", not is_stopping, "stopping" if is_stopping else "serving")
        return [serving, *self._findings.values()]

    async def _check(self, name: str, check: Check) -> Finding:
        started = time.perf_counter()
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                detail = await check()
        except Exception as error:  # noqa: BLE001 - whatever a check raises is its finding
            return Finding(name, False, f"{type(error).__name__}: {error}")
        elapsed_ms = (time.perf_counter() - started) * 1000
        return Finding(name, True, f"{detail} ({elapsed_ms:.1f} ms)")
