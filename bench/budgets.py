"""The budgets: what is promised, measured or not, in one table.

A measurement gives ``Found`` by the budget's name; ``rows`` puts it beside the promise. A budget
that was not measured in this run (``value`` None) is listed too, so that none is ever forgotten.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

Row = dict[str, Any]


class Budget(NamedTuple):
    """One promise. ``limit`` is a floor (at least) or a ceiling (at most)."""

    name: str
    what: str
    unit: str
    limit: float
    is_floor: bool
    ceiling_is: str  # what the value is compared with, measured in the same run
    needs_full: bool = False  # only measured with --full


class Found(NamedTuple):
    """What was measured. ``ceiling`` is in the unit of the value; None: there is none."""

    value: float
    ceiling: float | None = None
    note: str = ""  # what a reader of the figure should know besides


BUDGETS = (
    Budget(
        "decode_ping", "decode one ping in a batch of 100", "us", 0.3, False,
        "msgspec, the same bytes without limits on the fields",
    ),
    Budget(
        "locate_10k", "locate points among 10,000 zones, one core", "points/s", 1e6, True,
        "the H3 cell of each point, nothing else",
    ),
    Budget(
        "locate_1m", "locate points among 1,000,000 zones, one core", "points/s", 4e5, True,
        "the H3 cell of each point, nothing else", needs_full=True,
    ),
    Budget(
        "locate_growth", "cost of locate, most zones against 1,000", "x", 3.0, False, "",
    ),
    Budget(
        "pings_batched", "pings over HTTP in batches of 100, committed with fsync, 10,000 zones",
        "pings/s", 60_000, True, "plain HMGET + HSET of the same bytes, one client, same Redis",
    ),
    Budget(
        "one_ping_requests", "one-ping requests, committed with fsync, one serving process",
        "requests/s", 6_000, True, "a Litestar handler that does nothing, same server",
    ),
    Budget(
        "one_ping_p99", "answer to a one-ping request at 70 % of the knee, p99", "ms", 50, False,
        "the handler that does nothing, at the same rate",
    ),
    Budget(
        "push_latency_p99", "ping sent to provider called at 70 % of the knee, p99", "ms", 100,
        False, "the answer to the ping itself, p99 of the same run",
    ),
    Budget(
        "pushes_dispatched", "pushes claimed, rendered, sent over HTTP/2, settled, one process",
        "pushes/s", 5_000, True, "the HTTP client alone, same peer",
    ),
    Budget("build_100k", "build the index of 100,000 zones", "s", 10, False, ""),
    Budget("build_1m", "build the index of 1,000,000 zones", "s", 90, False, "", needs_full=True),
    Budget("zone_bytes", "memory of the index", "bytes a zone", 1_500, False, ""),
    Budget(
        "quiet_device_bytes", "a device in no zone, in Redis", "bytes", 150, False,
        "a 60-byte value under the same name in a plain hash",
    ),
)  # fmt: skip
NAMES = tuple(budget.name for budget in BUDGETS)


def rows(found: Mapping[str, Found], only: Iterable[str] = ()) -> list[Row]:
    """One row a budget (all, or those named), measured or not.

    Raises:
        ValueError: a name is not that of a budget.
    """
    chosen = check_names(only)
    return [_row(budget, found.get(budget.name)) for budget in BUDGETS if budget.name in chosen]


def check_names(only: Iterable[str]) -> frozenset[str]:
    """The names asked for; all if none is.

    Raises:
        ValueError: a name is not that of a budget.
    """
    asked = frozenset(only)
    unknown = sorted(asked - set(NAMES))
    if unknown:
        raise ValueError(f"no budget is named {unknown[0]!r}; there are {', '.join(NAMES)}")
    return asked or frozenset(NAMES)


def _row(budget: Budget, found: Found | None) -> Row:
    value = ceiling = ratio = met = None
    if found is not None:
        value, ceiling = _rounded(found.value), found.ceiling
        met = found.value >= budget.limit if budget.is_floor else found.value <= budget.limit
        if ceiling:
            ratio, ceiling = round(found.value / ceiling, 3), _rounded(ceiling)
    return {
        "name": budget.name,
        "value": value,
        "unit": budget.unit,
        "budget": budget.limit,
        "met": met,
        "ceiling": ceiling,
        "ratio": ratio,
        "what": budget.what,
        "is_floor": budget.is_floor,
        "ceiling_is": budget.ceiling_is,
        "note": found.note if found else "",
    }


def _rounded(value: float) -> float:
    """Four significant digits are more than a measurement has."""
    return float(f"{value:.4g}")
