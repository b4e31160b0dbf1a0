"""Intake: ``POST /v1/sightings`` and what every receiver adapter does with what it has read."""

from collections.abc import Sequence
from typing import Any

from litestar import Request, Response, post

from gateway import metrics
from gateway.api.caller import answer
from gateway.api.pings import format_of, read_items, refuse_single, submitted
from gateway.auth import Principal
from gateway.hearing import spot, understand
from gateway.pipeline import HeardPost, now_ms
from gateway.services import Services
from gateway.tally import Tally
from gateway.wire import SIGHTINGS, Refusal, Sighting


@post(
    "/v1/sightings",
    operation_id="postSightings",
    tags=["intake"],
    status_code=202,
    opt={"scope": ("ingest", "receiver"), "device_tokens": True},
)
async def post_sightings(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Take beacon sightings: one, an array, or `{"sightings": [...]}`; JSON or MessagePack.

    A phone posts what it hears with its `device_id`, a store's receiver with its `receiver_id`.
    `ignored` counts transmitters that no device here carries, and beacons of no zone.
    """
    services: Services = request.app.state.services
    principal: Principal = request.scope["user"]
    received_at = now_ms()
    body = await request.body()
    format_ = format_of(request.headers.get("content-type", ""))
    items, indexes, refusals = read_items(SIGHTINGS, body, format_)
    await services.limits.spend_key(principal, max(1, len(items)))
    tally, ignored = await accept_sightings(
        services, principal, items, indexes, refusals, received_at
    )
    refuse_single(SIGHTINGS, body, format_, refusals)
    return answer(
        {
            "accepted": tally.accepted + tally.held,
            "duplicates": tally.duplicates,
            "late": tally.late,
            "ignored": ignored,
            "rejected": sorted(refusals, key=lambda refusal: refusal.index),
        },
        status=202,
    )


async def accept_sightings(
    services: Services,
    principal: Principal,
    sightings: Sequence[Sighting],
    indexes: Sequence[int],
    refusals: list[Refusal],
    received_at: int,
) -> tuple[Tally, int]:
    """Commit sightings: what became of the evidence, and how many meant nobody.

    Sightings that cannot be read are added to ``refusals``. One sighting may be evidence for
    several zones; each is in the tally.

    Raises:
        Problem: ``overloaded`` or ``unavailable``; then nothing is acknowledged.
    """
    view = services.engine.catalog.view(principal.tenant)
    spotted = spot(principal, sightings, indexes, refusals, received_at)
    understood = await understand(view, spotted, services.people.carriers, received_at)
    tally = Tally()
    if understood.heard:
        heard = HeardPost(principal.tenant, understood.heard, received_at)
        tally = await submitted(services.engine.sightings, heard)
    metrics.count(
        metrics.SIGHTINGS,
        {
            "accepted": tally.accepted,
            "duplicate": tally.duplicates,
            "late": tally.late,
            "rejected": len(refusals),
        },
    )
    return tally, understood.strangers


ROUTES = [post_sightings]
