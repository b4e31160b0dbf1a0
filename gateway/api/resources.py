"""The routes that every kind of configuration document has.

``PUT`` creates or replaces (201 or 200), ``GET`` reads, ``PATCH`` is a JSON merge patch (RFC
7396), ``DELETE`` removes (204), and the list is in the order of ids. Every answer with a document
carries a strong ``ETag``; ``If-Match`` makes a write conditional, and ``If-None-Match: *`` makes
it create only.
Another tenant's id is answered exactly as an unknown id.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
from litestar import Response, delete, get, patch, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

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
from gateway.api.openapi_parts import body_of
from gateway.audit import Entry
from gateway.auth import Principal
from gateway.document import Document, VersionConflict
from gateway.etags import is_unchanged
from gateway.kinds.fields import check_id, without_read_only
from gateway.merge_patch import merge_patch
from gateway.paging import check_limit, decode_cursor, link_header, page
from gateway.registry import Kind
from gateway.services import Services
from gateway.times import parse_instant, rfc3339

PATCH_ROUNDS = 10

Parse = Callable[[Call, str, dict[str, Any]], dict[str, Any]]
Show = Callable[[dict[str, Any]], dict[str, Any]]
Keep = Callable[[Document], bool]


class Resource(NamedTuple):
    """One kind of document, as the API shows it.

    ``parse`` gives the stored form of a posted document or raises; ``show`` the form that is
    answered, ``patchable`` what a patch is applied to.
    """

    kind: Kind
    noun: str
    parse: Parse
    example: Mapping[str, Any]
    show: Show = lambda document: document
    patchable: Show = lambda document: document


def services_of(request: Call) -> Services:
    """The services of this process."""
    services: Services = request.app.state.services
    return services


def caller_of(request: Call) -> Principal:
    """Who calls; the guard of the route has let them in."""
    principal: Principal = request.scope["user"]
    return principal


def shown(resource: Resource, document: Document) -> dict[str, Any]:
    """A document as it is answered: with its version and instants."""
    return {
        **resource.show(msgspec.json.decode(document.doc)),
        "version": document.version,
        "created_at": rfc3339(document.created_at),
        "updated_at": rfc3339(document.updated_at),
    }


async def audited(
    request: Call, action: str, resource: Resource, document_id: str, version: int = 0
) -> None:
    """Write the change into the tenant's audit log."""
    caller = caller_of(request)
    entry = Entry(now_ms(), caller.key_id, action, resource.kind, document_id, version)
    await services_of(request).audit.record(caller.tenant, entry)


def encoded(document: dict[str, Any]) -> bytes:
    """The bytes that are stored: the same for equal documents, whatever the order of members."""
    return msgspec.json.encode(document, order="sorted")


def created(request: Call, body: Any, headers: dict[str, str]) -> Response[bytes]:
    """201 with the place of what was made."""
    location = {"Location": quote(request.scope["path"])}
    return answer(body, status=201, headers={**headers, **location})


async def read_one(request: Call, resource: Resource, document_id: str) -> Response[bytes]:
    """Answer one document, or 304."""
    registry, tenant = services_of(request).registry, caller_of(request).tenant
    document = await registry.get(tenant, resource.kind, document_id)
    if document is None:
        raise not_found(resource.noun, document_id)
    headers = document_headers(document)
    if is_unchanged(request.headers.get("if-none-match"), document.version):
        return Response(b"", status_code=304, headers=headers)
    return answer(shown(resource, document), headers=headers)


async def write_one(
    request: Call,
    resource: Resource,
    document_id: str,
    more: Callable[[], dict[str, Any]] = dict,
) -> Response[bytes]:
    """Create or replace one document; ``more`` gives further members of the answer."""
    registry, tenant, now = services_of(request).registry, caller_of(request).tenant, now_ms()
    posted = await object_body(request)
    stored = await registry.get(tenant, resource.kind, check_id(document_id))
    version = stored.version if stored else 0
    expected = expectation(request, version)
    doc = encoded(resource.parse(request, document_id, posted))
    try:
        document = await registry.put(
            tenant, resource.kind, document_id, doc, now=now, expected=expected
        )
    except VersionConflict as conflict:
        raise precondition_failed(conflict.version) from None
    is_new = stored is None
    if document.version != version:
        action = "create" if is_new else "replace"
        await audited(request, action, resource, document_id, document.version)
    body, headers = {**shown(resource, document), **more()}, document_headers(document)
    return created(request, body, headers) if is_new else answer(body, headers=headers)


