"""What one core does without network: decode, locate, build the index."""

import time
from collections.abc import Callable
from typing import Any

import msgspec

from bench import locate
from bench.budgets import Found, Row
from bench.traffic import bodies
from bench.worlds import quiet
from gateway.wire import PINGS

BATCH = 100
LOCATE_BUDGETS = (
    "locate_10k",
    "locate_1m",
    "locate_growth",
    "build_100k",
    "build_1m",
    "zone_bytes",
)


class Unlimited(msgspec.Struct, gc=False):
    """A ping without any limit on its fields: what decoding costs at least."""

    device_id: str
    lat: float
    lon: float
    recorded_at: int
    accuracy_m: float
    speed_mps: float


def decode_ping() -> Found:
    """Microseconds for one ping of 124 bytes JSON, in a batch of 100."""
    body = next(bodies(quiet(BATCH), BATCH, 1_790_000_000_000))
    decoder = msgspec.json.Decoder(list[Unlimited])
    value = least_us(lambda: PINGS.decode(body, "json")) / BATCH
    return Found(value, least_us(lambda: decoder.decode(body)) / BATCH)


def least_us(work: Callable[[], Any], seconds: float = 0.5, times: int = 50) -> float:
    """Microseconds of one call, the best of many short runs: what noise is least in."""
    best, ends = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < ends:
        started = time.perf_counter()
        for _ in range(times):
            work()
        best = min(best, (time.perf_counter() - started) / times)
    return best * 1e6


def locate_and_build(*, full: bool) -> tuple[dict[str, Found], list[Row]]:
    """The budgets of the fence index, and all rows of ``bench.locate`` besides."""
    measured = locate.run(quick=not full)
    by_name = {one["name"]: one for one in measured}

    def found(name: str) -> Found | None:
        one = by_name.get(name)
        return Found(one["value"], one["ceiling"]) if one else None

    largest = "1M" if full else "100k"
    wanted = {
        "locate_10k": found("locate in 10k circles"),
        "locate_1m": found("locate in 1M circles"),
        "locate_growth": found(f"locate growth 1k to {largest} zones"),
        "build_100k": found("build 100k circles"),
        "build_1m": found("build 1M circles"),
        "zone_bytes": found(f"memory {largest} circles"),
    }
    return {name: one for name, one in wanted.items() if one is not None}, measured
