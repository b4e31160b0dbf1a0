"""Every metric of the gateway, in one place.

Model: names have the prefix ``gateway_``, base units, and labels from closed sets whose series
exist from the start. Never a tenant, device, zone or trigger as a label: the API tells of those.
Serving processes share their numbers through files in ``PROMETHEUS_MULTIPROC_DIR``, which must be
set before this module is imported; without it the numbers are those of this process.
"""

import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from gateway import __version__
from triggers.model import EventKind, Result, Verdict

FILES_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = "gateway_"
# The framework adds the character set to every text.
MEDIA_TYPE = CONTENT_TYPE_LATEST.partition("; charset")[0]

LATENCY_BUCKETS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
)  # fmt: skip
STAGE_BUCKETS_S = (1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.5, 1)
LAG_BUCKETS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
BATCH_BUCKETS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)

PROVIDERS = ("apns", "fcm", "webpush", "inbox", "webhook", "whatsapp", "sms", "email")
OUTCOMES = ("delivered", "retry", "unregistered", "rejected", "misconfigured", "ambiguous")
STAGES = ("locate", "read", "step", "decide", "commit", "total")
REDIS_OPERATIONS = ("read", "commit", "due", "reserve")
LOOPS = ("timers", "dispatch", "changes", "sweep", "merge", "measure")


