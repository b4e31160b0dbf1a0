"""What phones answer: receipts of pushes, and buttons pressed.

Neither needs a key: the tokens that a push carries say all (``gateway/links.py``).
"""

from collections import defaultdict
from typing import Annotated, Any, NamedTuple

import msgspec
from litestar import Response, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery
from msgspec import Meta

from gateway.api.caller import Call, answer, json_body, now_ms
from gateway.api.openapi_parts import body_of
from gateway.api.resources import services_of
from gateway.auth import Principal, credential_of
from gateway.errors import Problem, Slug
from gateway.kinds.fields import InvalidDocument, convert
from gateway.links import is_receipt, read_action
from gateway.receipts import Receipt, ReceiptKind
from gateway.sharding import USER_MARK
from gateway.told import CustomEvent, custom_event_id
from gateway.wire import EARLIEST_AT, Instant, to_ms
from senders.tokens import InvalidToken

PUBLIC = {"public": True}
MAX_RECEIPTS = 1000
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
    token: Annotated[str, Meta(max_length=128)] | None = None
    device_id: Id | None = None
    at: Instant | None = None
    channel: Annotated[str, Meta(max_length=32)] | None = None
    action_id: Annotated[str, Meta(max_length=64)] = ""


class _Refused(Exception):
    """A receipt that is not taken."""

    def __init__(self, slug: Slug, detail: str) -> None:
        super().__init__(detail)
        self.slug = slug


class _Address(NamedTuple):
    """What the query and the credential say about all receipts of a call."""

    tenant: str | None
    device_id: str | None
    principal: Principal | None


@post(
    "/v1/receipts",
    operation_id="post_receipts",
    tags=["receipts"],
    opt=PUBLIC,
    security=[{}, {"bearer": []}],
    status_code=200,
    operation_class=body_of(EXAMPLE),
)
async def post_receipts(
    request: Call, tenant: FromQuery[str | None] = None, device: FromQuery[str | None] = None
) -> Response[bytes]:
    """Tell what became of pushes on the phone: delivered, shown, opened, dismissed, action.

    Post one, an array, or `{"receipts": [...]}` to the `receipt_url` of a push, each with the
    `receipt_token` of its push; or, without tokens, with the device's own token or an ingest key.
    The same receipt again is a duplicate and changes nothing; late ones are welcome.
    """
    body = await json_body(request)
    listed = body.get("receipts", [body]) if isinstance(body, dict) else body
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_RECEIPTS:
        raise Problem("invalid-document", f"Send 1 to {MAX_RECEIPTS} receipts.")
    address = _Address(tenant, device, await _principal(request))
    now = now_ms()
    taken: defaultdict[tuple[str, str], list[Receipt]] = defaultdict(list)
    rejected: list[dict[str, Any]] = []
    for index, one in enumerate(listed):
        try:
            whose, receipt = _read(request, one, address, now)
        except _Refused as refused:
            rejected.append({"index": index, "type": refused.slug, "detail": str(refused)})
        else:
            taken[whose].append(receipt)
    if rejected and not taken:
        first = rejected[0]
        raise Problem(first["type"], first["detail"], extra={"rejected": rejected})
    is_new: list[bool] = []
    for (of, device_id), receipts in taken.items():
        is_new += await services_of(request).receipts.take(of, device_id, receipts, now=now)
    accepted = sum(is_new)
    counts = {"accepted": accepted, "duplicates": len(is_new) - accepted, "rejected": rejected}
    return answer(counts)


@post(
    "/v1/actions/{action_token:str}",
    operation_id="post_action",
    tags=["receipts"],
    opt=PUBLIC,
    security=[{}],
    status_code=200,
)
async def post_action(request: Call, action_token: FromPath[str]) -> Response[bytes]:
    """A button of a push was pressed; its token carries everything and counts once.

    It becomes a receipt, and a custom event named `action:<id>` that triggers can listen to
    ("remind me later" is a trigger on `action:remind` with `delay_s`). The event has the properties
    `push_id`, `trigger_id` and `action_id`.
    """
    services, now = services_of(request), now_ms()
    try:
        claims = read_action(action_token, services.link_keys, now)
    except InvalidToken as error:
        raise Problem("unauthorized", f"The action token is refused: {error}.") from None
    tenant, device_id, push_id, action_id = claims
    receipt = Receipt(push_id, "action", now, action_id=action_id)
    if await services.receipts.was_taken(tenant, device_id, receipt):
        return answer({"accepted": 0, "duplicates": 1})
    decision = await services.receipts.decision(tenant, device_id, push_id)
    is_user = device_id.startswith(USER_MARK)
    told = CustomEvent(
        id=custom_event_id(tenant, f"action:{push_id}:{action_id}"),
        name=f"action:{action_id}",
        user_id=device_id.removeprefix(USER_MARK) if is_user else None,
        device_id=None if is_user else device_id,
        occurred_at=now,
        properties={
            "push_id": push_id,
            "trigger_id": decision.trigger_id if decision else None,
            "action_id": action_id,
        },
    )
    # The event first: a crash between the two must not lose it, and its id makes it one.
    await services.engine.told.take(tenant, [told], now)
    (is_new,) = await services.receipts.take(tenant, device_id, [receipt], now=now)
    return answer({"accepted": int(is_new), "duplicates": int(not is_new)})


async def _principal(request: Call) -> Principal | None:
    """Who calls, if they say so."""
    credential = credential_of(request.headers.get("authorization"))
    if credential is None:
        return None
    principal = await services_of(request).authenticator.authenticate(credential)
    principal.require("ingest", "manage")
    return principal


def _read(
    request: Call, document: Any, address: _Address, now: int
) -> tuple[tuple[str, str], Receipt]:
    """Whose receipt it is, and what it says."""
    try:
        posted = convert(document, Posted)
    except InvalidDocument as error:
        raise _Refused("invalid-document", f"{error.pointer}: {error.detail}") from None
    whose = _whose(request, posted, address)
    at = now if posted.at is None else min(to_ms(posted.at), now)  # a clock that is ahead
    if at < EARLIEST_AT:
        raise _Refused("invalid-document", "/at: is before 2000; leave it out if it is not known")
    receipt = Receipt(posted.push_id, posted.kind, at, posted.channel, posted.action_id)
    return whose, receipt


def _whose(request: Call, posted: Posted, address: _Address) -> tuple[str, str]:
    """Tenant and device, proved by the push's token or by the credential."""
    tenant, device_id, principal = address
    device_id = posted.device_id or device_id or (principal.device_id if principal else None)
    if device_id is None:
        raise _Refused("invalid-document", "/device_id: is required, here or in the query")
    if principal is not None:
        if principal.device_id not in (None, device_id):
            raise _Refused("forbidden", "This token speaks for another device.")
        return principal.tenant, device_id
    if posted.token is None or tenant is None:
        raise _Refused(
            "unauthorized", "Post to the push's receipt_url with its token, or with a credential."
        )
    keys = services_of(request).link_keys
    if not is_receipt(posted.token, tenant, device_id, posted.push_id, keys):
        raise _Refused("unauthorized", "The receipt token does not belong to this push.")
    return tenant, device_id


ROUTES: list[HTTPRouteHandler] = [post_receipts, post_action]
