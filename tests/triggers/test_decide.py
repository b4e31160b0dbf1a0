"""Exactly one decision for each (event, trigger), with the right reason and the right budgets."""

from collections import Counter
from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triggers.checks import share_of, variant_for
from triggers.decide import Occasion, decide, decide_all, refusals, refused
from triggers.ids import push_id
from triggers.model import Decision, Event, EventKind, Push, Result, Spend
from triggers.subject import Consents, Subject, ZoneFacts
from triggers.tenant import TenantRules, parse_tenant_rules
from triggers.trigger import LiveTrigger, live, parse_trigger


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


NOON = ms("2026-12-01T11:30:00Z")  # 12:30 in Rome, a Tuesday
DAY_MS = 86_400_000
STORE = ZoneFacts("store-1", tags=frozenset({"mall"}), timezone="Europe/Rome")
ADA = Subject(
    "phone-1",
    "ada",
    timezone="Asia/Tokyo",
    consents=Consents(push=True, location=True),
    channels=frozenset({"app_push", "inbox"}),
    visits={"store-1": 1},
)
ENTER = Event(
    "e-1", EventKind.ENTER, "acme", "phone-1", NOON - 5000, NOON, "ada", "geofence", "store-1"
)
ANYONE = TenantRules()


def key(scope: str, owner: str | None) -> str:
    return f"{scope}|{owner}"


def rule(**fields: Any) -> LiveTrigger:
    doc: dict[str, Any] = {
        "id": "offer",
        "on": {"event": "enter"},
        "variants": [{"message": {"title": "Hi", "ttl_s": 600}}],
    }
    return live(parse_trigger(doc | fields), 3)


def one(
    trigger: LiveTrigger,
    event: Event = ENTER,
    subject: Subject = ADA,
    *,
    zone: ZoneFacts | None = STORE,
    now: int = NOON,
    tenant: TenantRules = ANYONE,
) -> Decision:
    (decision,) = decide([trigger], event, subject, zone, now=now, tenant=tenant, spend_key=key)
    return decision


def person(**changes: Any) -> Subject:
    return msgspec.structs.replace(ADA, **changes)


def happened(**changes: Any) -> Event:
    return msgspec.structs.replace(ENTER, **changes)


def test_a_push() -> None:
    """A decision to send carries everything the outbox needs."""
    decision = one(
        rule(channels=["sms", "app_push"], cancel_on="exit", **{"class": "transactional"})
    )
    push = decision.push
    assert push is not None
    assert (Result.SENT, True, push_id("offer", "e-1")) == (
        decision.result,
        decision.pending,
        decision.id,
    )
    assert ("transactional", 1, 3, "exit", decision.id) == (
        push.lane,
        push.channel,
        push.trigger_version,
        push.cancel_on,
        push.id,
    )
    assert (NOON, NOON + 600_000, "ada") == (push.not_before, push.expires_at, push.user_id)
    assert all(check.ok for check in decision.checks)


def test_pushes_and_decisions_travel() -> None:
    """What is decided survives the outbox and the history, whatever the trigger sets."""
    trigger = rule(cancel_on={"event": "purchase"}, schedule={"end_at": NOON + 60_000})
    decision = one(trigger)
    assert decision.push is not None
    for codec in (msgspec.json, msgspec.msgpack):
        assert decision.push == codec.decode(codec.encode(decision.push), type=Push)
        assert decision == codec.decode(codec.encode(decision), type=Decision)


LUNCH_HOURS = {"windows": [{"days": "mon-fri", "from": "11:30", "to": "14:00"}]}
NIGHT = {"from": "21:00", "to": "08:00"}
EVENING = {"from": "20:00", "to": "08:00", "timezone": "device"}  # 20:30 in Tokyo
LUNCH_QUIET = {"from": "12:00", "to": "13:00"}
REFUSED = Consents(push=False)


