"""What the demo shows, read from where anybody can read it: /metrics and the sandbox's list."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

PROVIDER_NAMES = {"apns": "APNs", "fcm": "FCM", "webpush": "Web Push", "inbox": "inbox"}


class Numbers(NamedTuple):
    """Totals since the gateway started. ``push_latency`` counts pushes by seconds at most."""

    pings: int
    sightings: int
    events: Counter[str]
    pushes: Counter[str]  # by provider
    suppressed: Counter[str]  # by reason
    push_latency: Counter[float]  # cumulative, from ping to provider


class Shown(NamedTuple):
    """A message as a person sees it."""

    channel: str
    target: str
    title: str
    body: str
    data: dict[str, Any]
    push_id: str


def read_metrics(exposition: str) -> Numbers:
    """The numbers in a Prometheus text exposition."""
    counts: dict[str, Counter[str]] = {}
    buckets: Counter[float] = Counter()
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            if sample.name == "gateway_trigger_latency_seconds_bucket":
                buckets[float(sample.labels["le"])] += int(sample.value)
            label = _label(sample.name, sample.labels)
            if label is not None and sample.value:
                counts.setdefault(sample.name, Counter())[label] += int(sample.value)

    def found(name: str) -> Counter[str]:
        return counts.get(f"gateway_{name}_total", Counter())

    decisions = found("decisions")
    return Numbers(
        pings=found("pings").total(),
        sightings=found("sightings").total(),
        events=found("events"),
        pushes=found("pushes"),
        suppressed=Counter({k: v for k, v in decisions.items() if k != "sent"}),
        push_latency=buckets,
    )


def quantile(buckets: dict[float, int], share: float) -> float:
    """A quantile of a cumulative histogram, linear within its bucket; NaN of an empty one."""
    total = buckets.get(math.inf, 0)
    below_s, below = 0.0, 0
    for edge_s, count in sorted(buckets.items()):
        if total and count >= share * total:
            if math.isinf(edge_s) or count == below:
                return below_s
            return below_s + (edge_s - below_s) * (share * total - below) / (count - below)
        below_s, below = edge_s, count
    return math.nan


def p99(values: Iterable[float]) -> float:
    """The 99th percentile; NaN of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] if ordered else math.nan


def as_shown(message: dict[str, Any]) -> Shown:
    """A message of the sandbox as it would read on the screen it was sent to."""
    provider, payload = message["provider"], message["payload"]
    words, extras = _SHAPES[provider](payload)
    data = extras.get("data", extras)
    return Shown(
        PROVIDER_NAMES.get(provider, provider),
        message["target"],
        words.get("title", ""),
        words.get("body", ""),
        json.loads(data) if isinstance(data, str) else data,
        extras.get("push_id", ""),
    )


def latest(messages: Sequence[dict[str, Any]], count: int) -> list[Shown]:
    """The last messages, newest first."""
    return [as_shown(message) for message in reversed(messages[-count:])]


Words = tuple[dict[str, Any], dict[str, Any]]


def _apns(payload: dict[str, Any]) -> Words:
    return payload["aps"].get("alert", {}), payload


def _fcm(payload: dict[str, Any]) -> Words:
    data = payload.get("data", {})
    return payload.get("notification") or data, data


def _webpush(payload: dict[str, Any]) -> Words:
    return payload["notification"], payload["notification"].get("data", {})


def _webhook(payload: dict[str, Any]) -> Words:
    found = payload["data"]
    return found, found | {"push_id": found["id"]}


_SHAPES = {"apns": _apns, "fcm": _fcm, "webpush": _webpush, "webhook": _webhook}


def _label(name: str, labels: dict[str, str]) -> str | None:
    """The label that the demo counts by; None for what it does not count."""
    if name == "gateway_pushes_total":
        return labels["provider"] if labels["outcome"] == "delivered" else None
    keys = {
        "gateway_pings_total": "result",
        "gateway_sightings_total": "result",
        "gateway_events_total": "kind",
        "gateway_decisions_total": "result",
    }
    return labels[keys[name]] if name in keys else None
