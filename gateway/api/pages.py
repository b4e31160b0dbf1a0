"""Pages for people: the API reference and the problem types. They load nothing from elsewhere."""

from html import escape
from importlib.resources import files

from litestar import Response, get
from litestar.enums import MediaType
from litestar.params import FromPath

from gateway.errors import PROBLEMS, Problem

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
_PAGES = files("gateway").joinpath("pages")
_MEDIA_TYPES = {"reference.css": "text/css", "reference.js": "text/javascript"}


@get("/docs", include_in_schema=False, opt={"public": True}, sync_to_thread=False)
def reference() -> Response[str]:
    """The API reference, rendered in the browser from `/openapi.json`."""
    return _page(_PAGES.joinpath("reference.html").read_text("utf-8"))


@get("/docs/{name:str}", include_in_schema=False, opt={"public": True}, sync_to_thread=False)
def reference_file(name: FromPath[str]) -> Response[str]:
    """Its style and script."""
    if name not in _MEDIA_TYPES:
        raise Problem("not-found", f"/docs has no file {name[:64]!r}.")
    text = _PAGES.joinpath(name).read_text("utf-8")
    return Response(text, media_type=_MEDIA_TYPES[name], headers=SECURITY_HEADERS)


@get("/errors", include_in_schema=False, opt={"public": True}, sync_to_thread=False)
def problem_types() -> Response[str]:
    """Every problem type, where its `type` URL points to."""
    entries = "".join(
        f'<section id="{kind.slug}"><h3>{kind.slug}</h3><p>{kind.status} {escape(kind.title)}.</p>'
        f"<p>{escape(kind.cure)}</p></section>"
        for kind in PROBLEMS.values()
    )
    return _page(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Errors</title>'
        '<link rel="stylesheet" href="/docs/reference.css"></head><body><header><h1>Errors</h1>'
        f"</header><main><div>{entries}</div></main></body></html>"
    )


def _page(html: str) -> Response[str]:
    return Response(html, media_type=MediaType.HTML, headers=SECURITY_HEADERS)


ROUTES = [reference, reference_file, problem_types]
