"""The OpenAPI 3.1 document."""

from typing import Any

import msgspec
from litestar import Litestar, Request, Router
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme, Server

from gateway import __version__
from gateway.config import Settings
from gateway.errors import PROBLEMS
from gateway.openapi_operations import PROBLEM_ANSWERS, describe, problem_answer
from gateway.openapi_schemas import schemas

DESCRIPTION = """\
Phones post where they are, receivers post which beacons they hear; the gateway knows which zones
they are in, and sends the right message at that moment, once.

Errors are `application/problem+json` (RFC 9457); their types are listed at `/errors`.
Lists are `{"items": [...], "next_cursor": null}`; follow `next_cursor` until it is null.
Instants are RFC 3339 strings or epoch milliseconds."""

_METHODS = frozenset({"get", "put", "post", "patch", "delete"})
_CLOSED = ("/v1", "/ingest")

PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string", "format": "uri", "description": "Ends in `#` and the type."},
        "title": {"type": "string", "enum": sorted({kind.title for kind in PROBLEMS.values()})},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "`urn:request:` and the request id."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}


class _Document(JsonRenderPlugin):
    """Serves the completed document."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return msgspec.json.encode(complete(openapi_schema))


def openapi_config(settings: Settings) -> OpenAPIConfig:
    """Where the document is served and what stands at its head."""
    return OpenAPIConfig(
        title="Trigger gateway",
        version=__version__,
        description=DESCRIPTION,
        openapi_router=Router(
            "/openapi.json", route_handlers=[], opt={"public": True}, include_in_schema=False
        ),
        render_plugins=[_Document(path="/")],
        servers=[Server(url=settings.base_url)],
        use_handler_docstrings=True,
        security=[{"bearer": []}],
        components=Components(
            security_schemes={
                "bearer": SecurityScheme(
                    type="http",
                    scheme="bearer",
                    description="An API key, or a device token on intake and receipts.",
                ),
                "basic": SecurityScheme(
                    type="http",
                    scheme="basic",
                    description="For stock apps: any user name, the API key as the password.",
                ),
            }
        ),
    )


def document_of(app: Litestar) -> dict[str, Any]:
    """The completed document of an application."""
    return complete(app.openapi_schema.to_schema())


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """The document with what the framework does not know: bodies, answers, problems, open routes.

    The document is left as it is; it may be completed again.
    """
    whole: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document))
    components = whole["components"]
    components["schemas"] = {**schemas(), "Problem": PROBLEM_SCHEMA}
    components["responses"] = {
        name: problem_answer(slug) for name, slug in PROBLEM_ANSWERS.values()
    }
    for path, item in whole["paths"].items():
        for method in _METHODS & item.keys():
            describe(path, method, item[method])
            if not path.startswith(_CLOSED):
                item[method]["security"] = []
    return whole
