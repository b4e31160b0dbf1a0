"""``POST /v1/triggers/{id}/backtest``: what a trigger, or a draft of it, would have done."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Any

import msgspec
from litestar import Response, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Meta

from gateway.api.caller import NO_STORE, Call, answer, not_found, now_ms
from gateway.api.openapi_parts import body_of
from gateway.api.pings import read_items
from gateway.api.resources import caller_of, services_of
from gateway.backtest.run import Backtest, Bounds
from gateway.backtest.traffic import Arrival, in_order, posted, recorded
from gateway.backtest.upload import DEVICE, ENDINGS, Upload, read_upload
from gateway.errors import Problem
from gateway.kinds import trigger as kind
from gateway.kinds.fields import InvalidDocument, convert
from gateway.registry import Registry
from gateway.services import Services
from gateway.tenant_view import TenantView
from gateway.tracks import TrackError
from gateway.wire import Codec, Instant, Ping, Refusal, to_ms
from triggers.model import EventKind
from triggers.trigger import LiveTrigger, live, parse_trigger

MAX_POSTED = 100_000
MAX_RECORDED = 1_000_000
MAX_BUDGET_S = 120.0
MOST_PUT_ANEW = 20_000
MOST_REJECTED_SHOWN = 100
CHUNK = 500
OPTIONS = ("sample", "assume_reachable", "budget_s")

PINGS = Codec(Ping, "pings", MAX_POSTED)
EXAMPLE: dict[str, Any] = {
    "recorded": {"since": "2026-12-01T00:00:00Z", "until": "2026-12-08T00:00:00Z"},
    "sample": 0.1,
    "trigger": {
        "on": {"event": "enter", "zones": {"tags": ["mall"]}},
        "cooldown": {"per": "zone", "seconds": 86400},
        "variants": [{"message": {"title": "Hi"}}],
    },
}


class Recorded(msgspec.Struct, forbid_unknown_fields=True):
    """Which part of the tenant's recording; without bounds all of it."""

    since: Instant | None = None
    until: Instant | None = None


class Asked(msgspec.Struct, forbid_unknown_fields=True):
    """The body. Exactly one of ``pings`` and ``recorded``; ``trigger`` is a draft."""

    trigger: dict[str, Any] | None = None
    pings: list[Any] | None = None
    recorded: Recorded | None = None
    sample: Annotated[float, Meta(gt=0, le=1)] = 1.0
    assume_reachable: bool = False
    budget_s: Annotated[float, Meta(gt=0, le=MAX_BUDGET_S)] = 30.0


class _Played(msgspec.Struct):
    arrivals: AsyncIterator[Arrival]
    until: int | None = None
    rejected: list[Refusal] = []


_one_at_a_time = asyncio.Semaphore(1)


@post(
    "/v1/triggers/{document_id:str}/backtest",
    operation_id="backtest_trigger",
    tags=["triggers"],
    status_code=200,
    operation_class=body_of(EXAMPLE),
)
async def backtest_trigger(request: Call, document_id: FromPath[str]) -> Response[bytes]:
    """Tell what a trigger would have done with past traffic; nothing is sent, nothing is stored.

    Traffic is `pings` (as for `POST /v1/pings`) or what the tenant `recorded`; or the body is a
    file alone: an array of pings, NDJSON, CSV, GPX or GeoJSON by its content type, with `device`,
    `sample`, `assume_reachable` and `budget_s` in the query. `trigger` is a draft that stands in
    for the stored one. The trigger counts as enabled. One backtest runs at a time in a process, for
    at most `budget_s`; `stopped` says why it ended early, if it did.
    """
    services, tenant = services_of(request), caller_of(request).tenant
    body, media_type = await request.body(), request.headers.get("content-type", "")
    query = dict(request.query_params)
    asked, upload = await asyncio.to_thread(_read, body, media_type, query)
    chosen = _chosen(services, tenant, document_id, asked)
    if upload is None:
        played = _recorded(services, tenant, asked)
    else:
        played = await asyncio.to_thread(_posted, upload)
    if _one_at_a_time.locked():
        detail = "Another backtest is running here; try again when it has ended."
        raise Problem("overloaded", detail)
    async with _one_at_a_time:
        view = await rehearsed(services.registry, services.engine.catalog.view(tenant), chosen)
        bounds = Bounds(MAX_RECORDED, asked.budget_s, asked.sample, played.until)
        backtest = Backtest(
            view, document_id, services.people, bounds, assume_reachable=asked.assume_reachable
        )
        report = await backtest.run(played.arrivals)
    report.traffic.pings += len(played.rejected)
    report.traffic.rejected += len(played.rejected)
    refused = played.rejected[:MOST_REJECTED_SHOWN]
    return answer(
        {**msgspec.to_builtins(report), "is_draft": asked.trigger is not None, "rejected": refused},
        headers=NO_STORE,
    )


