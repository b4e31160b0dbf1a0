"""Posting what phones, receivers and shops have to say, each when it is due.

A sender waits for its answer before it posts again, as real ones do; what is answered 429 or 503,
or not at all, is posted again unchanged, which is harmless.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import RequestError

from gateway.demo.install import is_transient
from gateway.demo.phones import Post

RETRY_S = 0.5
KEPT_LATENCIES = 5_000
TIMEOUT_S = 60


class Answered(NamedTuple):
    """A post and its answer; ``at`` is the epoch ms at which it came."""

    post: Post
    at: int
    answer: dict[str, Any]


class RefusedError(RuntimeError):
    """The gateway refused a post for good: the demo or the gateway is wrong."""


class Traffic:
    """Plays posts against a gateway; ``latencies_ms`` are those of the latest answers."""

    def __init__(
        self, url: str, key: str, on_answer: Callable[[Answered], None] | None = None
    ) -> None:
        self._url = url
        self._key = key
        self._on_answer = on_answer or (lambda _: None)
        self._encode = msgspec.json.Encoder().encode
        self._tails: dict[str, asyncio.Task[None]] = {}
        self.latencies_ms: deque[float] = deque(maxlen=KEPT_LATENCIES)
        self.retries = 0
        self.behind_s = 0.0

    async def play(self, posts: Iterator[Post], started_at: int, until_s: float) -> None:
        """Post everything that is due within ``until_s`` of the start, in the order of time.

        Raises:
            RefusedError: the gateway refused something for good.
        """
        builder = ClientBuilder().no_proxy().timeout(timedelta(seconds=TIMEOUT_S))
        async with builder.build() as client, asyncio.TaskGroup() as tasks:
            for post in posts:
                if post.due_s > until_s:
                    break
                wait_s = started_at / 1000 + post.due_s - time.time()
                self.behind_s = max(0.0, -wait_s)
                await asyncio.sleep(max(0.0, wait_s))
                before = self._tails.get(post.sender)
                self._tails[post.sender] = tasks.create_task(self._send(client, post, before))

    async def _send(self, client: Client, post: Post, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before
        body = self._encode({post.field: post.items})
        while True:
            answer = await self._try(client, post, body)
            if answer is not None:
                self._on_answer(Answered(post, time.time_ns() // 1_000_000, answer))
                return
            self.retries += 1
            await asyncio.sleep(RETRY_S)

    async def _try(self, client: Client, post: Post, body: bytes) -> dict[str, Any] | None:
        """The answer, or None where the same post may be taken later."""
        request = client.post(self._url + post.path).bearer_auth(self._key)
        started = time.perf_counter()
        try:
            call = request.header("content-type", "application/json").body_bytes(body).build()
            response = await call.send()
            content = bytes(await response.bytes())
        except RequestError:
            return None
        if is_transient(response.status):
            return None
        if response.status >= 400:
            raise RefusedError(f"{post.path}: {response.status} {content.decode()[:500]}")
        self.latencies_ms.append((time.perf_counter() - started) * 1000)
        answer: dict[str, Any] = msgspec.json.decode(content)
        if answer["rejected"]:
            raise RefusedError(f"{post.path}: rejected {answer['rejected'][:3]}")
        return answer