class MetricInfo(NamedTuple):
    """One metric as people read about it."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str


CATALOGUE: list[MetricInfo] = []


def _note(kind: str, name: str, text: str, labels: Mapping[str, Sequence[str]]) -> None:
    shown = f"{PREFIX}{name}_total" if kind == "counter" else PREFIX + name
    CATALOGUE.append(MetricInfo(shown, kind, tuple(labels), text))


def _start_series(metric: Counter | Gauge | Histogram, labels: Mapping[str, Sequence[str]]) -> None:
    """Series of one closed label start at zero, so that a rate sees the first increment."""
    if len(labels) == 1:
        for value in next(iter(labels.values())):
            metric.labels(value)


def _counter(name: str, text: str, **labels: Sequence[str]) -> Counter:
    _note("counter", name, text, labels)
    metric = Counter(PREFIX + name, text, tuple(labels))
    _start_series(metric, labels)
    return metric


def _gauge(
    name: str,
    text: str,
    mode: Literal["livesum", "max", "mostrecent"] = "mostrecent",
    **labels: Sequence[str],
) -> Gauge:
    _note("gauge", name, text, labels)
    metric = Gauge(PREFIX + name, text, tuple(labels), multiprocess_mode=mode)
    _start_series(metric, labels)
    return metric


def _histogram(
    name: str, text: str, buckets: Sequence[float] = LATENCY_BUCKETS_S, **labels: Sequence[str]
) -> Histogram:
    _note("histogram", name, text, labels)
    metric = Histogram(PREFIX + name, text, tuple(labels), buckets=buckets)
    _start_series(metric, labels)
    return metric


# Intake
_VERDICTS = (*(str(verdict) for verdict in Verdict), "rejected")
PINGS = _counter("pings", "Pings received, by what became of them.", result=_VERDICTS)
SIGHTINGS = _counter("sightings", "Sightings received, by what became of them.", result=_VERDICTS)
BATCH_PINGS = _histogram("batch_pings", "Pings joined into one batch.", BATCH_BUCKETS)
BATCH_DURATION = _histogram(
    "batch_duration_seconds", "Time a batch spent in a stage.", STAGE_BUCKETS_S, stage=STAGES
)
WAITING_PINGS = _gauge("waiting_pings", "Pings that wait for their batch.", "livesum")
COMMIT_CONFLICTS = _counter("commit_conflicts", "Devices whose commit was repeated.")
QUARANTINED = _counter("quarantined", "Records of stock apps that could not be read.", adapter=())

# Zones, events, decisions
GEOFENCES = _gauge("geofences", "Geofences in the index.", "max")
INDEX_BUILT_AT = _gauge(
    "index_built_timestamp_seconds", "When the fence index was last built.", "max"
)
EVENTS = _counter("events", "Events, by kind.", kind=tuple(str(kind) for kind in EventKind))
DECISIONS = _counter(
    "decisions", "Decisions, by result.", result=tuple(str(result) for result in Result)
)
TIMERS_DUE = _gauge("timers_due", "Timers that are due and not yet fired.")
TIMER_LAG = _histogram("timer_lag_seconds", "How late timers fired.", LAG_BUCKETS_S)

# Pushes
PUSHES = _counter(
    "pushes", "Pushes handed to providers, by outcome.", provider=PROVIDERS, outcome=OUTCOMES
)
SEND_DURATION = _histogram(
    "send_duration_seconds", "Time until the provider answered.", provider=PROVIDERS
)
TRIGGER_LATENCY = _histogram(
    "trigger_latency_seconds", "From a ping's receipt to the provider's acceptance of its push."
)
OUTBOX_PUSHES = _gauge(
    "outbox_pushes", "Pushes in the outbox.", lane=("transactional", "marketing")
)
OUTBOX_OLDEST_AT = _gauge(
    "outbox_oldest_timestamp_seconds", "When the oldest push of the outbox was created."
)
DEAD_LETTERS = _gauge("dead_letters", "Pushes given up.")
RECEIPTS = _counter(
    "receipts",
    "Receipts of phones, by kind.",
    kind=("delivered", "shown", "opened", "dismissed", "action"),
)

# Redis
REDIS_DURATION = _histogram(
    "redis_duration_seconds", "Time of a call to Redis.", STAGE_BUCKETS_S, op=REDIS_OPERATIONS
)
REDIS_ERRORS = _counter("redis_errors", "Calls to Redis that failed.", op=REDIS_OPERATIONS)

# HTTP
REQUESTS = _counter("http_requests", "Requests, by route.", route=(), method=(), status=())
REQUEST_DURATION = _histogram("http_request_duration_seconds", "Time of a request.", route=())
PROBLEMS = _counter("problems", "Requests answered with a problem, by its type.", type=())
AUTHENTICATIONS = _counter(
    "authentications", "Credentials presented, by result.", result=("ok", "refused")
)
RATE_LIMITED = _counter("rate_limited", "Requests refused by a limit.", subject=("key", "device"))
STREAM_CLIENTS = _gauge("stream_clients", "Clients of the event stream.", "livesum")
STREAM_DROPPED = _counter("stream_dropped", "Events that a slow stream client missed.")

# The process
HEARTBEAT_AT = _gauge(
    "heartbeat_timestamp_seconds", "When a background loop last ran.", "max", stage=LOOPS
)
FAILURES = _counter(
    "failures", "Faults of the gateway itself, by where.", where=("http", "mqtt", *LOOPS)
)
BUILD_INFO = _gauge("build_info", "Always 1; the labels tell.", "max", version=(), python=())
STARTED_AT = _gauge("start_timestamp_seconds", "When the newest serving process started.", "max")


def count(counter: Counter, by_label: Mapping[str, int]) -> None:
    """Add a batch's numbers to a counter of one label: one increment a label, not one an item."""
    for label, number in by_label.items():
        if number:
            counter.labels(label).inc(number)


def mark_started() -> None:
    """Set what is known when a process starts."""
    BUILD_INFO.labels(__version__, platform.python_version()).set(1)
    STARTED_AT.set(time.time())


def prepare_files(folder: Path) -> None:
    """Make the folder that serving processes share, without the numbers of an earlier start."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.db"):
        stale.unlink()


def exposition() -> tuple[bytes, str]:
    """The numbers of all serving processes in the Prometheus text format, and its media type."""
    folder = os.environ.get(FILES_VARIABLE)
    if not folder:
        return generate_latest(REGISTRY), MEDIA_TYPE
    _forget_dead_processes(Path(folder))
    registry = CollectorRegistry()
    MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
    return generate_latest(registry), MEDIA_TYPE


def _forget_dead_processes(folder: Path) -> None:
    """A dead process's live gauges do not count (its counters do)."""
    for file in folder.glob("gauge_live*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            file.unlink(missing_ok=True)
        except PermissionError:
            continue
