"""The whole application on a real Redis: who gets in, what errors look like, probes and pages."""

import asyncio
import gzip
import json
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis.asyncio
import zstandard
from litestar import Litestar
from litestar.testing import TestClient

from gateway.app import Gateway, create_app
from gateway.config import Settings
from gateway.errors import MEDIA_TYPE, PROBLEMS
from gateway.keys import KeyStore
from gateway.routes import ROUTES

MAX_BODY_BYTES = 20_000
# Signing in; and what a signed token in the request itself opens.
PUBLIC = {"/v1/session", "/v1/receipts", "/v1/actions/{action_token:str}"}


class Door(NamedTuple):
    """A running application and keys to it."""

    client: TestClient[Litestar]
    keys: dict[str, str]

    def headers(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[name]}"}


@pytest.fixture
def door(clean_redis_url: str, tmp_path: Path) -> Iterator[Door]:
    """An application with a key for each scope, and one of another tenant."""
    keys = asyncio.run(_make_keys(clean_redis_url))
    settings = Settings(
        data_dir=tmp_path,
        redis_url=clean_redis_url,
        max_body_bytes=MAX_BODY_BYTES,
        public_url="https://gw.example",
        metrics_token="m" * 20,
        background=False,
    )
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        yield Door(client, keys)


async def _make_keys(url: str) -> dict[str, str]:
    client = redis.asyncio.Redis.from_url(url)
    store = KeyStore(client)
    now = time.time_ns() // 1_000_000
    made = {
        name: (await store.create(tenant, [scope], now)).text
        for name, tenant, scope in [
            ("manage", "acme", "manage"),
            ("read", "acme", "read"),
            ("ingest", "acme", "ingest"),
            ("receiver", "acme", "receiver:till-1"),
            ("other", "globex", "manage"),
        ]
    }
    await client.aclose()
    return made


def problem(answer: Any) -> tuple[int, str]:
    """Status and type slug, after the shape of every problem has been checked."""
    assert MEDIA_TYPE == answer.headers["content-type"], answer.text
    body = answer.json()
    kind, _, slug = body["type"].partition("#")
    assert "https://gw.example/errors" == kind
    assert (PROBLEMS[slug].title, PROBLEMS[slug].status) == (body["title"], body["status"])
    assert answer.status_code == body["status"]
    assert f"urn:request:{answer.headers['x-request-id']}" == body["instance"]
    assert body["detail"]
    return body["status"], slug


def test_every_kind_of_error_has_the_one_shape(door: Door) -> None:
    """Routes, methods, bodies, parameters, credentials: all answer RFC 9457 problems."""
    manage = door.headers("manage")
    send = door.client.request
    table: list[tuple[tuple[int, str], Any]] = [
        ((404, "unknown-route"), send("GET", "/nope")),
        ((405, "method-not-allowed"), send("POST", "/livez")),
        ((401, "unauthorized"), send("GET", "/v1/keys")),
        ((403, "forbidden"), send("GET", "/v1/keys", headers=door.headers("read"))),
        ((404, "not-found"), send("DELETE", "/v1/keys/nope", headers=manage)),
        ((400, "malformed-body"), send("POST", "/v1/keys", headers=manage, content=b"{")),
        ((422, "invalid-document"), send("POST", "/v1/keys", headers=manage, json=[])),
        *(
            (
                (422, "invalid-document"),
                send(
                    "POST", "/v1/keys", headers=manage, json={"scopes": ["read"], "expires_at": at}
                ),
            )
            for at in (1, 1.5, "soon", "2020-01-01T00:00:00Z", -5, 10**30)
        ),
        ((422, "invalid-document"), send("POST", "/v1/keys", headers=manage, json={"scopes": 1})),
        (
            (422, "invalid-document"),
            send("POST", "/v1/keys", headers=manage, json={"scopes": ["x"]}),
        ),
        ((413, "body-too-large"), send("POST", "/v1/keys", headers=manage, content=b"[" * 30_000)),
        ((400, "malformed-body"), send("POST", "/v1/keys", headers=manage, content=b"[" * 5000)),
    ]
    for expected, answer in table:
        assert expected == problem(answer)
    assert "GET" in send("POST", "/livez").headers["allow"]
    assert "Bearer" in send("GET", "/v1/keys").headers["www-authenticate"]


def test_a_wrong_field_is_named(door: Door) -> None:
    """The answer says which field, by pointer, and what would be right."""
    answer = door.client.post("/v1/keys", headers=door.headers("manage"), json={"scope": ["read"]})
    errors = answer.json()["errors"]
    assert "#/scope" == errors[0]["pointer"]
    assert "scopes" in errors[0]["detail"]


