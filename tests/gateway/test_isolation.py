"""Nobody gets in, and nobody sees what belongs to another tenant: every route, every credential."""

import asyncio
import gzip
import json
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import quote

import jwt
import pytest
import redis.asyncio
import zstandard
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.testing import TestClient

from gateway.app import create_app
from gateway.config import Settings
from gateway.keys import KeyStore
from gateway.routes import ROUTES

NOW_S = int(time.time())
RSA_KEY = rsa.generate_private_key(65537, 2048)
PUBLIC_PEM = (
    RSA_KEY.public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)
PRIVATE_PEM = RSA_KEY.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.PKCS8,
    serialization.NoEncryption(),
)
SECRET = "s" * 40
THEIRS, NOBODY = "theirs-1", "nobody-1"
MAX_BODY_BYTES = 1_000_000
TRIGGER = {
    "on": {"event": "enter"},
    "variants": [{"message": {"title": "Hi", "body": "there"}}],
}
OWNED: dict[str, Any] = {
    f"/v1/geofences/{THEIRS}": {
        "geometry": {"type": "Point", "coordinates": [13.4, 52.5]},
        "radius_m": 100,
    },
    f"/v1/beacons/{THEIRS}": {"beacons": ["ibeacon:E2C56DB5DFFB48D2B060D0F5A71096E0:1:3"]},
    f"/v1/receivers/{THEIRS}": {"zone": THEIRS},
    f"/v1/triggers/{THEIRS}": TRIGGER,
    f"/v1/devices/{THEIRS}": {"user_id": THEIRS},
    f"/v1/users/{THEIRS}": {"attributes": {"first_name": "Kim"}},
    f"/v1/credentials/{THEIRS}": {
        "type": "webhook",
        "url": "https://example.com/in",
        "secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    },
    "/v1/jwt-keys/hs": {"algorithm": "HS256", "secret": SECRET},
    "/v1/jwt-keys/rs": {"algorithm": "RS256", "public_key": PUBLIC_PEM},
    f"/v1/jwt-keys/{THEIRS}": {"algorithm": "HS256", "secret": SECRET},
}
BODIES: dict[str, Any] = {
    path.rsplit("/", 1)[0]: json.loads(json.dumps(document).replace(THEIRS, "mine-1"))
    for path, document in OWNED.items()
}

SCOPES = ("manage", "read", "ingest", "receiver:r-1", "device")
READERS = {"manage", "read"}
# Who may call what, where it is not: read for GET, manage for everything else.
ALLOWED: dict[tuple[str, str], set[str]] = {
    ("POST", "/v1/pings"): {"ingest", "device"},
    ("POST", "/v1/sightings"): {"ingest", "receiver:r-1", "device"},
    ("POST", "/v1/events"): {"ingest", "manage"},
    ("GET", "/v1/regions"): {*READERS, "ingest", "device"},
    ("GET", "/v1/inbox"): {*READERS, "device"},
    ("POST", "/v1/inbox/marks"): {"ingest", "manage", "device"},
    ("GET", "/v1/web-push/key"): {*READERS, "ingest", "device"},
    ("PUT", "/v1/web-push/subscription"): {"ingest", "manage", "device"},
    ("DELETE", "/v1/web-push/subscription"): {"ingest", "manage", "device"},
    ("POST", "/v1/messages/preview"): READERS,
    ("GET", "/v1/keys"): {"manage"},
    ("GET", "/v1/jwt-keys"): {"manage"},
    ("GET", "/v1/audit"): {"manage"},
    ("GET", "/v1/users/{user_id}/export"): {"manage"},
}
INTAKE = {"ingest", "receiver:r-1", "device"}
OPEN = {
    ("POST", "/v1/receipts"),
    ("POST", "/v1/actions/{action_token}"),
    ("POST", "/v1/session"),
    ("DELETE", "/v1/session"),
}
OPEN_PLACES = ("/livez", "/healthz", "/readyz", "/metrics", "/docs", "/errors", "/push", "/console")


class Api(NamedTuple):
    """The application, and credentials by tenant and scope."""

    client: TestClient[Litestar]
    keys: dict[tuple[str, str], str]
    key_ids: dict[tuple[str, str], str]

    def call(self, method: str, path: str, who: tuple[str, str] | None, **more: Any) -> Any:
        """The answer; never a 500."""
        headers = dict(more.pop("headers", {}))
        if who is not None:
            headers["Authorization"] = f"Bearer {self.keys[who]}"
        answer = self.client.request(method, path, headers=headers, **more)
        assert answer.status_code != 500, (method, path, answer.text)
        return answer


@pytest.fixture(scope="module")
def api(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    async def make_keys() -> dict[tuple[str, str], Any]:
        client = redis.asyncio.Redis.from_url(redis_url)
        await client.flushall()
        store, now = KeyStore(client), time.time_ns() // 1_000_000
        made = {
            (tenant, scope): await store.create(tenant, [scope], now)
            for tenant in ("acme", "beta")
            for scope in SCOPES[:-1]
        }
        await client.aclose()
        return made

    made = asyncio.run(make_keys())
    folder = tmp_path_factory.mktemp("isolation")
    settings = Settings(
        data_dir=folder, redis_url=redis_url, background=False, max_body_bytes=MAX_BODY_BYTES
    )
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        keys = {who: key.text for who, key in made.items()}
        api = Api(client, keys, {who: key.id for who, key in made.items()})
        for tenant in ("acme", "beta"):
            path = "/v1/devices/d-1/token"
            keys[tenant, "device"] = api.call("POST", path, (tenant, "manage")).json()["token"]
        fill(api)
        yield api


def fill(api: Api) -> None:
    """Give acme something of every kind."""
    for path, document in OWNED.items():
        put = api.call("PUT", path, ("acme", "manage"), json=document)
        assert put.status_code in (200, 201), (path, put.text)
    receipt = {"push_id": THEIRS, "kind": "opened", "device_id": THEIRS}
    taken = api.call("POST", "/v1/receipts", ("acme", "ingest"), json=receipt)
    assert 200 == taken.status_code, taken.text


def every_route() -> list[tuple[str, str]]:
    """Method and path template of every route."""
    found = {
        (str(method), path.replace(":str", "").replace(":path", ""))
        for handler in ROUTES
        if isinstance(handler, HTTPRouteHandler)
        for path in handler.paths
        for method in handler.http_methods
        if method not in ("OPTIONS", "HEAD")
    }
    return sorted(found)


def is_open(method: str, path: str) -> bool:
    """Whether the route needs no credential."""
    views = ("/", "/triggers", "/explain", "/deliveries", "/try")
    return (method, path) in OPEN or path in views or path.startswith(OPEN_PLACES)


def is_intake(path: str) -> bool:
    """Whether it is a door of stock apps."""
    return path.startswith(("/ingest/", "/i/", "/pub"))


CLOSED = [route for route in every_route() if not is_open(*route)]
OURS = [route for route in CLOSED if not is_intake(route[1])]
BY_ID = [route for route in OURS if "{" in route[1]]


def allowed(method: str, path: str) -> set[str]:
    """The scopes that open a route."""
    if is_intake(path):
        return INTAKE
    return ALLOWED.get((method, path), READERS if method == "GET" else {"manage"})


def filled(path: str, value: str = NOBODY, token: str = "") -> str:
    """The path with a value in place of every parameter."""
    parts = [
        (token if part == "{token}" else "owntracks" if part == "{format}" else value)
        if part.startswith("{")
        else part
        for part in path.split("/")
    ]
    return "/".join(quote(part, safe="") for part in parts)


QUERY = {"lat": "52.5", "lon": "13.4", "endpoint": "https://push.example/x"}
BAD_CREDENTIALS: dict[str, dict[str, str]] = {
    "none": {},
    "empty": {"Authorization": "Bearer "},
    "unknown": {"Authorization": "Bearer tgw_AAAAAAAAAA_" + "B" * 43},
    "garbage": {"Authorization": "Bearer " + "\xff" * 20},
    "huge": {"Authorization": "Bearer " + "a" * 100_000},
    "other-scheme": {"Authorization": "Digest username=acme"},
    "cookie": {"Cookie": "session=forged"},
}


def test_every_route_wants_a_good_credential(api: Api) -> None:
    """401 for none, an unknown, a broken one; only the routes that are meant to be open are."""
    cases = 0
    for method, path in CLOSED:
        for name, headers in BAD_CREDENTIALS.items():
            url = filled(path, token="tgw_nobody")
            sent = [(k.encode(), v.encode("latin-1")) for k, v in headers.items()]
            answer = api.client.request(method, url, headers=sent, json={}, params=QUERY)
            assert 401 == answer.status_code, (method, url, name, answer.text[:200])
            cases += 1
    assert cases > 600, cases


@pytest.mark.parametrize("scope", SCOPES)
def test_every_route_asks_for_its_scope(api: Api, scope: str) -> None:
    """403 exactly where the scope does not reach; a grant never ends in 401 or 403."""
    for method, path in CLOSED:
        if path == "/v1/events/stream" and scope in READERS:
            continue  # it would not end
        url = filled(path, "d-1", token=api.keys["acme", scope])
        document = BODIES.get(path.rpartition("/{")[0], {"device_id": "d-1"})
        answer = api.call(method, url, ("acme", scope), json=document, params=QUERY)
        if scope in allowed(method, path):
            assert answer.status_code not in (401, 403), (method, url, answer.text)
        else:
            assert 403 == answer.status_code, (method, url, answer.status_code, answer.text)
    fill(api)


def said(answer: Any, own_id: str) -> tuple[int, str, list[str]]:
    """What an answer tells, apart from the id that was asked for and the request's own id."""
    text = answer.text
    if answer.headers.get("content-type", "").startswith("application/problem"):
        text = "".join(f"{k}={v}" for k, v in answer.json().items() if k != "instance")
    headers = sorted(name for name in answer.headers if name != "date")
    return answer.status_code, text.replace(own_id, "ID"), headers


def test_another_tenants_ids_are_unknown_ids(api: Api) -> None:
    """What another tenant has is answered as what nobody has: status, words and headers."""
    cases = 0
    for method, path in BY_ID:
        known, unknown = THEIRS, NOBODY
        if path.startswith("/v1/keys"):
            known, unknown = api.key_ids["acme", "read"], "AAAAAAAAAA"
        if method == "PUT" or path.endswith("/token"):
            continue  # makes an own one: below
        document = {"from": "someone-else"} if path.endswith("/merge") else {}
        answers = [
            said(api.call(method, filled(path, one), ("beta", "manage"), json=document), one)
            for one in (known, unknown)
        ]
        assert answers[0] == answers[1], (method, path)
        assert 400 <= answers[0][0] < 500 or answers[0][0] == 200, (method, path, answers[0])
        cases += 1
    assert cases > 30, cases


ASKED = [
    "/v1/events?device={}",
    "/v1/events?user={}",
    "/v1/events?zone={}",
    "/v1/deliveries?device={}",
    "/v1/deliveries?push={}",
    "/v1/deliveries?trigger={}",
    "/v1/explain?device={}",
    "/v1/explain?user={}",
    "/v1/explain?device=x&trigger={}",
    "/v1/inbox?device={}",
    "/v1/inbox?user={}",
    "/v1/deliveries/p?device={}",
]
NAMED: list[tuple[str, dict[str, Any]]] = [
    ("/v1/users/own/merge", {"from": "{}"}),
    ("/v1/inbox/marks", {"ids": ["{}"], "state": "read", "user_id": "{}"}),
    ("/v1/notifications", {"user_id": "{}", "message": {"title": "x"}}),
    ("/v1/notifications", {"device_id": "{}", "message": {"title": "x"}}),
    ("/v1/messages/preview", {"device_id": "{}", "message": {"title": "x"}}),
    ("/v1/dead-letters/replay", {"ids": ["{}"]}),
]


def test_ids_in_queries_and_bodies_stay_within_the_tenant(api: Api) -> None:
    """The same for ids that are no part of the path."""
    api.call("PUT", "/v1/users/own", ("beta", "manage"), json={})
    for path in ASKED:
        answers = [
            said(api.call("GET", path.format(one), ("beta", "manage")), one)
            for one in (THEIRS, NOBODY)
        ]
        assert answers[0] == answers[1], path
    for path, document in NAMED:
        answers = []
        for one in (THEIRS, NOBODY):
            body = json.loads(json.dumps(document).replace("{}", one))
            answers.append(said(api.call("POST", path, ("beta", "manage"), json=body), one))
        assert answers[0] == answers[1], path


def test_the_same_id_at_two_tenants_is_two_things(api: Api) -> None:
    """Writing, erasing and listing at one tenant leaves the other's documents as they are."""
    fill(api)
    readable = [path for path in OWNED if "jwt-keys" not in path]

    def stored() -> dict[str, Any]:
        return {path: api.call("GET", path, ("acme", "manage")).json() for path in readable}

    before = stored()
    for path, document in OWNED.items():
        assert 201 == api.call("PUT", path, ("beta", "manage"), json=document).status_code
        assert api.call("DELETE", path, ("beta", "manage")).status_code in (200, 204)
    assert before == stored()
    for path in {path.rsplit("/", 1)[0] for path in OWNED}:
        assert THEIRS not in api.call("GET", path, ("beta", "manage")).text, path


def bad_tokens() -> dict[str, str]:
    """Device tokens that must not open anything, by what is wrong with them."""
    good = {"aud": "gateway", "sub": "d-1", "iat": NOW_S, "exp": NOW_S + 600}

    def made(kid: str, key: Any, algorithm: str, **changes: Any) -> str:
        claims = {name: value for name, value in {**good, **changes}.items() if value is not None}
        return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid})

    header = jwt.utils.base64url_encode(b'{"alg":"HS256","typ":"JWT","kid":"acme/rs"}')
    payload = made("acme/hs", SECRET, "HS256").split(".")[1].encode()
    mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = mac.sign(header + b"." + payload, PUBLIC_PEM.encode())
    confused = b".".join((header, payload, jwt.utils.base64url_encode(signature))).decode()
    return {
        "alg-none": made("acme/hs", None, "none"),
        "hs-with-public-key": confused,
        "rs-for-hs-key": made("acme/hs", PRIVATE_PEM, "RS256"),
        "wrong-secret": made("acme/hs", "x" * 40, "HS256"),
        "wrong-audience": made("acme/hs", SECRET, "HS256", aud="other"),
        "no-audience": made("acme/hs", SECRET, "HS256", aud=None),
        "expired": made("acme/hs", SECRET, "HS256", exp=NOW_S - 100),
        "no-expiry": made("acme/hs", SECRET, "HS256", exp=None),
        "endless": made("acme/hs", SECRET, "HS256", exp=float("inf")),
        "lives-too-long": made("acme/hs", SECRET, "HS256", exp=NOW_S + 10 * 366 * 86_400),
        "from-the-future": made("acme/hs", SECRET, "HS256", iat=NOW_S + 600, exp=NOW_S + 900),
        "no-device": made("acme/hs", SECRET, "HS256", sub=None),
        "foreign-kid": made("beta/hs", SECRET, "HS256"),
        "kid-is-a-path": made("../acme/hs", SECRET, "HS256"),
        "kid-is-a-url": made("https://evil.example/acme/hs", SECRET, "HS256"),
        "kid-is-no-text": made("\ud800/hs", SECRET, "HS256"),
        "kid-of-the-gateway": made("acme/~gateway", SECRET, "HS256"),
        "kid-with-nul": made("acme\0/hs", SECRET, "HS256"),
        "cut": made("acme/hs", SECRET, "HS256")[:-10],
        "huge": "eyJ" + "a" * 50_000 + ".b.c",
    }


