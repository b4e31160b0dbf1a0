"""Past traffic in the order in which it arrived: pings that were posted now, or recorded then.

Recordings are the streams ``{s:NN}:history:<tenant>`` of tenants with ``recording``; an entry's
field ``h`` is msgpack ``[device id, [[at, received at, lat, lon, accuracy m, is mock], ...]]``.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from heapq import heapify, heappop, heapreplace
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from gateway.document import Client
from gateway.wire import Ping, to_ms
from triggers.redis_store import ShardKeys

PAGE = 200  # entries of a stream read at once
SAMPLE_STEPS = 10_000

_Fix = tuple[int, int, float, float, float | None, bool]
_decode = msgspec.msgpack.Decoder(tuple[str, list[_Fix]]).decode


class Arrival(NamedTuple):
    """A ping, when it reached us (epoch ms), and its place among those that were posted."""

    received_at: int
    ping: Ping
    position: int = 0


def posted(pings: Sequence[Ping], indexes: Sequence[int]) -> list[Arrival]:
    """Pings as if each had arrived when it was sent, else when it was recorded."""
    found = [
        Arrival(max(to_ms(ping.recorded_at), to_ms(ping.sent_at or 0)), ping, index)
        for ping, index in zip(pings, indexes, strict=True)
    ]
    return sorted(found, key=lambda arrival: arrival.received_at)


async def in_order(arrivals: Iterable[Arrival]) -> AsyncIterator[Arrival]:
    """What is in memory already, as a stream."""
    for arrival in arrivals:
        yield arrival


async def recorded(
    client: Client, shard_count: int, tenant: str, since: int, until: int
) -> AsyncIterator[Arrival]:
    """What the tenant recorded between two instants (both included), as it was committed."""
    streams = [
        _stream(client, ShardKeys(shard).history(tenant), since, until)
        for shard in range(shard_count)
    ]
    heads = [
        (*head, number)
        for number, stream in enumerate(streams)
        if (head := await anext(stream, None)) is not None
    ]
    heapify(heads)
    while heads:
        _, packed, number = heads[0]
        for arrival in _arrivals(packed):
            yield arrival
        head = await anext(streams[number], None)
        if head is None:
            heappop(heads)
        else:
            heapreplace(heads, (*head, number))


def is_sampled(device_id: str, share: float) -> bool:
    """Whether a device belongs to this share of all; the same devices at every call."""
    return crc32(device_id.encode()) % SAMPLE_STEPS < share * SAMPLE_STEPS


async def _stream(
    client: Any, key: str, since: int, until: int
) -> AsyncIterator[tuple[tuple[int, int], bytes]]:
    """The entries of one stream: (id as numbers, payload)."""
    start = str(since)
    while page := await client.xrange(key, start, str(until), count=PAGE):
        for entry_id, fields in page:
            milliseconds, _, number = entry_id.decode().partition("-")
            yield (int(milliseconds), int(number)), fields[b"h"]
        start = f"({page[-1][0].decode()}"


def _arrivals(packed: bytes) -> list[Arrival]:
    device_id, fixes = _decode(packed)
    return [
        Arrival(received_at, Ping(device_id, lat, lon, at, accuracy_m=accuracy_m, is_mock=is_mock))
        for at, received_at, lat, lon, accuracy_m, is_mock in fixes
    ]
