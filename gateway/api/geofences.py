"""Geofences: GeoJSON Features."""

from typing import Any

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery

from gateway.api.caller import Call
from gateway.api.resources import Resource, document_routes, keep_of, list_page
from gateway.kinds import geofence

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
    return geofence.parse(geofence_id, document, repair=repair).document


GEOFENCES = Resource("geofences", "geofence", _parse, EXAMPLE)


@get("/v1/geofences", operation_id="list_geofences", tags=["geofences"], opt={"scope": "read"})
async def list_geofences(
    request: Call,
    tag: FromQuery[list[str] | None] = None,
    updated_since: FromQuery[str | None] = None,
    limit: FromQuery[int | None] = None,
    cursor: FromQuery[str | None] = None,
) -> Response[bytes]:
    """List in the order of ids. `tag` may be repeated: all must be there."""
    keep = keep_of(tag, updated_since)
    return await list_page(request, GEOFENCES, limit=limit, cursor=cursor, keep=keep)


ROUTES: list[HTTPRouteHandler] = [*document_routes(GEOFENCES, with_list=False), list_geofences]
