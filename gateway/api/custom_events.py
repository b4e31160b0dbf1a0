"""``POST /v1/events``: what the tenant's back end tells (an order was paid, a cart was left)."""

import uuid
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, post
from msgspec import Meta

from gateway.api.caller import answer, json_body
from gateway.auth import Principal
from gateway.errors import Problem
from gateway.kinds.fields import InvalidDocument, convert
from gateway.pipeline import now_ms
from gateway.services import Services
from gateway.told import CustomEvent, custom_event_id
from gateway.wire import Id, Instant, check_time, to_ms
from triggers.store import StoreUnavailableError

MAX_EVENTS = 1000
Name = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]


class PostedEvent(msgspec.Struct, forbid_unknown_fields=True):
    """One custom event, as posted."""

    name: Name
    user_id: Id | None = None
    device_id: Id | None = None
    event_id: Id | None = None
    occurred_at: Instant | None = None
    properties: dict[str, str | int | float | bool | None] = {}


@post(
    "/v1/events",
    operation_id="postEvents",
    tags=["events"],
    status_code=202,
    opt={"scope": ("ingest", "manage")},
)
async def post_events(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Tell of custom events: one, an array, or `{"events": [...]}`; triggers can listen to them.

    An event with an `event_id` (or a request with an `Idempotency-Key`) takes effect once, however
    often it is posted. 202 means stored, with the pushes that it fires.
    """
    services: Services = request.app.state.services
    principal: Principal = request.scope["user"]
    body = await json_body(request)
    listed = body.get("events", [body]) if isinstance(body, dict) else body
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_EVENTS:
        raise Problem("invalid-document", f"Send 1 to {MAX_EVENTS} events.")
    now = now_ms()
    key = request.headers.get("idempotency-key")
    events: list[CustomEvent] = []
    rejected: list[dict[str, Any]] = []
    for index, one in enumerate(listed):
        try:
            events.append(_read(principal.tenant, one, f"{key}:{index}" if key else None, now))
        except InvalidDocument as error:
            detail = f"{error.pointer}: {error.detail}"
            rejected.append({"index": index, "type": "invalid-document", "detail": detail})
    if rejected and not events:
        first = rejected[0]
        raise Problem("invalid-document", first["detail"], extra={"rejected": rejected})
    try:
        taken = await services.engine.told.take(principal.tenant, events, now)
    except StoreUnavailableError as error:
        raise Problem("unavailable", "Nothing was acknowledged; send it again.") from error
    return answer(
        {
            "accepted": sum(taken),
            "duplicates": len(taken) - sum(taken),
            "rejected": rejected,
            "ids": [event.id for event in events],
        },
        status=202,
    )


def _read(tenant: str, document: Any, key: str | None, now: int) -> CustomEvent:
    posted = convert(document, PostedEvent)
    if (posted.user_id is None) == (posted.device_id is None):
        raise InvalidDocument("/user_id", "name either a user_id or a device_id")
    occurred_at = now if posted.occurred_at is None else to_ms(posted.occurred_at)
    why = check_time(occurred_at, now)
    if why is not None:
        raise InvalidDocument("/occurred_at", why.replace("recorded_at", "occurred_at"))
    own_id = posted.event_id or key
    return CustomEvent(
        id=custom_event_id(tenant, own_id) if own_id else str(uuid.uuid4()),
        name=posted.name,
        user_id=posted.user_id,
        device_id=posted.device_id,
        occurred_at=occurred_at,
        properties=posted.properties,
    )


ROUTES = [post_events]
