"""What phones answer: receipts of pushes, and buttons pressed."""

from typing import Annotated, Any

import msgspec
from litestar import Response, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery
from msgspec import Meta

from gateway.api.caller import Call, answer, now_ms, object_body
from gateway.api.openapi_parts import body_of
from gateway.api.resources import services_of
from gateway.auth import credential_of
from gateway.errors import Problem
from gateway.kinds.fields import convert
from gateway.links import is_receipt, read_action
from gateway.receipts import Receipt, ReceiptKind
from gateway.times import parse_instant
from gateway.told import USER_MARK, CustomEvent, custom_event_id
from senders.tokens import InvalidToken

PUBLIC = {"public": True}
Id = Annotated[str, Meta(min_length=1, max_length=128)]
EXAMPLE: dict[str, Any] = {
    "push_id": "6f1f6a0e-6a0e-5b8e-9f6f-2f6a0e6a0e6a",
    "kind": "opened",
    "token": "c2lnbmVkLWJ5LXRoZS1nYXRld2F5",
    "at": "2026-12-01T09:30:00Z",
}


class Posted(msgspec.Struct, forbid_unknown_fields=True):
    """One receipt, as posted. ``token`` is the ``receipt_token`` of the push."""

    push_id: Id
    kind: ReceiptKind
    token: str | None = None
    device_id: Id | None = None
    at: str | int | None = None
    channel: str | None = None
    action_id: Annotated[str, Meta(max_length=64)] = ""


@post(
    "/v1/receipts",
    operation_id="post_receipt",
    tags=["receipts"],
    opt=PUBLIC,
    security=[{}, {"bearer": []}],
    status_code=200,
    operation_class=body_of(EXAMPLE),
)
async def post_receipt(
    request: Call, tenant: FromQuery[str | None] = None, device: FromQuery[str | None] = None
) -> Response[bytes]:
    """Tell what became of a push on the phone: delivered, shown, opened, dismissed, action.

    Post to the `receipt_url` of the push with its `receipt_token`; or, without a token, with the
    device's own token or an ingest key. The same receipt again is taken and changes nothing.
    """
    posted = convert(await object_body(request), Posted)
    whose = device or posted.device_id
    if posted.token is not None and tenant is not None and whose is not None:
        keys = services_of(request).link_keys
        if not is_receipt(posted.token, tenant, whose, posted.push_id, keys):
            raise Problem("unauthorized", "The receipt token does not belong to this push.")
    else:
        tenant, whose = await _authenticated(request, whose)
    at = parse_instant(str(posted.at), "at") if posted.at is not None else now_ms()
    receipt = Receipt(posted.push_id, posted.kind, at, posted.channel, posted.action_id)
    is_new = await services_of(request).receipts.take(tenant, whose, receipt)
    return answer({"accepted": int(is_new), "duplicates": int(not is_new)})


@post(
    "/v1/actions/{action_token:str}",
    operation_id="post_action",
    tags=["receipts"],
    opt=PUBLIC,
    security=[{}],
    status_code=200,
)
async def post_action(request: Call, action_token: FromPath[str]) -> Response[bytes]:
    """A button of a push was pressed; its token carries everything.

    It becomes a receipt, and a custom event named `action:<id>` that triggers can listen to
    ("remind me later" is a trigger on `action:remind` with `delay_s`). Twice counts once.
    """
    services, now = services_of(request), now_ms()
    try:
        claims = read_action(action_token, services.link_keys, now)
    except InvalidToken as error:
        raise Problem("unauthorized", f"The action token is refused: {error}.") from None
    tenant, device_id, push_id, action_id = claims
    receipt = Receipt(push_id, "action", now, detail=action_id)
    is_new = await services.receipts.take(tenant, device_id, receipt)
    is_user = device_id.startswith(USER_MARK)
    told = CustomEvent(
        id=custom_event_id(tenant, f"{push_id}:{action_id}"),
        name=f"action:{action_id}",
        user_id=device_id.removeprefix(USER_MARK) if is_user else None,
        device_id=None if is_user else device_id,
        occurred_at=now,
        properties={"push_id": push_id, "action_id": action_id},
    )
    # Told even when the receipt was known: a crash between the two must not lose the event.
    await services.engine.told.take(tenant, [told], now)
    return answer({"accepted": int(is_new), "duplicates": int(not is_new)})


async def _authenticated(request: Call, device_id: str | None) -> tuple[str, str]:
    """Tenant and device of a receipt that carries no token of its own."""
    credential = credential_of(request.headers.get("authorization"))
    if credential is None:
        raise Problem("unauthorized", "Send the receipt token of the push, or a credential.")
    principal = await services_of(request).authenticator.authenticate(credential)
    whose = device_id or principal.device_id
    if whose is None:
        raise Problem(
            "invalid-document", "Name the device_id.", errors=[("#/device_id", "is required")]
        )
    principal.require("ingest", "manage")
    principal.require_device(whose)
    return principal.tenant, whose


ROUTES: list[HTTPRouteHandler] = [post_receipt, post_action]
