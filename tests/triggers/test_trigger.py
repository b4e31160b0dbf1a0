"""Every field of the documented trigger parses; everything else is refused with its place."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from triggers.model import EventKind, InvalidTrigger
from triggers.tenant import TenantRules, parse_tenant_rules
from triggers.trigger import DEFAULT_TTL_S, MIN_TTL_S, Zones, live, parse_trigger, ttl_s

LUNCH: dict[str, Any] = {
    "id": "lunch-offer",
    "enabled": True,
    "class": "marketing",
    "on": {"event": "dwell", "dwell_s": 300, "zones": {"tags": ["mall"]}},
    "audience": {
        "all": [
            {"attribute": "tier", "in": ["gold"]},
            {"not": {"event": "purchase", "within_s": 86400}},
        ]
    },
    "schedule": {
        "start_at": "2026-12-01T00:00:00Z",
        "end_at": "2026-12-24T23:59:59Z",
        "windows": [{"days": ["mon-fri"], "from": "11:30", "to": "14:00"}],
        "timezone": "zone",
    },
    "cooldown": {"per": "zone", "seconds": 86400},
    "limits": {"per_user_per_day": 1, "per_user_total": 5, "total": 10000, "from_visit": 1},
    "max_age_s": 120,
    "delay_s": 0,
    "cancel_on": "exit",
    "holdout": 0.05,
    "priority": 50,
    "channels": ["app_push", "web_push", "inbox"],
    "variants": [
        {
            "weight": 1,
            "message": {
                "title": "Hi {{ user.first_name | default: 'there' }}",
                "body": "…",
                "image_url": "https://cdn.example/lunch.jpg",
                "actions": [{"id": "remind", "title": "Remind me later"}],
                "deep_link": "shop://offers/7",
                "ttl_s": 3600,
                "collapse_key": "lunch",
            },
        }
    ],
}
SMALL: dict[str, Any] = {
    "id": "welcome",
    "on": {"event": "enter"},
    "variants": [{"message": {"title": "Hello"}}],
}


def test_the_documented_trigger() -> None:
    """The document of the API parses whole."""
    trigger = parse_trigger(LUNCH)
    assert EventKind.DWELL == trigger.on.event
    assert frozenset({"mall"}) == trigger.on.where.tags
    assert "marketing" == trigger.lane
    assert 1_796_083_200_000 == trigger.schedule.start_at
    assert (690, 840, frozenset(range(5))) == (
        trigger.schedule.windows[0].opens,
        trigger.schedule.windows[0].closes,
        trigger.schedule.windows[0].days,
    )
    assert "exit" == trigger.cancel_on
    assert 3600 == ttl_s(trigger.variants[0].message)
    assert 7 == live(trigger, 7).version


def test_defaults() -> None:
    """Three fields make a trigger; the rest has the documented defaults."""
    trigger = parse_trigger(SMALL)
    assert Zones() == trigger.on.where
    assert (True, "marketing", 120, 0, 50) == (
        trigger.enabled,
        trigger.lane,
        trigger.max_age_s,
        trigger.delay_s,
        trigger.priority,
    )
    assert ("app_push", "web_push", "inbox") == trigger.channels
    assert DEFAULT_TTL_S == ttl_s(trigger.variants[0].message)
    assert MIN_TTL_S == ttl_s({"ttl_s": 0})


@pytest.mark.parametrize(
    "change",
    [
        {"on": {"event": "exit", "zones": "all"}},
        {"on": {"event": "cross", "zones": {"ids": ["road-1"], "type": "geofence"}}},
        {"on": {"event": "approach", "within_m": 500}},
        {"on": {"event": "custom", "name": "cart_abandoned"}},
        {"cancel_on": {"event": "purchase"}, "delay_s": 3600},
        {"cooldown": {"per": "group", "group": "mall-offers", "seconds": 3600}},
        {"quiet_hours": {"from": "21:00", "to": "08:00", "timezone": "Europe/Rome"}},
        {"quiet_hours": "off"},
        {"min_confidence": "high", "on_removed": True, "salt": "2027-q1", "class": "transactional"},
        {"channels": ["webhook", "whatsapp", "sms", "email"], "fallback_after_s": 600},
        {"name": "Welcome", "description": "Greets."},
    ],
)
def test_options_parse(change: dict[str, Any]) -> None:
    """Every option has a form that parses."""
    parse_trigger(SMALL | change)


@pytest.mark.parametrize(
    ("change", "pointer", "says"),
    [
        ({"colour": 1}, "/colour", "not a field"),
        ({"priorty": 1}, "/priorty", "did you mean 'priority'"),
        ({"on": {"event": "enter", "zone": "all"}}, "/on/zone", "did you mean 'zones'"),
        ({"on": {"event": "entre"}}, "/on/event", "did you mean 'enter'"),
        ({"on": {}}, "/on/event", "required"),
        ({"on": {"event": "dwell"}}, "/on/dwell_s", "required for dwell"),
        ({"on": {"event": "dwell", "dwell_s": 0}}, "/on/dwell_s", ">= 1"),
        ({"on": {"event": "approach"}}, "/on/within_m", "required for approach"),
        ({"on": {"event": "custom"}}, "/on/name", "required for custom"),
        ({"on": {"event": "enter", "dwell_s": 5}}, "/on/dwell_s", "belongs to dwell"),
        ({"on": {"event": "enter", "zones": "some"}}, "/on/zones", "'some'"),
        ({"on": {"event": "enter", "zones": {"idz": []}}}, "/on/zones/idz", "'ids'"),
        ({"on": {"event": "enter", "zones": {"type": "wifi"}}}, "/on/zones/type", "geofence"),
        ({"id": "no spaces"}, "/id", "regex"),
        ({"class": "spam"}, "/class", "marketing"),
        ({"audience": {"tga": "x"}}, "/audience/tga", "'tag'"),
        ({"schedule": {"timezone": "Mars/Base"}}, "/schedule/timezone", "IANA"),
        ({"schedule": {"windows": [{"to": "7pm"}]}}, "/schedule/windows/0/to", "HH:MM"),
        ({"cooldown": {"per": "group", "seconds": 5}}, "/cooldown", "group"),
        ({"cooldown": {"per": "zone"}}, "/cooldown/seconds", "required"),
        ({"limits": {"total": 0}}, "/limits/total", ">= 1"),
        ({"limits": {"total": True}}, "/limits/total", "got bool"),
        ({"holdout": 1.5}, "/holdout", "<= 1"),
        ({"cancel_on": "leave"}, "/cancel_on", '"exit"'),
        ({"channels": []}, "/channels", "length >= 1"),
        ({"channels": ["app_push", "telegram"]}, "/channels/1", "known: app_push"),
        ({"channels": ["sms", "sms"]}, "/channels", "twice"),
        ({"quiet_hours": {"from": "21:00"}}, "/quiet_hours/to", "required"),
        ({"variants": []}, "/variants", "length >= 1"),
        ({"variants": [{"weight": 0, "message": {"title": "x"}}]}, "/variants", "above 0"),
        ({"variants": [{"weight": -1, "message": {}}]}, "/variants/0/weight", ">= 0"),
        ({"variants": [{"message": {}}]}, "/variants/0/message", "title or a body"),
        (
            {"variants": [{"message": {"title": "x", "ttl_s": "1h"}}]},
            "/variants/0/message/ttl_s",
            "whole seconds",
        ),
    ],
)
def test_wrong_triggers(change: dict[str, Any], pointer: str, says: str) -> None:
    """The first wrong field is named, with why and what to write."""
    with pytest.raises(InvalidTrigger) as caught:
        parse_trigger(SMALL | change)
    assert pointer == caught.value.pointer
    assert says in caught.value.detail


@pytest.mark.parametrize("doc", [[], None, "trigger", 4])
def test_not_an_object(doc: Any) -> None:
    """What is no object is refused at the root."""
    with pytest.raises(InvalidTrigger) as caught:
        parse_trigger(doc)
    assert "" == caught.value.pointer


def test_tenant_rules() -> None:
    """The settings document has a default for everything and refuses what it does not know."""
    assert TenantRules() == parse_tenant_rules({})
    rules = parse_tenant_rules(
        {
            "timezone": "Europe/Rome",
            "quiet_hours": {"from": "21:00", "to": "08:00"},
            "caps": {"per_day": 2, "per_week": 6, "min_gap_s": 1800},
            "require_consent": True,
            "policy": {"preset": "immediate"},
        }
    )
    assert (2, 6, 1800) == (rules.caps.per_day, rules.caps.per_week, rules.caps.min_gap_s)
    for doc, pointer in [
        ({"timezone": "zone"}, "/timezone"),
        ({"caps": {"per_dya": 1}}, "/caps/per_dya"),
        ({"policy": {"preset": "lax"}}, "/policy/preset"),
    ]:
        with pytest.raises(InvalidTrigger) as caught:
            parse_tenant_rules(doc)
        assert pointer == caught.value.pointer


def test_the_documents_of_the_manual_parse() -> None:
    """Each JSON example of the manual is what it claims to be."""
    manual = (Path(__file__).parents[2] / "docs" / "triggers.md").read_text()
    docs = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", manual, re.DOTALL)]
    for doc in docs:
        (parse_trigger if "on" in doc else parse_tenant_rules)(doc)
    assert 3 == len(docs)
