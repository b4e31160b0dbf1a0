"""Why a push went or did not: every decision about a person, in words and with its checks."""

from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery

from gateway.api.caller import NO_STORE, Call, answer
from gateway.api.events import subjects_of
from gateway.api.resources import caller_of, services_of
from gateway.delivery_log import DeliveryRecord
from gateway.errors import Problem
from gateway.history import Span
from gateway.kinds import trigger as kind
from gateway.paging import check_limit
from gateway.times import parse_instant, rfc3339
from triggers.explain import Happening, explain
from triggers.model import Decision, Result
from triggers.trigger import Trigger

MOST = 200
_decision = msgspec.json.Decoder(Decision).decode
_delivery = msgspec.json.Decoder(DeliveryRecord).decode


@get("/v1/explain", operation_id="explain", tags=["events"], opt={"scope": "read"})
async def explain_decisions(
    request: Call,
    *,
    device: FromQuery[str | None] = None,
    user: FromQuery[str | None] = None,
    trigger: FromQuery[str | None] = None,
    event: FromQuery[str | None] = None,
    since: FromQuery[str | None] = None,
    limit: FromQuery[int | None] = None,
) -> Response[bytes]:
    """Why pushes to a device (or a user) went or did not, newest first.

    Each item has the result, one line that answers, every check with its values, and what happened
    to the push afterwards.
    """
    if device is None and user is None:
        raise Problem(
            "invalid-request",
            "Name a device or a user.",
            errors=[("query device", "is missing, and so is user")],
        )
    tenant, size = caller_of(request).tenant, check_limit(limit, MOST)
    start = parse_instant(since, "since") if since else 0
    subjects = await subjects_of(request, device, user)
    every = await _decisions(request, subjects)
    chosen = [
        one
        for one in every
        if one.decided_at >= start
        and (device is None or one.device_id == device or user is not None)
        and (trigger is None or one.trigger_id == trigger)
        and (event is None or one.event_id == event)
    ][:size]
    stories = await _stories(request, subjects, chosen)
    triggers = await _triggers(request, tenant, chosen)
    items = [
        _item(one, triggers.get(one.trigger_id), stories.get(one.id, []), _sent_before(every, one))
        for one in chosen
    ]
    return answer({"items": items, "next_cursor": None}, headers=NO_STORE)


async def _decisions(request: Call, subjects: Sequence[str]) -> list[Decision]:
    """The decisions, newest first; of those with one id what was decided first and what holds now.

    The first has the checks; a later one has the final result.
    """
    history, tenant = services_of(request).history, caller_of(request).tenant
    found: dict[str, Decision] = {}
    for _, one in await history.trail(tenant, subjects, "decisions", _decision):
        later = found.get(one.id)
        if later is None:
            found[one.id] = one
        else:
            found[one.id] = msgspec.structs.replace(
                one, result=later.result, checks=(*one.checks, *later.checks), pending=later.pending
            )
    return sorted(found.values(), key=lambda one: one.decided_at, reverse=True)


async def _stories(
    request: Call, subjects: Sequence[str], decisions: Sequence[Decision]
) -> dict[str, list[Happening]]:
    """What happened to the pushes of these decisions, by push id."""
    sent = {one.id for one in decisions if one.result is Result.SENT or len(one.checks) > 0}
    if not sent:
        return {}
    history, tenant = services_of(request).history, caller_of(request).tenant

    def read(payload: bytes) -> DeliveryRecord | None:
        record = _delivery(payload)
        return record if record.push_id.partition("/")[0] in sent else None

    oldest = min(one.decided_at for one in decisions)
    found = await history.page(
        tenant,
        "deliveries",
        read,
        span=Span(oldest, 253_402_300_799_999, newest_first=False),
        limit=1000,
        shards=sorted({history.shard(tenant, one) for one in subjects}),
    )
    stories: dict[str, list[Happening]] = {}
    for _, record in found.items:
        happening = Happening(record.at, record.state, record.channel or "", record.reason)
        stories.setdefault(record.push_id.partition("/")[0], []).append(happening)
    return stories


async def _triggers(
    request: Call, tenant: str, decisions: Sequence[Decision]
) -> dict[str, Trigger]:
    ids = sorted({one.trigger_id for one in decisions})
    documents = await services_of(request).registry.get_many(tenant, "triggers", ids)
    return {one: kind.read(d.doc) for one, d in zip(ids, documents, strict=True) if d}


def _sent_before(every: Sequence[Decision], decision: Decision) -> int | None:
    """When this trigger was last sent before a decision."""
    return max(
        (
            one.decided_at
            for one in every
            if one.trigger_id == decision.trigger_id
            and one.result is Result.SENT
            and one.decided_at <= decision.decided_at
            and one.id != decision.id
        ),
        default=None,
    )


def _item(
    decision: Decision,
    trigger: Trigger | None,
    story: Sequence[Happening],
    last_sent_at: int | None,
) -> dict[str, Any]:
    words = explain(decision, trigger=trigger, last_sent_at=last_sent_at, happenings=story)
    return {
        "push_id": decision.id,
        "trigger_id": decision.trigger_id,
        "event_id": decision.event_id,
        "event_kind": decision.event_kind,
        "device_id": decision.device_id,
        "user_id": decision.user_id,
        "zone_id": decision.zone_id,
        "result": decision.result,
        "decided_at": rfc3339(decision.decided_at),
        "summary": words.summary,
        "checks": msgspec.to_builtins(decision.checks),
        "checks_text": words.checks,
        "story": words.story,
    }


ROUTES: list[HTTPRouteHandler] = [explain_decisions]
