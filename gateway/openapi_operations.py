"""Describes one operation: its parameters, its body, its answers and the problems it may answer."""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.errors import MEDIA_TYPE, PROBLEMS, Slug
from gateway.openapi_answers import ANSWERS, Answer
from gateway.openapi_bodies import BODIES, HEADERS, IDEMPOTENT, PARAMETERS, Body

Operation = dict[str, Any]

PROBLEM_ANSWERS: Mapping[int, tuple[str, Slug]] = {
    400: ("BadRequest", "invalid-request"),
    401: ("Unauthorized", "unauthorized"),
    403: ("Forbidden", "forbidden"),
    404: ("NotFound", "not-found"),
    409: ("Conflict", "conflict"),
    412: ("PreconditionFailed", "precondition-failed"),
    413: ("TooLarge", "body-too-large"),
    415: ("UnsupportedMediaType", "unsupported-media-type"),
    422: ("Unprocessable", "invalid-document"),
    429: ("TooManyRequests", "rate-limited"),
    503: ("Unavailable", "unavailable"),
}
_BODY_PROBLEMS = (400, 413, 415, 422)
# Beyond what follows from parameters, body and security.
_MORE_PROBLEMS: Mapping[str, tuple[int, ...]] = {
    "ingest": (404,),
    "get_settings": (404,),
    "patch_settings": (404,),
    "get_web_push_key": (404,),
    "put_web_push_subscription": (404, 409),
    "delete_web_push_subscription": (404, 422),
    "post_notification": (404, 409),
    "preview_message": (404,),
    "post_receipts": (401, 403),
    "post_action": (401,),
    "sign_in": (401, 403),
    "metrics": (401,),
}
_HEADER_WORDS: Mapping[str, str] = {
    "ETag": "The version, as a strong entity tag.",
    "Location": "Where the new document is.",
    "Link": 'The next page: rel="next".',
}
_PUBLIC = ("/livez", "/healthz", "/readyz", "/metrics")
_OPEN = frozenset({"sign_in", "sign_out"})  # the framework leaves an empty list out


def describe(path: str, method: str, operation: Operation) -> None:
    """Complete one operation in place."""
    name = operation["operationId"]
    parameters = operation.setdefault("parameters", [])
    if name in _OPEN:
        operation["security"] = []
    for parameter in parameters:
        _describe_parameter(parameter)
    parameters += [_header(one) for one in _headers(method, name)]
    if name in BODIES:
        operation["requestBody"] = _body(BODIES[name], operation.get("requestBody"))
    if name in ANSWERS:
        operation["responses"] = {str(one.status): _answer(one) for one in ANSWERS[name]}
    for status in sorted({*_problems(path, operation), *_MORE_PROBLEMS.get(name, ())}):
        answer = {"$ref": f"#/components/responses/{PROBLEM_ANSWERS[status][0]}"}
        operation["responses"].setdefault(str(status), answer)
    if not parameters:
        del operation["parameters"]


def problem_answer(slug: Slug) -> dict[str, Any]:
    """The documented answer of a type of problem, with an example."""
    kind = PROBLEMS[slug]
    example = {
        "type": f"http://127.0.0.1:8080/errors#{slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": kind.cure,
        "instance": "urn:request:6bcfdfa4f49b40f689a8d4aef048c8af",
    }
    schema = {"$ref": "#/components/schemas/Problem"}
    content = {MEDIA_TYPE: {"schema": schema, "examples": {"example": {"value": example}}}}
    return {"description": f"{kind.title}. {kind.cure}", "content": content}


def _problems(path: str, operation: Operation) -> Iterator[int]:
    if path in _PUBLIC:
        return
    yield 503
    parameters, security = operation["parameters"], operation.get("security", [{"bearer": []}])
    if security and all(security):
        yield from (401, 403)
        if not path.startswith("/ingest"):
            yield 429  # apps lose what is answered with 429
    if parameters:
        yield 400
    if any(one["in"] == "path" for one in parameters):
        yield from (404, 422)
    if any(one["name"] == "If-Match" for one in parameters):
        yield 412
    if any(one["name"] == "Idempotency-Key" for one in parameters):
        yield from (409, 422)
    if "requestBody" in operation:
        yield from _BODY_PROBLEMS


def _headers(method: str, name: str) -> Iterator[str]:
    answers = ANSWERS.get(name, [])
    is_tagged = any("ETag" in one.headers for one in answers)
    if name in IDEMPOTENT:
        yield "Idempotency-Key"
    if method == "get" and any(one.status == 304 for one in answers):
        yield "If-None-Match"
    elif name.startswith("delete_") and name.removeprefix("delete_") in _VERSIONED:
        yield "If-Match"
    elif is_tagged and method in ("put", "patch"):
        yield from ("If-Match", "If-None-Match")


_VERSIONED = frozenset(
    {"geofence", "beacon", "receiver", "trigger", "credential", "device", "user"}
)


def _header(name: str) -> dict[str, Any]:
    schema = {"type": "string"}
    return {"name": name, "in": "header", "description": HEADERS[name], "schema": schema}


def _describe_parameter(parameter: dict[str, Any]) -> None:
    known = PARAMETERS.get(parameter["name"])
    if known is None:
        if parameter["in"] == "path":
            parameter.setdefault("description", "The id.")
        return
    parameter.setdefault("description", known.description)
    if known.schema is not None:
        parameter["schema"] = known.schema


def _body(body: Body, present: dict[str, Any] | None) -> dict[str, Any]:
    content = present["content"] if present else {}
    media_types = body.media_types or tuple(content) or ("application/json",)
    examples: dict[str, Any] = {"example": {"value": body.example}}
    if body.example is None:
        examples = next(iter(content.values()))["examples"]
    media = {"schema": body.schema, "examples": examples}
    return {"required": body.is_required, "content": dict.fromkeys(media_types, media)}


def _answer(answer: Answer) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.description}
    if answer.media_types:
        media: dict[str, Any] = {"schema": answer.schema}
        if answer.example is not None:
            media["examples"] = {"example": {"value": answer.example}}
        described["content"] = dict.fromkeys(answer.media_types, media)
    if answer.headers:
        described["headers"] = {
            name: {"description": _HEADER_WORDS[name], "schema": {"type": "string"}}
            for name in answer.headers
        }
    return described
