"""From a ping to the provider: how long it takes, and how many pushes a process dispatches."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bench import senders
from bench.budgets import Found
from bench.generator import Setup, quantile
from bench.ingest import KNEE_SHARE, Profile, prepare_world
from bench.load import Load
from bench.machine import cpu_s
from bench.rig import BenchError, Rig, served
from bench.worlds import OFFER, WORLDS
from gateway.api_client import ApiClient
from senders.sandbox.certificates import ensure_certificates
from senders.sandbox.process import SandboxProcess

PUTS_AT_ONCE = 8
EVENTS_A_CALL = 500
DISPATCH_TENANT = "orders"
DISPATCH_DEVICES = 200
DISPATCH_TIMEOUT_S = 60.0
CLIENT_ALONE_PUSHES = 4_000
# The part of the backlog that is timed: neither the start of the process nor the last stragglers.
TIMED_FROM, TIMED_TO = 0.9, 0.1

MESSAGE = {
    "title": "Hi {{ user.first_name | default: 'there' }}",
    "body": "Lunch at {{ zone.name }} is on us",
    "deep_link": "shop://offers/7",
    "data": {"at": "{{ event.occurred_at }}"},
    "ttl_s": 600,
}


class Dispatched(NamedTuple):
    """What a worker did with a backlog."""

    per_s: float
    cpu_us: float  # of the worker's process, all threads, for one push
    client_alone_per_s: float


def install_offer(rig: Rig, sandbox: SandboxProcess, devices: int) -> None:
    """A trigger on entering every second shop, and the addresses of those who walk there."""
    api = rig.api("city")
    try:
        ca = sandbox.ca.read_text("ascii")
        api.call("PUT", "/v1/credentials/fcm", json=fcm_credential(sandbox.url, ca))
        _put_devices(api, offered_devices(devices))
        trigger = {
            "on": {"event": "enter", "zones": {"tags": [OFFER]}},
            "class": "transactional",
            "channels": ["app_push"],
            "variants": [{"message": MESSAGE}],
        }
        api.call("PUT", "/v1/triggers/offer", json=trigger)
    finally:
        api.close()


def remove_offer(rig: Rig) -> None:
    """End the trigger, so that later measurements send nothing."""
    api = rig.api("city")
    try:
        api.call("DELETE", "/v1/triggers/offer")
    finally:
        api.close()


def push_latency(
    rig: Rig, folder: Path, profile: Profile, knee_rate: float, seconds: float
) -> Found:
    """Milliseconds from sending a ping to the provider's receipt of its push, p99.

    The load is the city at 70 % of the knee. Beside it: the p99 of the pings' own answers.

    Raises:
        BenchError: no push arrived.
    """
    prepare_world(rig, profile.world)
    with SandboxProcess(folder / "sandbox") as sandbox:
        install_offer(rig, sandbox, profile.devices)
        setup = Setup(
            rig.port, rig.key("city"), "city", profile.devices, profile.size, profile.format,
            profile.connections,
        )  # fmt: skip
        try:
            with Load(setup) as load:
                load.fire(1.0, KNEE_SHARE * knee_rate)  # connections and tokens are made
                time.sleep(1.0)
                sandbox.call("DELETE", "messages")
                seen = load.fire(seconds, KNEE_SHARE * knee_rate)
                time.sleep(2.0)
        finally:
            remove_offer(rig)
        taken = sandbox.messages("provider=fcm")
    waits_ms = sorted(float(one["received_at"] - _sent_at(one["payload"])) for one in taken)
    if not waits_ms:
        raise BenchError("no push arrived at the provider")
    note = f"{len(waits_ms)} pushes, p50 {quantile(waits_ms, 0.5):.0f} ms"
    return Found(quantile(waits_ms, 0.99), seen.p99_ms, note)


def dispatch(folder: Path, pushes: int) -> Dispatched:
    """How fast one worker process empties a backlog, against a peer that takes everything.

    Raises:
        BenchError: the backlog is not emptied in a minute.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = ensure_certificates(folder)
    ca = (folder / "sandbox-ca.pem").read_text("ascii")
    with (
        served(senders.PEER, folder, "peer", str(files.certificate), str(files.key)) as port,
        Rig(folder / "gateway", background="false") as rig,
    ):
        fill_outbox(rig, f"https://127.0.0.1:{port}", ca, pushes)
        worker = rig.worker()
        try:
            per_s, cpu_us = _drained(rig, worker.pid, pushes)
        finally:
            worker.stop()
    alone = senders.measure(CLIENT_ALONE_PUSHES)
    return Dispatched(per_s, cpu_us, alone["client_alone_per_s"])


