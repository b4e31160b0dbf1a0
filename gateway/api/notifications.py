"""``POST /v1/notifications``: a direct push, sent by the tenant's back end without a trigger."""

import uuid
from typing import Annotated, Any

import msgspec
from litestar import Response, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta

from gateway.api.caller import Call, answer, not_found, now_ms, object_body
from gateway.api.openapi_parts import body_of
from gateway.api.resources import caller_of, services_of
from gateway.kinds.fields import InvalidDocument, check_metadata, convert
from gateway.notifications import Direct, send_direct
from senders.message import parse_message
from senders.model import Channel, InvalidMessage, Lane

DEFAULT_CHANNELS: tuple[Channel, ...] = ("app_push", "web_push", "inbox")
Id = Annotated[str, Meta(min_length=1, max_length=128)]
EXAMPLE: dict[str, Any] = {
    "user_id": "kim",
    "message": {"title": "Order {{ event.properties.order }} is ready", "ttl_s": 3600},
    "properties": {"order": "4711"},
    "channels": ["app_push", "sms"],
}


class Notification(msgspec.Struct, forbid_unknown_fields=True):
    """What is sent to whom. ``properties`` are ``event.properties`` in the message's templates."""

    message: dict[str, Any]
    user_id: Id | None = None
    device_id: Id | None = None
    channels: Annotated[tuple[Channel, ...], Meta(min_length=1)] = DEFAULT_CHANNELS
    lane: Lane = msgspec.field(default="transactional", name="class")
    properties: dict[str, str | int | float | bool | None] = {}


@post(
    "/v1/notifications",
    operation_id="post_notification",
    tags=["deliveries"],
    status_code=202,
    opt={"scope": "manage"},
    operation_class=body_of(EXAMPLE),
)
async def post_notification(request: Call) -> Response[bytes]:
    """Send a message to a device or to a user, at once and without a trigger.

    With an `Idempotency-Key` it is sent once, however often it is posted. Consent is always asked;
    quiet hours and caps only with `"class": "marketing"`. What became of it: `/v1/deliveries/{id}`.
    """
    tenant = caller_of(request).tenant
    posted = _checked(await object_body(request))
    key = request.headers.get("idempotency-key")

    async def send() -> Response[bytes]:
        await _require_known(request, tenant, posted)
        direct = Direct(
            name=key or str(uuid.uuid4()),
            device_id=posted.device_id,
            user_id=posted.user_id,
            message=posted.message,
            channels=posted.channels,
            lane=posted.lane,
            properties=posted.properties,
        )
        services = services_of(request)
        shard_count = services.installation.shard_count
        push_id, _ = await send_direct(services.engine, shard_count, tenant, direct, now_ms())
        location = {"Location": f"/v1/deliveries/{push_id}"}
        return answer({"push_id": push_id}, status=202, headers=location)

    return await services_of(request).answers.once(request, tenant, send)


def _checked(document: dict[str, Any]) -> Notification:
    posted = convert(document, Notification)
    if (posted.user_id is None) == (posted.device_id is None):
        raise InvalidDocument("/user_id", "name either a user_id or a device_id")
    if len(set(posted.channels)) < len(posted.channels):
        raise InvalidDocument("/channels", "names a channel twice")
    check_metadata(posted.properties, "/properties")
    try:
        parse_message(posted.message)
    except InvalidMessage as error:
        raise InvalidDocument(f"/message{error.pointer}", error.detail) from None
    return posted


async def _require_known(request: Call, tenant: str, posted: Notification) -> None:
    """A push to somebody unknown is a mistake that the caller should hear of."""
    people = services_of(request).people
    if posted.device_id is not None:
        if await people.device(tenant, posted.device_id) is None:
            raise not_found("device", posted.device_id)
    elif posted.user_id is not None:
        is_known = await people.user(tenant, posted.user_id) is not None
        if not is_known and not await people.devices_of(tenant, posted.user_id):
            raise not_found("user", posted.user_id)


ROUTES: list[HTTPRouteHandler] = [post_notification]
