"""Pushes that were given up: why, and another try once the cause is repaired."""

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery, QueryParameter
from msgspec import Meta

from gateway.api.caller import NO_STORE, Call, answer, now_ms, object_body
from gateway.api.openapi_parts import body_of
from gateway.api.resources import caller_of, services_of
from gateway.audit import Entry
from gateway.dead import letter_document, replay_all, replay_letters
from gateway.errors import Problem
from gateway.kinds.fields import InvalidDocument, convert
from gateway.paging import check_limit, decode_cursor, link_header, page
from senders.dead_letters import UnknownLetter

TAGS = ["deliveries"]
Ids = Annotated[list[str], Meta(min_length=1, max_length=1000)]


class Chosen(msgspec.Struct, forbid_unknown_fields=True):
    """Which letters: those named, or all of them."""

    ids: Ids | None = None
    all: bool = False


@get("/v1/dead-letters", operation_id="list_dead_letters", tags=TAGS, opt={"scope": "read"})
async def list_dead_letters(
    request: Call, limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None
) -> Response[bytes]:
    """List the pushes that were given up, newest first, with the reason."""
    dead, tenant = services_of(request).dispatching.dead, caller_of(request).tenant
    size = check_limit(limit)
    try:
        letters = await dead.page(tenant, size + 1, decode_cursor(cursor) or None)
    except UnknownLetter:
        raise Problem(
            "invalid-request",
            "The cursor is not one that this list gave. Start again without it.",
            errors=[("query cursor", "is not a cursor of this list")],
        ) from None
    after = letters[size - 1].id if len(letters) > size else None
    items = [letter_document(letter) for letter in letters[:size]]
    query = list(request.query_params.multi_items())
    headers = {**NO_STORE, **link_header(request.url.path, query, after)}
    body = {**page(items, after), "total": await dead.count(tenant)}
    return answer(body, headers=headers)


@post(
    "/v1/dead-letters/replay",
    operation_id="replay_dead_letters",
    tags=TAGS,
    status_code=200,
    operation_class=body_of({"ids": ["0-1796030400000-0"]}),
)
async def replay_dead_letters(request: Call) -> Response[bytes]:
    """Send dead letters again: `{"ids": [...]}`, or `{"all": true}`.

    Each starts anew, with as long a life as it had; letters that are gone are left out, and what is
    no push (`unreadable`) stays.
    """
    services, tenant, now = services_of(request), caller_of(request).tenant, now_ms()
    chosen = _chosen(await object_body(request))
    dead = services.dispatching.dead
    if chosen.ids is None:
        done = await replay_all(dead, tenant, now)
    else:
        try:
            letters = await dead.get(tenant, list(dict.fromkeys(chosen.ids)))
        except UnknownLetter as error:
            raise InvalidDocument("/ids", str(error)) from None
        done = await replay_letters(dead, letters, now)
    services.dispatching.dispatcher.nudge()
    await _audited(request, "replay", done.replayed)
    return answer(done._asdict())


@delete("/v1/dead-letters", operation_id="purge_dead_letters", tags=TAGS, status_code=200)
async def purge_dead_letters(
    request: Call,
    letter: FromQuery[list[str] | None] = None,
    everything: Annotated[bool, QueryParameter(name="all")] = False,
) -> Response[bytes]:
    """Delete dead letters for good: `?letter=<id>` (repeated), or `?all=true`."""
    dead, tenant = services_of(request).dispatching.dead, caller_of(request).tenant
    if everything == bool(letter):
        raise Problem(
            "invalid-request",
            "Name letters with ?letter=<id>, or say ?all=true.",
            errors=[("query letter", "is needed, or all=true")],
        )
    try:
        purged = await dead.purge(tenant, None if everything else letter)
    except UnknownLetter as error:
        raise Problem(
            "invalid-request", f"{error}.", errors=[("query letter", str(error))]
        ) from None
    await _audited(request, "purge", purged)
    return answer({"purged": purged})


def _chosen(document: dict[str, Any]) -> Chosen:
    chosen = convert(document, Chosen)
    if chosen.all == (chosen.ids is not None):
        raise InvalidDocument("/ids", "name ids, or say all: true")
    return chosen


async def _audited(request: Call, action: str, count: int) -> None:
    caller = caller_of(request)
    entry = Entry(now_ms(), caller.key_id, action, "dead_letters", "", detail=f"{count} letters")
    await services_of(request).audit.record(caller.tenant, entry)


ROUTES: list[HTTPRouteHandler] = [list_dead_letters, replay_dead_letters, purge_dead_letters]