@pytest.mark.parametrize(
    ("expected", "fields", "event", "subject", "tenant"),
    [
        (Result.DISABLED, {"enabled": False}, {}, {}, {}),
        (Result.NOT_STARTED, {"schedule": {"start_at": NOON + 1}}, {}, {}, {}),
        (Result.SENT, {"schedule": {"start_at": NOON}}, {}, {}, {}),
        (Result.ENDED, {"schedule": {"end_at": NOON - 1}}, {}, {}, {}),
        (Result.EXPIRED, {"schedule": {"end_at": NOON + 5000}, "delay_s": 5}, {}, {}, {}),
        (Result.SENT, {"schedule": LUNCH_HOURS}, {}, {}, {}),
        (Result.SCHEDULE, {"schedule": LUNCH_HOURS | {"timezone": "device"}}, {}, {}, {}),
        (Result.SCHEDULE, {"schedule": LUNCH_HOURS | {"timezone": "Asia/Kathmandu"}}, {}, {}, {}),
        (Result.STALE, {}, {"occurred_at": NOON - 120_001}, {}, {}),
        (Result.SENT, {}, {"occurred_at": NOON - 120_000}, {}, {}),
        (Result.SENT, {"max_age_s": 3600}, {"occurred_at": NOON - 3_000_000}, {}, {}),
        (Result.MOCK_LOCATION, {}, {"is_mock": True}, {}, {}),
        (Result.SENT, {}, {"is_mock": True}, {}, {"allow_mock": True}),
        (Result.SENT, {}, {"confidence": "low"}, {}, {}),
        (Result.LOW_CONFIDENCE, {"min_confidence": "high"}, {"confidence": "medium"}, {}, {}),
        (Result.SENT, {"min_confidence": "medium"}, {"confidence": "medium"}, {}, {}),
        (Result.AUDIENCE, {"audience": {"tag": "vip"}}, {}, {}, {}),
        (Result.AUDIENCE, {"limits": {"from_visit": 3}}, {}, {}, {}),
        (Result.SENT, {"limits": {"from_visit": 2}}, {}, {}, {}),
        (Result.NO_CONSENT, {}, {}, {"consents": REFUSED}, {}),
        (Result.NO_CONSENT, {"class": "transactional"}, {}, {"consents": REFUSED}, {}),
        (Result.NO_CONSENT, {}, {}, {"consents": Consents(location=False)}, {}),
        (Result.SENT, {}, {}, {"consents": Consents()}, {}),
        (Result.NO_CONSENT, {}, {}, {"consents": Consents()}, {"require_consent": True}),
        (Result.NO_TARGET, {"channels": ["sms"]}, {}, {}, {}),
        (Result.NO_TARGET, {}, {}, {"channels": frozenset()}, {}),
        (Result.SENT, {}, {}, {}, {"quiet_hours": NIGHT}),
        (Result.QUIET_HOURS, {}, {}, {}, {"quiet_hours": EVENING}),
        (Result.SENT, {"quiet_hours": "off"}, {}, {}, {"quiet_hours": LUNCH_QUIET}),
        (Result.QUIET_HOURS, {"quiet_hours": LUNCH_QUIET}, {}, {}, {}),
        (Result.SENT, {"class": "transactional", "quiet_hours": LUNCH_QUIET}, {}, {}, {}),
        (Result.HOLDOUT, {"holdout": 1}, {}, {}, {}),
        (Result.AUDIENCE, {"holdout": 1, "audience": {"tag": "vip"}}, {}, {}, {}),
        (Result.DISABLED, {"enabled": False, "holdout": 1}, {"is_mock": True}, {}, {}),
    ],
)
def test_results(
    expected: Result,
    fields: dict[str, Any],
    event: dict[str, Any],
    subject: dict[str, Any],
    tenant: dict[str, Any],
) -> None:
    """Each result for its reason, at its edges; the first failing check decides."""
    decision = one(
        rule(**fields),
        happened(**event),
        person(**subject),
        tenant=parse_tenant_rules(tenant),
    )
    assert expected == decision.result
    assert (expected is Result.SENT) == (decision.push is not None)
    assert (expected is Result.SENT) == all(check.ok for check in decision.checks)


def test_an_unknown_zone_is_quiet_for_marketing() -> None:
    """Where nobody knows the local time, marketing keeps quiet and shut windows stay shut."""
    lost = {"event": happened(zone_id=None), "subject": person(timezone="Mars/Base"), "zone": None}
    quiet = parse_tenant_rules({"quiet_hours": NIGHT})
    assert Result.QUIET_HOURS == one(rule(), **lost, tenant=quiet).result
    assert Result.SCHEDULE == one(rule(schedule=LUNCH_HOURS), **lost).result
    assert Result.SENT == one(rule(**{"class": "transactional"}), **lost, tenant=quiet).result
    fallback = msgspec.structs.replace(quiet, timezone="Europe/Rome")
    assert Result.SENT == one(rule(), **lost, tenant=fallback).result


def test_a_message_that_outlives_the_quiet_is_held() -> None:
    """Quiet hours delay a push that still means something when they end."""
    ends = ms("2026-12-01T12:00:00Z")
    quiet = {"from": "12:00", "to": "13:00", "timezone": "Europe/Rome"}
    lasting = [{"message": {"title": "Hi", "ttl_s": 3600}}]
    push = one(rule(quiet_hours=quiet, variants=lasting)).push
    assert push is not None
    assert (ends, NOON + 3_600_000) == (push.not_before, push.expires_at)


