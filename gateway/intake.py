"""Joins requests in flight into micro-batches.

One-ping requests thus share the vector work and the Redis round trips. A batch closes when it is
full or ``window_ms`` after its first request; an idle gateway makes none wait for another. Up to
``overlap`` batches are in flight at once (one computes while others wait for Redis). When more than
``max_waiting`` pings wait, new ones are refused at once (503), so memory stays bounded and what was
taken keeps being served.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """Something with a number of items."""

    def __len__(self) -> int: ...


Post = TypeVar("Post", bound=Sized)
Answer = TypeVar("Answer")


class OverloadedError(RuntimeError):
    """Too much is waiting; try again in ``retry_after_s``."""

    retry_after_s = 1


class Intake(Generic[Post, Answer]):
    """See the module. ``process`` answers a batch of posts in order."""

    def __init__(
        self,
        process: Callable[[Sequence[Post]], Awaitable[Sequence[Answer]]],
        *,
        window_ms: float = 2.0,
        max_batch: int = 4000,
        max_waiting: int = 60_000,
        overlap: int = 3,
    ) -> None:
        self._process = process
        self._window_s = window_ms / 1000
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._overlap = overlap
        self._waiting: list[tuple[Post, asyncio.Future[Answer]]] = []
        self._waiting_items = 0
        self._running: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    @property
    def waiting(self) -> int:
        """Items that wait for a batch."""
        return self._waiting_items

    async def submit(self, post: Post) -> Answer:
        """The answer to this post, once its effects are committed.

        Raises:
            OverloadedError: too much is waiting already, or the gateway is stopping.
        """
        if self._is_closed or self._waiting_items >= self._max_waiting:
            raise OverloadedError("The gateway is overloaded; send it again in a second.")
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((post, future))
        self._waiting_items += len(post)
        self._schedule()
        return await future

    async def close(self) -> None:
        """Refuse new posts, and wait until every accepted one is answered."""
        self._is_closed = True
        while self._waiting or self._running:
            self._flush()
            if self._running:
                await asyncio.wait(self._running)

    def _schedule(self) -> None:
        if len(self._running) >= self._overlap:
            return  # the batch that ends next takes what waits
        if self._waiting_items >= self._max_batch:
            self._flush()
        elif self._timer is None:
            # An idle gateway waits one turn of the loop (requests that are already readable join);
            # a busy one waits the window, for it has something to do meanwhile.
            delay_s = self._window_s if self._running else 0
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and len(self._running) < self._overlap:
            batch = self._take()
            task = asyncio.get_running_loop().create_task(self._run(batch))
            self._running.add(task)
            task.add_done_callback(self._done)

    def _take(self) -> list[tuple[Post, asyncio.Future[Answer]]]:
        size = taken = 0
        for post, _ in self._waiting:
            if taken and size + len(post) > self._max_batch:
                break
            size += len(post)
            taken += 1
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        self._waiting_items -= size
        return batch

    async def _run(self, batch: list[tuple[Post, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._process([post for post, _ in batch])
        except Exception as error:  # noqa: BLE001 - every caller must hear of it, none may hang
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if self._waiting:
            self._schedule()