TOKENS = bad_tokens()
PING = {"device_id": "d-1", "lat": 52.5, "lon": 13.4, "recorded_at": NOW_S * 1000}


@pytest.mark.parametrize("name", TOKENS)
def test_forged_tokens_open_nothing(api: Api, name: str) -> None:
    """RFC 8725's attacks on every route that takes device tokens: always 401."""
    headers = {"Authorization": f"Bearer {TOKENS[name]}"}
    for method, path in CLOSED:
        if "device" in allowed(method, path):
            url = filled(path, "d-1", token=TOKENS[name])
            answer = api.client.request(method, url, headers=headers, json=PING, params=QUERY)
            assert 401 == answer.status_code, (method, path, answer.text)


def test_a_device_token_speaks_for_its_device_alone(api: Api) -> None:
    """Another device's ping, inbox and subscription are refused; the good token works."""
    who = ("acme", "device")
    assert 202 == api.call("POST", "/v1/pings", who, json=PING).status_code
    other = {**PING, "device_id": "d-2"}
    assert 403 == api.call("POST", "/v1/pings", who, json=other).status_code
    assert 403 == api.call("GET", "/v1/inbox?device=d-2", who).status_code
    marks = {"ids": ["x"], "state": "read", "device_id": "d-2"}
    assert 403 == api.call("POST", "/v1/inbox/marks", who, json=marks).status_code


