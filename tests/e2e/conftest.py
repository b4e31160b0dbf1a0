"""A whole gateway in processes of its own, and the provider sandbox beside it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from senders.sandbox.process import SandboxProcess

GATEWAY = [sys.executable, "-m", "gateway"]
DEADLINE_S = 60.0


def wait_for(is_done: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """The first true answer; fails after the deadline, saying what was waited for."""
    ends = time.monotonic() + deadline_s
    while time.monotonic() < ends:
        answer = is_done()
        if answer:
            return answer
        time.sleep(0.05)
    pytest.fail(f"waited {deadline_s:.0f} s for {what}")


class GatewayProcess:
    """``gateway serve`` on a data directory; starts again after a kill."""

    def __init__(self, data_dir: Path, **settings: Any) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._settings = {
            "data_dir": data_dir,
            "port": self.port,
            "log_level": "warning",
        } | settings
        self._process: subprocess.Popen[bytes] | None = None
        self.client = httpx.Client(base_url=self.url, timeout=20, trust_env=False)

    def start(self) -> None:
        """Start, and wait until it is ready."""
        self._process = subprocess.Popen(
            [*GATEWAY, "serve"], env=self._environment(), start_new_session=True
        )
        wait_for(self.is_ready, "the gateway to be ready")

    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        if self._process is None or self._process.poll() is not None:
            pytest.fail("the gateway ended by itself")
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def make_key(self, *scopes: str, tenant: str = "acme") -> None:
        """Make a key, and use it from now on."""
        done = subprocess.run(
            [*GATEWAY, "keys", "create", "--tenant", tenant, "--scopes", ",".join(scopes),
             "--data-dir", str(self.data_dir)],
            capture_output=True, text=True, check=True, env=self._environment(),
        )  # fmt: skip
        self.client.headers["Authorization"] = f"Bearer {done.stdout.strip()}"

    def put(self, path: str, document: dict[str, Any]) -> None:
        """PUT, and insist."""
        answer = self.client.put(path, json=document)
        assert answer.is_success, answer.text

    def everything(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """All items of a list, page by page."""
        items: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self.client.get(path, params=params | ({"cursor": cursor} if cursor else {}))
            assert page.is_success, page.text
            items += page.json()["items"]
            cursor = page.json()["next_cursor"]
        return items

    def redis_pid(self) -> int:
        """Of the private Redis."""
        import redis

        client = redis.Redis(unix_socket_path=str(self.data_dir / "redis.sock"))
        try:
            return int(client.info("server")["process_id"])
        finally:
            client.close()

    def kill(self) -> None:
        """``kill -9`` of the serving processes; Redis lives on."""
        assert self._process is not None
        for child in psutil.Process(self._process.pid).children(recursive=True):
            if "redis" not in child.name():
                child.kill()
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Stop as an operator does; its exit code."""
        self.client.close()
        if self._process is None or self._process.poll() is not None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(30)

    def _environment(self) -> dict[str, str]:
        own = {f"GATEWAY_{name.upper()}": str(value) for name, value in self._settings.items()}
        kept = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")}
        return kept | own


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    """The provider sandbox."""
    with SandboxProcess(tmp_path_factory.mktemp("sandbox")) as process:
        yield process


@pytest.fixture
def gateway_process(tmp_path: Path) -> Iterator[Callable[..., GatewayProcess]]:
    """Starts gateways; each has a key of every scope for the tenant acme."""
    started: list[GatewayProcess] = []

    def start(**settings: Any) -> GatewayProcess:
        folder = tmp_path / f"data-{len(started)}"
        process = GatewayProcess(
            folder, **{"allowed_private_hosts": "127.0.0.1,localhost"} | settings
        )
        started.append(process)
        process.start()
        process.make_key("manage", "ingest", "read")
        return process

    yield start
    for process in started:
        process.stop()
    for leftover in psutil.process_iter(["cmdline"]):
        if str(tmp_path) in " ".join(leftover.info["cmdline"] or []):
            leftover.kill()


@pytest.fixture
def gateway(gateway_process: Callable[..., GatewayProcess]) -> GatewayProcess:
    """A gateway that listens."""
    return gateway_process()


@pytest.fixture(scope="session")
def service_account_key() -> str:
    """An RSA key, as Firebase's service accounts have one."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    return (
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )


@pytest.fixture
def shop(gateway: GatewayProcess, sandbox: SandboxProcess, service_account_key: str) -> None:
    """A shop, a transactional trigger on entering it, and FCM at the sandbox."""
    gateway.put(
        "/v1/credentials/fcm",
        {
            "service_account": {
                "type": "service_account",
                "project_id": "demo-shop",
                "private_key_id": "k1",
                "private_key": service_account_key,
                "client_email": "push@demo-shop.iam.gserviceaccount.com",
                "token_uri": f"{sandbox.url}/token",
            },
            "endpoint": sandbox.url,
            "ca": sandbox.ca.read_text(),
        },
    )
    gateway.put(
        "/v1/geofences/shop",
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [11.5, 48.1]},
            "properties": {"radius_m": 100, "name": "The Shop"},
        },
    )
    gateway.put(
        "/v1/triggers/welcome",
        {
            "on": {"event": "enter", "zones": {"ids": ["shop"]}},
            "class": "transactional",
            "channels": ["app_push"],
            "variants": [{"message": {"title": "Welcome to {{ zone.name }}", "body": "Hello"}}],
        },
    )


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    """Waits for a condition with a generous deadline; never for a fixed time."""
    return wait_for
