"""Geofences in and out of files."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery
from litestar.response import Stream

from gateway.api.caller import Call, answer, now_ms
from gateway.api.openapi_parts import body_of
from gateway.api.resources import caller_of, keep_of, services_of
from gateway.audit import Entry
from gateway.errors import Problem
from gateway.registry import Registry
from gateway.transfer.formats import FORMATS, MEDIA_TYPES, Format, format_of, reader_of
from gateway.transfer.importer import Importer, Options, Report
from gateway.transfer.writers import head, tail, written

PAGE = 500
EXAMPLE: dict[str, Any] = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "id": "store-12",
            "geometry": {"type": "Point", "coordinates": [13.3777, 52.5163]},
            "properties": {"radius_m": 120, "tags": ["store"]},
        }
    ],
}


@post(
    "/v1/geofences/import",
    operation_id="import_geofences",
    tags=["geofences"],
    status_code=200,
    request_max_body_size=None,
    operation_class=body_of(
        EXAMPLE, media_types=tuple(kind.partition(";")[0] for kind in MEDIA_TYPES.values())
    ),
)
async def import_geofences(
    request: Call,
    *,
    format: FromQuery[str | None] = None,  # noqa: A002 - the name of the parameter
    dry_run: FromQuery[bool] = False,
    repair: FromQuery[bool] = False,
    tag: FromQuery[list[str] | None] = None,
    radius_m: FromQuery[float | None] = None,
    id_property: FromQuery[str | None] = None,
) -> Response[bytes]:
    """Import a file of geofences: GeoJSON, GeoJSON text sequence, CSV or KML; streamed.

    Each entry is taken or refused on its own, and refused ones are listed. Importing again changes
    nothing: entries are known by id, else by `id_property`, else by (first tag, external_id).
    `dry_run=true` checks and counts, and stores nothing.
    """
    options = Options(
        is_dry_run=dry_run,
        repair=repair,
        tags=tuple(tag or ()),
        radius_m=radius_m,
        id_property=id_property,
    )
    report = await _imported(request, format, options)
    return answer(msgspec.to_builtins(report))


@get(
    "/v1/geofences/export",
    operation_id="export_geofences",
    tags=["geofences"],
    opt={"scope": "read"},
)
async def export_geofences(
    request: Call,
    *,
    format: FromQuery[str] = "geojson",  # noqa: A002 - the name of the parameter
    tag: FromQuery[list[str] | None] = None,
    updated_since: FromQuery[str | None] = None,
) -> Stream:
    """Export all geofences (or those with all tags) as a file that can be imported again."""
    name = _format(format, "", b"")
    registry, tenant = services_of(request).registry, caller_of(request).tenant
    keep = keep_of(tag, updated_since)
    ending = "json" if name.startswith("geojson") else name
    headers = {
        "Content-Type": MEDIA_TYPES[name],
        "Content-Disposition": f'attachment; filename="geofences.{ending}"',
        "Cache-Control": "no-store",
    }
    return Stream(_exported(registry, tenant, name, keep), headers=headers)


async def _imported(request: Call, asked: str | None, options: Options) -> Report:
    services, caller = services_of(request), caller_of(request)
    pieces = _bounded(request, services.settings.max_import_bytes)
    start = await anext(pieces, b"")
    reader = reader_of(_format(asked, request.headers.get("content-type", ""), start))

    async def every() -> AsyncIterator[bytes]:
        yield start
        async for piece in pieces:
            yield piece

    importer = Importer(services.registry, caller.tenant, options)
    report = await importer.run(reader, every(), now_ms)
    if not options.is_dry_run:
        detail = f"{report.created} created, {report.updated} updated, {report.failed} failed"
        entry = Entry(now_ms(), caller.key_id, "import", "geofences", "", detail=detail)
        await services.audit.record(caller.tenant, entry)
    return report


async def _bounded(request: Call, most: int) -> AsyncIterator[bytes]:
    total = 0
    async for piece in request.stream():
        total += len(piece)
        if total > most:
            raise Problem("body-too-large", f"The file has more than {most} bytes.")
        if piece:
            yield piece


async def _exported(
    registry: Registry, tenant: str, name: Format, keep: Any
) -> AsyncIterator[bytes]:
    yield head(name)
    after: str | None = ""
    is_first = True
    while after is not None:
        page = await registry.page(tenant, "geofences", after=after, limit=PAGE, keep=keep)
        features = [msgspec.json.decode(document.doc) for _, document in page.items]
        piece = written(name, iter(features), is_first=is_first)
        is_first = is_first and not features
        if piece:
            yield piece
        after = page.after
    yield tail(name)


def _format(asked: str | None, media_type: str, start: bytes) -> Format:
    try:
        return format_of(asked, media_type, start)
    except ValueError as error:
        raise Problem(
            "invalid-request",
            f"format {error}.",
            errors=[("query format", f"must be one of {', '.join(FORMATS)}")],
        ) from None


ROUTES: list[HTTPRouteHandler] = [import_geofences, export_geofences]
