"""Events that happened: history by page, and live by server-sent events."""

from collections.abc import Callable
from typing import Any

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery

from gateway.api.caller import NO_STORE, Call, answer, now_ms
from gateway.api.resources import caller_of, services_of
from gateway.errors import Problem
from gateway.event_document import event_document
from gateway.history import Span
from gateway.paging import check_limit, decode_cursor, link_header, page
from gateway.times import parse_instant
from triggers.model import Event, EventKind

FAR = 253_402_300_799_999
_decode = msgspec.json.Decoder(Event).decode


@get("/v1/events", operation_id="list_events", tags=["events"], opt={"scope": "read"})
async def list_events(
    request: Call,
    *,
    device: FromQuery[str | None] = None,
    user: FromQuery[str | None] = None,
    zone: FromQuery[str | None] = None,
    kind: FromQuery[str | None] = None,
    after: FromQuery[str | None] = None,
    before: FromQuery[str | None] = None,
    order: FromQuery[str] = "desc",
    limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Response[bytes]:
    """List events, newest first (`order=asc`: oldest first).

    `after` and `before` are instants of the commit. With `device` or `user` the latest some hundred
    of each device are found without a search.
    """
    span = span_of(after, before, order)
    keep = event_filter(kind, zone, device, user)
    tenant, history = caller_of(request).tenant, services_of(request).history
    size, place = check_limit(limit), decode_cursor(cursor)
    if device is not None or user is not None:
        subjects = await subjects_of(request, device, user)
        trail = await history.trail(tenant, subjects, "events", _decode)
        listed = [(one, event) for one, event in trail if keep(event)]
        items, rest = cut(listed, span, place, size)
    else:

        def read(payload: bytes) -> Event | None:
            event = _decode(payload)
            return event if keep(event) else None

        found = await history.page(tenant, "events", read, span=span, limit=size, after=place)
        items, rest = [event for _, event in found.items], found.after
    headers = {**NO_STORE, **link_header(request.url.path, query_of(request), rest)}
    return answer(page([event_document(event) for event in items], rest), headers=headers)


def span_of(after: str | None, before: str | None, order: str) -> Span:
    """The span that the parameters ask for.

    Raises:
        Problem: an instant or the order is none.
    """
    if order not in ("asc", "desc"):
        raise Problem(
            "invalid-request",
            f"order is {order!r}; it must be asc or desc.",
            errors=[("query order", "must be asc or desc")],
        )
    since = parse_instant(after, "after") if after else 0
    # The newest-first walk starts now, so that later pages do not begin with what came meanwhile.
    last = now_ms() if order == "desc" else FAR
    until = min(parse_instant(before, "before"), last) if before else last
    return Span(since, until, newest_first=order == "desc")


def event_filter(
    kind: str | None, zone: str | None, device: str | None = None, user: str | None = None
) -> Callable[[Event], bool]:
    """Whether an event is asked for.

    Raises:
        Problem: there is no such kind.
    """
    if kind is not None and kind not in set(EventKind):
        kinds = ", ".join(EventKind)
        raise Problem(
            "invalid-request",
            f"kind is {kind!r}; it must be one of {kinds}.",
            errors=[("query kind", f"must be one of {kinds}")],
        )

    def keep(event: Event) -> bool:
        return (
            (kind is None or event.kind == kind)
            and (zone is None or event.zone_id == zone)
            and (device is None or event.device_id == device)
            and (user is None or event.user_id == user)
        )

    return keep


async def subjects_of(request: Call, device: str | None, user: str | None) -> list[str]:
    """Whose trails hold what is asked of a device or a user."""
    people, tenant = services_of(request).people, caller_of(request).tenant
    subjects = [] if device is None else [device]
    if user is not None:
        subjects += [user, f"~{user}"]
        subjects += [one.id for one in await people.devices_of(tenant, user)]
    elif device is not None:
        stored = await people.device(tenant, device)
        if stored is not None and stored.person.user_id is not None:
            subjects.append(stored.person.user_id)
    return subjects


def cut(
    trail: list[tuple[str, Any]], span: Span, after: str, limit: int
) -> tuple[list[Any], str | None]:
    """A page of a trail (newest first): the items, and the entry id that the next is behind."""
    within = [
        (one, item) for one, item in trail if span.since <= int(one.split("-")[0]) <= span.until
    ]
    if not span.newest_first:
        within.reverse()
    ids = [one for one, _ in within]
    start = ids.index(after) + 1 if after in ids else 0
    chosen = within[start : start + limit]
    rest = chosen[-1][0] if start + limit < len(within) else None
    return [item for _, item in chosen], rest


def query_of(request: Call) -> list[tuple[str, str]]:
    """The query, in order."""
    return list(request.query_params.multi_items())


ROUTES: list[HTTPRouteHandler] = [list_events]
