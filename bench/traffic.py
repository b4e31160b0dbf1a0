"""Requests made beforehand, so that sending one costs the generator next to nothing.

The instant is the only part that changes from lap to lap; it is put in by replacing a mark of the
same length. All pings of one request carry the instant at which it is sent.
"""

import struct
import time
from collections.abc import Iterator
from itertools import cycle
from typing import Any, Literal

import msgspec

from bench.worlds import LAPS, World

Format = Literal["json", "msgpack"]
JSON_MARK = 1_790_000_000_001
PACK_MARK = 0x7A11_57A7_E000_0001
MEDIA_TYPES: dict[Format, str] = {"json": "application/json", "msgpack": "application/msgpack"}


class Traffic:
    """An endless sequence of requests: lap after lap, every device once a lap.

    ``size`` pings a request; 1 means a single object, not an array.
    """

    def __init__(self, world: World, key: str, size: int, format_: Format = "json") -> None:
        self.size = size
        self.requests_a_lap: int = -(-world.lat.shape[1] // size)
        self._mark, self._stamp = _stamps(format_)
        self._requests = _requests(world, key, size, format_)
        self._next = cycle(self._requests)

    def __next__(self) -> bytes:
        """The next request, stamped with the present."""
        return next(self._next).replace(self._mark, self._stamp())


def body_of(pings: list[dict[str, Any]], size: int, format_: Format = "json") -> bytes:
    """The body of one request."""
    document: Any = pings if size > 1 else pings[0]
    return msgspec.json.encode(document) if format_ == "json" else msgspec.msgpack.encode(document)


def pings_of(world: World, lap: int, recorded_at: int) -> list[dict[str, Any]]:
    """One ping of every device, about 124 bytes of JSON each."""
    places = zip(
        world.device_ids,
        world.lat[lap].round(6).tolist(),
        world.lon[lap].round(6).tolist(),
        strict=True,
    )
    return [
        {
            "device_id": device_id,
            "lat": lat,
            "lon": lon,
            "recorded_at": recorded_at,
            "accuracy_m": 5.0,
            "speed_mps": 1.4,
        }
        for device_id, lat, lon in places
    ]


def _requests(world: World, key: str, size: int, format_: Format) -> list[bytes]:
    mark = JSON_MARK if format_ == "json" else PACK_MARK
    found = []
    for lap in range(LAPS):
        pings = pings_of(world, lap, mark)
        for start in range(0, len(pings), size):
            body = body_of(pings[start : start + size], size, format_)
            found.append(request_of(body, key, MEDIA_TYPES[format_]))
    return found


def request_of(body: bytes, key: str, media_type: str) -> bytes:
    """A whole HTTP/1.1 request (RFC 9112)."""
    head = (
        f"POST /v1/pings HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _stamps(format_: Format) -> tuple[bytes, Any]:
    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    if format_ == "json":
        return str(JSON_MARK).encode(), lambda: str(now_ms()).encode()
    # MessagePack uint 64: a marker byte and eight bytes, big endian.
    return struct.pack(">Q", PACK_MARK), lambda: struct.pack(">Q", now_ms())


def bodies(world: World, size: int, recorded_at: int, *, lap: int = 0) -> Iterator[bytes]:
    """JSON bodies of one lap, for measurements without a network."""
    pings = pings_of(world, lap, recorded_at)
    for start in range(0, len(pings), size):
        yield body_of(pings[start : start + size], size)