def fill_outbox(rig: Rig, url: str, ca: str, pushes: int) -> None:
    """Post events that each make a transactional push; nobody dispatches yet."""
    api = rig.api(DISPATCH_TENANT)
    ids = [f"phone-{number}" for number in range(DISPATCH_DEVICES)]
    try:
        api.call("PUT", "/v1/credentials/fcm", json=fcm_credential(url, ca))
        _put_devices(api, ids)
        trigger = {
            "on": {"event": "custom", "name": "order_ready"},
            "class": "transactional",
            "channels": ["app_push"],
            "max_age_s": 3600,
            "variants": [{"message": MESSAGE}],
        }
        api.call("PUT", "/v1/triggers/ready", json=trigger)
        time.sleep(1.5)  # an edit is live in every process within a second
        for start in range(0, pushes, EVENTS_A_CALL):
            count = min(EVENTS_A_CALL, pushes - start)
            events = [
                {"name": "order_ready", "device_id": ids[(start + number) % len(ids)]}
                for number in range(count)
            ]
            api.call("POST", "/v1/events", json={"events": events})
    finally:
        api.close()
    waiting = outbox_length(rig)
    if waiting < pushes:
        raise BenchError(f"{waiting} of {pushes} pushes are in the outbox")


def outbox_length(rig: Rig) -> int:
    """Pushes that are not settled."""
    streams = rig.redis.scan_iter("*:outbox:*", count=1000)
    return sum(int(rig.redis.xlen(stream)) for stream in streams)


def fcm_credential(url: str, ca: str) -> dict[str, Any]:
    """A service account that an emulator takes."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return {
        "service_account": {
            "type": "service_account",
            "project_id": "demo-shop",
            "private_key_id": "k1",
            "private_key": pem,
            "client_email": "push@demo-shop.iam.gserviceaccount.com",
            "token_uri": f"{url}/token",
        },
        "endpoint": url,
        "ca": ca,
    }


def _drained(rig: Rig, pid: int, pushes: int) -> tuple[float, float]:
    """Pushes a second and processor microseconds a push, over the middle of the backlog."""
    marks: list[tuple[float, float, int]] = []
    deadline = time.monotonic() + DISPATCH_TIMEOUT_S
    while True:
        left = outbox_length(rig)
        now = (time.perf_counter(), cpu_s(pid), left)
        if left <= TIMED_FROM * pushes:
            marks.append(now)
        if left <= TIMED_TO * pushes:
            break
        if time.monotonic() > deadline:
            raise BenchError(f"{left} of {pushes} pushes are left after {DISPATCH_TIMEOUT_S:g} s")
        time.sleep(0.02)
    (began, cpu_began, first), (ended, cpu_ended, last) = marks[0], marks[-1]
    done = max(first - last, 1)
    return done / max(ended - began, 1e-9), (cpu_ended - cpu_began) / done * 1e6


def offered_devices(devices: int) -> list[str]:
    """The devices of the city that come to shops with an offer."""
    world = WORLDS["city"](devices)
    names = world.device_ids
    return [names[number] for number in world.offered]


def _put_devices(api: ApiClient, ids: Sequence[str]) -> None:
    def put(device_id: str) -> None:
        api.call("PUT", f"/v1/devices/{device_id}", json=device_document(device_id))

    with ThreadPoolExecutor(PUTS_AT_ONCE) as pool:
        list(pool.map(put, ids))


def device_document(token: str) -> dict[str, Any]:
    """A device with one address."""
    return {"targets": [{"provider": "fcm", "address": f"{token}:APA91bBenchmark"}]}


def _sent_at(payload: dict[str, Any]) -> int:
    return int(payload["data"]["at"])
