"""Calls off what takes too long.

All tasks have the same time, so the oldest is always the next to be late: one timer does for all of
them, where ``asyncio.timeout`` sets and clears one for each.
"""

import asyncio
from typing import Any

Running = asyncio.Task[Any]


class Deadlines:
    """Cancels tasks that run for longer than ``timeout_s`` between ``start`` and ``end``."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._ends_s: dict[Running, float] = {}  # by the loop's clock, the next first
        self._late: set[Running] = set()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> Running:
        """Watch the current task from now on."""
        loop = asyncio.get_running_loop()
        running = asyncio.current_task(loop)
        if running is None:
            raise RuntimeError("only a task can be called off")
        self._ends_s[running] = loop.time() + self._timeout_s
        if self._timer is None:
            self._timer = loop.call_later(self._timeout_s, self._call_off)
        return running

    def end(self, running: Running) -> None:
        """Watch it no longer."""
        self._ends_s.pop(running, None)
        self._late.discard(running)

    def is_late(self, running: Running) -> bool:
        """Whether its cancellation came from here, and from nobody else; it may go on then."""
        return running in self._late and running.uncancel() == 0

    def _call_off(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer, now_s = None, loop.time()
        for running, ends_s in list(self._ends_s.items()):
            if ends_s > now_s:
                self._timer = loop.call_at(ends_s, self._call_off)
                break
            del self._ends_s[running]
            self._late.add(running)
            running.cancel()
