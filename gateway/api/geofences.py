"""Geofences: GeoJSON Features, found by tag, box and nearness."""

from collections.abc import Sequence
from typing import Any

from litestar import Response, get, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from gateway.api.caller import Call, answer
from gateway.api.openapi_parts import body_of
from gateway.api.resources import (
    Resource,
    caller_of,
    document_routes,
    keep_of,
    list_page,
    services_of,
    shown,
    write_one,
)
from gateway.errors import Problem
from gateway.kinds import geofence
from gateway.paging import check_limit, decode_cursor, link_header, page
from gateway.tenant_view import TenantView

MAX_NEAR = 1000
EXAMPLE: dict[str, Any] = {
    "type": "Feature",
    "id": "store-12",
    "geometry": {"type": "Point", "coordinates": [13.3777, 52.5163]},
    "properties": {
        "name": "Pariser Platz",
        "radius_m": 120,
        "tags": ["store", "berlin"],
        "timezone": "Europe/Berlin",
        "metadata": {"manager": "Kim"},
    },
}


def _parse(request: Call, geofence_id: str, document: dict[str, Any]) -> dict[str, Any]:
    repair = request.query_params.get("repair", "").lower() in ("true", "1", "yes")
    parsed = geofence.parse(geofence_id, document, repair=repair)
    request.scope["state"]["repairs"] = parsed.repairs
    return parsed.document


GEOFENCES = Resource("geofences", "geofence", _parse, EXAMPLE)


@put(
    "/v1/geofences/{document_id:str}",
    operation_id="put_geofence",
    tags=["geofences"],
    operation_class=body_of(
        EXAMPLE, media_types=("application/json", "application/geo+json", "application/msgpack")
    ),
)
async def put_geofence(
    request: Call, document_id: FromPath[str], repair: FromQuery[bool] = False
) -> Response[bytes]:
    """Create or replace a GeoJSON Feature.

    `repair=true` repairs what would be refused (open and crossed rings) and says so in `repairs`.
    `If-Match` and `If-None-Match: *` are honoured.
    """
    return await write_one(
        request,
        GEOFENCES,
        document_id,
        lambda: {"repairs": list(request.scope["state"]["repairs"])} if repair else {},
    )


@get("/v1/geofences", operation_id="list_geofences", tags=["geofences"], opt={"scope": "read"})
async def list_geofences(
    request: Call,
    *,
    tag: FromQuery[list[str] | None] = None,
    bbox: FromQuery[str | None] = None,
    near: FromQuery[str | None] = None,
    within_m: FromQuery[float | None] = None,
    updated_since: FromQuery[str | None] = None,
    limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Response[bytes]:
    """List in the order of ids, or from the nearest.

    `tag` may be repeated: all must be there. `bbox` is west,south,east,north (west may be greater
    than east, across ±180°). `near` is lat,lon: one page, from the nearest edge, each item with its
    `distance_m` (negative inside), no farther than `within_m`.
    """
    if bbox is not None and near is not None:
        raise _wrong("near", "cannot be combined with bbox")
    wanted = frozenset(tag or ())
    if near is not None:
        lat, lon = _numbers("near", near, ("lat", "lon"), ((-90, 90), (-180, 180)))
        return await _nearest(
            request, lat, lon, wanted=wanted, within_m=within_m, limit=check_limit(limit, MAX_NEAR)
        )
    if bbox is not None:
        box = _numbers(
            "bbox", bbox, ("west", "south", "east", "north"), ((-180, 180), (-90, 90)) * 2
        )
        if box[1] > box[3]:
            raise _wrong("bbox", "has its south above its north")
        return await _in_box(request, box, wanted, check_limit(limit), decode_cursor(cursor))
    keep = keep_of(tag, updated_since)
    return await list_page(request, GEOFENCES, limit=limit, cursor=cursor, keep=keep)


async def _nearest(
    request: Call,
    lat: float,
    lon: float,
    *,
    wanted: frozenset[str],
    within_m: float | None,
    limit: int,
) -> Response[bytes]:
    view = _view(request)
    asked, found = limit, list[tuple[str, float]]()
    while True:
        near = view.index.nearest(lat, lon, asked)
        found = [
            (view.infos[one.key].id, one.distance_m)
            for one in near
            if one.key in view.infos
            and wanted <= view.infos[one.key].tags
            and (within_m is None or one.distance_m <= within_m)
        ]
        is_far = within_m is not None and near and near[-1].distance_m > within_m
        if len(found) >= limit or len(near) < asked or is_far:
            break
        asked *= 4  # a filter has taken some away
    found = found[:limit]
    items = await _documents(request, [one for one, _ in found])
    distances = dict(found)
    for item in items:
        item["distance_m"] = round(distances[item["id"]], 1)
    return answer(page(items, None))


async def _in_box(
    request: Call, box: Sequence[float], wanted: frozenset[str], limit: int, after: str
) -> Response[bytes]:
    west, south, east, north = box
    view = _view(request)
    keys = view.index.in_box(west, south, east, north)
    infos = [view.infos[key] for key in keys if key in view.infos]
    floor = after.encode()
    ids = sorted(
        (info.id for info in infos if wanted <= info.tags and info.id.encode() > floor),
        key=str.encode,
    )
    last = ids[limit - 1] if len(ids) > limit else None
    items = await _documents(request, ids[:limit])
    query = list(request.query_params.multi_items())
    return answer(page(items, last), headers=dict(link_header(request.url.path, query, last)))


async def _documents(request: Call, ids: Sequence[str]) -> list[dict[str, Any]]:
    registry, tenant = services_of(request).registry, caller_of(request).tenant
    found = await registry.get_many(tenant, "geofences", ids)
    return [shown(GEOFENCES, document) for document in found if document]


def _view(request: Call) -> TenantView:
    return services_of(request).engine.catalog.view(caller_of(request).tenant)


def _numbers(
    name: str, text: str, words: Sequence[str], ranges: Sequence[tuple[float, float]]
) -> list[float]:
    parts = text.split(",")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) != len(words):
        raise _wrong(name, f"must be {','.join(words)}")
    for number, word, (least, most) in zip(numbers, words, ranges, strict=True):
        if not least <= number <= most:
            raise _wrong(name, f"has the {word} {number:g}; it must be {least:g} to {most:g}")
    return numbers


def _wrong(name: str, why: str) -> Problem:
    return Problem("invalid-request", f"{name} {why}.", errors=[(f"query {name}", why)])


ROUTES: list[HTTPRouteHandler] = [
    put_geofence,
    *document_routes(GEOFENCES, leave_out=("put", "list")),
    list_geofences,
]
