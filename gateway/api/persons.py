"""What the routes of devices and of users have in common: records of people, read and written."""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, NamedTuple, TypeVar

from litestar import Response

from gateway.api.caller import (
    Call,
    answer,
    document_headers,
    expectation,
    not_found,
    now_ms,
    object_body,
    precondition_failed,
)
from gateway.api.resources import PATCH_ROUNDS, caller_of, created, services_of
from gateway.audit import Entry
from gateway.document import Expected, VersionConflict
from gateway.etags import is_unchanged
from gateway.kinds.fields import check_id
from gateway.last_seen import last_seen
from gateway.merge_patch import merge_patch
from gateway.paging import check_limit, decode_cursor, link_header, page
from gateway.people import Family, People, Stored
from gateway.person import Consents, Device, User, to_document
from gateway.times import rfc3339

P = TypeVar("P", bound=User)


class Kind(NamedTuple, Generic[P]):
    """Devices or users: how they are read, parsed and stored."""

    family: Family
    noun: str
    parse: Callable[[str, dict[str, Any], int], P]
    get: Callable[[People, str, str], Awaitable[Stored[P] | None]]
    put: Callable[[People, str, P, int, Expected], Awaitable[Stored[P]]]


def shown(stored: Stored[Any]) -> dict[str, Any]:
    """A record as it is answered."""
    return {
        **to_document(stored.person),
        "version": stored.document.version,
        "created_at": rfc3339(stored.document.created_at),
        "updated_at": rfc3339(stored.document.updated_at),
    }


def answered(
    request: Call, stored: Stored[Any], more: dict[str, Any] | None = None
) -> Response[bytes]:
    """A record with its validators; 304 if a GET asks for what it has."""
    headers = document_headers(stored.document)
    is_same = is_unchanged(request.headers.get("if-none-match"), stored.document.version)
    if request.method == "GET" and is_same:
        return Response(b"", status_code=304, headers=headers)
    return answer({**shown(stored), **(more or {})}, headers=headers)


async def find(request: Call, kind: Kind[P], person_id: str) -> Stored[P]:
    """The record.

    Raises:
        Problem: there is none.
    """
    services = services_of(request)
    stored = await kind.get(services.people, caller_of(request).tenant, person_id)
    if stored is None:
        raise not_found(kind.noun, person_id)
    return stored


async def write(request: Call, kind: Kind[P], person_id: str) -> Response[bytes]:
    """Create or replace."""
    people, tenant, now = services_of(request).people, caller_of(request).tenant, now_ms()
    posted = await object_body(request)
    before = await kind.get(people, tenant, check_id(person_id))
    expected = expectation(request, before.document.version if before else 0)
    person = kind.parse(person_id, posted, now)
    try:
        stored = await kind.put(people, tenant, person, now, expected)
    except VersionConflict as conflict:
        raise precondition_failed(conflict.version) from None
    await _follow(request, "replace" if before else "create", kind, before, stored)
    if before is None:
        return created(request, shown(stored), document_headers(stored.document))
    return answered(request, stored)


async def change(
    request: Call, kind: Kind[P], person_id: str, patch: dict[str, Any], action: str = "patch"
) -> Stored[P]:
    """Merge a patch into a record; without If-Match, again with what another writer left."""
    people, tenant = services_of(request).people, caller_of(request).tenant
    for _ in range(PATCH_ROUNDS):
        before = await find(request, kind, person_id)
        is_conditional = expectation(request, before.document.version) is not None
        now = now_ms()
        merged = merge_patch(to_document(before.person), patch)
        person = kind.parse(person_id, merged, now)
        try:
            stored = await kind.put(people, tenant, person, now, before.document.version)
        except VersionConflict as conflict:
            if is_conditional:
                raise precondition_failed(conflict.version) from None
            continue
        await _follow(request, action, kind, before, stored)
        return stored
    raise precondition_failed(0)


async def list_people(
    request: Call, kind: Kind[Any], limit: int | None, cursor: str | None
) -> Response[bytes]:
    """Answer a page of records."""
    people, tenant = services_of(request).people, caller_of(request).tenant
    found, after = await people.page(
        kind.family, tenant, after=decode_cursor(cursor), limit=check_limit(limit)
    )
    headers = {"Cache-Control": "private, no-cache"}
    headers |= link_header(request.url.path, list(request.query_params.multi_items()), after)
    items = [shown(stored) for stored in found]
    if kind.family == "devices":
        client = services_of(request).redis
        seen = await last_seen(client, people, tenant, [item["id"] for item in items])
        items = [{**item, "last_seen_at": seen.get(item["id"])} for item in items]
    return answer(page(items, after), headers=headers)


async def audited(request: Call, action: str, family: str, person_id: str, version: int) -> None:
    """Write a change into the audit log."""
    caller = caller_of(request)
    entry = Entry(now_ms(), caller.key_id, action, family, person_id, version)
    await services_of(request).audit.record(caller.tenant, entry)


async def _follow(
    request: Call, action: str, kind: Kind[P], before: Stored[P] | None, stored: Stored[P]
) -> None:
    """What every write leaves behind: the log of consents, and of changes."""
    old = before.person.consents if before else Consents()
    if old != stored.person.consents and action != "consent":
        caller = caller_of(request)
        await services_of(request).consent_log.record(
            caller.tenant,
            kind.family,
            stored.person.id,
            stored.person.consents,
            source=f"api:{caller.key_id}",
            now=now_ms(),
        )
    if stored.person.consents.location == "off" and old.location != "off":
        await _forget_positions(request, stored.person)
    if before is None or before.document.version != stored.document.version:
        person_id, version = stored.person.id, stored.document.version
        await audited(request, action, kind.family, person_id, version)


async def _forget_positions(request: Call, person: User) -> None:
    """Whoever withdraws the consent to be located is nowhere from now on."""
    services, tenant = services_of(request), caller_of(request).tenant
    await services.engine.consent.settle()
    devices = (
        [person]
        if isinstance(person, Device)
        else await services.people.devices_of(tenant, person.id)
    )
    for device in devices:
        await services.eraser.forget_position(tenant, device.id)
