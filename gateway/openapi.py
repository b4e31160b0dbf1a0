"""The OpenAPI 3.1 document and the offline page that shows it."""

from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme, Server

from gateway import __version__
from gateway.config import Settings

DESCRIPTION = """\
Phones post where they are, receivers post which beacons they hear; the gateway knows which zones
they are in, and sends the right message at that moment, once.

Errors are `application/problem+json` (RFC 9457); their types are listed at `/errors`.
Lists are `{"items": [...], "next_cursor": null}`; follow `next_cursor` until it is null.
Instants are RFC 3339 strings or epoch milliseconds."""


def openapi_config(settings: Settings) -> OpenAPIConfig:
    """Where the document is served and what stands at its head."""
    return OpenAPIConfig(
        title="Trigger gateway",
        version=__version__,
        description=DESCRIPTION,
        path="/openapi.json",
        render_plugins=[JsonRenderPlugin(path="/")],
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