WEIRD_IDS = [
    "..", "../keys", "..%2f..%2fsettings", "a/b", "a\\b", "\x00", "a\x00b", "a\nSet-Cookie: x=1",
    "\r\n", " ", "{s:00}", "*", "a" * 129, "a" * 10_000, "~kim", "😀", "\u202e", "%", "null",
    "__proto__", "\ud7ff", "a:b", "acme/theirs-1", "0", "import", "export", "-1", "%00",
]  # fmt: skip


def test_strange_ids_are_ids_or_errors(api: Api) -> None:
    """No id leads out of its place: never a 500, no header of the client's making."""
    cases = 0
    for method, path in BY_ID:
        for one in WEIRD_IDS:
            url = filled(path, one)
            document = BODIES.get(path.rpartition("/{")[0], {})
            answer = api.call(method, url, ("beta", "manage"), json=document)
            assert answer.status_code < 500, (method, url, answer.text)
            assert "set-cookie" not in answer.headers, (method, url)
            assert THEIRS not in answer.text.replace(one, ""), (method, url)
            cases += 1
    assert cases > 1000, cases


def test_bytes_that_are_no_text_are_errors(api: Api) -> None:
    """Broken percent-encoding, UTF-8 and JSON text in paths, queries and bodies."""
    who = ("beta", "manage")
    for path in ("/v1/devices/%ff", "/v1/devices/%c0%ae", "/v1/events?device=%ff", "/%ff"):
        assert api.call("GET", path, who).status_code < 500, path
    for body in (b'{"id": "\xff"}', b'{"user_id": "\\ud800"}', b"\xff\xfe", b"{", b"nul", b'"'):
        answer = api.call("PUT", "/v1/devices/d", who, content=body)
        assert answer.status_code in (400, 422), (body, answer.text)


