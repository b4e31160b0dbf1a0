"""A push that waited goes only if it still may."""

from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triggers.guard import Guarded, Proceed, Suppress, Wait, cancels, guard
from triggers.model import Event, EventKind, Push, Result, Spend
from triggers.subject import Consents, Subject, ZoneFacts
from triggers.tenant import TenantRules, parse_tenant_rules
from triggers.trigger import Trigger, parse_trigger


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


NOON = ms("2026-12-01T11:30:00Z")  # 12:30 in Rome
ROME = ZoneFacts("store-1", timezone="Europe/Rome")
EXIT = Event(
    "e-9", EventKind.EXIT, "acme", "phone-1", NOON, NOON, "ada", "geofence", "store-1", "v-1"
)
ENTER = msgspec.structs.replace(EXIT, id="e-1", kind=EventKind.ENTER, occurred_at=NOON - 60_000)
ADA = Subject("phone-1", "ada", channels=frozenset({"app_push"}))
PUSH = Push(
    "p-1",
    "acme",
    "phone-1",
    "offer",
    3,
    0,
    "marketing",
    ENTER,
    created_at=NOON - 60_000,
    expires_at=NOON + 600_000,
    user_id="ada",
)
QUIET = {"from": "12:00", "to": "12:35"}


def trigger(**fields: Any) -> Trigger:
    doc: dict[str, Any] = {
        "id": "offer",
        "on": {"event": "enter"},
        "variants": [{"message": {"title": "Hi"}}],
    }
    return parse_trigger(doc | fields)


def looked(
    rule: Trigger | None,
    push: Push = PUSH,
    subject: Subject = ADA,
    *,
    now: int = NOON,
    is_canceled: bool = False,
    **tenant: Any,
) -> Guarded:
    return guard(
        rule,
        push,
        subject,
        zone=ROME,
        now=now,
        tenant=parse_tenant_rules(tenant),
        spend_key=lambda scope, owner: f"{scope}|{owner}",
        is_canceled=is_canceled,
    )


def pushed(**changes: Any) -> Push:
    return msgspec.structs.replace(PUSH, **changes)


def person(**changes: Any) -> Subject:
    return msgspec.structs.replace(ADA, **changes)


TRANSACTIONAL = {"class": "transactional"}


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        (Result.DISABLED, looked(None)),
        (Result.DISABLED, looked(trigger(enabled=False))),
        (Result.CANCELED, looked(trigger(), is_canceled=True)),
        (Result.ENDED, looked(trigger(schedule={"end_at": NOON - 1}))),
        (Result.EXPIRED, looked(trigger(), pushed(expires_at=NOON))),
        (Result.NO_CONSENT, looked(trigger(), subject=person(consents=Consents(push=False)))),
        (
            Result.NO_CONSENT,
            looked(trigger(**TRANSACTIONAL), subject=person(consents=Consents(push=False))),
        ),
        (Result.NO_CONSENT, looked(trigger(), require_consent=True)),
        (Result.NO_TARGET, looked(trigger(), subject=person(channels=frozenset()))),
        (
            Result.QUIET_HOURS,
            looked(trigger(), pushed(expires_at=NOON + 300_000), quiet_hours=QUIET),
        ),
    ],
)
def test_suppressed(expected: Result, answer: Guarded) -> None:
    """What changed while the push waited stops it, with the reason."""
    assert isinstance(answer, Suppress)
    assert expected == answer.result
    assert answer.detail


def test_a_direct_push_has_no_trigger() -> None:
    """What the tenant's back end sends itself needs consent and an address, nothing else."""
    direct = pushed(message={"title": "Your code"}, channels=("app_push",), lane="transactional")
    assert Proceed((), ("app_push",)) == looked(None, direct, quiet_hours=QUIET)
    refusing = looked(None, direct, person(consents=Consents(push=False)))
    assert isinstance(refusing, Suppress)
    assert Result.NO_CONSENT == refusing.result


