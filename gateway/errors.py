"""Every error the API can answer, as RFC 9457 problem details.

Model: ``PROBLEMS`` is the one table of problem types. A type's slug is the contract
(``<public url>/errors#<slug>``); title, status and whether to retry belong to the type, the detail
to the occurrence. ``Problem`` is the exception that carries one to the border; ``problem_of`` turns
every other exception into one.

Error tree: ``Problem`` (this module). Others' errors are translated here and nowhere else.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, SerializationException, ValidationException
from redis.exceptions import OutOfMemoryError, RedisError

from gateway.document import VersionConflict
from gateway.intake import OverloadedError
from gateway.private_redis import RedisUnavailable
from triggers.store import StoreUnavailableError

MEDIA_TYPE = "application/problem+json"

Slug = Literal[
    "invalid-request",
    "malformed-body",
    "invalid-document",
    "invalid-ping",
    "invalid-sighting",
    "idempotency-mismatch",
    "unauthorized",
    "forbidden",
    "location-refused",
    "not-found",
    "unknown-route",
    "method-not-allowed",
    "not-acceptable",
    "conflict",
    "request-running",
    "precondition-failed",
    "body-too-large",
    "unsupported-media-type",
    "rate-limited",
    "internal",
    "overloaded",
    "storage-full",
    "unavailable",
]


class ProblemType(NamedTuple):
    """One kind of problem: what it is called, how it is answered, what to do about it."""

    slug: Slug
    status: int
    title: str
    cure: str
    is_retryable: bool = False


_TYPES = (
    ProblemType(
        "invalid-request",
        400,
        "A parameter or header is wrong",
        "Correct the parameter that `errors` names.",
    ),
    ProblemType(
        "malformed-body",
        400,
        "The body cannot be read",
        "Send valid JSON or MessagePack, and a `Content-Encoding` that matches the bytes.",
    ),
    ProblemType(
        "invalid-document",
        422,
        "The body is not a valid document",
        "Correct the fields that `errors` names by JSON pointer.",
    ),
    ProblemType(
        "invalid-ping",
        422,
        "A ping is not valid",
        "Correct the field. The other pings of the call were accepted; do not send them again.",
    ),
    ProblemType(
        "invalid-sighting",
        422,
        "A sighting is not valid",
        "Correct the field. The other sightings of the call were accepted.",
    ),
    ProblemType(
        "idempotency-mismatch",
        422,
        "The idempotency key was used for another body",
        "Use a new `Idempotency-Key` for a new request.",
    ),
    ProblemType(
        "unauthorized",
        401,
        "No valid credential",
        "Send `Authorization: Bearer <key>`. Make a key with `gateway keys create`.",
    ),
    ProblemType(
        "forbidden",
        403,
        "The credential does not allow this",
        "Use a key with the scope that the detail names.",
    ),
    ProblemType(
        "location-refused",
        403,
        "The person does not allow location",
        "Stop sending positions of this device until its `consents.location` allows them.",
    ),
    ProblemType(
        "not-found",
        404,
        "No such thing",
        "Check the id. Things of other tenants are answered in the same way.",
    ),
    ProblemType(
        "unknown-route", 404, "No such route", "See `/docs` for the routes of this gateway."
    ),
    ProblemType(
        "method-not-allowed",
        405,
        "The route does not take this method",
        "Use a method that the `Allow` header names.",
    ),
    ProblemType(
        "not-acceptable",
        406,
        "No representation that the client accepts",
        "Send another `Accept` header.",
    ),
    ProblemType(
        "conflict",
        409,
        "The request contradicts what is stored",
        "Read the present state, then decide again.",
    ),
    ProblemType(
        "request-running",
        409,
        "A request with this idempotency key is still running",
        "Wait, then send the same request again.",
        is_retryable=True,
    ),
    ProblemType(
        "precondition-failed",
        412,
        "The document has another version",
        "Read it again, apply the change to what you read, and send its new `ETag`.",
    ),
    ProblemType(
        "body-too-large",
        413,
        "The body is too large",
        "Send fewer items a call, or raise `max_body_bytes`.",
    ),
    ProblemType(
        "unsupported-media-type",
        415,
        "The media type is not understood",
        "Send `application/json` or `application/msgpack`, plain or with `gzip` or `zstd`.",
    ),
    ProblemType(
        "rate-limited",
        429,
        "Too many requests",
        "Wait as long as `Retry-After` says.",
        is_retryable=True,
    ),
    ProblemType(
        "internal",
        500,
        "The gateway failed",
        "Try again. If it stays, look for the `instance` of the answer in the gateway's log.",
        is_retryable=True,
    ),
    ProblemType(
        "overloaded",
        503,
        "The gateway has more work than it can take",
        "Send the same request again after `Retry-After`.",
        is_retryable=True,
    ),
    ProblemType(
        "storage-full",
        503,
        "Redis is out of memory",
        "Nothing was stored. Give Redis more memory (`redis_maxmemory_bytes`), then send again.",
        is_retryable=True,
    ),
    ProblemType(
        "unavailable",
        503,
        "Redis cannot be reached",
        "Nothing was acknowledged. Send the same request again after `Retry-After`.",
        is_retryable=True,
    ),
)

PROBLEMS: Mapping[str, ProblemType] = {kind.slug: kind for kind in _TYPES}

# What an HTTP status means when no better type is known.
_BY_STATUS: Mapping[int, Slug] = {
    400: "invalid-request",
    401: "unauthorized",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    406: "not-acceptable",
    409: "conflict",
    412: "precondition-failed",
    413: "body-too-large",
    415: "unsupported-media-type",
    422: "invalid-document",
    429: "rate-limited",
    503: "unavailable",
}


class FieldError(NamedTuple):
    """One wrong field: JSON pointer fragment (``#/properties/radius_m``) and why."""

    pointer: str
    detail: str


class Problem(Exception):
    """A problem to be answered.

    Args:
        slug: its type, a key of ``PROBLEMS``.
        detail: what happened this time, which value, what to do.
        errors: the fields that are wrong, as pairs of JSON pointer and detail.
        headers: further response headers, e.g. ``Retry-After``.
        extra: further members of the answer.
    """

    def __init__(
        self,
        slug: Slug,
        detail: str,
        *,
        errors: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = PROBLEMS[slug]
        self.detail = detail
        self.errors = [FieldError(*error) for error in errors]
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.kind.status

    def document(self, base_url: str, instance: str) -> dict[str, Any]:
        """The members of the answer (RFC 9457, section 3)."""
        members: dict[str, Any] = {
            "type": type_url(self.kind.slug, base_url),
            "title": self.kind.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
        }
        if self.errors:
            members["errors"] = [error._asdict() for error in self.errors]
        return {**self.extra, **members}


@runtime_checkable
class NamesField(Protocol):
    """What the cores raise for a wrong document: JSON pointer and why (see their error trees)."""

    pointer: str
    detail: str


def type_url(slug: str, base_url: str) -> str:
    """The ``type`` of a problem: where its description can be read."""
    return f"{base_url}/errors#{slug}"


def problem_of(exc: Exception) -> Problem | None:
    """The problem that an exception means; ``None`` if it is a fault of the gateway itself."""
    for kinds, translate in _TRANSLATIONS:
        if isinstance(exc, kinds):
            return translate(exc)
    return None


def exception_handlers(
    base_url: str, log_failure: Callable[[Request[Any, Any, Any], Exception], None]
) -> dict[int | type[Exception], Any]:
    """Litestar's handlers: everything that can be raised becomes ``application/problem+json``.

    ``log_failure`` is called with faults of the gateway itself; their text is never sent.
    """

    def handle(request: Request[Any, Any, Any], exc: Exception) -> Response[bytes]:
        problem = problem_of(exc)
        if problem is None:
            log_failure(request, exc)
            problem = Problem("internal", "The gateway failed; its log has the cause.")
        return _response(request, problem, base_url)

    # Litestar asks for the status code first, then for the class.
    return {Exception: handle, HTTPException: handle}


def pointer_of(path: str) -> str:
    """The JSON pointer of a msgspec path: ``$.a[0].b`` is ``#/a/0/b``.

    A key that msgspec does not tell (``[...]``) is left out with all that follows.
    """
    known = path.removeprefix("$").partition("[...]")[0]
    parts = re.findall(r"\.([^.\[]+)|\[(\d+)\]", known)
    return "#" + "".join(f"/{_escape(name or index)}" for name, index in parts)


def _escape(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


def answer_of(
    problem: Problem, base_url: str, request_id: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a problem's answer."""
    headers = dict(problem.headers)
    if problem.kind.is_retryable:
        headers.setdefault("Retry-After", "1")
    if problem.status == HTTPStatus.UNAUTHORIZED:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="gateway", Basic realm="gateway"')
    document = problem.document(base_url, f"urn:request:{request_id}")
    return problem.status, headers, msgspec.json.encode(document)


def _response(request: Request[Any, Any, Any], problem: Problem, base_url: str) -> Response[bytes]:
    request_id = request.scope.get("state", {}).get("request_id", "")
    status, headers, body = answer_of(problem, base_url, request_id)
    return Response(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def _own(exc: Any) -> Problem:
    problem: Problem = exc
    return problem


def _from_fields(exc: Any) -> Problem:
    """The cores' errors: a JSON pointer and a detail."""
    pointer = "#" + exc.pointer.removeprefix("#")
    return Problem("invalid-document", str(exc), errors=[(pointer, exc.detail)])


def _from_conflict(exc: Any) -> Problem:
    if not exc.version:
        return Problem("precondition-failed", "Nothing is stored under this id.")
    tag = f'"{exc.version}"'
    return Problem(
        "precondition-failed", f"The stored document has the tag {tag}.", headers={"ETag": tag}
    )


def _from_msgspec(exc: Any) -> Problem:
    reason, _, path = str(exc).partition(" - at ")
    return Problem(
        "invalid-document",
        f"{reason}.",
        errors=[(pointer_of(path.strip("`")), reason)],
    )


def _from_undecodable(exc: Any) -> Problem:
    cause = exc.__cause__ or exc
    if isinstance(cause, msgspec.ValidationError):
        return _from_msgspec(cause)
    return Problem("malformed-body", f"The body cannot be decoded: {cause}")


def _from_validation(exc: Any) -> Problem:
    """Litestar's own validation: parameters and headers, or a typed body."""
    causes = [entry for entry in exc.extra or [] if isinstance(entry, dict)]
    is_body = any(entry.get("source") == "body" or entry.get("key") == "data" for entry in causes)
    errors = [(_place(entry), str(entry.get("message", ""))) for entry in causes]
    detail = "; ".join(f"{place}: {message}" for place, message in errors) or str(exc.detail)
    return Problem("invalid-document" if is_body else "invalid-request", detail, errors=errors)


def _place(entry: Mapping[str, Any]) -> str:
    key = str(entry.get("key", ""))
    source = entry.get("source")
    if source in ("body", None):
        return "#" + "".join(f"/{_escape(part)}" for part in key.split(".") if part != "data")
    return f"{source} {key}"


def _from_http(exc: Any) -> Problem:
    if isinstance(exc.__cause__, SerializationException | msgspec.DecodeError):
        return _from_undecodable(exc.__cause__)
    status = exc.status_code
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and status not in _BY_STATUS:
        return Problem("internal", "The gateway failed; its log has the cause.")
    detail = str(exc.detail)
    slug = _BY_STATUS.get(status, "invalid-request")
    if slug == "not-found" and detail == HTTPStatus.NOT_FOUND.phrase:
        slug, detail = "unknown-route", "No route has this path. See /docs."
    return Problem(slug, detail, headers=exc.headers)


_Kinds = type | tuple[type, ...]

# The first match wins; each translation may rely on its exception's own attributes.
_TRANSLATIONS: tuple[tuple[_Kinds, Callable[[Any], Problem]], ...] = (
    (Problem, _own),
    (ValidationException, _from_validation),
    (SerializationException, _from_undecodable),
    (HTTPException, _from_http),
    (msgspec.ValidationError, _from_msgspec),
    (msgspec.DecodeError, _from_undecodable),
    (NamesField, _from_fields),
    (VersionConflict, _from_conflict),
    (OverloadedError, lambda exc: Problem("overloaded", str(exc))),
    (
        OutOfMemoryError,
        lambda _: Problem("storage-full", "Redis is out of memory; nothing was stored."),
    ),
    (
        (RedisError, RedisUnavailable, StoreUnavailableError, ConnectionError, TimeoutError),
        lambda exc: Problem("unavailable", f"Redis did not answer ({type(exc).__name__})."),
    ),
)