def bombs() -> dict[str, tuple[dict[str, str], bytes]]:
    """Bodies that are small on the wire and large, deep or wide inside."""
    deep = b"[" * 200_000
    objects = b'{"a":' * 100_000
    wide = b'{"' + b'":1,"'.join(b"%d" % n for n in range(100_000)) + b'":1}'
    return {
        "gzip": ({"Content-Encoding": "gzip"}, gzip.compress(b" " * 200_000_000, 9)),
        "zstd": ({"Content-Encoding": "zstd"}, zstandard.compress(b" " * 200_000_000)),
        "gzip-twice": (
            {"Content-Encoding": "gzip"},
            gzip.compress(gzip.compress(b" " * 10_000_000)),
        ),
        "deep-arrays": ({}, deep),
        "deep-objects": ({}, objects),
        "wide": ({}, wide),
        "declared": ({"Content-Length": "100000000"}, b"{}"),
        "deep-msgpack": ({"Content-Type": "application/msgpack"}, b"\x91" * 500_000),
        "msgpack-length": ({"Content-Type": "application/msgpack"}, b"\xdd\xff\xff\xff\xff"),
    }


BOMBS = bombs()
WRITES = [route for route in CLOSED if route[0] in ("POST", "PUT", "PATCH")]


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_in_bounded_memory(api: Api, name: str) -> None:
    """4xx on every route that reads a body, with a few megabytes of memory."""
    headers, body = BOMBS[name]
    routes = WRITES if len(body) < 1000 else WRITES[::6]
    tracemalloc.start()
    try:
        for method, path in routes:
            scope = "manage" if "manage" in allowed(method, path) else "ingest"
            url = filled(path, token=api.keys["beta", scope])
            kind = {"Content-Type": "application/json", **headers}
            tracemalloc.reset_peak()
            base, _ = tracemalloc.get_traced_memory()
            answer = api.call(method, url, ("beta", scope), content=body, headers=kind)
            _, peak = tracemalloc.get_traced_memory()
            assert answer.status_code < 500, (method, url, answer.text)
            assert peak - base < 40_000_000, (method, url, peak - base)
    finally:
        tracemalloc.stop()


