"""Budgets hold under races: real processes, one user, two phones, a hundred pings at once."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.e2e]

SHOPS = 50


@pytest.fixture
def gateway(gateway_process: Callable[..., Any], tmp_path: Path) -> Any:
    """Two serving processes on one Redis."""
    return gateway_process(workers=2, background=False)


@pytest.mark.parametrize(
    ("budget", "allowed", "refusal"),
    [
        ({"cooldown": {"per": "trigger", "seconds": 3600}}, 1, "cooldown"),
        ({"limits": {"per_user_per_day": 3}}, 3, "limit_reached"),
        ({"limits": {"total": 7}}, 7, "limit_reached"),
    ],
    ids=["cooldown", "a day", "in total"],
)
def test_a_hundred_simultaneous_enters_send_exactly_what_is_allowed(
    gateway: Any, wait_until: Callable[..., Any], budget: dict[str, Any], allowed: int, refusal: str
) -> None:
    """Fifty shops in one place, two phones of one user, a hundred pings at once, two processes."""
    for shop in range(SHOPS):
        gateway.put(
            f"/v1/geofences/shop-{shop}",
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [11.0, 48.1]},
                "properties": {"radius_m": 100},
            },
        )
    gateway.put(
        "/v1/triggers/hello",
        {"on": {"event": "enter"}, "variants": [{"message": {"title": "Hi"}}]} | budget,
    )
    for phone in ("one", "two"):
        gateway.put(f"/v1/devices/{phone}", {"user_id": "ann", "targets": [
            {"provider": "fcm", "token": f"token-of-{phone}"}]})  # fmt: skip
    now = int(time.time() * 1000)
    pings = [
        {"device_id": phone, "lat": 48.1, "lon": 11.0, "accuracy_m": 5,
         "recorded_at": now - 100_000 + shop * 1000}
        for shop in range(SHOPS) for phone in ("one", "two")
    ]  # fmt: skip

    def post(ping: dict[str, Any]) -> int:
        with httpx.Client(base_url=gateway.url, headers=gateway.client.headers) as client:
            return client.post("/v1/pings", json=[ping], timeout=30).status_code

    with ThreadPoolExecutor(25) as pool:
        assert {202} == set(pool.map(post, pings))
    enters = [e for e in gateway.everything("/v1/events", limit=500) if e["kind"] == "enter"]
    results = Counter(
        one["result"] for one in gateway.everything("/v1/explain", user="ann", limit=200)
    )
    assert 2 * SHOPS == len(enters) == sum(results.values())
    assert {"sent": allowed, refusal: len(enters) - allowed} == dict(results)
