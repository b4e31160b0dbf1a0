"""Consents of devices and users: given, withdrawn, and the log of both."""

from typing import Any

import msgspec
from litestar import Response

from gateway.api.caller import NO_STORE, Call, answer, now_ms, object_body
from gateway.api.persons import Kind, change, find
from gateway.api.resources import caller_of, services_of
from gateway.errors import Problem
from gateway.kinds.fields import convert
from gateway.person import LocationConsent
from gateway.times import parse_instant, rfc3339

EXAMPLE: dict[str, Any] = {
    "push": True,
    "location": "precise",
    "source": "onboarding screen",
    "at": "2026-12-01T09:30:00Z",
    "policy_version": "2026-11",
}


class Answer(msgspec.Struct, forbid_unknown_fields=True):
    """What a person answered; a consent that is left out stays as it is."""

    source: str
    push: bool | msgspec.UnsetType | None = msgspec.UNSET
    location: LocationConsent | msgspec.UnsetType | None = msgspec.UNSET
    at: str | int | None = None
    policy_version: str | None = None


async def post_answer(request: Call, kind: Kind[Any], person_id: str) -> Response[bytes]:
    """Take an answer: log it, and make it hold from now on."""
    services, tenant = services_of(request), caller_of(request).tenant
    return await services.answers.once(request, tenant, lambda: _take(request, kind, person_id))


async def _take(request: Call, kind: Kind[Any], person_id: str) -> Response[bytes]:
    given = convert(await object_body(request), Answer)
    asked = {"push": given.push, "location": given.location}
    patch = {name: value for name, value in asked.items() if value is not msgspec.UNSET}
    if not patch:
        raise Problem(
            "invalid-document",
            "Name push, location, or both.",
            errors=[("#/push", "is missing, and so is location")],
        )
    services, tenant, now = services_of(request), caller_of(request).tenant, now_ms()
    at = parse_instant(str(given.at), "at") if given.at is not None else now
    stored = await change(request, kind, person_id, {"consents": patch}, action="consent")
    await services.consent_log.record(
        tenant,
        kind.family,
        person_id,
        stored.person.consents,
        source=given.source,
        now=now,
        at=at,
        policy_version=given.policy_version,
    )
    return await list_answers(request, kind, person_id)


async def list_answers(request: Call, kind: Kind[Any], person_id: str) -> Response[bytes]:
    """What holds now, and every answer, oldest first."""
    stored = await find(request, kind, person_id)
    entries = await services_of(request).consent_log.entries(
        caller_of(request).tenant, kind.family, person_id
    )
    log = [
        {
            **msgspec.to_builtins(entry),
            "at": rfc3339(entry.at),
            "recorded_at": rfc3339(entry.recorded_at),
        }
        for entry in entries
    ]
    body = {"consents": msgspec.to_builtins(stored.person.consents), "items": log}
    return answer({**body, "next_cursor": None}, headers=NO_STORE)
