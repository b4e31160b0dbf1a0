"""Processes die while they work: nothing acknowledged is lost, no event doubled."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable

import httpx
import pytest

from senders.sandbox.process import SandboxProcess

INSIDE, OUTSIDE = 48.1, 48.105
DEVICES = 40
ROUNDS = 3  # each device goes in and out so often

pytestmark = [pytest.mark.e2e]


class Phones(threading.Thread):
    """Phones that walk in and out, and send every batch until it is acknowledged."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__()
        self._url, self._key = url, key
        self.acknowledged = 0
        self.refused = 0

    def run(self) -> None:
        start = int(time.time() * 1000) - 60_000
        steps = [OUTSIDE, INSIDE, INSIDE] * ROUNDS
        with httpx.Client(base_url=self._url, headers={"Authorization": self._key}) as client:
            for step, lat in enumerate(steps):
                for device in range(DEVICES):
                    batch = [
                        {"device_id": f"phone-{device}", "lat": lat, "lon": 11.5, "accuracy_m": 5,
                         "recorded_at": start + (2 * step + fix) * 3000}
                        for fix in range(2)
                    ]  # fmt: skip
                    self._insist(client, batch)

    def _insist(self, client: httpx.Client, batch: list[dict[str, object]]) -> None:
        while True:
            try:
                answer = client.post("/v1/pings", json=batch, timeout=5)
            except httpx.HTTPError:
                self.refused += 1
                time.sleep(0.05)
                continue
            if answer.status_code == 202:
                counts = answer.json()
                assert len(batch) == counts["accepted"] + counts["duplicates"] + counts["late"]
                self.acknowledged += 1
                return
            assert answer.status_code == 503, answer.text
            self.refused += 1
            time.sleep(0.05)


def test_kills_lose_and_double_nothing(
    gateway, sandbox: SandboxProcess, shop: None, wait_until: Callable
) -> None:
    """``kill -9`` of the gateway and of its Redis, again and again, while phones post."""
    for device in range(DEVICES):
        target = {"provider": "fcm", "token": f"device-token-{device:03d}"}
        gateway.put(f"/v1/devices/phone-{device}", {"targets": [target]})
    phones = Phones(gateway.url, gateway.client.headers["Authorization"])
    phones.start()
    batches = DEVICES * 3 * ROUNDS
    for kill in range(1, 4):
        wait_until(lambda k=kill: phones.acknowledged >= batches * k // 5, f"kill {kill}")
        if kill == 2:
            os.kill(gateway.redis_pid(), signal.SIGKILL)
        gateway.kill()
        gateway.start()
    phones.join(120)
    assert batches == phones.acknowledged
    expected = Counter(
        {("enter", f"phone-{d}"): ROUNDS for d in range(DEVICES)}
        | {("exit", f"phone-{d}"): ROUNDS - 1 for d in range(DEVICES)}
    )
    events = gateway.everything("/v1/events", limit=500)
    assert len(events) == len({event["id"] for event in events})
    assert expected == Counter((event["kind"], event["device_id"]) for event in events)
    pushed = expected_pushes(events)

    def everything_arrived() -> bool:
        seen = {m["target"] for m in sandbox.messages("provider=fcm&limit=10000")}
        return len(seen) >= DEVICES and delivered(gateway) >= pushed

    wait_until(everything_arrived, "every push to arrive")


def expected_pushes(events: list[dict[str, object]]) -> int:
    return sum(event["kind"] == "enter" for event in events)


def delivered(gateway) -> int:  # type: ignore[no-untyped-def]
    """Pushes that reached their provider, each counted once."""
    items = gateway.everything("/v1/deliveries", limit=500)
    return len({i["push_id"] for i in items if i["state"] == "sent"})
