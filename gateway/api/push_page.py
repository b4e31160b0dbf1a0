"""Web push without an SDK: a page that subscribes a browser, its service worker, and their routes.

A person is sent to ``/push#token=<device token>``. The page subscribes with the tenant's key and
registers the subscription at the device that the token speaks for.
"""

from importlib.resources import files
from typing import Any

from litestar import Response, delete, get, put
from litestar.enums import MediaType
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from gateway.api.caller import NO_STORE, Call, answer, now_ms, object_body
from gateway.api.openapi_parts import body_of
from gateway.api.pages import SECURITY_HEADERS
from gateway.api.resources import caller_of, services_of
from gateway.errors import Problem
from gateway.kinds.fields import InvalidDocument, check_id
from gateway.subscriptions import PROVIDER, TooManyTargets, public_key, subscribe, unsubscribe
from senders.registry import InvalidTarget, validate_target

TAGS = ["web push"]
OPT = {"scope": ("ingest", "manage"), "device_tokens": True}
EXAMPLE: dict[str, Any] = {
    "endpoint": "https://push.example/wpush/v2/abc",
    "keys": {
        "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6"
        "-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
        "auth": "BTBZMqHH6r4Tts7J_aSIgg",
    },
}
_PAGES = files("gateway").joinpath("pages")
_FILES = {
    "page.css": ("push.css", "text/css"),
    "page.js": ("push.js", "text/javascript"),
    "sw.js": ("push_worker.js", "text/javascript"),
}


@get("/push", include_in_schema=False, opt={"public": True}, sync_to_thread=False)
def push_page() -> Response[str]:
    """The page that subscribes a browser."""
    text = _PAGES.joinpath("push.html").read_text("utf-8")
    return Response(text, media_type=MediaType.HTML, headers=SECURITY_HEADERS)


@get("/push/{name:str}", include_in_schema=False, opt={"public": True}, sync_to_thread=False)
def push_file(request: Call, name: FromPath[str]) -> Response[str]:
    """Its style and script, and the service worker."""
    if name not in _FILES:
        raise Problem("not-found", f"/push has no file {name[:64]!r}.")
    file, media_type = _FILES[name]
    headers = SECURITY_HEADERS
    if name == "sw.js":
        # A worker obeys its own policy: receipts go to the address that pushes carry.
        sources = f"connect-src 'self' {request.app.state.settings.base_url}"
        headers = {**headers, "Content-Security-Policy": f"default-src 'none'; {sources}"}
    return Response(
        _PAGES.joinpath(file).read_text("utf-8"), media_type=media_type, headers=headers
    )


@get(
    "/v1/web-push/key",
    operation_id="get_web_push_key",
    tags=TAGS,
    opt={"scope": ("read", "ingest"), "device_tokens": True},
)
async def get_key(request: Call) -> Response[bytes]:
    """The tenant's VAPID public key: what a browser passes as `applicationServerKey`."""
    services, tenant = services_of(request), caller_of(request).tenant
    key = await public_key(services.registry, services.vault, tenant)
    if key is None:
        raise Problem("not-found", "The tenant has no credential of the type webpush.")
    return answer({"public_key": key}, headers=NO_STORE)


@put(
    "/v1/web-push/subscription",
    operation_id="put_web_push_subscription",
    tags=TAGS,
    opt=OPT,
    operation_class=body_of(EXAMPLE),
)
async def put_subscription(request: Call) -> Response[bytes]:
    """Register a browser's subscription: what `PushSubscription.toJSON()` gives.

    A device token registers at its own device; a key names the `device_id`.
    """
    document = await object_body(request)
    device_id = _device(request, document.pop("device_id", None))
    try:
        target = validate_target(PROVIDER, document)
    except InvalidTarget as error:
        pointer = error.pointer.replace("/address", "/endpoint")
        raise InvalidDocument(pointer, error.detail) from None
    people, tenant = services_of(request).people, caller_of(request).tenant
    try:
        await subscribe(people, tenant, device_id, target, now_ms())
    except TooManyTargets as error:
        raise Problem("conflict", f"{error}. Remove some of the device's targets.") from None
    return answer({"device_id": device_id, "endpoint": target.address})


@delete(
    "/v1/web-push/subscription", operation_id="delete_web_push_subscription", tags=TAGS, opt=OPT
)
async def delete_subscription(
    request: Call, endpoint: FromQuery[str], device: FromQuery[str | None] = None
) -> None:
    """Forget a browser's subscription."""
    device_id = _device(request, device)
    people, tenant = services_of(request).people, caller_of(request).tenant
    if not await unsubscribe(people, tenant, device_id, endpoint, now_ms()):
        raise Problem("not-found", "The device has no such subscription.")


def _device(request: Call, device_id: object) -> str:
    caller = caller_of(request)
    device_id = device_id or caller.device_id
    if device_id is None:
        raise InvalidDocument("/device_id", "is required with a key")
    known = check_id(device_id, "/device_id")
    caller.require_device(known)
    return known


ROUTES: list[HTTPRouteHandler] = [
    push_page,
    push_file,
    get_key,
    put_subscription,
    delete_subscription,
]