def test_a_fault_of_ours_is_a_plain_500(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """What broke stays in the log; the caller gets an id to ask with."""

    async def broken(*_: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(KeyStore, "list", broken)
    answer = door.client.get("/v1/keys", headers=door.headers("manage"))
    assert (500, "internal") == problem(answer)
    assert "secret" not in answer.text
    assert "1" == answer.headers["retry-after"]


def test_redis_away_is_a_503(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller is told to come again, not that anything was stored."""

    async def away(*_: object) -> None:
        raise redis.exceptions.ConnectionError("gone")

    monkeypatch.setattr(KeyStore, "list", away)
    answer = door.client.get("/v1/keys", headers=door.headers("manage"))
    assert (503, "unavailable") == problem(answer)
    assert "retry-after" in answer.headers


def test_a_request_id_of_the_caller_is_kept(door: Door) -> None:
    """Logs of both sides can be joined; what is no id is replaced."""
    sent = door.client.get("/livez", headers={"X-Request-ID": "abc-12345"})
    assert "abc-12345" == sent.headers["x-request-id"]
    bad = door.client.get("/livez", headers={"X-Request-ID": "a b"})
    assert "a b" != bad.headers["x-request-id"]


# --- keys and tokens over HTTP -------------------------------------------------------------


def test_a_key_lives_from_creation_to_revocation(door: Door) -> None:
    """Made, used, listed without its text, rotated, revoked at once."""
    client, manage = door.client, door.headers("manage")
    made = client.post("/v1/keys", headers=manage, json={"scopes": ["manage"], "name": "ci"}).json()
    own = {"Authorization": f"Bearer {made['key']}"}
    listed = client.get("/v1/keys", headers=own).json()["items"]
    assert made["id"] in [key["id"] for key in listed]
    assert made["key"] not in json.dumps(listed)
    rotated = client.post(f"/v1/keys/{made['id']}/rotate", headers=own).json()
    assert 200 == client.get("/v1/keys", headers=own).status_code
    assert 204 == client.delete(f"/v1/keys/{made['id']}", headers=manage).status_code
    assert (401, "unauthorized") == problem(client.get("/v1/keys", headers=own))
    new = {"Authorization": f"Bearer {rotated['key']}"}
    assert 200 == client.get("/v1/keys", headers=new).status_code


def test_another_tenants_key_does_not_exist(door: Door) -> None:
    """Its id is answered exactly as an unknown one."""
    client = door.client
    theirs = client.get("/v1/keys", headers=door.headers("other")).json()["items"][0]["id"]
    answers = [
        client.delete(f"/v1/keys/{kid}", headers=door.headers("manage"))
        for kid in (theirs, "0000000000")
    ]
    assert [(404, "not-found")] * 2 == [problem(answer) for answer in answers]
    texts = [
        a.json()["detail"].replace(kid, "X")
        for a, kid in zip(answers, (theirs, "0000000000"), strict=True)
    ]
    assert texts[0] == texts[1]


def test_a_device_token_opens_intake_only(door: Door) -> None:
    """A phone's token is no key."""
    client = door.client
    minted = client.post("/v1/devices/d1/token", headers=door.headers("manage"), json={"ttl_s": 60})
    assert 201 == minted.status_code
    token = {"Authorization": f"Bearer {minted.json()['token']}"}
    assert (403, "forbidden") == problem(client.get("/v1/keys", headers=token))
    too_long = client.post(
        "/v1/devices/d1/token", headers=door.headers("manage"), json={"ttl_s": 10**7}
    )
    assert (422, "invalid-document") == problem(too_long)


def test_a_registered_key_verifies_tokens(door: Door) -> None:
    """Registered, listed without its secret, replaced under If-Match, deleted."""
    client, manage = door.client, door.headers("manage")
    secret = "s" * 32
    path = "/v1/jwt-keys/phones"
    made = client.put(path, headers=manage, json={"algorithm": "HS256", "secret": secret})
    assert (201, "acme/phones") == (made.status_code, made.json()["kid"])
    assert secret not in client.get("/v1/jwt-keys", headers=manage).text
    stale = client.put(
        path,
        headers={**manage, "If-Match": '"1000"'},
        json={"algorithm": "HS256", "secret": "t" * 32},
    )
    assert (412, "precondition-failed") == problem(stale)
    weak = client.put(path, headers=manage, json={"algorithm": "HS256", "secret": "short"})
    assert "#/secret" == weak.json()["errors"][0]["pointer"]
    assert 204 == client.delete(path, headers=manage).status_code
    assert (404, "not-found") == problem(client.delete(path, headers=manage))


def test_every_route_is_closed_unless_it_says_otherwise() -> None:
    """Deny by default: without `public`, a route has a scope, and only intake takes tokens."""
    for handler in ROUTES:
        opt = handler.opt
        if opt.get("public"):
            assert all(path in PUBLIC or not path.startswith("/v1") for path in handler.paths)
        if opt.get("device_tokens"):
            assert "ingest" in opt["scope"], handler


def test_every_v1_route_wants_a_credential(door: Door) -> None:
    """No credential, a wrong one, or one in a place the route does not take: 401 everywhere."""
    app = door.client.app
    assert isinstance(app, Gateway)
    tried = 0
    for route in app.routes:
        for method in sorted(getattr(route, "methods", set()) - {"OPTIONS", "HEAD"}):
            if not route.path.startswith("/v1") or route.path in PUBLIC:
                continue
            path = route.path_format.replace("{", "").replace("}", "")
            for headers in ({}, {"Authorization": "Bearer tgw_x"}, {"Authorization": "Bearer "}):
                answer = door.client.request(method, path, headers=headers)
                assert (401, "unauthorized") == problem(answer), (method, path)
                tried += 1
    assert tried > 20


# --- encodings -----------------------------------------------------------------------------

BODY = json.dumps({"scopes": ["read"], "name": "x" * 200}).encode()


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(BODY)),
        ("gzip", gzip.compress(BODY[:50]) + gzip.compress(BODY[50:])),
        ("deflate", zlib.compress(BODY)),
        ("zstd", zstandard.compress(BODY)),
        ("zstd", zstandard.compress(BODY[:50]) + zstandard.compress(BODY[50:])),
        ("identity", BODY),
    ],
    ids=["gzip", "gzip-members", "deflate", "zstd", "zstd-frames", "identity"],
)
def test_bodies_may_be_compressed(door: Door, encoding: str, body: bytes) -> None:
    """Every route reads what was sent, as if it had been plain."""
    headers = {**door.headers("manage"), "Content-Encoding": encoding}
    assert 201 == door.client.post("/v1/keys", headers=headers, content=body).status_code


