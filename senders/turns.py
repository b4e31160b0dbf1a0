"""Who may claim how much next: fairness between tenants, without a clock or a queue.

Every stream gets an equal count, in turn; where the room does not reach all, the next round goes on
after the last one served. What a tenant has in flight is bounded by its share, and the shares leave
room for one more tenant, so that whoever comes next starts at once.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from senders.model import Lane

LEAST_PER_TURN = 8


class Stream(NamedTuple):
    """One queue: what one tenant has waiting in one lane of one shard."""

    tenant: str
    shard: int
    lane: Lane


class Turns:
    """Deals out the room of one lane in rounds; remembers where the last round ended."""

    def __init__(self) -> None:
        self._last: Stream | None = None

    def deal(
        self, streams: Sequence[Stream], held: Mapping[str, int], room: int, places: int
    ) -> dict[Stream, int]:
        """How many entries each stream may claim now.

        The counts add up to at most ``room``. ``held`` is what each tenant has in flight; no
        tenant is given more than its share of all ``places`` (those in flight and those free).
        """
        if room <= 0 or not streams:
            return {}
        tenants = {stream.tenant for stream in streams} | held.keys()
        share = max(1, places // (len(tenants) + 1))
        left = {tenant: share - held.get(tenant, 0) for tenant in tenants}
        queues = Counter(stream.tenant for stream in streams)
        per_stream = max(LEAST_PER_TURN, room // len(streams))
        dealt: dict[Stream, int] = {}
        for stream in self._in_turn(streams):
            mine = -(-left[stream.tenant] // queues[stream.tenant])
            queues[stream.tenant] -= 1
            count = min(per_stream, mine, room)
            if count > 0:
                dealt[stream] = count
                left[stream.tenant] -= count
                room -= count
                self._last = stream
            if room <= 0:
                break
        return dealt

    def _in_turn(self, streams: Sequence[Stream]) -> list[Stream]:
        ordered = sorted(streams)
        start = bisect_right(ordered, self._last) if self._last is not None else 0
        return ordered[start:] + ordered[:start]
