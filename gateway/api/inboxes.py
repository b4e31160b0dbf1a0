"""The in-app inbox: what waits for a person in the gateway."""

from typing import Annotated, Any

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery
from msgspec import Meta

from gateway.api.caller import NO_STORE, Call, answer, now_ms, object_body
from gateway.api.openapi_parts import body_of
from gateway.api.resources import caller_of, services_of
from gateway.errors import Problem
from gateway.inbox import Inboxes, Item, Place, State, place_of
from gateway.kinds.fields import convert
from gateway.paging import check_limit, decode_cursor, page
from gateway.times import rfc3339

OPT = {"scope": ("read", "ingest", "manage"), "device_tokens": True}
MAX_ITEMS = 200


class Marks(msgspec.Struct, forbid_unknown_fields=True):
    """Which items are in which state from now on."""

    ids: Annotated[list[str], Meta(min_length=1, max_length=MAX_ITEMS)]
    state: State
    device_id: str | None = None
    user_id: str | None = None


@get("/v1/inbox", operation_id="list_inbox", tags=["inbox"], opt=OPT)
async def list_inbox(
    request: Call,
    *,
    device: FromQuery[str | None] = None,
    user: FromQuery[str | None] = None,
    limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Response[bytes]:
    """The messages in the inbox of a device's user (or of the device), newest first.

    A device token needs no `device`, and reads no other inbox. Archived and expired messages are
    not listed.
    """
    tenant, owner = caller_of(request).tenant, await _owner(request, device, user)
    size, after = check_limit(limit, MAX_ITEMS), _place(decode_cursor(cursor))
    inboxes, now = _inboxes(request), now_ms()
    items = await inboxes.items(tenant, owner, now=now, limit=size + 1, after=after)
    rest = "{}/{}".format(*place_of(items[size - 1])) if len(items) > size else None
    body = page([_document(item) for item in items[:size]], rest)
    unread = await inboxes.unread(tenant, owner, now=now)
    return answer({**body, "unread": unread}, headers=NO_STORE)


@post(
    "/v1/inbox/marks",
    operation_id="mark_inbox",
    tags=["inbox"],
    opt={"scope": ("ingest", "manage"), "device_tokens": True},
    status_code=200,
    operation_class=body_of({"ids": ["6f1f6a0e-6a0e-5b8e-9f6f-2f6a0e6a0e6a"], "state": "read"}),
)
async def mark_inbox(request: Call) -> Response[bytes]:
    """Mark messages as read, archived, or new again."""
    marks = convert(await object_body(request), Marks)
    owner = await _owner(request, marks.device_id, marks.user_id)
    tenant = caller_of(request).tenant
    changed = await _inboxes(request).mark(tenant, owner, marks.ids, marks.state, now=now_ms())
    return answer({"changed": changed})


def _place(after: str) -> Place | None:
    """The place that a cursor names; None for the start."""
    at, slash, item_id = after.partition("/")
    if after and not (slash and at.isdecimal()):
        raise Problem(
            "invalid-request",
            "The cursor is not one that this list gave. Start again without it.",
            errors=[("query cursor", "is not a cursor of this list")],
        )
    return Place(int(at), item_id) if after else None


def _inboxes(request: Call) -> Inboxes:
    services = services_of(request)
    return Inboxes(services.redis, services.installation.shard_count)


async def _owner(request: Call, device_id: str | None, user_id: str | None) -> str:
    """Whose inbox: the user's, or the device's if nobody is known to hold it."""
    caller = caller_of(request)
    if caller.device_id is None:
        # An ingest key may be in an app's hands; what waits for people is not for everybody there.
        caller.require("read" if request.method == "GET" else "manage")
    device_id = device_id or caller.device_id
    if device_id is not None:
        caller.require_device(device_id)
    elif user_id is not None:
        return user_id
    else:
        raise Problem(
            "invalid-request",
            "Name a device or a user.",
            errors=[("query device", "is missing, and so is user")],
        )
    stored = await services_of(request).people.device(caller.tenant, device_id)
    return (stored.person.user_id if stored else None) or device_id


def _document(item: Item) -> dict[str, Any]:
    message: dict[str, Any] = msgspec.json.decode(item.message)
    return {
        "id": item.id,
        "state": item.state,
        "created_at": rfc3339(item.created_at),
        "expires_at": rfc3339(item.expires_at),
        "message": message,
    }


ROUTES: list[HTTPRouteHandler] = [list_inbox, mark_inbox]
