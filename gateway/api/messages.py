"""``POST /v1/messages/preview``: what a message becomes on every platform, before it is sent."""

import os
from typing import Annotated, Any

import msgspec
from litestar import Response, post
from litestar.handlers import HTTPRouteHandler
from msgspec import Meta

from gateway.api.caller import NO_STORE, Call, answer, not_found, now_ms, object_body
from gateway.api.openapi_parts import body_of
from gateway.api.resources import caller_of, services_of
from gateway.kinds.fields import InvalidDocument, convert
from gateway.links import PushLinks
from gateway.merge_patch import merge_patch
from gateway.people import Party, subject_of
from gateway.person import Device, User
from gateway.template_values import template_values
from senders.message import parse_message
from senders.model import InvalidMessage, Lane, Rendered
from senders.preview import preview
from senders.render import render
from triggers.model import Event, EventKind, Push, ZoneType
from triggers.trigger import ttl_s

Id = Annotated[str, Meta(min_length=1, max_length=128)]
PUSH_ID = "00000000-0000-8000-8000-000000000000"
SAMPLE_DEVICE = Device(
    id="sample-device", attributes={"first_name": "Kim"}, timezone="Europe/Berlin", locale="en-US"
)
SAMPLE_USER = User(id="sample-user", attributes={"first_name": "Kim"})
SAMPLE_ZONE: dict[str, Any] = {
    "id": "sample-zone",
    "type": "geofence",
    "name": "Main Street",
    "tags": [],
    "timezone": None,
}
EXAMPLE: dict[str, Any] = {
    "message": {"title": "Hi {{ user.first_name }}", "body": "Lunch at {{ zone.name }}"},
    "sample": {"user": {"first_name": "Ada"}, "zone": {"name": "Main Street"}},
    "locale": "de-DE",
}


class _Zone(msgspec.Struct, forbid_unknown_fields=True):
    id: Id
    type: ZoneType = "geofence"


class Sample(msgspec.Struct, forbid_unknown_fields=True):
    """``sample`` is laid over the values of ``device_id`` and ``zone``, or of made-up ones."""

    message: dict[str, Any]
    sample: dict[str, Any] = {}
    device_id: Id | None = None
    zone: _Zone | None = None
    locale: Annotated[str, Meta(max_length=35)] | None = None
    lane: Lane = msgspec.field(default="marketing", name="class")


@post(
    "/v1/messages/preview",
    operation_id="preview_message",
    tags=["triggers"],
    status_code=200,
    opt={"scope": "read"},
    operation_class=body_of(EXAMPLE),
)
async def preview_message(request: Call) -> Response[bytes]:
    """Show the exact payload of a message on every platform: size, limit, and what was given up.

    Templates are filled in for `device_id` (in `zone`), or for a made-up person; `sample` is laid
    over both. The tokens in it are as long as real ones, and worth nothing.
    """
    asked = convert(await object_body(request), Sample)
    now = now_ms()
    try:
        rendered = await _rendered(request, asked, now)
    except InvalidMessage as error:
        raise InvalidDocument(f"/message{error.pointer}", error.detail) from None
    shown = {"title": rendered.title, "subtitle": rendered.subtitle, "body": rendered.body}
    return answer({**shown, "platforms": preview(rendered, now)}, headers=NO_STORE)


async def _rendered(request: Call, asked: Sample, now: int) -> Rendered:
    template = parse_message(asked.message)
    tenant = caller_of(request).tenant
    party = await _party(request, asked.device_id)
    push = _push(tenant, party, asked, now)
    facts = None
    if asked.zone is not None:
        view = services_of(request).engine.catalog.view(tenant)
        facts = view.facts(asked.zone.type, asked.zone.id)
    values = template_values(push, party, facts)
    if asked.zone is None:
        values["zone"] = SAMPLE_ZONE
    base_url = services_of(request).settings.base_url
    return render(
        template,
        merge_patch(values, asked.sample),
        push_id=push.id,
        expires_at=push.expires_at,
        lane=asked.lane,
        locale=asked.locale or subject_of(party).locale or "",
        links=PushLinks(base_url, os.urandom(32), push),
    )


async def _party(request: Call, device_id: str | None) -> Party:
    if device_id is None:
        return Party(SAMPLE_DEVICE, SAMPLE_USER, ())
    people, tenant = services_of(request).people, caller_of(request).tenant
    if await people.device(tenant, device_id) is None:
        raise not_found("device", device_id)
    return (await people.parties(tenant, [device_id]))[device_id]


def _push(tenant: str, party: Party, asked: Sample, now: int) -> Push:
    zone = asked.zone
    event = Event(
        id=PUSH_ID,
        kind=EventKind.ENTER,
        tenant=tenant,
        device_id=party.device.id,
        occurred_at=now,
        received_at=now,
        user_id=party.user.id if party.user else None,
        zone_type=zone.type if zone else None,
        zone_id=zone.id if zone else None,
    )
    return Push(
        id=PUSH_ID,
        tenant=tenant,
        device_id=party.device.id,
        trigger_id="preview",
        trigger_version=0,
        variant=0,
        lane=asked.lane,
        event=event,
        created_at=now,
        expires_at=now + ttl_s(asked.message) * 1000,
        user_id=event.user_id,
    )


ROUTES: list[HTTPRouteHandler] = [preview_message]
