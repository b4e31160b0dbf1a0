"""Which zones a phone should watch: the nearest ones, and how far that answer holds."""

from hashlib import blake2b
from typing import Annotated, Any

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery, QueryParameter

from gateway.api.caller import Call, answer
from gateway.api.resources import caller_of, services_of
from gateway.enclosing import around
from gateway.kinds import geofence
from gateway.tenant_view import TenantView

MAX_REGIONS = 100
EARTH_TOUR_M = 20_000_000.0


@get(
    "/v1/regions",
    operation_id="list_regions",
    tags=["regions"],
    opt={"scope": ("read", "ingest"), "device_tokens": True},
)
async def list_regions(
    request: Call,
    *,
    lat: Annotated[float, QueryParameter(ge=-90, le=90)],
    lon: Annotated[float, QueryParameter(ge=-180, le=180)],
    limit: Annotated[int, QueryParameter(ge=1, le=MAX_REGIONS)] = 19,
    radius_m: FromQuery[float | None] = None,
) -> Response[bytes]:
    """The nearest geofences to watch on the phone (19 and the refresh circle fill iOS' 20).

    Moving less than `refresh.radius_m` from the position enters no geofence that is not listed, so
    ask again when the phone leaves that circle. Each region is a circle around its geofence; the
    gateway judges the exact shape when the phone posts a ping. `radius_m` limits how far to look.
    """
    tenant = caller_of(request).tenant
    view = services_of(request).engine.catalog.view(tenant)
    found = view.index.regions(lat, lon, limit)
    near = [one for one in found.items if radius_m is None or one.distance_m <= radius_m]
    items = await _regions(request, view, [(one.key, one.distance_m) for one in near])
    refresh_m = min(found.refresh_radius_m, EARTH_TOUR_M)
    body = {
        "items": items,
        "next_cursor": None,
        "refresh": {"lat": lat, "lon": lon, "radius_m": round(refresh_m, 1)},
    }
    encoded = msgspec.json.encode(body)
    tag = f'"{blake2b(encoded, digest_size=12).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, headers=headers)
    return answer(body, headers=headers)


async def _regions(
    request: Call, view: TenantView, near: list[tuple[int, float]]
) -> list[dict[str, Any]]:
    ids = [view.infos[key].id for key, _ in near if key in view.infos]
    documents = await services_of(request).registry.get_many(view.tenant, "geofences", ids)
    distances = {view.infos[key].id: distance for key, distance in near if key in view.infos}
    regions = []
    for one, document in zip(ids, documents, strict=True):
        if document is not None:
            fence = geofence.read(document.doc)
            circle = around(fence.geometry)
            regions.append(
                {
                    "id": one,
                    "name": fence.known.name,
                    "lat": circle.lat,
                    "lon": circle.lon,
                    "radius_m": round(circle.radius_m, 1),
                    "distance_m": round(distances[one], 1),
                    "version": document.version,
                }
            )
    return regions


ROUTES: list[HTTPRouteHandler] = [list_regions]
