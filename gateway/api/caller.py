"""What every route asks of its request: who calls, with which services, and what the body says."""

import time
from typing import Any

import msgspec
from litestar import Request, Response

from gateway.document import Document, Expected
from gateway.errors import Problem
from gateway.etags import PreconditionFailed, etag, expected_version

Call = Request[Any, Any, Any]
NO_STORE = {"Cache-Control": "no-store"}
MSGPACK = ("application/msgpack", "application/x-msgpack", "application/vnd.msgpack")


def now_ms() -> int:
    """This instant, epoch ms."""
    return time.time_ns() // 1_000_000


async def json_body(request: Call) -> Any:
    """The body, decoded: MessagePack if the content type says so, else JSON.

    Raises:
        Problem: it cannot be decoded, or nests too deep.
    """
    body = await request.body()
    if not body:
        raise Problem("malformed-body", "The body is empty; send a JSON document.")
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if media_type in MSGPACK:
            return msgspec.msgpack.decode(body)
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem("malformed-body", f"The body cannot be decoded: {error}") from None


async def object_body(request: Call) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
        Problem: it is something else.
    """
    body = await json_body(request)
    if not isinstance(body, dict) or not all(isinstance(name, str) for name in body):
        raise Problem(
            "invalid-document",
            f"The body is {_word(body)}; a JSON object is needed.",
            errors=[("#", "must be an object")],
        )
    return body


def expectation(request: Call, version: int) -> Expected:
    """What the conditional headers of a write ask for; ``version`` is stored now, 0 for none.

    Raises:
        Problem: they do not hold.
    """
    try:
        return expected_version(
            request.headers.get("if-match"), request.headers.get("if-none-match"), version
        )
    except PreconditionFailed as failed:
        raise precondition_failed(failed.version) from None


def precondition_failed(version: int) -> Problem:
    """412, with the tag of what is stored."""
    if not version:
        return Problem("precondition-failed", "Nothing is stored under this id.")
    return Problem(
        "precondition-failed",
        f"The stored document has the tag {etag(version)}.",
        headers={"ETag": etag(version)},
    )


def answer(
    body: Any,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    media_type: str = "application/json",
) -> Response[bytes]:
    """A JSON answer."""
    return Response(
        msgspec.json.encode(body), status_code=status, media_type=media_type, headers=headers
    )


def document_headers(document: Document) -> dict[str, str]:
    """Validators of a document."""
    return {"ETag": etag(document.version), "Cache-Control": "private, no-cache"}


def not_found(noun: str, document_id: str) -> Problem:
    """404 in the same words for what is unknown and for what belongs to another tenant."""
    return Problem("not-found", f"No {noun} has the id {document_id[:128]!r}.")


def _word(value: Any) -> str:
    words = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return words.get(type(value), "a number")