def test_delay_moves_the_life_of_the_message() -> None:
    """The life of a delayed message counts from when it is due, and ends with the trigger."""
    push = one(rule(delay_s=7200)).push
    assert push is not None
    assert (NOON + 7_200_000, NOON + 7_800_000) == (push.not_before, push.expires_at)
    push = one(rule(delay_s=60, schedule={"end_at": NOON + 61_000})).push
    assert push is not None
    assert NOON + 61_000 == push.expires_at


@pytest.mark.parametrize(
    ("cooldown", "expected"),
    [
        ({"per": "zone", "seconds": 60}, "cooldown:zone:offer:store-1|user:ada"),
        ({"per": "trigger", "seconds": 60}, "cooldown:trigger:offer|user:ada"),
        ({"per": "group", "group": "mall", "seconds": 60}, "cooldown:group:mall|user:ada"),
    ],
)
def test_cooldowns(cooldown: dict[str, Any], expected: str) -> None:
    """A cooldown is one take in its seconds, in the scope that its ``per`` names."""
    spends = one(rule(cooldown=cooldown)).spends
    assert (Spend(expected, 1, 60_000, Result.COOLDOWN),) == spends


def test_limits() -> None:
    """Limits count a local day and a lifetime per person, and all people together."""
    limits = {"per_user_per_day": 2, "per_user_total": 5, "total": 10_000}
    assert (
        Spend("limit:day:offer:2026-12-01|user:ada", 2, 2 * DAY_MS, Result.LIMIT_REACHED),
        Spend("limit:user:offer|user:ada", 5, 0, Result.LIMIT_REACHED),
        Spend("limit:total:offer|None", 10_000, 0, Result.LIMIT_REACHED),
    ) == one(rule(limits=limits)).spends
    late = ms("2026-12-01T23:30:00Z")  # already the 2nd in Rome
    spends = one(
        rule(limits={"per_user_per_day": 1}), happened(occurred_at=late, received_at=late), now=late
    ).spends
    assert ["limit:day:offer:2026-12-02|user:ada"] == [spend.key for spend in spends]


def test_nobody_known_spends_for_the_device() -> None:
    """Without a user the budgets are the device's."""
    spends = one(rule(cooldown={"seconds": 60}), subject=person(user_id=None)).spends
    assert ["cooldown:zone:offer:store-1|device:phone-1"] == [spend.key for spend in spends]


def test_refusals() -> None:
    """Every budget that may be empty has its decision, without push, with the failing check."""
    decision = one(rule(cooldown={"seconds": 60}, limits={"total": 5}))
    stored = refusals(decision)
    assert {Result.COOLDOWN, Result.LIMIT_REACHED} == set(stored)
    for result, other in stored.items():
        assert (decision.id, result, None, (), False) == (
            other.id,
            other.result,
            other.push,
            other.spends,
            other.pending,
        )
        assert [result.value] == [check.name for check in other.checks if not check.ok]
    late = refused(decision, Result.EXPIRED, "expired at noon")
    assert ["expired at noon"] == [check.detail for check in late.checks if not check.ok]


def test_priority_rules_over_all_events_of_a_ping() -> None:
    """Higher priority takes from a shared budget first, whichever zone it belongs to."""
    low, high, other = (
        rule(id="low", priority=1),
        rule(id="high", priority=9),
        rule(id="a", priority=1),
    )
    second = happened(id="e-2", zone_id="store-2")
    occasions = [
        Occasion(ENTER, STORE, [low, other]),
        Occasion(second, None, [high, low]),
    ]
    decisions = decide_all(occasions, ADA, now=NOON, tenant=ANYONE, spend_key=key)
    assert [("high", "e-2"), ("a", "e-1"), ("low", "e-1"), ("low", "e-2")] == [
        (decision.trigger_id, decision.event_id) for decision in decisions
    ]


def test_shares_are_stable_and_fair() -> None:
    """Holdout and variants stay with a person and fall in proportion over people."""
    people = [f"user:{n}" for n in range(4000)]
    weighted = [{"weight": weight, "message": {"title": f"v{weight}"}} for weight in (1, 3, 0)]
    trigger = rule(variants=weighted, holdout=0.1).trigger
    first = [variant_for(trigger, owner) for owner in people]
    assert first == [variant_for(trigger, owner) for owner in people]
    counts = Counter(first)
    assert {0, 1} == set(counts)
    assert counts[1] / len(people) == pytest.approx(0.75, abs=0.03)
    held = sum(share_of(trigger, "holdout", owner) < 0.1 for owner in people)
    assert held / len(people) == pytest.approx(0.1, abs=0.02)
    salted = msgspec.structs.replace(trigger, salt="2027-q1")
    assert first != [variant_for(salted, owner) for owner in people]


