"""Live events: one reader a tenant and process, many listeners, none of whom can hold it up.

Model: the reader looks for entries behind the last ones it has seen and gives them to each
listener's bounded queue. A listener that does not keep up loses the oldest and is told how many
(``Gap``). Every message carries a place, the entry ids of all shards; who comes back with a place
gets what happened since, or a gap if that is no longer kept.
"""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import NamedTuple

from gateway import metrics
from gateway.history import History, entry_order
from gateway.log import get_logger

_log = get_logger(__name__)

POLL_S = 0.1
CHUNK = 500
QUEUE_CAP = 1000
_PLACE = re.compile(r"\d{1,16}-\d{1,20}(,\d{1,16}-\d{1,20})*")


class Message(NamedTuple):
    """One event (its stored JSON), and where the stream stands behind it."""

    place: str
    payload: bytes


class Gap(NamedTuple):
    """Some events were not given; ``lost`` is how many, None if that is not known."""

    place: str
    lost: int | None


class Listener:
    """A bounded queue of one client."""

    def __init__(self, cap: int = QUEUE_CAP) -> None:
        self._queue: deque[tuple[int, str, bytes]] = deque()
        self._cap = cap
        self._is_waking = asyncio.Event()
        self.lost = 0

    def give(self, entry: tuple[int, str, bytes]) -> None:
        """Add an entry; the oldest goes when there are too many."""
        if len(self._queue) >= self._cap:
            self._queue.popleft()
            self.lost += 1
        self._queue.append(entry)
        self._is_waking.set()

    async def take(self, timeout_s: float) -> list[tuple[int, str, bytes]]:
        """What has come; empty if nothing came in time."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._is_waking.wait(), timeout_s)
        self._is_waking.clear()
        taken = list(self._queue)
        self._queue.clear()
        return taken


class _Feed:
    """The reader of one tenant."""

    def __init__(self, history: History, tenant: str, ids: list[str]) -> None:
        self._history = history
        self._tenant = tenant
        self._ids = ids
        self.listeners: set[Listener] = set()

    async def run(self) -> None:
        """Read until canceled."""
        while True:
            try:
                is_full = await self._read()
            except Exception as error:  # noqa: BLE001 - listeners outlive any trouble with Redis
                _log.warning("live_unread", error=str(error))
                is_full = False
            await asyncio.sleep(0 if is_full else POLL_S)

    async def _read(self) -> bool:
        count = 0
        async for entry in self._history.since(self._tenant, "events", self._ids, CHUNK):
            self._ids[entry[0]] = entry[1]
            count += 1
            for listener in self.listeners:
                listener.give(entry)
        return count >= CHUNK


class Live:
    """Gives each listener the events of its tenant from now on, or from a place on."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._feeds: dict[str, tuple[_Feed, asyncio.Task[None]]] = {}

    async def listen(
        self, tenant: str, place: str | None, heartbeat_s: float, cap: int = QUEUE_CAP
    ) -> AsyncIterator[Message | Gap | None]:
        """Messages and gaps as they come, and None after ``heartbeat_s`` without any."""
        listener = Listener(cap)
        feed = await self._join(tenant, listener)
        try:
            ids = await self._history.newest_ids(tenant, "events")
            if place is not None:
                async for missed in self._missed(tenant, place, ids):
                    yield missed
            while True:
                taken = await listener.take(heartbeat_s)
                for shard, entry_id, payload in taken:
                    if entry_order(entry_id) <= entry_order(ids[shard]):
                        continue
                    ids[shard] = entry_id
                    yield Message(",".join(ids), payload)
                if listener.lost:
                    lost, listener.lost = listener.lost, 0
                    metrics.STREAM_DROPPED.inc(lost)
                    yield Gap(",".join(ids), lost)
                elif not taken:
                    yield None
        finally:
            self._leave(tenant, feed, listener)

    async def _join(self, tenant: str, listener: Listener) -> _Feed:
        if tenant not in self._feeds:
            ids = await self._history.newest_ids(tenant, "events")
            if tenant not in self._feeds:
                feed = _Feed(self._history, tenant, ids)
                self._feeds[tenant] = feed, asyncio.create_task(feed.run(), name="live")
        feed = self._feeds[tenant][0]
        feed.listeners.add(listener)
        metrics.STREAM_CLIENTS.inc()
        return feed

    def _leave(self, tenant: str, feed: _Feed, listener: Listener) -> None:
        feed.listeners.discard(listener)
        metrics.STREAM_CLIENTS.dec()
        if not feed.listeners and self._feeds.get(tenant, (None,))[0] is feed:
            _, task = self._feeds.pop(tenant)
            task.cancel()

    async def _missed(
        self, tenant: str, place: str, until: list[str]
    ) -> AsyncIterator[Message | Gap]:
        """What happened from a place on, up to ``until``."""
        ids = place.split(",") if _PLACE.fullmatch(place) else []
        if len(ids) != len(until) or await self._is_trimmed(tenant, ids):
            yield Gap(",".join(until), None)
            return
        while True:
            count = 0
            async for shard, entry_id, payload in self._history.since(tenant, "events", ids, CHUNK):
                if entry_order(entry_id) > entry_order(until[shard]):
                    continue
                ids[shard] = entry_id
                count += 1
                yield Message(",".join(ids), payload)
            if not count:
                return

    async def _is_trimmed(self, tenant: str, ids: list[str]) -> bool:
        for shard, last in enumerate(ids):
            first = await self._history.first_id(tenant, "events", shard)
            if first is not None and last != "0-0" and entry_order(first) > entry_order(last):
                return True
        return False
