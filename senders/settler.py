"""Writes down how entries ended, in batches: first the application's record, then the outbox.

The order is what makes a crash harmless: a record that is written twice says the same, an entry
that left the outbox unrecorded would be a push nobody can explain.
"""

import asyncio
from collections.abc import Callable, Sequence

from senders.conclude import Concluded
from senders.outbox import Outbox
from senders.pushes import Observer, Pushes
from senders.settlement import Claimed

BATCH = 1000
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
RECORD_TRIES = 3


class Settler:
    """Collects conclusions and writes them; ``released`` is told which entries left our hands."""

    def __init__(
        self,
        outbox: Outbox,
        pushes: Pushes,
        observer: Observer,
        released: Callable[[Sequence[Claimed]], None],
    ) -> None:
        self._outbox = outbox
        self._pushes = pushes
        self._observer = observer
        self._released = released
        self._waiting: list[Concluded] = []
        self._changed = asyncio.Event()
        self._is_closing = False

    def add(self, concluded: Concluded) -> None:
        """Write this down soon."""
        self._waiting.append(concluded)
        self._changed.set()

    def close(self) -> None:
        """Let ``run`` return once everything is written."""
        self._is_closing = True
        self._changed.set()

    async def run(self) -> None:
        """Write until closed; storage that fails is tried again until it works."""
        while self._waiting or not self._is_closing:
            await self._changed.wait()
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            if batch:
                await self._write(batch)
            if not self._waiting and not self._is_closing:
                self._changed.clear()

    async def _write(self, batch: Sequence[Concluded]) -> None:
        failures, pause_s, is_recorded = 0, FIRST_PAUSE_S, False
        while True:
            try:
                if not is_recorded:
                    await self._pushes.settled([concluded.settled for concluded in batch])
                    is_recorded = True
            except Exception as error:  # noqa: BLE001 - any failure of the application's storage
                self._observer.failed("record", error)
                failures += 1
            if is_recorded or failures >= RECORD_TRIES:
                try:
                    await self._outbox.settle([concluded.settlement for concluded in batch])
                    break
                except Exception as error:  # noqa: BLE001 - any failure of Redis
                    self._observer.failed("settle", error)
                    # Storage is down as a whole: the record was not at fault, so try it again.
                    failures = 0
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        self._released([concluded.settled.claimed for concluded in batch])
        for concluded in batch:
            self._observer.ended(concluded.settled)
