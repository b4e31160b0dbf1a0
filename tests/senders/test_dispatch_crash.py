"""Processes killed at every step between claim and settle: nothing lost, few doubled."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).parent / "crash_worker.py"
PUSHES = 300
IN_FLIGHT = 128  # of the worker: what may be doubled by one crash at most

BEFORE_SENDING = ["claimed", "prepared"]
AFTER_SENDING = ["before the provider", "after the provider", "before the record", "recorded"]


def enqueue(client: Any) -> set[bytes]:
    names = {f"p{i:03}".encode() for i in range(PUSHES)}
    for i, name in enumerate(sorted(names)):
        lane = "transactional" if i % 10 == 0 else "marketing"
        client.xadd(f"{{s:{i % 2:02}}}:outbox:{lane}:acme", {"p": name})
        client.sadd(f"{{s:{i % 2:02}}}:active", f"{lane}:acme")
    return names


def start(url: str, consumer: str, step: str = "none", after: int = 0) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(WORKER), url, consumer, step, str(after)]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})


def finish(url: str, consumer: str) -> None:
    assert 0 == start(url, consumer).wait(30)


def received(client: Any) -> Counter[bytes]:
    return Counter(client.lrange("received", 0, -1))


def assert_all_settled(client: Any) -> None:
    assert 0 == sum(
        client.xlen(f"{{s:{shard:02}}}:outbox:{lane}:acme")
        for shard in range(2)
        for lane in ("transactional", "marketing")
    )
    assert 0 == client.exists("{s:00}:dead:acme", "{s:01}:dead:acme")


@pytest.mark.parametrize("successor", ["same", "other"])
@pytest.mark.parametrize("step", [*BEFORE_SENDING, *AFTER_SENDING, "settled"])
def test_a_crash_at_any_step_loses_nothing(
    redis_client: Any, redis_url: str, step: str, successor: str
) -> None:
    """The successor, of the same name or another, sends the rest; the doubled are those in flight.

    A push is doubled only when the process died between its sending and its settling.
    """
    names = enqueue(redis_client)
    crashed = start(redis_url, "same", step, after=1 if step in BEFORE_SENDING else 2)
    assert -signal.SIGKILL == crashed.wait(30)
    in_flight = sum(
        redis_client.xpending(key, "senders")["pending"]
        for key in redis_client.scan_iter("*:outbox:*")
    )
    sent_before = received(redis_client)
    finish(redis_url, successor)
    assert names == set(received(redis_client)) == redis_client.smembers("recorded")
    doubled = sum(count - 1 for count in received(redis_client).values())
    assert doubled <= min(in_flight, len(sent_before)) <= IN_FLIGHT
    assert_all_settled(redis_client)


def test_kills_at_random_moments_lose_nothing(redis_client: Any, redis_url: str) -> None:
    """Three processes killed from outside, whatever they were doing; a fourth finishes."""
    dice = random.Random(7)
    names = enqueue(redis_client)
    for attempt in range(3):
        worker = start(redis_url, f"w{attempt}")
        while worker.poll() is None and not redis_client.exists("received"):
            time.sleep(0.005)
        time.sleep(dice.uniform(0, 0.03))
        worker.kill()
        worker.wait()
        if redis_client.exists("received"):
            redis_client.rename("received", f"received:{attempt}")
    finish(redis_url, "last")
    counts = received(redis_client)
    for attempt in range(3):
        counts.update(redis_client.lrange(f"received:{attempt}", 0, -1))
    assert names == set(counts)
    assert counts.total() - PUSHES <= 3 * IN_FLIGHT
    assert_all_settled(redis_client)


def test_two_processes_share_the_work_without_doubling(redis_client: Any, redis_url: str) -> None:
    """Without a crash every push is sent exactly once."""
    names = enqueue(redis_client)
    workers = [start(redis_url, name) for name in ("one", "two")]
    assert [0, 0] == [worker.wait(30) for worker in workers]
    assert dict.fromkeys(names, 1) == dict(received(redis_client))
    assert_all_settled(redis_client)
