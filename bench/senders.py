"""What one push costs in this process: rendering, payloads, encryption, and the whole send.

The peer is a local HTTP/2 server over TLS that accepts everything (a child process), so the client
is what is measured: CPU per push of this process, all threads counted, beside the client library
alone. Run ``python -m bench.senders``.
"""

import asyncio
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from pyreqwest.exceptions import PyreqwestError

from senders.apns import apns_payload
from senders.credentials import validate_credential
from senders.fcm_payload import fcm_payload
from senders.http import build_client
from senders.key_material import encode_base64url
from senders.message import parse_message
from senders.model import Delivered, Rendered, Sender, Target
from senders.network import NetworkPolicy
from senders.registry import build_sender
from senders.render import render
from senders.sandbox.certificates import ensure_certificates
from senders.token_cache import MemoryTokenCache
from senders.webpush import webpush_payload
from senders.webpush_crypto import encrypt

PUSHES = 20_000
ATTEMPTS = 3
CONCURRENCY = 256
NOW = 1_790_000_000_000
MESSAGE = parse_message(
    {
        "title": "Hi {{ user.first_name | default: 'there' }}",
        "body": "{{ event.dwell_s | divided_by: 60 }} minutes at {{ zone.name }}: lunch is on us",
        "image_url": "https://img.example/{{ zone.id }}.jpg",
        "actions": [{"id": "remind", "title": "Remind me later"}],
        "deep_link": "shop://offers/7",
        "ttl_s": 3600,
        "collapse_key": "lunch",
    }
)
VALUES = {
    "user": {"first_name": "Ann"},
    "event": {"dwell_s": 300},
    "zone": {"id": "store-12", "name": "Store 12"},
}
PEER = """
import sys
from pathlib import Path
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP2Settings
from granian.server.mp import MPServer
MPServer("bench.senders:accept", address="127.0.0.1", port=int(sys.argv[1]),
    interface=Interfaces.RSGI, loop=Loops.uvloop, http=HTTPModes.auto, log_enabled=False,
    http2_settings=HTTP2Settings(max_concurrent_streams=1000), websockets=False,
    ssl_cert=Path(sys.argv[2]), ssl_key=Path(sys.argv[3])).serve()
"""


async def accept(scope: Any, protocol: Any) -> None:
    """The peer's application: takes everything."""
    if scope.path == "/token":
        head = [("content-type", "application/json")]
        protocol.response_str(200, head, '{"access_token": "t", "expires_in": 3599}')
    else:
        protocol.response_empty(200, [("apns-id", "x")])


def rendered() -> Rendered:
    """One message, rendered."""
    return render(
        MESSAGE,
        VALUES,
        push_id="7f9c2a10-0000-4000-8000-000000000001",
        expires_at=NOW + 3_600_000,
        lane="marketing",
        locale="de-AT",
    )


def measure(count: int = PUSHES) -> dict[str, float]:
    """Microseconds of each part, pushes a second and CPU microseconds of each whole send."""
    message = rendered()
    receiver = ec.generate_private_key(ec.SECP256R1()).public_key()
    point = receiver.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    plaintext = webpush_payload(message, NOW).body
    found = {
        "render_us": _each_us(rendered),
        "apns_payload_us": _each_us(lambda: apns_payload(message)),
        "fcm_payload_us": _each_us(lambda: fcm_payload(message, "t" * 150, NOW)),
        "webpush_payload_us": _each_us(lambda: webpush_payload(message, NOW)),
        "encrypt_us": _each_us(lambda: encrypt(plaintext, point, bytes(16))),
    }
    with tempfile.TemporaryDirectory() as folder:
        files = ensure_certificates(Path(folder))
        port = 19_443
        arguments = [sys.executable, "-c", PEER, str(port)]
        arguments += [str(files.certificate), str(files.key)]
        peer = subprocess.Popen(arguments, env={**os.environ, "PYTHONPATH": str(Path.cwd())})
        try:
            ca = (Path(folder) / "sandbox-ca.pem").read_text()
            found |= uvloop.run(_sends(f"https://127.0.0.1:{port}", ca, message, point, count))
        finally:
            peer.terminate()
            peer.wait()
    return found


async def _sends(
    url: str, ca: str, message: Rendered, point: bytes, count: int
) -> dict[str, float]:
    found: dict[str, float] = {}
    client = build_client(ca=ca)
    body = apns_payload(message).body

    async def bare() -> None:
        for attempt in range(ATTEMPTS):
            request = client.post(f"{url}/bare").headers({"apns-id": message.id})
            try:
                await request.body_bytes(body).build().send()
            except PyreqwestError:
                if attempt == ATTEMPTS - 1:
                    raise
            else:
                return

    await _until_up(bare)
    found |= await _rate("client_alone", bare, count)
    keys = {"p256dh": encode_base64url(point), "auth": encode_base64url(bytes(16))}
    targets = {
        "apns": Target("apns", "ab" * 32),
        "fcm": Target("fcm", "t" * 150),
        "webpush": Target("webpush", f"{url}/wpush/1", keys=keys),
    }
    for name, sender in _senders(url, ca).items():
        target = targets[name]

        async def push(sender: Sender = sender, target: Target = target) -> None:
            # The peer closes a connection now and then, as providers do; a sender says so.
            for _ in range(ATTEMPTS):
                outcome = await sender.send(message, target)
                if isinstance(outcome, Delivered):
                    return
            raise RuntimeError(outcome)

        await push()
        found |= await _rate(name, push, count)
        await sender.close()
    await client.close()
    return found


def _senders(url: str, ca: str) -> dict[str, Sender]:
    here = {"endpoint": url, "ca": ca}
    documents: dict[str, dict[str, Any]] = {
        "apns": {
            "team_id": "ABCDE12345",
            "key_id": "KEY1234567",
            "private_key": _pem(ec.generate_private_key(ec.SECP256R1())),
            "topic": "com.example.shop",
        },
        "fcm": {
            "service_account": {
                "project_id": "demo-shop",
                "client_email": "x@demo.example",
                "private_key": _pem(rsa.generate_private_key(65537, 2048)),
            }
        },
        "webpush": {
            "private_key": _pem(ec.generate_private_key(ec.SECP256R1())),
            "subject": "mailto:push@example.com",
        },
    }
    tokens = MemoryTokenCache()
    return {
        name: build_sender(
            validate_credential(name, {**document, **here}),
            token_cache=tokens,
            network_policy=NetworkPolicy(),
        )
        for name, document in documents.items()
    }


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


async def _until_up(call: Callable[[], Awaitable[None]]) -> None:
    for _ in range(100):
        try:
            return await call()
        except Exception:  # noqa: BLE001 - whatever says that the peer is not there yet
            await asyncio.sleep(0.1)
    raise RuntimeError("the peer does not answer")


async def _rate(name: str, call: Callable[[], Awaitable[None]], count: int) -> dict[str, float]:
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            await call()

    started_s, cpu_s = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
    wall_s, used_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    return {f"{name}_per_s": count / wall_s, f"{name}_cpu_us": used_s / count * 1e6}


def _each_us(call: Callable[[], object], count: int = 3_000) -> float:
    call()
    started_s = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - started_s) / count * 1e6


if __name__ == "__main__":
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}"
    )
    for name, value in measure().items():
        per_core = f"  {1e6 / value:>9,.0f}/s a core" if name.endswith("cpu_us") else ""
        print(f"{name:24} {value:>10,.1f}{per_core}")
