"""The doors of stock apps and receivers: their formats, their ways to authenticate, their replies.

Most of these apps keep what is answered with 5xx and lose, or send for ever, what is answered with
4xx. So a record that cannot be read is quarantined and the request acknowledged; overload and rate
limits are 503; 4xx is for credentials and for bodies of which nothing can be read.
"""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from litestar import Request, Response, delete, get, post, route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from gateway.api.caller import answer
from gateway.api.openapi_parts import body_of
from gateway.api.pings import accept_pings
from gateway.api.sightings import accept_sightings
from gateway.auth import Principal
from gateway.errors import Problem
from gateway.ingest.formats import FORMATS, Format
from gateway.ingest.model import Bad, Parsed, Posted, Reply, UnreadableBody
from gateway.paging import check_limit, decode_cursor, link_header, page
from gateway.pipeline import now_ms
from gateway.services import Services
from gateway.wire import Refusal

Call = Request[Any, Any, Any]
NOT_OURS = frozenset({"api_key", "device", "speed_unit"})  # query fields that are for the gateway
RETRY_AFTER_S = "30"
LARGE_BODY_BYTES = 100_000  # a night's backlog is read beside the event loop, not in it
EXAMPLE = {"_type": "location", "lat": 52.52, "lon": 13.41, "tst": 1_760_000_000, "acc": 12}
OPT = {"adapter": True, "scope": ("ingest", "receiver"), "device_tokens": True}


@post(
    "/ingest/{format:str}",
    operation_id="ingest",
    tags=["intake"],
    status_code=200,
    opt=OPT,
    operation_class=body_of(EXAMPLE),
)
async def ingest(request: Call, format: FromPath[str]) -> Response[bytes]:  # noqa: A002
    """Take what a stock app or receiver sends, and answer what it expects.

    Formats: `owntracks`, `overland`, `traccar` (also `osmand`), `transistor` (also `expo`),
    `gpslogger` (also `homeassistant`, `phonetrack`, `colota`, `mauron85`), `radar`; `minew`,
    `ruuvi`, `raddec`, `shelly`, `advertisements`. The key goes into `Authorization` (Bearer, or
    Basic with the key as password), or `?api_key=`; apps that take only a URL use
    `/i/{key}/{format}` or `/i/{key}/{format}/{device}`. A record that cannot be read is listed at
    `/v1/quarantine`.
    """
    return await _ingest(request, format)


async def take(services: Services, principal: Principal, chosen: Format, posted: Posted) -> Reply:
    """Read a post and commit it; the reply means that everything readable in it is stored.

    Raises:
        Problem: ``malformed-body``, ``forbidden``, or any of the 503 kinds.
    """
    tenant = principal.tenant
    if chosen.name == "owntracks":
        passphrases = await services.passphrases.that_may_open(tenant, posted)
        posted = posted._replace(passphrases=passphrases)
    try:
        if len(posted.body) > LARGE_BODY_BYTES:
            parsed = await asyncio.to_thread(chosen.parse, posted)
        else:
            parsed = chosen.parse(posted)
    except UnreadableBody as error:
        await _quarantine(services, tenant, chosen, posted, [Bad(posted.body, str(error))])
        raise Problem("malformed-body", str(error)) from None
    await _commit(services, principal, chosen, posted, parsed)
    return await services.watching.reply(tenant, chosen.name, parsed)


async def _commit(
    services: Services, principal: Principal, chosen: Format, posted: Posted, parsed: Parsed
) -> None:
    _check_speaks(principal, parsed)
    await _spend(services, principal, len(parsed.pings) + len(parsed.sightings))
    bad = list(parsed.bad)
    refusals: list[Refusal] = []
    indexes = range(len(parsed.pings))
    if parsed.pings:
        await accept_pings(
            services, principal.tenant, parsed.pings, indexes, refusals, posted.received_at
        )
        bad += _refused(parsed.pings, refusals)
    unheard: list[Refusal] = []
    indexes = range(len(parsed.sightings))
    if parsed.sightings:
        await accept_sightings(
            services, principal, parsed.sightings, indexes, unheard, posted.received_at
        )
        bad += _refused(parsed.sightings, unheard)
    await _quarantine(services, principal.tenant, chosen, posted, bad)
    for refusal in refusals:
        if refusal.type == "rate-limited":
            raise _slower(refusal.detail)


def _check_speaks(principal: Principal, parsed: Parsed) -> None:
    """A receiver's key speaks for no phone, a phone's token for no receiver.

    Raises:
        Problem: ``forbidden``.
    """
    if parsed.pings or any(sighting.device_id for sighting in parsed.sightings):
        principal.require("ingest")
    if principal.device_id and any(sighting.receiver_id for sighting in parsed.sightings):
        principal.require("receiver")


async def _spend(services: Services, principal: Principal, cost: int) -> None:
    try:
        await services.limits.spend_key(principal, max(1, cost))
    except Problem as problem:
        raise _slower(problem.detail, problem.headers.get("Retry-After")) from None


def _slower(detail: str, retry_after_s: str | None = None) -> Problem:
    """A limit, as 503: apps lose what is answered with 429. What was taken is a duplicate later."""
    return Problem("overloaded", detail, headers={"Retry-After": retry_after_s or RETRY_AFTER_S})