@pytest.mark.parametrize(
    ("expected", "encoding", "body"),
    [
        ((400, "malformed-body"), "gzip", b"no gzip"),
        ((400, "malformed-body"), "gzip", gzip.compress(BODY)[:-9]),
        ((400, "malformed-body"), "zstd", zstandard.compress(BODY)[:-9]),
        ((400, "malformed-body"), "zstd", b"no zstd"),
        ((415, "unsupported-media-type"), "br", BODY),
        ((413, "body-too-large"), "gzip", gzip.compress(b"[" * 10**8)),
        ((413, "body-too-large"), "zstd", zstandard.compress(b"[" * 10**8)),
        ((413, "body-too-large"), "deflate", zlib.compress(b" " * 10**8)),
    ],
    ids=[
        "no-gzip", "gzip-cut", "zstd-cut", "no-zstd", "brotli", "gzip-bomb", "zstd-bomb",
        "deflate-bomb",
    ],
)  # fmt: skip
def test_broken_and_bursting_bodies_are_refused(
    door: Door, expected: tuple[int, str], encoding: str, body: bytes
) -> None:
    """A bomb is stopped after its first pieces."""
    headers = {**door.headers("manage"), "Content-Encoding": encoding}
    answer = door.client.post("/v1/keys", headers=headers, content=body)
    assert expected == problem(answer)


# --- probes, metrics, pages ----------------------------------------------------------------


def test_probes(door: Door) -> None:
    """Live, ready with every check, and not ready while it drains."""
    client = door.client
    assert (200, "ok\n") == (client.get("/livez").status_code, client.get("/healthz").text)
    ready = client.get("/readyz?verbose")
    assert 200 == ready.status_code
    assert "[+] redis: answers" in ready.text
    settings: Settings = client.app.state.settings  # type: ignore[attr-defined]
    (settings.data_dir / "draining").touch()
    draining = client.get("/readyz")
    assert 503 == draining.status_code
    assert "[-] serving: stopping" in draining.text
    assert 200 == client.get("/livez").status_code


def test_metrics_count_requests_by_route(door: Door) -> None:
    """The token is asked for, and labels are routes, not paths."""
    client = door.client
    client.get("/v1/keys", headers=door.headers("manage"))
    client.delete("/v1/keys/some-id-4711", headers=door.headers("manage"))
    assert (401, "unauthorized") == problem(client.get("/metrics"))
    text = client.get("/metrics", headers={"Authorization": "Bearer " + "m" * 20}).text
    assert 'gateway_http_requests_total{method="GET",route="/v1/keys",status="200"}' in text
    assert "some-id-4711" not in text
    assert 'gateway_problems_total{type="not-found"}' in text


def test_system_tells_versions_and_clock(door: Door) -> None:
    """Operators and SDKs see what runs here, and how far their clock is off."""
    headers = {**door.headers("read"), "Date": "Sun, 01 Jan 2040 00:00:00 GMT"}
    found = door.client.get("/v1/system", headers=headers).json()
    assert found["ready"] is True
    assert found["clock"]["skew_s"] > 10**6
    assert 4 == found["shards"]


def test_pages_load_nothing_from_elsewhere(door: Door) -> None:
    """The reference works offline, under a policy that forbids everything foreign."""
    client = door.client
    page = client.get("/docs")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for path in ("/docs", "/docs/reference.css", "/docs/reference.js", "/errors"):
        answer = client.get(path)
        assert 200 == answer.status_code
        assert "http://" not in answer.text.replace("http://127.0.0.1", "")
        assert "https://" not in answer.text
    assert (404, "not-found") == problem(client.get("/docs/secret"))
    for slug in PROBLEMS:
        assert f'id="{slug}"' in client.get("/errors").text


def test_openapi_names_every_route(door: Door) -> None:
    """The document is OpenAPI 3.1, with one operation id for each operation."""
    document = door.client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    ids = [
        operation["operationId"]
        for item in document["paths"].values()
        for operation in item.values()
    ]
    assert len(ids) == len(set(ids))
    assert {"livez", "create_key", "system"} <= set(ids)
