"""Devices: what pings and can be pushed to."""

from typing import Any

from litestar import Response, delete, get, patch, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from gateway.api import consents
from gateway.api.caller import Call, answer, expectation, now_ms, object_body
from gateway.api.openapi_parts import body_of
from gateway.api.persons import Kind, answered, audited, change, find, list_people, write
from gateway.api.resources import caller_of, services_of
from gateway.document import Expected
from gateway.last_seen import last_seen
from gateway.people import People, Stored
from gateway.person import Device, parse_device

EXAMPLE: dict[str, Any] = {
    "user_id": "kim",
    "targets": [{"provider": "fcm", "address": "dGhpcyBpcyBub3QgYSB0b2tlbg:APA91b"}],
    "attributes": {"app_version": "4.2.0"},
    "tags": ["beta"],
    "timezone": "Europe/Berlin",
    "locale": "de-DE",
    "consents": {"push": True, "location": "precise"},
}
TAGS = ["devices"]


async def _get(people: People, tenant: str, device_id: str) -> Stored[Device] | None:
    return await people.device(tenant, device_id)


async def _put(
    people: People, tenant: str, device: Device, now: int, expected: Expected
) -> Stored[Device]:
    return await people.put_device(tenant, device, now=now, expected=expected)


DEVICES = Kind("devices", "device", parse_device, _get, _put)


@put(
    "/v1/devices/{device_id:str}",
    operation_id="put_device",
    tags=TAGS,
    operation_class=body_of(EXAMPLE),
)
async def put_device(request: Call, device_id: FromPath[str]) -> Response[bytes]:
    """Create or replace. An address or transmitter that another device had moves to this one."""
    return await write(request, DEVICES, device_id)


@get("/v1/devices/{device_id:str}", operation_id="get_device", tags=TAGS, opt={"scope": "read"})
async def get_device(request: Call, device_id: FromPath[str]) -> Response[bytes]:
    """Read one, with `last_seen_at`: the latest instant of which a ping or sighting told."""
    stored = await find(request, DEVICES, device_id)
    services, tenant = services_of(request), caller_of(request).tenant
    seen = await last_seen(services.redis, services.people, tenant, [device_id])
    return answered(request, stored, {"last_seen_at": seen.get(device_id)})


@patch(
    "/v1/devices/{device_id:str}",
    operation_id="patch_device",
    tags=TAGS,
    operation_class=body_of({"attributes": {"tier": "gold"}}),
)
async def patch_device(request: Call, device_id: FromPath[str]) -> Response[bytes]:
    """Change some members by JSON merge patch (RFC 7396): null removes a member."""
    changes = await object_body(request)
    return answered(request, await change(request, DEVICES, device_id, changes))


@delete("/v1/devices/{device_id:str}", operation_id="delete_device", tags=TAGS, status_code=200)
async def delete_device(request: Call, device_id: FromPath[str]) -> Response[bytes]:
    """Forget a device: its record, state, timers, history, inbox and what waits to be sent."""
    services, tenant = services_of(request), caller_of(request).tenant
    stored = await services.people.device(tenant, device_id)
    expectation(request, stored.document.version if stored else 0)
    erased = await services.eraser.forget_device(tenant, device_id, now=now_ms())
    if not erased:
        await find(request, DEVICES, device_id)
    await audited(request, "erase", "devices", "", 0)
    return answer({"erased": erased})


@get("/v1/devices", operation_id="list_devices", tags=TAGS, opt={"scope": "read"})
async def list_devices(
    request: Call, limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None
) -> Response[bytes]:
    """List, in an order that stays the same."""
    return await list_people(request, DEVICES, limit, cursor)


@post(
    "/v1/devices/{device_id:str}/consents",
    operation_id="post_device_consent",
    tags=TAGS,
    operation_class=body_of(consents.EXAMPLE),
    status_code=200,
)
async def post_consent(request: Call, device_id: FromPath[str]) -> Response[bytes]:
    """Log what the person allowed or withdrew; it holds from now on, at intake and at dispatch."""
    return await consents.post_answer(request, DEVICES, device_id)


@get(
    "/v1/devices/{device_id:str}/consents",
    operation_id="list_device_consents",
    tags=TAGS,
    opt={"scope": "read"},
)
async def list_consents(request: Call, device_id: FromPath[str]) -> Response[bytes]:
    """What holds now, and every answer, oldest first."""
    return await consents.list_answers(request, DEVICES, device_id)


ROUTES: list[HTTPRouteHandler] = [
    put_device,
    get_device,
    patch_device,
    delete_device,
    list_devices,
    post_consent,
    list_consents,
]