def test_webhooks_need_no_leave_of_the_person() -> None:
    """What goes to the tenant's own systems goes also without consent, and only that."""
    refusing = person(consents=Consents(push=False), channels=frozenset({"app_push", "webhook"}))
    push = one(rule(channels=["app_push", "webhook"]), subject=refusing).push
    assert push is not None
    assert 1 == push.channel


def test_a_visit_that_begins_counts() -> None:
    """The visit of an enter counts for it and for what happens later in the same ping."""
    here = {"visits": "here", "min": 2, "max": 2}
    tagged = {"visits": {"tag": "mall"}, "min": 6}
    asks = rule(audience={"all": [here, tagged]})
    dwell = happened(id="e-2", kind=EventKind.DWELL, dwell_s=60)
    later = rule(id="z", on={"event": "dwell", "dwell_s": 60}, audience=here)
    subject = person(tag_visits={"mall": 5})
    occasions = [Occasion(ENTER, STORE, [asks]), Occasion(dwell, STORE, [later])]
    decisions = decide_all(occasions, subject, now=NOON, tenant=ANYONE, spend_key=key)
    assert [Result.SENT, Result.SENT] == [decision.result for decision in decisions]
    assert Result.AUDIENCE == one(later, dwell, subject).result


def test_the_coming_visit_counts_on_approach() -> None:
    """On the way to a zone, the visit that is about to begin is the one that counts."""
    trigger = rule(on={"event": "approach", "within_m": 200}, limits={"from_visit": 2})
    event = happened(kind=EventKind.APPROACH, within_m=200)
    assert Result.SENT == one(trigger, event).result
    assert Result.AUDIENCE == one(trigger, event, person(visits={})).result


options = st.fixed_dictionaries(
    {},
    optional={
        "enabled": st.booleans(),
        "class": st.sampled_from(["marketing", "transactional"]),
        "holdout": st.sampled_from([0, 0.5, 1]),
        "delay_s": st.sampled_from([0, 60, 86_400]),
        "audience": st.sampled_from([{"tag": "vip"}, {"all": []}]),
        "schedule": st.fixed_dictionaries(
            {},
            optional={
                "start_at": st.integers(NOON - 5, NOON + 5),
                "end_at": st.integers(NOON + 5, NOON + 90_000),
                "windows": st.just(LUNCH_HOURS["windows"]),
                "timezone": st.sampled_from(["zone", "device", "America/New_York"]),
            },
        ),
        "cooldown": st.just({"seconds": 60}),
        "channels": st.sampled_from([["sms"], ["webhook"], ["inbox", "app_push"]]),
        "quiet_hours": st.sampled_from(["off", {"from": "12:00", "to": "12:35"}]),
    },
)
persons = st.builds(
    person,
    consents=st.builds(Consents, st.sampled_from([None, True, False])),
    channels=st.frozensets(st.sampled_from(["app_push", "inbox", "webhook"])),
    timezone=st.sampled_from([None, "Mars/Base", "Asia/Tokyo"]),
    tags=st.frozensets(st.just("vip")),
)


@settings(max_examples=150)
@given(options, persons, st.booleans(), st.integers(NOON - 200_000, NOON))
def test_what_always_holds(
    fields: dict[str, Any], subject: Subject, in_zone: bool, occurred_at: int
) -> None:
    """One result, the same again; no push without leave, in quiet, out of validity, or stale."""
    trigger, tenant = rule(**fields), parse_tenant_rules({"quiet_hours": NIGHT})
    case: dict[str, Any] = {
        "event": happened(occurred_at=occurred_at),
        "subject": subject,
        "zone": STORE if in_zone else None,
        "tenant": tenant,
    }
    decision = one(trigger, **case)
    assert decision == one(trigger, **case)
    push = decision.push
    assert (decision.result is Result.SENT) == (push is not None)
    if push is None:
        assert () == decision.spends
        return
    channel = trigger.trigger.channels[push.channel]
    assert channel in subject.channels
    assert subject.consents.push is not False or channel == "webhook"
    assert trigger.trigger.enabled
    assert NOON - occurred_at <= 120_000
    assert NOON <= push.not_before < push.expires_at
    assert push.expires_at <= (trigger.trigger.schedule.end_at or push.expires_at)
    known = in_zone or subject.timezone == "Asia/Tokyo"
    assert known or push.lane == "transactional" or trigger.trigger.quiet_hours == "off"


def test_held_out_and_treated_differ_only_in_the_push() -> None:
    """Who is held out passed every check that the others passed."""
    treated, held = one(rule()), one(rule(holdout=1))
    others = [check for check in held.checks if check.name != "holdout"]
    assert all(check.ok for check in others)
    assert others == [check for check in treated.checks if check.name != "holdout"]