def _refused(items: Sequence[Any], refusals: list[Refusal]) -> list[Bad]:
    """What intake could not read. Of people who do not want to be located nothing is kept."""
    return [
        Bad(items[refusal.index], refusal.detail)
        for refusal in refusals
        if refusal.type.startswith("invalid-")
    ]


async def _quarantine(
    services: Services, tenant: str, chosen: Format, posted: Posted, bad: list[Bad]
) -> None:
    if bad and posted.device_id and await services.people.limits(tenant, [posted.device_id]):
        bad = [Bad("", one.reason) for one in bad]  # who limits location has no raw records kept
    await services.quarantine.add(
        tenant,
        chosen.name,
        bad,
        posted.received_at,
        device_id=posted.device_id,
        receiver_id=posted.receiver_id,
    )


async def _ingest(request: Call, name: str, device: str | None = None) -> Response[bytes]:
    chosen = FORMATS.get(name.lower())
    if chosen is None:
        raise Problem("not-found", f"No format {name[:40]!r}. Known: {', '.join(FORMATS)}.")
    principal: Principal = request.scope["user"]
    posted = await _posted(request, principal, device)
    is_post = request.method == "GET" and chosen.posts_by_query and posted.query
    if request.method in ("GET", "HEAD") and not is_post:
        return _response(chosen.hello(principal.tenant))
    services: Services = request.app.state.services
    return _response(await take(services, principal, chosen, posted))


async def _posted(request: Call, principal: Principal, device: str | None) -> Posted:
    query = {name: request.query_params[name] for name in request.query_params}
    receivers = principal.receivers
    named = device or query.get("device")
    return Posted(
        body=await request.body(),
        received_at=now_ms(),
        query={name: value for name, value in query.items() if name not in NOT_OURS},
        headers={name.lower(): value for name, value in request.headers.items()},
        device_id=principal.device_id or named,
        receiver_id=next(iter(receivers)) if receivers and len(receivers) == 1 else named,
        user=_basic_user(request.headers.get("authorization", "")),
        fallback_id=principal.key_id,
        speed_unit=query.get("speed_unit"),
    )


def _basic_user(authorization: str) -> str | None:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value.strip(), validate=True).decode().partition(":")[0] or None
    except (binascii.Error, UnicodeDecodeError):
        return None


def _response(reply: Reply) -> Response[bytes]:
    return Response(
        reply.body,
        status_code=reply.status,
        media_type=reply.media_type,
        headers=dict(reply.headers),
    )


def _named(request: Call, name: str) -> str:
    return str(request.path_params[name])


async def ingest_again(request: Call) -> Response[bytes]:
    """The same for methods and URLs that some apps insist on."""
    return await _ingest(request, _named(request, "format"), request.path_params.get("device"))


async def ingest_pub(request: Call) -> Response[bytes]:
    """`/pub`, where OwnTracks' own recorder listens."""
    return await _ingest(request, "owntracks")


def _alias(
    path: str, handle: Callable[[Call], Awaitable[Response[bytes]]], *methods: HttpMethod
) -> HTTPRouteHandler:
    return route(path, http_method=methods, status_code=200, opt=OPT, include_in_schema=False)(
        handle
    )


@get("/v1/quarantine", operation_id="listQuarantine", tags=["intake"], opt={"scope": "read"})
async def list_quarantine(
    request: Call, limit: FromQuery[int | None] = None, cursor: FromQuery[str | None] = None
) -> Response[bytes]:
    """Records of stock apps and receivers that could not be read, latest first, and why.

    They were acknowledged, so that the app goes on; they are kept for a week.
    """
    services: Services = request.app.state.services
    principal: Principal = request.scope["user"]
    items, after = await services.quarantine.page(
        principal.tenant, check_limit(limit), decode_cursor(cursor)
    )
    headers = dict(link_header(request.url.path, list(request.query_params.multi_items()), after))
    return answer(page(items, after), headers=headers)


@delete("/v1/quarantine", operation_id="clearQuarantine", tags=["intake"], opt={"scope": "manage"})
async def clear_quarantine(request: Call) -> None:
    """Forget all quarantined records of the tenant."""
    services: Services = request.app.state.services
    principal: Principal = request.scope["user"]
    await services.quarantine.clear(principal.tenant)


_GET, _HEAD, _POST = HttpMethod.GET, HttpMethod.HEAD, HttpMethod.POST
_PUT, _PATCH = HttpMethod.PUT, HttpMethod.PATCH
_EVERY = (_GET, _HEAD, _POST, _PUT, _PATCH)

ROUTES = [
    ingest,
    _alias("/ingest/{format:str}", ingest_again, _GET, _HEAD, _PUT, _PATCH),
    _alias("/ingest/{format:str}/{device:str}", ingest_again, *_EVERY),
    _alias("/i/{token:str}/{format:str}", ingest_again, *_EVERY),
    _alias("/i/{token:str}/{format:str}/{device:str}", ingest_again, *_EVERY),
    _alias("/pub", ingest_pub, *_EVERY),
    list_quarantine,
    clear_quarantine,
]
