"""Intake: ``POST /v1/pings`` and what every adapter does with the pings it has read.

The answer 202 is given after the commit. One bad ping never fails the batch.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from litestar import Request, Response, post

from gateway import metrics
from gateway.auth import Principal
from gateway.errors import Problem
from gateway.intake import OverloadedError
from gateway.pipeline import Post, now_ms
from gateway.services import Services
from gateway.tally import Tally
from gateway.wire import PINGS, BadEnvelopeError, Codec, Format, Ping, Refusal, to_ms
from triggers.store import StoreUnavailableError

MSGPACK = ("application/msgpack", "application/x-msgpack", "application/vnd.msgpack")
MAX_WAKE_RADIUS_M = 100_000.0


_encode = msgspec.json.Encoder().encode


@post(
    "/v1/pings",
    operation_id="postPings",
    tags=["intake"],
    status_code=202,
    opt={"scope": "ingest", "device_tokens": True},
)
async def post_pings(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Take positions: one ping, an array, or `{"pings": [...]}`; JSON or MessagePack.

    202 means that the effects of every accepted ping are stored. A ping that is wrong is listed in
    `rejected` and the others are taken. With `?wake_radius=true` and one device in the call, the
    answer tells how far that device can move before it can enter any geofence.
    """
    body = await take_pings(
        request.app.state.services,
        request.scope["user"],
        await request.body(),
        format_of(request.headers.get("content-type", "")),
        wants_wake_radius=bool(request.query_params.get("wake_radius")),
    )
    return Response(body, status_code=202, media_type="application/json")


async def take_pings(
    services: Services,
    principal: Principal,
    body: bytes,
    format_: Format,
    *,
    wants_wake_radius: bool = False,
) -> bytes:
    """Take the pings of a body; the answer's body, once everything in it is committed.

    Raises:
        Problem: nothing was taken.
    """
    received_at = now_ms()
    items, indexes, refusals = read_items(PINGS, body, format_)
    await services.limits.spend_key(principal, max(1, len(items)))
    if principal.device_id is not None:
        items, indexes = _own(principal, items, indexes, refusals)
    else:
        await services.engine.users.note(principal.tenant, items, received_at)
    tally = await accept_pings(services, principal.tenant, items, indexes, refusals, received_at)
    if refusals:
        refuse_single(PINGS, body, format_, refusals)
    wake_radius_m = _wake_radius(services, principal.tenant, items) if wants_wake_radius else None
    return _encode(_answer(tally, refusals, wake_radius_m))


def format_of(content_type: str) -> Format:
    """How a body is encoded: MessagePack if the content type says so, else JSON."""
    return "msgpack" if content_type.partition(";")[0].strip().lower() in MSGPACK else "json"


def read_items(
    codec: Codec, body: bytes, format_: Format
) -> tuple[list[Any], list[int], list[Refusal]]:
    """The items of a body; see ``Codec.decode``.

    Raises:
        Problem: ``malformed-body`` or ``body-too-large``.
    """
    try:
        return codec.decode(body, format_)
    except BadEnvelopeError as error:
        raise Problem(error.slug, error.detail) from None


def refuse_single(codec: Codec, body: bytes, format_: Format, refusals: list[Refusal]) -> None:
    """Answer one item that was posted alone and is wrong with the problem itself.

    Raises:
        Problem: what is wrong with it.
    """
    if refusals and codec.is_single(body, format_):
        first = refusals[0]
        slug: Any = first.type
        raise Problem(
            slug, first.detail, extra={"accepted": 0, "rejected": [msgspec.structs.asdict(first)]}
        )


async def accept_pings(
    services: Services,
    tenant: str,
    pings: Sequence[Ping],
    indexes: Sequence[int],
    refusals: list[Refusal],
    received_at: int,
) -> Tally:
    """Commit pings; refusals of impossible times are added to ``refusals``.

    Raises:
        Problem: ``overloaded`` or ``unavailable``; then nothing is acknowledged.
    """
    pings, indexes = await _within_limits(services, tenant, pings, indexes, refusals)
    pings, indexes = await services.engine.consent.apply(tenant, pings, indexes, refusals)
    if not pings:
        metrics.count(metrics.PINGS, {"rejected": len(refusals)})
        return Tally()
    rejected = len(refusals)
    tally = await submitted(services.engine.pings, Post(tenant, pings, received_at))
    refusals += [Refusal(indexes[one.index], one.type, one.detail) for one in tally.refused]
    metrics.count(metrics.PINGS, {"rejected": rejected})
    return tally


async def _within_limits(
    services: Services,
    tenant: str,
    pings: Sequence[Ping],
    indexes: Sequence[int],
    refusals: list[Refusal],
) -> tuple[Sequence[Ping], Sequence[int]]:
    """The pings of devices within their limit; those of others are refused one by one."""
    if not services.limits.limits_devices:
        return pings, indexes
    over = await services.limits.spend_devices(tenant, Counter(p.device_id for p in pings))
    if not over:
        return pings, indexes
    kept = [i for i, ping in enumerate(pings) if ping.device_id not in over]
    for ping, index in zip(pings, indexes, strict=True):
        if ping.device_id in over:
            refusals.append(Refusal(index, "rate-limited", over[ping.device_id].detail))
    return [pings[i] for i in kept], [indexes[i] for i in kept]


async def submitted(intake: Any, post_: Any) -> Tally:
    """The intake's answer; what cannot be taken now becomes a 503.

    Raises:
        Problem: ``overloaded`` or ``unavailable``.
    """
    try:
        tally: Tally = await intake.submit(post_)
    except OverloadedError as error:
        raise Problem("overloaded", str(error)) from None
    except StoreUnavailableError as error:
        is_full = "OOM" in str(error)
        raise Problem(
            "storage-full" if is_full else "unavailable",
            "Nothing was acknowledged; send it again.",
        ) from error
    return tally


def _own(
    principal: Principal, pings: list[Ping], indexes: list[int], refusals: list[Refusal]
) -> tuple[list[Ping], list[int]]:
    """A device token speaks for its device alone; other pings are refused one by one."""
    kept: list[Ping] = []
    positions: list[int] = []
    for ping, index in zip(pings, indexes, strict=True):
        if ping.device_id == principal.device_id:
            kept.append(ping)
            positions.append(index)
        else:
            detail = f"This token speaks for device {principal.device_id!r} and for no other."
            refusals.append(Refusal(index, "forbidden", detail))
    return kept, positions


def _answer(tally: Tally, refusals: list[Refusal], wake_radius_m: int | None) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "accepted": tally.accepted + tally.held,
        "duplicates": tally.duplicates,
        "late": tally.late,
        "rejected": sorted(refusals, key=lambda refusal: refusal.index),
    }
    if wake_radius_m is not None:
        answer["wake_radius_m"] = wake_radius_m
    return answer


def _wake_radius(services: Services, tenant: str, pings: Sequence[Ping]) -> int | None:
    """How far the one device of these pings can move before it can enter any geofence."""
    if len({ping.device_id for ping in pings}) != 1:
        return None
    latest = max(pings, key=lambda ping: to_ms(ping.recorded_at))
    index = services.engine.catalog.view(tenant).index
    radius_m = float(index.clearance(np.array([latest.lat]), np.array([latest.lon]))[0])
    return int(min(radius_m, MAX_WAKE_RADIUS_M))


ROUTES = [post_pings]
