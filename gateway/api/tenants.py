"""The tenant's own settings, its audit log, and its numbers."""

from typing import Any

import msgspec
from litestar import Response, get, patch, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery

from gateway.api.caller import NO_STORE, Call, answer, now_ms
from gateway.api.events import query_of
from gateway.api.openapi_parts import body_of
from gateway.api.resources import (
    Resource,
    caller_of,
    patch_one,
    read_one,
    services_of,
    write_one,
)
from gateway.history import Entries, Span
from gateway.kinds import tenant as kind
from gateway.paging import check_limit, decode_cursor, link_header, page
from gateway.registry import Kind
from gateway.times import parse_instant, rfc3339
from triggers.model import Decision, Event

EXAMPLE: dict[str, Any] = {
    "timezone": "Europe/Berlin",
    "quiet_hours": {"from": "21:00", "to": "08:00"},
    "caps": {"per_day": 3, "min_gap_s": 3600},
    "require_consent": True,
    "policy": {"preset": "robust"},
    "coarse_location": False,
}
DAY_MS = 86_400_000
COUNTED: tuple[Kind, ...] = ("geofences", "beacons", "receivers", "triggers", "credentials")


def _parse(_: Call, __: str, document: dict[str, Any]) -> dict[str, Any]:
    return kind.parse(document)


SETTINGS = Resource("tenants", "tenant", _parse, EXAMPLE)


@get("/v1/settings", operation_id="get_settings", tags=["settings"], opt={"scope": "read"})
async def get_settings(request: Call) -> Response[bytes]:
    """The house rules of the tenant: quiet hours, caps, consent, default policy, privacy."""
    return await read_one(request, SETTINGS, caller_of(request).tenant)


@put(
    "/v1/settings", operation_id="put_settings", tags=["settings"], operation_class=body_of(EXAMPLE)
)
async def put_settings(request: Call) -> Response[bytes]:
    """Replace the house rules."""
    return await write_one(request, SETTINGS, caller_of(request).tenant)


@patch(
    "/v1/settings",
    operation_id="patch_settings",
    tags=["settings"],
    operation_class=body_of({"caps": {"per_day": 2}}),
)
async def patch_settings(request: Call) -> Response[bytes]:
    """Change some of the house rules by JSON merge patch (RFC 7396)."""
    return await patch_one(request, SETTINGS, caller_of(request).tenant)


@get("/v1/audit", operation_id="list_audit", tags=["audit"])
async def list_audit(
    request: Call, limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None
) -> Response[bytes]:
    """Who changed what by this API, newest first."""
    entries, after = await services_of(request).audit.page(
        caller_of(request).tenant, before=decode_cursor(cursor), limit=check_limit(limit)
    )
    items = [{**msgspec.to_builtins(entry), "at": rfc3339(entry.at)} for entry in entries]
    headers = {**NO_STORE, **link_header(request.url.path, query_of(request), after)}
    return answer(page(items, after), headers=headers)


@get("/v1/stats", operation_id="get_stats", tags=["stats"], opt={"scope": "read"})
async def get_stats(request: Call, since: FromQuery[str | None] = None) -> Response[bytes]:
    """Numbers since an instant (a day ago): events by kind, decisions by trigger and result.

    Counted from the history that is kept; `is_complete` says whether all of the time was counted.
    """
    services, tenant = services_of(request), caller_of(request).tenant
    start = parse_instant(since, "since") if since else now_ms() - DAY_MS
    span = Span(start, now_ms(), newest_first=True)
    kinds: dict[str, int] = {}
    results: dict[str, dict[str, int]] = {}
    seen: set[str] = set()

    def count_event(payload: bytes) -> None:
        one = msgspec.json.decode(payload, type=Event)
        kinds[one.kind.value] = kinds.get(one.kind.value, 0) + 1

    def count_decision(payload: bytes) -> None:
        one = msgspec.json.decode(payload, type=Decision)
        if one.id not in seen:  # newest first: what holds now comes first
            seen.add(one.id)
            by_result = results.setdefault(one.trigger_id, {})
            by_result[one.result.value] = by_result.get(one.result.value, 0) + 1

    events: Entries[None] = await services.history.page(
        tenant, "events", count_event, span=span, limit=1
    )
    decisions: Entries[None] = await services.history.page(
        tenant, "decisions", count_decision, span=span, limit=1
    )
    body = {
        "since": rfc3339(start),
        "is_complete": events.after is None and decisions.after is None,
        "events": kinds,
        "decisions": results,
        "documents": {name: await services.registry.count(tenant, name) for name in COUNTED},
        "devices": await services.people.count("devices", tenant),
        "users": await services.people.count("users", tenant),
    }
    return answer(body, headers=NO_STORE)


ROUTES: list[HTTPRouteHandler] = [get_settings, put_settings, patch_settings, list_audit, get_stats]
