"""Every kind of configuration document can be created, read, replaced, patched, listed, deleted."""

import json
from collections.abc import Callable
from typing import Any

import pytest

ApiClient = Callable[..., Any]

RECEIVER = {"name": "Entrance", "zone": "entrance", "report_interval_s": 5.0, "tags": ["door"]}


@pytest.fixture
def client(api_client: ApiClient) -> Any:
    from gateway.api import receivers

    return api_client(receivers.ROUTES)


def test_put_creates_then_replaces(client: Any) -> None:
    """201 with Location first, 200 after; equal documents keep version and tag."""
    made = client.put("/v1/receivers/gw-1", json=RECEIVER)
    assert 201 == made.status_code
    assert "/v1/receivers/gw-1" == made.headers["location"]
    body = made.json()
    assert {**RECEIVER, "id": "gw-1"} == {
        k: v for k, v in body.items() if k not in ("version", "created_at", "updated_at")
    }
    assert f'"{body["version"]}"' == made.headers["etag"]
    again = client.put("/v1/receivers/gw-1", json=RECEIVER)
    assert (200, made.headers["etag"]) == (again.status_code, again.headers["etag"])
    changed = client.put("/v1/receivers/gw-1", json={"name": "Exit"})
    assert 200 == changed.status_code
    assert {"id": "gw-1", "name": "Exit"}.items() <= changed.json().items()
    assert "tags" not in changed.json()
    assert changed.headers["etag"] != made.headers["etag"]


def test_what_was_read_can_be_put_back(client: Any) -> None:
    """Read-only members in a body are ignored, so read-change-write works."""
    made = client.put("/v1/receivers/gw-1", json=RECEIVER)
    again = client.put("/v1/receivers/gw-1", json=made.json())
    assert made.json() == again.json()


def test_reading(client: Any) -> None:
    """GET gives the document and its tag; 304 for a tag that still holds; 404 for none."""
    made = client.put("/v1/receivers/gw-1", json=RECEIVER)
    got = client.get("/v1/receivers/gw-1")
    assert (200, made.json()) == (got.status_code, got.json())
    tag = got.headers["etag"]
    same = client.get("/v1/receivers/gw-1", headers={"If-None-Match": f'W/"0", {tag}'})
    assert (304, b"", tag) == (same.status_code, same.content, same.headers["etag"])
    assert 200 == client.get("/v1/receivers/gw-1", headers={"If-None-Match": '"0"'}).status_code
    none = client.get("/v1/receivers/gw-2")
    assert (404, "/errors#not-found") == (none.status_code, none.json()["type"])


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
@pytest.mark.parametrize(
    ("headers", "is_done"),
    [
        ({"If-Match": "*"}, True),
        ({"If-Match": "CURRENT"}, True),
        ({"If-Match": '"0", CURRENT'}, True),
        ({"If-Match": '"0"'}, False),
        ({"If-Match": "W/CURRENT"}, False),
        ({"If-Match": "nonsense"}, False),
        ({"If-None-Match": "*"}, False),
    ],
)
def test_conditional_writes(
    client: Any, method: str, headers: dict[str, str], is_done: bool
) -> None:
    """A write whose condition does not hold is 412 and changes nothing."""
    tag = client.put("/v1/receivers/gw-1", json=RECEIVER).headers["etag"]
    sent = {name: value.replace("CURRENT", tag) for name, value in headers.items()}
    body = {} if method == "delete" else {"json": {"name": "new"}}
    reply = client.request(method.upper(), "/v1/receivers/gw-1", headers=sent, **body)
    after = client.get("/v1/receivers/gw-1").headers.get("etag")
    assert (is_done, not is_done) == (reply.is_success, after == tag)
    if not is_done:
        assert (412, tag) == (reply.status_code, reply.headers["etag"])


def test_create_only(client: Any) -> None:
    """If-None-Match: * creates, and If-Match on nothing does not."""
    star = {"If-None-Match": "*"}
    assert 201 == client.put("/v1/receivers/gw-1", json=RECEIVER, headers=star).status_code
    assert 412 == client.put("/v1/receivers/gw-1", json=RECEIVER, headers=star).status_code
    match = {"If-Match": "*"}
    assert 412 == client.put("/v1/receivers/gw-2", json=RECEIVER, headers=match).status_code
    assert 404 == client.get("/v1/receivers/gw-2").status_code


def test_patching(client: Any) -> None:
    """A merge patch changes what it names, null removes, and the result is checked as a whole."""
    client.put("/v1/receivers/gw-1", json={**RECEIVER, "metadata": {"floor": 1, "wing": "a"}})
    done = client.patch(
        "/v1/receivers/gw-1", json={"name": None, "metadata": {"wing": None, "door": 2}}
    )
    assert 200 == done.status_code
    assert {"floor": 1, "door": 2} == done.json()["metadata"]
    assert "name" not in done.json()
    assert "entrance" == done.json()["zone"]
    wrong = client.patch("/v1/receivers/gw-1", json={"report_interval_s": -1})
    assert (422, "#/report_interval_s") == (wrong.status_code, wrong.json()["errors"][0]["pointer"])
    assert 404 == client.patch("/v1/receivers/gw-2", json={}).status_code


def test_deleting(client: Any) -> None:
    """204, then 404."""
    client.put("/v1/receivers/gw-1", json=RECEIVER)
    gone = client.delete("/v1/receivers/gw-1")
    assert (204, b"") == (gone.status_code, gone.content)
    assert 404 == client.delete("/v1/receivers/gw-1").status_code
    assert 404 == client.get("/v1/receivers/gw-1").status_code


