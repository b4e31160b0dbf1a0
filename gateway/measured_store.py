"""The store of the engine, with its calls timed and counted. The cores know no metrics."""

import time
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from gateway import metrics
from triggers.model import Result, Spend
from triggers.store import Committed, ShardCommit, Store

T = TypeVar("T")

_DURATIONS = {op: metrics.REDIS_DURATION.labels(op) for op in metrics.REDIS_OPERATIONS}
_ERRORS = {op: metrics.REDIS_ERRORS.labels(op) for op in metrics.REDIS_OPERATIONS}


class MeasuredStore:
    """Gives every call on; see ``triggers.store.Store`` for what they promise."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, wanted: Sequence[tuple[int, Sequence[bytes]]]) -> list[list[bytes | None]]:
        """The records of fields by shard."""
        return await _measured("read", self._store.read(wanted))

    async def commit(self, commits: Sequence[ShardCommit], now: int) -> list[Committed]:
        """Write the effects of a batch."""
        return await _measured("commit", self._store.commit(commits, now))

    async def due(
        self, shard: int, now: int, limit: int, lease_ms: int
    ) -> list[tuple[bytes, bytes, int]]:
        """Claim due timers."""
        return await _measured("due", self._store.due(shard, now, limit, lease_ms))

    async def reserve(self, push_id: str, spends: Sequence[Spend], now: int) -> Result | None:
        """Take budgets at dispatch."""
        return await _measured("reserve", self._store.reserve(push_id, spends, now))


async def _measured(op: str, call: Awaitable[T]) -> T:
    started = time.perf_counter()
    try:
        answer = await call
    except Exception:
        _ERRORS[op].inc()
        raise
    _DURATIONS[op].observe(time.perf_counter() - started)
    return answer