def test_waits() -> None:
    """A push waits for its instant, and for the end of quiet hours that it outlives."""
    assert Wait(NOON + 5000) == looked(trigger(), pushed(not_before=NOON + 5000))
    assert Wait(NOON + 300_000) == looked(trigger(), quiet_hours=QUIET)
    assert isinstance(looked(trigger(), now=NOON + 300_000, quiet_hours=QUIET), Proceed)


def test_caps_are_taken_from_the_person() -> None:
    """Marketing takes from every cap of the tenant; transactional passes caps and quiet hours."""
    caps = {"per_day": 2, "per_week": 6, "min_gap_s": 1800}
    answer = looked(trigger(), subject=person(timezone="Asia/Tokyo"), caps=caps)
    assert answer == Proceed(
        (
            Spend("cap:gap|user:ada", 1, 1_800_000, Result.FREQUENCY_CAP),
            Spend("cap:day:2026-12-01|user:ada", 2, 172_800_000, Result.FREQUENCY_CAP),
            Spend("cap:week|user:ada", 6, 604_800_000, Result.FREQUENCY_CAP),
        ),
        ("app_push",),
    )
    urgent = pushed(lane="transactional")
    answer = looked(trigger(**TRANSACTIONAL), urgent, caps=caps, quiet_hours=QUIET)
    assert Proceed((), ("app_push",)) == answer


@pytest.mark.parametrize(
    ("cancel_on", "changes", "expected"),
    [
        (None, {}, False),
        ("exit", {}, True),
        ("exit", {"zone_id": "store-2"}, False),
        ("exit", {"zone_type": "beacon"}, False),
        ("exit", {"device_id": "phone-2"}, False),
        ("exit", {"occurred_at": NOON - 60_001}, False),  # before the push's own event
        ("exit", {"tenant": "other"}, False),
        ("exit", {"kind": EventKind.DWELL}, False),
        ("enter", {"kind": EventKind.ENTER}, True),
        ("enter", {"kind": EventKind.ENTER, "id": "e-1"}, False),  # its own event
        ("event:purchase", {"kind": EventKind.CUSTOM, "name": "purchase"}, True),
        ("event:purchase", {"kind": EventKind.CUSTOM, "name": "refund"}, False),
        (
            "event:purchase",
            {"kind": EventKind.CUSTOM, "name": "purchase", "device_id": "till", "zone_id": None},
            True,  # the same user
        ),
        (
            "event:purchase",
            {"kind": EventKind.CUSTOM, "name": "purchase", "device_id": "x", "user_id": "bob"},
            False,
        ),
    ],
)
def test_cancels(cancel_on: str | None, changes: dict[str, Any], expected: bool) -> None:
    """Only what the trigger names, of the same person and place, and not before, takes it back."""
    event = msgspec.structs.replace(EXIT, **changes)
    assert expected == cancels(pushed(cancel_on=cancel_on), event)


@settings(max_examples=150)
@given(
    now=st.integers(NOON - 50_000_000, NOON + 50_000_000),
    consent=st.sampled_from([None, True, False]),
    zone_name=st.sampled_from([None, "Europe/Rome", "Pacific/Apia"]),
    quiet=st.sampled_from([{"from": "21:00", "to": "08:00"}, {"from": "12:00", "to": "12:35"}]),
)
def test_what_never_goes(
    now: int, consent: bool | None, zone_name: str | None, quiet: dict[str, str]
) -> None:
    """Nothing after a no, after its life, or in quiet hours; waiting always ends later, in time."""
    rules = parse_tenant_rules({"quiet_hours": quiet})
    answer = guard(
        trigger(),
        PUSH,
        person(consents=Consents(push=consent)),
        zone=ZoneFacts("store-1", timezone=zone_name),
        now=now,
        tenant=rules,
        spend_key=lambda scope, owner: scope,
    )
    if isinstance(answer, Wait):
        assert now < answer.until < PUSH.expires_at
    if isinstance(answer, Proceed):
        assert consent is not False
        assert now < PUSH.expires_at
        assert zone_name is not None
        assert isinstance(rules, TenantRules)
