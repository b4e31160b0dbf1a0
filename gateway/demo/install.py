"""Furnishing the gateway for the demo, by the public API alone: what a tenant's back end does."""

import base64
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from gateway.api_client import ApiClient
from gateway.demo.receivers import first_news
from gateway.demo.stage import Stage, StageError
from gateway.demo.world import Person, Town, device_document, user_document
from senders.sandbox.process import SandboxProcess

LIVE_TIMEOUT_S = 60.0
PUTS_AT_ONCE = 8
VAPID_SUBJECT = "mailto:demo@example.com"

Advance = Callable[[int], None]
Put = tuple[str, dict[str, Any]]


def install(stage: Stage, town: Town, people: Sequence[Person], advance: Advance) -> None:
    """Set up credentials, people and the town; returns when every process knows them.

    Args:
        stage: what runs.
        town: hastened already.
        people: whose phones are registered.
        advance: told of every document that was put.

    Raises:
        ApiError: the gateway refused something.
        StageError: it does not know the town after a long while.
    """
    api = ApiClient(stage.url, stage.key)

    def put(one: Put) -> None:
        api.call("PUT", one[0], json=one[1])
        advance(1)

    try:
        with ThreadPoolExecutor(PUTS_AT_ONCE) as pool:
            list(pool.map(put, _documents(stage.sandbox, town, people)))
            # Last: what is live in the index then tells that all else is, too.
            list(pool.map(put, _named("geofences", town.geofences)))
        _wait_until_live(api, town)
        api.call("POST", "/v1/events", json={"events": first_news(people)})
    finally:
        api.close()


def document_count(town: Town, people: Sequence[Person]) -> int:
    """How many documents ``install`` puts."""
    rest = (town.geofences, town.beacons, town.receivers, town.triggers)
    return 4 + 2 * len(people) + sum(len(one) for one in rest)


def _documents(sandbox: SandboxProcess, town: Town, people: Sequence[Person]) -> Iterator[Put]:
    """Everything to put but the geofences."""
    vapid_key = ec.generate_private_key(ec.SECP256R1())
    for provider, document in _credentials(sandbox, town, vapid_key).items():
        yield f"/v1/credentials/{provider}", document
    for person in people:
        yield f"/v1/users/{person.user_id}", user_document(person)
        subscription = None
        if person.provider == "webpush":
            wanted = {"application_server_key": _public_key(vapid_key)}
            subscription = sandbox.call("POST", "subscriptions", wanted)
        yield f"/v1/devices/{person.device_id}", device_document(town, person, subscription)
    yield from _named("receivers", town.receivers)
    yield from _named("beacons", town.beacons)
    yield from _named("triggers", town.triggers)


def _named(kind: str, documents: Iterable[dict[str, Any]]) -> Iterator[Put]:
    for document in documents:
        yield f"/v1/{kind}/{document['id']}", document


def _credentials(
    sandbox: SandboxProcess, town: Town, vapid_key: ec.EllipticCurvePrivateKey
) -> dict[str, dict[str, Any]]:
    """Credentials as a tenant has them, but of the sandbox."""
    there = {"endpoint": sandbox.url, "ca": sandbox.ca.read_text(encoding="ascii")}
    apns_key = ec.generate_private_key(ec.SECP256R1())
    fcm_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return {
        "apns": {
            "team_id": "DEMOTEAM01",
            "key_id": "DEMOKEY001",
            "private_key": _pem(apns_key),
            "topic": town.devices["app"],
            **there,
        },
        "fcm": {
            "service_account": {
                "project_id": "demo-town",
                "client_email": "push@demo-town.iam.gserviceaccount.com",
                "private_key": _pem(fcm_key),
                "token_uri": f"{sandbox.url}/token",
            },
            **there,
        },
        "webpush": {"private_key": _pem(vapid_key), "subject": VAPID_SUBJECT, **there},
        "webhook": {
            "url": f"{sandbox.url}/webhook/staff",
            "secrets": ["whsec_" + base64.b64encode(b"the demo's webhook secret").decode()],
            **there,
        },
    }


def _wait_until_live(api: ApiClient, town: Town) -> None:
    """Wait until all geofences are found by nearness, which the index in memory answers."""
    lon, lat = town.streets.point(town.streets.corners[0])
    deadline = time.monotonic() + LIVE_TIMEOUT_S
    query = {"near": f"{lat},{lon}", "limit": 1000}
    wanted = {feature["id"] for feature in town.geofences}
    while time.monotonic() < deadline:
        found = api.call("GET", "/v1/geofences", params=query).json()["items"]
        if wanted <= {item["id"] for item in found}:
            return
        time.sleep(0.1)
    raise StageError(f"The geofences are not live {LIVE_TIMEOUT_S:g} s after they were put.")


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _public_key(key: ec.EllipticCurvePrivateKey) -> str:
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return base64.urlsafe_b64encode(point).rstrip(b"=").decode()


def fetch_all(api: ApiClient, path: str, params: dict[str, Any] | None = None) -> list[Any]:
    """Every item of a list, page by page."""
    items: list[Any] = []
    asked: dict[str, Any] = {"limit": 1000, **(params or {})}
    while True:
        page = api.call("GET", path, params=asked).json()
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        asked["cursor"] = page["next_cursor"]


def is_transient(status: int) -> bool:
    """Whether the same call may be taken later."""
    return status in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)