def test_lists_are_pages(client: Any) -> None:
    """Following next_cursor (or Link) gives everything once, in order; then null."""
    ids = sorted(f"gw-{n}" for n in range(25))
    for n, one in enumerate(ids):
        client.put(f"/v1/receivers/{one}", json={"tags": ["odd"] if n % 2 else ["even", "x"]})
    found, url = [], "/v1/receivers?limit=10"
    while url:
        reply = client.get(url)
        found += [item["id"] for item in reply.json()["items"]]
        link = reply.headers.get("link")
        assert (reply.json()["next_cursor"] is None) == (link is None)
        url = link.split(";")[0].strip("<>") if link else ""
    assert ids == found
    odd = client.get("/v1/receivers?tag=odd").json()
    assert ([ids[n] for n in range(1, 25, 2)], None) == (
        [item["id"] for item in odd["items"]],
        odd["next_cursor"],
    )
    both = client.get("/v1/receivers?tag=even&tag=x&limit=2").json()
    assert [ids[0], ids[2]] == [item["id"] for item in both["items"]]
    assert [] == client.get("/v1/receivers?tag=even&tag=odd").json()["items"]
    last = client.get("/v1/receivers/gw-9").json()["updated_at"]
    since = client.get("/v1/receivers", params={"updated_since": last}).json()["items"]
    assert "gw-9" in [item["id"] for item in since]


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("limit=0", "query limit"),
        ("limit=1001", "query limit"),
        ("cursor=***", "query cursor"),
        ("updated_since=yesterday", "query updated_since"),
        ("updated_since=2026-01-01T00:00:00", "query updated_since"),
    ],
)
def test_a_bad_parameter_is_named(client: Any, query: str, place: str) -> None:
    """400 with the parameter's name."""
    reply = client.get(f"/v1/receivers?{query}")
    assert (400, place) == (reply.status_code, reply.json()["errors"][0]["pointer"])


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ({"nmae": "x"}, "#/nmae", "did you mean 'name'?"),
        ({"id": "other"}, "#/id", "the path says 'gw-1'"),
        ({"lat": 1}, "#/lon", "go together"),
        ({"lat": 91, "lon": 0}, "#/lat", "<= 90"),
        ({"tags": ["a,b"]}, "#/tags/0", "no comma"),
        ({"tags": "a"}, "#/tags", "array"),
        ({"report_interval_s": "5"}, "#/report_interval_s", "float"),
        ({"metadata": {"x": "y" * 20_000}}, "#/metadata", "at most"),
        ({"zone": "a/b"}, "#/zone", "slashes"),
        ([], "#", "must be an object"),
        (None, "#", "must be an object"),
    ],
)
def test_a_bad_document_names_the_field(client: Any, body: Any, pointer: str, words: str) -> None:
    """422 with a JSON pointer and what is wrong; nothing is stored."""
    reply = client.put("/v1/receivers/gw-1", content=json.dumps(body))
    assert 422 == reply.status_code
    (error,) = reply.json()["errors"]
    assert pointer == error["pointer"]
    assert words in error["detail"]
    assert 404 == client.get("/v1/receivers/gw-1").status_code


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"name": NaN}', b"\xff", b"[" * 100_000, b'{"a":' * 50_000]
)
def test_a_body_that_is_no_json(client: Any, content: bytes) -> None:
    """400, never 500."""
    reply = client.put("/v1/receivers/gw-1", content=content)
    assert (400, "/errors#malformed-body") == (reply.status_code, reply.json()["type"])


@pytest.mark.parametrize("one", ["%20", "a%20b", "a%2Fb", "a%00b", "x" * 129, "%2e%2e", "a%5Cb"])
def test_an_id_that_cannot_be(client: Any, one: str) -> None:
    """Ids with blanks, slashes and control characters are refused."""
    assert client.put(f"/v1/receivers/{one}", json=RECEIVER).status_code in (404, 405, 422)


def test_ids_of_all_scripts(client: Any) -> None:
    """An id may hold any visible character."""
    for one in ("café", "店舗-1", "a:b", "a.b~c", "50%25", "x" * 128):
        reply = client.put(f"/v1/receivers/{one}", json=RECEIVER)
        assert 201 == reply.status_code
    assert 6 == len(client.get("/v1/receivers").json()["items"])


def test_messagepack_bodies(client: Any) -> None:
    """A body may be MessagePack."""
    import msgspec

    reply = client.put(
        "/v1/receivers/gw-1",
        content=msgspec.msgpack.encode(RECEIVER),
        headers={"Content-Type": "application/msgpack"},
    )
    assert (201, "Entrance") == (reply.status_code, reply.json()["name"])


def test_another_tenants_id_is_an_unknown_id(client: Any) -> None:
    """Answers differ in nothing but the id itself; writes make a document of the caller's own."""
    client.put("/v1/receivers/gw-1", json=RECEIVER)
    other = {"X-Tenant": "beta"}
    for method in ("GET", "PATCH", "DELETE"):
        body = {"json": {}} if method == "PATCH" else {}
        theirs = client.request(method, "/v1/receivers/gw-1", headers=other, **body)
        unknown = client.request(method, "/v1/receivers/gw-0", headers=other, **body)
        assert 404 == theirs.status_code
        assert theirs.json() == {
            **unknown.json(),
            "detail": unknown.json()["detail"].replace("gw-0", "gw-1"),
            "instance": theirs.json()["instance"],
        }
    assert [] == client.get("/v1/receivers", headers=other).json()["items"]
    assert 201 == client.put("/v1/receivers/gw-1", json={}, headers=other).status_code
    assert "Entrance" == client.get("/v1/receivers/gw-1").json()["name"]
