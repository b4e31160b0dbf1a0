"""The API keeps its own document: requests made from the schema, on the whole application."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jsonschema_rs
import msgspec
import pytest
import redis.asyncio
import requests
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from litestar import Litestar
from litestar.testing import TestClient
from schemathesis import Case as AnyCase
from schemathesis import openapi
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.app import create_app
from gateway.config import Settings
from gateway.keys import KeyStore
from gateway.openapi import document_of
from gateway.openapi_answers import ANSWERS

Case = AnyCase[Any]
SCHEMA = openapi.from_dict(document_of(create_app(Settings())))
EXAMPLES = 15
ENDLESS = {"stream_events"}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)]
ONE = {"lat": 52.5, "lon": 13.4, "radius_m": 100}
KNOWN: dict[str, Any] = {
    "/v1/geofences/one": {
        "geometry": {"type": "Point", "coordinates": [13.4, 52.5]},
        "properties": {"radius_m": 100, "tags": ["a"]},
    },
    "/v1/beacons/one": {"beacons": ["ibeacon:E2C56DB5DFFB48D2B060D0F5A71096E0:1:3"]},
    "/v1/receivers/one": {"zone": "one"},
    "/v1/triggers/one": {
        "on": {"event": "enter"},
        "variants": [{"message": {"title": "Hi", "body": "there"}}],
    },
    "/v1/devices/one": {"user_id": "one"},
    "/v1/users/one": {},
    "/v1/users/kim": {},
    "/v1/jwt-keys/one": {"algorithm": "HS256", "secret": "s" * 40},
    "/v1/settings": {"timezone": "Europe/Berlin"},
}


class Api(NamedTuple):
    """The application, and a key that may everything."""

    client: TestClient[Litestar]
    key: str


@pytest.fixture(scope="module")
def api(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    async def make_key() -> str:
        client = redis.asyncio.Redis.from_url(redis_url)
        await client.flushall()
        scopes = ["manage", "ingest"]
        made = await KeyStore(client).create("acme", scopes, time.time_ns() // 1_000_000)
        await client.aclose()
        return made.text

    key, folder = asyncio.run(make_key()), tmp_path_factory.mktemp("contract")
    configured = Settings(data_dir=folder, redis_url=redis_url, background=False)
    with TestClient(create_app(configured), raise_server_exceptions=False) as client:
        yield Api(client, key)


def send(api: Api, case: Case, key: str | None) -> Any:
    """The answer to a generated request; the transport is the application itself."""
    prepared: Any = requests.Request(**_arguments(case)).prepare()
    headers = {name: value for name, value in prepared.headers.items() if name != "Content-Length"}
    headers.pop("Authorization", None)
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    sent = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return api.client.request(prepared.method, prepared.url, headers=sent, content=prepared.body)


def _arguments(case: Case) -> dict[str, Any]:
    given_ = case.as_transport_kwargs(base_url="http://testserver.local")
    known = ("method", "url", "headers", "params", "data", "json", "files", "cookies")
    return {name: value for name, value in given_.items() if name in known}


def name_of(operation: Any) -> str:
    """The id of an operation."""
    return str(operation.definition.raw["operationId"])


def fill(api: Api) -> None:
    """Bring everything back that a test may have changed or deleted."""
    for path, document in KNOWN.items():
        put = api.client.put(path, json=document, headers={"Authorization": f"Bearer {api.key}"})
        assert put.status_code in (200, 201), put.text


def is_closed(operation: Any) -> bool:
    """Whether the document says that a credential is needed."""
    asked = operation.definition.raw.get("security", [{"bearer": []}])
    return bool(asked) and all(asked)


@pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
def test_answers_are_as_documented(api: Api, operation: Any) -> None:
    """No 5xx; status, media type and body as the document says; and nothing without a key."""
    fill(api)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), is_known=st.booleans())
    def run(case: Case, is_known: bool) -> None:
        if is_known and case.path_parameters:
            case.path_parameters = dict.fromkeys(case.path_parameters, "one")
        if is_closed(operation):
            for key in (None, "gk_nobody_knows"):
                assert 401 == send(api, case, key).status_code
        if name_of(operation) not in ENDLESS:
            case.validate_response(send(api, case, api.key), checks=CHECKS)

    run()


QUERIES: dict[str, dict[str, Any]] = {
    "list_regions": {"lat": 52.5, "lon": 13.4},
    "explain": {"device": "one"},
    "list_inbox": {"device": "one"},
    "purge_dead_letters": {"all": "true"},
    "delete_web_push_subscription": {"endpoint": "https://push.example/x", "device": "one"},
}
# What needs more than an example can have: a signature, a secret, something that happened before.
REFUSED = {
    "sign_in": 403,
    "rotate_key": 404,
    "revoke_key": 404,
    "merge_user": 404,
    "put_credential": 422,
    "get_credential": 404,
    "patch_credential": 404,
    "delete_credential": 404,
    "check_credential": 404,
    "get_delivery": 404,
    "get_web_push_key": 404,
    "delete_web_push_subscription": 404,
    "put_web_push_subscription": 422,
    "post_action": 401,
    "post_receipts": 422,
    "ingest": 404,
}


@pytest.mark.parametrize("operation", OPERATIONS, ids=name_of)
def test_examples_are_true(api: Api, operation: Any) -> None:
    """The documented example of every body is taken, and the answer is as documented."""
    name = name_of(operation)
    if name in ENDLESS:
        return
    fill(api)
    content = operation.definition.raw.get("requestBody", {}).get("content", {})
    media_type = next(iter(content), None)
    body = content[media_type]["examples"]["example"]["value"] if media_type else None
    if isinstance(body, dict) and "id" in body:
        body = {**body, "id": "one"}
    case = operation.Case(
        path_parameters={one.name: "one" for one in operation.path_parameters},
        query=QUERIES.get(name, {}),
        **({"body": body, "media_type": media_type} if media_type else {}),
    )
    answer = send(api, case, api.key)
    case.validate_response(answer, checks=CHECKS)
    if name in REFUSED:
        assert REFUSED[name] == answer.status_code, answer.text
    else:
        assert answer.is_success, answer.text


def test_the_document_is_complete() -> None:
    """Every operation tells what it takes and answers, with examples that fit their schemas."""
    assert not {name_of(one) for one in OPERATIONS} - set(ANSWERS)
    document = document_of(create_app(Settings()))
    checked = 0
    for path, item in document["paths"].items():
        for method, operation in item.items():
            bodies = [operation["requestBody"]] if "requestBody" in operation else []
            for part in [*bodies, *operation["responses"].values()]:
                for media_type, media in part.get("content", {}).items():
                    for example in media.get("examples", {}).values():
                        schema = {**media["schema"], "components": document["components"]}
                        fits = jsonschema_rs.validator_for(schema).is_valid(example["value"])
                        assert fits, (method, path, media_type, example)
                        checked += 1
    assert checked > len(OPERATIONS)


@pytest.mark.parametrize("at", [10**18, 10**19, -(10**18), 1e300, float("inf"), float("nan")])
def test_impossible_instants_are_refused_everywhere(api: Api, at: float) -> None:
    """No clock shows them: 422, and nothing is stored that could not be shown again."""
    key = {"Authorization": f"Bearer {api.key}"}
    bodies: dict[str, dict[str, Any]] = {
        "/v1/pings": {"lat": 52.5, "lon": 13.4, "recorded_at": at},
        "/v1/sightings": {"beacon": "x", "rssi_dbm": -60, "seen_at": at},
        "/v1/events": {"name": "paid", "occurred_at": at},
        "/v1/receipts": {"push_id": "p", "kind": "shown", "at": at},
    }
    for path, document in bodies.items():
        body = msgspec.msgpack.encode({"device_id": "d-1", **document})
        headers = {**key, "Content-Type": "application/msgpack"}
        answer = api.client.post(path, content=body, headers=headers)
        # A phone's clock that is ahead is no reason to lose a receipt.
        wanted = (200, 422) if path == "/v1/receipts" else (422,)
        assert answer.status_code in wanted, (path, answer.text)
    for path in ("/v1/deliveries", "/v1/events"):
        assert 200 == api.client.get(path, headers=key).status_code
