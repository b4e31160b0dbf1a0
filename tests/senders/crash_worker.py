"""A dispatching process that kills itself at a named step; run by test_dispatch_crash.py.

Arguments: Redis URL, consumer name, step (or "none"), how many times the step is passed before.
Every push that its provider receives is appended to the Redis list ``received``.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from redis.asyncio import Redis

from senders.dispatch import Dispatcher, Limits
from senders.model import Delivered, Outcome, Rendered, Target
from senders.outbox import Outbox
from senders.pushes import Prepared, Ready, Settled
from senders.settlement import Claimed, Settlement

TAGS = ["{s:00}", "{s:01}"]
FAR = 4_000_000_000_000


class Failpoint:
    """Kills the process when its step is reached for the n-th time."""

    def __init__(self, step: str, after: int) -> None:
        self._step = step
        self._left = after

    def reach(self, step: str) -> None:
        if step == self._step:
            self._left -= 1
            if self._left < 0:
                os.kill(os.getpid(), signal.SIGKILL)


class Provider:
    def __init__(self, client: Any, failpoint: Failpoint) -> None:
        self._client = client
        self._failpoint = failpoint

    async def send(self, message: Rendered, _: Target) -> Outcome:
        self._failpoint.reach("before the provider")
        await self._client.rpush("received", message.id)
        self._failpoint.reach("after the provider")
        return Delivered()

    async def close(self) -> None: ...


class App:
    def __init__(self, client: Any, failpoint: Failpoint) -> None:
        self._client = client
        self._provider = Provider(client, failpoint)
        self._failpoint = failpoint

    async def prepare(self, batch: Sequence[Claimed]) -> Sequence[Prepared]:
        self._failpoint.reach("claimed")
        ready = [self._ready(entry.payload.decode(), entry) for entry in batch]
        self._failpoint.reach("prepared")
        return ready

    def _ready(self, name: str, entry: Claimed) -> Prepared:
        message = Rendered(name, "title", "body", FAR, entry.lane)
        return Ready(name, message, Target("apns", "token"), self._provider, "acme/apns")

    def again(self, payload: bytes, attempt: int) -> bytes:
        return payload

    def advance(self, payload: bytes, reason: str) -> bytes | None:
        return None

    async def settled(self, batch: Sequence[Settled]) -> None:
        self._failpoint.reach("before the record")
        await self._client.sadd("recorded", *(one.claimed.payload for one in batch))
        self._failpoint.reach("recorded")


class FragileOutbox(Outbox):
    """An outbox whose process may die right after a settlement."""

    failpoint: Failpoint

    async def settle(self, batch: Iterable[Settlement]) -> int:
        count = await super().settle(batch)
        self.failpoint.reach("settled")
        return count


async def main(url: str, consumer: str, step: str, after: int) -> None:
    failpoint = Failpoint(step, after)
    async with Redis.from_url(url) as client:
        outbox = FragileOutbox(client, TAGS, consumer, takeover_ms=300)
        outbox.failpoint = failpoint
        limits = Limits(most_in_flight=128, batch=32)
        dispatcher = Dispatcher(outbox, App(client, failpoint), limits=limits)
        running = asyncio.create_task(dispatcher.run())
        while await outbox.streams() or dispatcher.in_flight:  # noqa: ASYNC110 - others work too
            await asyncio.sleep(0.02)
        dispatcher.stop()
        await running


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