async def rehearsed(registry: Registry, view: TenantView, trigger: LiveTrigger) -> TenantView:
    """A copy of a tenant's view with this trigger, complete with the rings it asks for.

    Raises:
        InvalidDocument: it asks for rings or crossings of more zones than can be made in passing.
    """
    twin, anew = view.rehearsal(trigger)
    if len(anew) > MOST_PUT_ANEW:
        raise InvalidDocument(
            "/trigger/on/zones",
            f"the draft watches {len(anew)} zones in a new way, at most {MOST_PUT_ANEW} are tried; "
            "name fewer by ids or tags",
        )
    for start in range(0, len(anew), CHUNK):
        ids = anew[start : start + CHUNK]
        documents = await registry.get_many(view.tenant, "geofences", ids)
        twin.index.put_many(
            [twin.geofence(one.doc, one.version) for one in documents if one is not None]
        )
        await asyncio.sleep(0)
    return twin


def _read(body: bytes, media_type: str, query: dict[str, Any]) -> tuple[Asked, Upload | None]:
    """What is asked, and the pings that came with it."""
    ending = ENDINGS.get(media_type.partition(";")[0].strip().lower())
    if ending or body[:64].lstrip()[:1] == b"[":
        options = {name: query[name] for name in OPTIONS if name in query}
        try:
            asked = msgspec.convert(options, Asked, strict=False)
        except msgspec.ValidationError as error:
            raise Problem("invalid-request", f"{error} in the query") from None
        return asked, _file(body, ending, query.get("device", DEVICE)) if ending else Upload(
            body, []
        )
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem("malformed-body", f"The body cannot be decoded: {error}") from None
    asked = convert(document, Asked)
    if (asked.pings is None) == (asked.recorded is None):
        raise InvalidDocument("/pings", "send either pings, or recorded (with since and until)")
    pings = asked.pings
    return asked, None if pings is None else Upload(msgspec.json.encode(pings), [])


def _file(body: bytes, ending: str, device_id: str) -> Upload:
    with NamedTemporaryFile(suffix=ending) as file:
        file.write(body)
        file.flush()
        try:
            return read_upload(Path(file.name), device_id)
        except TrackError as error:
            detail = str(error).replace(Path(file.name).name, "the file")
            raise Problem("malformed-body", detail) from None


def _posted(upload: Upload) -> _Played:
    items, indexes, refusals = read_items(PINGS, upload.pings, "json")
    refusals += [Refusal(i, "invalid-ping", row) for i, row in enumerate(upload.rejected)]
    if not items:
        why = f": {refusals[0].detail}" if refusals else ""
        raise InvalidDocument("/pings", f"there is no ping to play{why}")
    return _Played(in_order(posted(items, indexes)), None, refusals)


def _recorded(services: Services, tenant: str, asked: Asked) -> _Played:
    wanted = asked.recorded or Recorded()
    now = now_ms()
    since = 0 if wanted.since is None else to_ms(wanted.since)
    until = now if wanted.until is None else min(now, to_ms(wanted.until))
    if since > until:
        raise InvalidDocument("/recorded/since", "is after until, or in the future")
    shards = services.installation.shard_count
    return _Played(recorded(services.redis, shards, tenant, since, until), until)


def _chosen(services: Services, tenant: str, trigger_id: str, asked: Asked) -> LiveTrigger:
    """The draft, else the stored trigger; enabled in any case.

    Raises:
        Problem: there is neither.
        InvalidTrigger: the draft is none.
        InvalidDocument: it listens to what pings do not cause.
    """
    known = services.engine.catalog.view(tenant).trigger(trigger_id)
    if asked.trigger is not None:
        trigger = parse_trigger(kind.parse(trigger_id, asked.trigger))
    elif known is not None:
        trigger = known.trigger
    else:
        raise not_found("trigger", trigger_id)
    if trigger.on.event is EventKind.CUSTOM or trigger.on.where.type == "beacon":
        what = "custom events" if trigger.on.event is EventKind.CUSTOM else "beacon zones"
        raise InvalidDocument(
            "/trigger/on", f"listens to {what}; only what follows from pings can be played"
        )
    version = known.version if known else 0
    return live(msgspec.structs.replace(trigger, enabled=True), version)


ROUTES: Sequence[HTTPRouteHandler] = [backtest_trigger]
