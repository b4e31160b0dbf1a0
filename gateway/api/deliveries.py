"""What became of pushes: step by step, newest first."""

from typing import Annotated, Any

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, QueryParameter

from gateway.api.caller import NO_STORE, Call, answer, not_found
from gateway.api.events import query_of, span_of, subjects_of
from gateway.api.resources import caller_of, services_of
from gateway.delivery_log import DeliveryRecord
from gateway.paging import check_limit, decode_cursor, link_header, page
from gateway.standing import standing_of
from gateway.times import rfc3339

SEARCHES = 10  # each looks at up to 20,000 steps
MOST_STEPS = 200
_decode = msgspec.json.Decoder(DeliveryRecord).decode


@get("/v1/deliveries", operation_id="list_deliveries", tags=["deliveries"], opt={"scope": "read"})
async def list_deliveries(
    request: Call,
    *,
    device: FromQuery[str | None] = None,
    user: FromQuery[str | None] = None,
    trigger: FromQuery[str | None] = None,
    push: FromQuery[str | None] = None,
    step: Annotated[str | None, QueryParameter(name="state")] = None,
    channel: FromQuery[str | None] = None,
    after: FromQuery[str | None] = None,
    before: FromQuery[str | None] = None,
    order: FromQuery[str] = "desc",
    limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Response[bytes]:
    """List the steps of pushes (sent, retrying, suppressed, dead, a receipt ...), newest first."""
    wanted = {
        "device_id": device,
        "user_id": user,
        "trigger_id": trigger,
        "push_id": push,
        "state": step,
        "channel": channel,
    }
    asked = {name: value for name, value in wanted.items() if value is not None}

    def read(payload: bytes) -> DeliveryRecord | None:
        record = _decode(payload)
        is_asked = all(getattr(record, name) == value for name, value in asked.items())
        return record if is_asked else None

    services, tenant = services_of(request), caller_of(request).tenant
    shards = await _shards(request, device, user)
    found = await services.history.page(
        tenant,
        "deliveries",
        read,
        span=span_of(after, before, order),
        limit=check_limit(limit),
        after=decode_cursor(cursor),
        shards=shards,
    )
    items = [delivery_document(record) for _, record in found.items]
    headers = {**NO_STORE, **link_header(request.url.path, query_of(request), found.after)}
    return answer(page(items, found.after), headers=headers)


@get(
    "/v1/deliveries/{push_id:str}",
    operation_id="get_delivery",
    tags=["deliveries"],
    opt={"scope": "read"},
)
async def get_delivery(
    request: Call,
    push_id: FromPath[str],
    device: FromQuery[str | None] = None,
    user: FromQuery[str | None] = None,
) -> Response[bytes]:
    """Where one push stands: how far its delivery came, what the person did, and every step.

    `device` or `user` makes the search short.
    """
    services, tenant = services_of(request), caller_of(request).tenant
    needle = push_id.encode()

    def read(payload: bytes) -> DeliveryRecord | None:
        if needle not in payload:
            return None
        record = _decode(payload)
        return record if record.push_id == push_id else None

    shards, span, place = await _shards(request, device, user), span_of(None, None, "asc"), ""
    steps: list[DeliveryRecord] = []
    for _ in range(SEARCHES):
        found = await services.history.page(
            tenant, "deliveries", read, span=span, limit=MOST_STEPS, after=place, shards=shards
        )
        steps += [record for _, record in found.items]
        if found.after is None or len(steps) >= MOST_STEPS:
            break
        place = found.after
    if not steps:
        raise not_found("push", push_id)
    return answer(
        {
            "push_id": push_id,
            **msgspec.to_builtins(standing_of(steps)),
            "steps": [delivery_document(step) for step in steps],
        },
        headers=NO_STORE,
    )


async def _shards(request: Call, device: str | None, user: str | None) -> list[int] | None:
    """Where the steps of these may lie: a push stands with its device, or with its user."""
    if device is None and user is None:
        return None
    history, tenant = services_of(request).history, caller_of(request).tenant
    subjects = await subjects_of(request, device, user)
    return sorted({history.shard(tenant, one) for one in subjects})


def delivery_document(record: DeliveryRecord) -> dict[str, Any]:
    """A step as it is answered."""
    document: dict[str, Any] = msgspec.to_builtins(record)
    document["at"] = rfc3339(record.at)
    if record.due_at is not None:
        document["due_at"] = rfc3339(record.due_at)
    return document


ROUTES: list[HTTPRouteHandler] = [list_deliveries, get_delivery]
