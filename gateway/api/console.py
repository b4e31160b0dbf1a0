"""The console: its page and files, and sign-in. All else it does goes through the public API."""

import asyncio
import base64
import gzip
import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.api.caller import NO_STORE, Call, answer, now_ms, object_body
from gateway.api.openapi_parts import body_of
from gateway.api.resources import caller_of, services_of
from gateway.config import Settings
from gateway.console_setup import CONSOLE, is_current
from gateway.errors import Problem
from gateway.kinds.fields import convert
from gateway.session import COOKIE, HEADER, cookie, seal

VIEWS = ["/", "/triggers", "/explain", "/deliveries", "/try"]
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
FOLDERS = ("js", "vendor")
_IMPORT_MAP = re.compile(r'<script type="importmap">(.*?)</script>', re.DOTALL)
PUBLIC = {"public": True}


class SignIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a session is made from."""

    key: str


class File(NamedTuple):
    """A file as it is served."""

    body: bytes
    gzipped: bytes
    etag: str
    media_type: str


@get(VIEWS, include_in_schema=False, opt=PUBLIC)
async def page(request: Call) -> Response[bytes]:
    """The console; every view has an address of its own."""
    name = "index.html" if is_current() else "not_set_up.html"
    file = await asyncio.to_thread(_file, CONSOLE / name)
    settings: Settings = request.app.state.settings
    policy = content_security_policy(file.body.decode(), settings.console_tiles)
    return _served(request, file, {"Content-Security-Policy": policy})


@get("/console/{path:path}", include_in_schema=False, opt=PUBLIC)
async def console_file(request: Call, path: FromPath[str]) -> Response[bytes]:
    """A style sheet, a module, a library."""
    name = Path(path.lstrip("/"))
    is_known = len(name.parts) == 1 or (len(name.parts) == 2 and name.parts[0] in FOLDERS)
    place = CONSOLE / name
    if not is_known or name.suffix not in MEDIA_TYPES or not place.is_file():
        raise Problem("not-found", f"The console has no file {path[:64]!r}.")
    return _served(request, await asyncio.to_thread(_file, place), {})


@post(
    "/v1/session",
    operation_id="sign_in",
    tags=["session"],
    status_code=200,
    opt=PUBLIC,
    security=[],
    operation_class=body_of({"key": "gk_..."}),
)
async def sign_in(request: Call) -> Response[bytes]:
    """Exchange an API key for a session cookie (httpOnly, same site), for pages of this origin.

    A session may do what its key may, and ends with it, at the latest after 12 hours. A request
    with the cookie that changes something also needs the header `X-Gateway-Console`.
    """
    if HEADER not in request.headers:
        raise Problem("forbidden", "Sign-in is for the console: send the header X-Gateway-Console.")
    key = convert(await object_body(request), SignIn).key.strip()
    services = services_of(request)
    principal = await services.authenticator.authenticate(key)
    if principal.device_id is not None or not principal.allows("read"):
        raise Problem("forbidden", "The console needs a key with the scope read or manage.")
    value = cookie(seal(services.vault, key, now_ms()), is_secure=_is_secure(request))
    return answer(_shown(request, principal), headers={**NO_STORE, "Set-Cookie": value})


@get("/v1/session", operation_id="get_session", tags=["session"], opt={"scope": "read"})
async def show_session(request: Call) -> Response[bytes]:
    """Who calls: the tenant, the key's id, and what it may do."""
    return answer(_shown(request, caller_of(request)), headers=NO_STORE)


@delete(
    "/v1/session",
    operation_id="sign_out",
    tags=["session"],
    opt=PUBLIC,
    security=[],
    status_code=200,
)
async def sign_out(request: Call) -> Response[bytes]:
    """Take the session cookie back."""
    value = cookie("", is_secure=_is_secure(request))
    return answer({"signed_out": COOKIE in request.cookies}, headers={"Set-Cookie": value})


def content_security_policy(page_text: str, tiles: str) -> str:
    """What the page may load: files of this origin, its import map, and the operator's tiles."""
    hashes = [
        f"'sha256-{base64.b64encode(hashlib.sha256(found.encode()).digest()).decode()}'"
        for found in _IMPORT_MAP.findall(page_text)
    ]
    split = urlsplit(tiles)
    origin = [f"{split.scheme}://{split.netloc}"] if split.netloc else []
    rules = {
        "default-src": ["'none'"],
        "script-src": ["'self'", *hashes],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:", "blob:", *origin],
        "worker-src": ["'self'"],
        "connect-src": ["'self'", *origin],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
    return "; ".join(" ".join((name, *values)) for name, values in rules.items())


def _shown(request: Call, principal: Any) -> dict[str, Any]:
    settings: Settings = request.app.state.settings
    return {
        "tenant": principal.tenant,
        "key_id": principal.key_id,
        "scopes": sorted(principal.scopes),
        "tiles": settings.console_tiles or None,
    }


def _is_secure(request: Call) -> bool:
    settings: Settings = request.app.state.settings
    return request.url.scheme == "https" or settings.base_url.startswith("https://")


def _file(path: Path) -> File:
    return _read(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=128)
def _read(path: Path, _: int) -> File:
    body = path.read_bytes()
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return File(body, gzip.compress(body, 6, mtime=0), etag, MEDIA_TYPES[path.suffix])


def _served(request: Call, file: File, more: dict[str, str]) -> Response[bytes]:
    headers = {
        "Cache-Control": "no-cache",
        "ETag": file.etag,
        "Referrer-Policy": "no-referrer",
        "Vary": "Accept-Encoding",
        "X-Content-Type-Options": "nosniff",
        **more,
    }
    if request.headers.get("if-none-match") == file.etag:
        return Response(b"", status_code=304, headers=headers, media_type=file.media_type)
    body = file.body
    if "gzip" in request.headers.get("accept-encoding", ""):
        body, headers = file.gzipped, {**headers, "Content-Encoding": "gzip"}
    return Response(body, headers=headers, media_type=file.media_type)


ROUTES: list[HTTPRouteHandler] = [page, console_file, sign_in, show_session, sign_out]