async def patch_one(request: Call, resource: Resource, document_id: str) -> Response[bytes]:
    """Merge a patch into one document; without If-Match, again with what another writer left."""
    registry, tenant = services_of(request).registry, caller_of(request).tenant
    changes = without_read_only(await object_body(request))
    stored = None
    for _ in range(PATCH_ROUNDS):
        stored = await registry.get(tenant, resource.kind, document_id)
        if stored is None:
            raise not_found(resource.noun, document_id)
        is_conditional = expectation(request, stored.version) is not None
        merged = merge_patch(resource.patchable(msgspec.json.decode(stored.doc)), changes)
        doc = encoded(resource.parse(request, document_id, merged))
        try:
            document = await registry.put(
                tenant, resource.kind, document_id, doc, now=now_ms(), expected=stored.version
            )
        except VersionConflict as conflict:
            if is_conditional:
                raise precondition_failed(conflict.version) from None
            continue
        if document.version != stored.version:
            await audited(request, "patch", resource, document_id, document.version)
        return answer(shown(resource, document), headers=document_headers(document))
    raise precondition_failed(stored.version if stored else 0)


async def delete_one(request: Call, resource: Resource, document_id: str) -> None:
    """Remove one document."""
    registry, tenant = services_of(request).registry, caller_of(request).tenant
    stored = await registry.get(tenant, resource.kind, document_id)
    if stored is None:
        raise not_found(resource.noun, document_id)
    expected = expectation(request, stored.version)
    try:
        is_deleted = await registry.delete(
            tenant, resource.kind, document_id, now=now_ms(), expected=expected
        )
    except VersionConflict as conflict:
        raise precondition_failed(conflict.version) from None
    if not is_deleted:
        raise not_found(resource.noun, document_id)
    await audited(request, "delete", resource, document_id)


async def list_page(
    request: Call,
    resource: Resource,
    *,
    limit: int | None,
    cursor: str | None,
    keep: Keep | None = None,
) -> Response[bytes]:
    """Answer a page of documents in the order of their ids."""
    registry, tenant = services_of(request).registry, caller_of(request).tenant
    found = await registry.page(
        tenant, resource.kind, after=decode_cursor(cursor), limit=check_limit(limit), keep=keep
    )
    items = [shown(resource, document) for _, document in found.items]
    query = list(request.query_params.multi_items())
    headers = {"Cache-Control": "private, no-cache"}
    headers |= link_header(request.url.path, query, found.after)
    return answer(page(items, found.after), headers=headers)


class _Tagged(msgspec.Struct):
    tags: list[str] = []
    properties: dict[str, Any] = {}


_TAGGED = msgspec.json.Decoder(_Tagged)


def keep_of(tags: list[str] | None, updated_since: str | None) -> Keep | None:
    """The filter for documents that have all tags and changed at or after an instant.

    Raises:
        Problem: the instant is none.
    """
    if not tags and updated_since is None:
        return None
    wanted = set(tags or ())
    since = parse_instant(updated_since, "updated_since") if updated_since else 0

    def keep(document: Document) -> bool:
        if document.updated_at < since:
            return False
        if not wanted:
            return True
        found = _TAGGED.decode(document.doc)
        return wanted <= set(found.tags) | set(found.properties.get("tags") or ())

    return keep


def document_routes(resource: Resource, *, leave_out: Sequence[str] = ()) -> list[HTTPRouteHandler]:
    """The handlers of one kind under ``/v1/<kind>``, but for those that are made elsewhere."""
    path, noun, tags = f"/v1/{resource.kind}", resource.noun, [resource.kind]
    one = path + "/{document_id:str}"
    body = body_of(resource.example)

    @put(one, operation_id=f"put_{noun}", tags=tags, operation_class=body, status_code=200)
    async def put_document(request: Call, document_id: FromPath[str]) -> Response[bytes]:
        """Create or replace. `If-Match` and `If-None-Match: *` are honoured."""
        return await write_one(request, resource, document_id)

    @get(one, operation_id=f"get_{noun}", tags=tags, opt={"scope": "read"})
    async def get_document(request: Call, document_id: FromPath[str]) -> Response[bytes]:
        """Read one."""
        return await read_one(request, resource, document_id)

    @patch(one, operation_id=f"patch_{noun}", tags=tags, operation_class=body)
    async def patch_document(request: Call, document_id: FromPath[str]) -> Response[bytes]:
        """Change some members by JSON merge patch (RFC 7396): null removes a member."""
        return await patch_one(request, resource, document_id)

    @delete(one, operation_id=f"delete_{noun}", tags=tags)
    async def delete_document(request: Call, document_id: FromPath[str]) -> None:
        """Remove one."""
        await delete_one(request, resource, document_id)

    @get(path, operation_id=f"list_{resource.kind}", tags=tags, opt={"scope": "read"})
    async def list_documents(
        request: Call,
        tag: FromQuery[list[str] | None] = None,
        updated_since: FromQuery[str | None] = None,
        limit: FromQuery[int | None] = None,
        cursor: FromQuery[str | None] = None,
    ) -> Response[bytes]:
        """List in the order of ids. `tag` may be repeated: all must be there."""
        keep = keep_of(tag, updated_since)
        return await list_page(request, resource, limit=limit, cursor=cursor, keep=keep)

    handlers: dict[str, HTTPRouteHandler] = {
        "put": put_document,
        "get": get_document,
        "patch": patch_document,
        "delete": delete_document,
        "list": list_documents,
    }
    return [handler for name, handler in handlers.items() if name not in leave_out]