def test_a_body_without_end_is_cut_off(api: Api) -> None:
    """100 MB in pieces: refused after the limit, whatever the route."""

    def pieces() -> Iterator[bytes]:
        for _ in range(1600):
            yield b" " * 65_536

    for path in ("/v1/pings", "/v1/devices/d", "/ingest/owntracks", "/v1/receipts"):
        method = "PUT" if "devices" in path else "POST"
        scope = "manage" if "devices" in path else "ingest"
        answer = api.call(method, path, ("beta", scope), content=pieces())
        assert 413 == answer.status_code, (path, answer.text)


def test_many_and_long_headers_are_no_failure(api: Api) -> None:
    """What the server lets through of them does not matter to the application."""
    many = {f"X-{number}": "v" for number in range(5000)}
    for headers in (many, {"X-Long": "v" * 1_000_000}, {"X-Request-ID": "a" * 100_000}):
        answer = api.call("GET", "/v1/keys", ("beta", "manage"), headers=headers)
        assert 200 == answer.status_code
        assert len(answer.headers["x-request-id"]) <= 64
    for name in ("If-Match", "If-None-Match", "Idempotency-Key", "Accept", "Content-Type"):
        for value in ("", "\xff", '"' * 10_000, ",".join('"1"' for _ in range(10_000)), "W/"):
            headers_ = [(name.encode(), value.encode("latin-1"))]
            auth = [(b"Authorization", f"Bearer {api.keys['beta', 'manage']}".encode())]
            answer = api.client.request(
                "PUT", "/v1/users/u", headers=headers_ + auth, content=b"{}"
            )
            assert answer.status_code < 500, (name, value[:20], answer.text)
