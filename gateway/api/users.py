"""Users: the people behind devices."""

from typing import Any

import msgspec
from litestar import Response, delete, get, patch, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from gateway.api import consents
from gateway.api.caller import NO_STORE, Call, answer, expectation, not_found, now_ms, object_body
from gateway.api.openapi_parts import body_of
from gateway.api.persons import Kind, answered, audited, change, find, list_people, write
from gateway.api.resources import caller_of, services_of
from gateway.document import Expected
from gateway.export import Exporter
from gateway.kinds.fields import InvalidDocument, check_id, convert
from gateway.paging import page
from gateway.people import People, Stored
from gateway.person import User, parse_user, to_document

EXAMPLE: dict[str, Any] = {
    "attributes": {"first_name": "Kim", "tier": "gold"},
    "tags": ["vip"],
    "timezone": "Europe/Berlin",
    "locale": "de-DE",
    "consents": {"push": True},
    "targets": [{"provider": "email", "address": "kim@example.com"}],
}
TAGS = ["users"]
READ = {"scope": "read"}


class Merge(msgspec.Struct, forbid_unknown_fields=True):
    """Which user becomes part of the one in the path."""

    from_user_id: str = msgspec.field(name="from")


async def _get(people: People, tenant: str, user_id: str) -> Stored[User] | None:
    return await people.user(tenant, user_id)


async def _put(
    people: People, tenant: str, user: User, now: int, expected: Expected
) -> Stored[User]:
    return await people.put_user(tenant, user, now=now, expected=expected)


USERS = Kind("users", "user", parse_user, _get, _put)


@put(
    "/v1/users/{user_id:str}", operation_id="put_user", tags=TAGS, operation_class=body_of(EXAMPLE)
)
async def put_user(request: Call, user_id: FromPath[str]) -> Response[bytes]:
    """Create or replace."""
    return await write(request, USERS, user_id)


@get("/v1/users/{user_id:str}", operation_id="get_user", tags=TAGS, opt=READ)
async def get_user(request: Call, user_id: FromPath[str]) -> Response[bytes]:
    """Read one, with the ids of the user's devices."""
    stored = await find(request, USERS, user_id)
    people, tenant = services_of(request).people, caller_of(request).tenant
    devices = [device.id for device in await people.devices_of(tenant, user_id)]
    return answered(request, stored, {"devices": devices})


@patch(
    "/v1/users/{user_id:str}",
    operation_id="patch_user",
    tags=TAGS,
    operation_class=body_of({"attributes": {"tier": "gold"}}),
)
async def patch_user(request: Call, user_id: FromPath[str]) -> Response[bytes]:
    """Change some members by JSON merge patch (RFC 7396): null removes a member."""
    changes = await object_body(request)
    return answered(request, await change(request, USERS, user_id, changes))


@delete("/v1/users/{user_id:str}", operation_id="delete_user", tags=TAGS, status_code=200)
async def delete_user(
    request: Call, user_id: FromPath[str], devices: FromQuery[bool] = False
) -> Response[bytes]:
    """Forget a user everywhere. `devices=true` forgets the user's devices, too; else they stay."""
    services, tenant, now = services_of(request), caller_of(request).tenant, now_ms()
    stored = await services.people.user(tenant, user_id)
    expectation(request, stored.document.version if stored else 0)
    erased = 0
    if devices:
        for device in await services.people.devices_of(tenant, user_id):
            erased += await services.eraser.forget_device(tenant, device.id, now=now)
    erased += await services.eraser.forget_user(tenant, user_id, now=now)
    if not erased:
        raise not_found("user", user_id)
    await audited(request, "erase", "users", "", 0)
    return answer({"erased": erased})


@get("/v1/users", operation_id="list_users", tags=TAGS, opt=READ)
async def list_users(
    request: Call, limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None
) -> Response[bytes]:
    """List, in an order that stays the same."""
    return await list_people(request, USERS, limit, cursor)


@get("/v1/users/{user_id:str}/devices", operation_id="list_user_devices", tags=TAGS, opt=READ)
async def list_user_devices(request: Call, user_id: FromPath[str]) -> Response[bytes]:
    """The user's devices."""
    await find(request, USERS, user_id)
    people, tenant = services_of(request).people, caller_of(request).tenant
    found = [to_document(device) for device in await people.devices_of(tenant, user_id)]
    return answer(page(found, None))


@post(
    "/v1/users/{user_id:str}/merge",
    operation_id="merge_user",
    tags=TAGS,
    operation_class=body_of({"from": "anonymous-81"}),
    status_code=200,
)
async def merge_user(request: Call, user_id: FromPath[str]) -> Response[bytes]:
    """Make another user part of this one: the stricter consents and caps of both hold."""
    services, tenant = services_of(request), caller_of(request).tenant
    return await services.answers.once(request, tenant, lambda: _merge(request, user_id))


async def _merge(request: Call, user_id: str) -> Response[bytes]:
    services, tenant = services_of(request), caller_of(request).tenant
    other = convert(await object_body(request), Merge).from_user_id
    if check_id(user_id) == check_id(other, "/from"):
        raise InvalidDocument("/from", "is the user itself")
    merged = await services.merger.merge(tenant, user_id, other, now=now_ms())
    if merged is None:
        raise not_found("user", other)
    await audited(request, "merge", "users", user_id, merged.document.version)
    return answered(request, merged)


@post(
    "/v1/users/{user_id:str}/consents",
    operation_id="post_user_consent",
    tags=TAGS,
    operation_class=body_of(consents.EXAMPLE),
    status_code=200,
)
async def post_consent(request: Call, user_id: FromPath[str]) -> Response[bytes]:
    """Log what the person allowed or withdrew; it holds from now on for all their devices."""
    return await consents.post_answer(request, USERS, user_id)


@get("/v1/users/{user_id:str}/consents", operation_id="list_user_consents", tags=TAGS, opt=READ)
async def list_consents(request: Call, user_id: FromPath[str]) -> Response[bytes]:
    """What holds now, and every answer, oldest first."""
    return await consents.list_answers(request, USERS, user_id)


@get("/v1/users/{user_id:str}/export", operation_id="export_user", tags=TAGS)
async def export_user(request: Call, user_id: FromPath[str]) -> Response[bytes]:
    """Everything that is kept about a user and the user's devices, as one document."""
    services, tenant = services_of(request), caller_of(request).tenant
    shards = services.installation.shard_count
    exporter = Exporter(services.redis, services.people, services.consent_log, shards)
    found = await exporter.user(tenant, user_id, now=now_ms())
    if found is None:
        raise not_found("user", user_id)
    await audited(request, "export", "users", user_id, 0)
    return answer(found, headers=NO_STORE)


ROUTES: list[HTTPRouteHandler] = [
    export_user,
    put_user,
    get_user,
    patch_user,
    delete_user,
    list_users,
    list_user_devices,
    merge_user,
    post_consent,
    list_consents,
]
