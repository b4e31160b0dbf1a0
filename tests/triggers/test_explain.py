"""A stored decision reads as an answer to "why did it not come?"."""

import msgspec
import pytest

from triggers.explain import Happening, explain
from triggers.model import Check, Decision, EventKind, Result
from triggers.trigger import parse_trigger

NOON = 1_796_124_600_000  # 2026-12-01 11:30 UTC
DECISION = Decision(
    "p-1", "acme", "lunch-offer", "e-1", "phone-1", Result.SENT, NOON, event_kind=EventKind.ENTER
)
GROUPED = parse_trigger(
    {
        "id": "lunch-offer",
        "on": {"event": "enter"},
        "cooldown": {"per": "group", "group": "mall-offers", "seconds": 86_400},
        "variants": [{"message": {"title": "Hi"}}],
    }
)


def decided(result: Result, *checks: Check, pending: bool = False) -> Decision:
    return msgspec.structs.replace(DECISION, result=result, checks=checks, pending=pending)


def test_a_cooldown_names_its_end() -> None:
    """When the last one went, and when the next may."""
    said = explain(decided(Result.COOLDOWN), trigger=GROUPED, last_sent_at=NOON - 3_600_000)
    assert (
        "Not sent: cooldown. The person had been sent this recently. 'mall-offers' was sent to "
        "this person at 2026-12-01 10:30:00Z, next allowed at 2026-12-02 10:30:00Z."
    ) == said.summary


def test_a_cooldown_without_its_trigger() -> None:
    """A trigger deleted since still has its words."""
    said = explain(decided(Result.COOLDOWN), last_sent_at=NOON)
    assert said.summary.endswith("'lunch-offer' was sent to this person at 2026-12-01 11:30:00Z.")
    failing = decided(Result.COOLDOWN, Check("cooldown", ok=False, detail="1 in 60 s per zone"))
    assert explain(failing).summary.endswith("recently. 1 in 60 s per zone.")


def test_the_deciding_values_are_named() -> None:
    """The first failing check's values follow the meaning; every check is listed."""
    said = explain(
        decided(
            Result.STALE,
            Check("enabled", ok=True, detail="on"),
            Check("age", ok=False, detail="4000 s old, at most 120 s"),
            Check("target", ok=False, detail="none of sms"),
        )
    )
    assert said.summary.startswith("Not sent: stale. ")
    assert said.summary.endswith(" 4000 s old, at most 120 s.")
    assert (
        "ok  enabled: on",
        "NO  age: 4000 s old, at most 120 s",
        "NO  target: none of sms",
    ) == said.checks


def test_sent_and_after() -> None:
    """A push that was accepted says where it is; what befell it is told in order of time."""
    assert "waits in the outbox" in explain(decided(Result.SENT, pending=True)).summary
    assert explain(decided(Result.SENT)).summary == (
        "Sent: 'lunch-offer', decided 2026-12-01 11:30:00Z."
    )
    said = explain(
        decided(Result.SENT),
        happenings=[
            Happening(NOON + 9000, "opened"),
            Happening(NOON + 1000, "delivered", "app_push", "apns"),
        ],
    )
    assert "Sent: 'lunch-offer'. Latest: 2026-12-01 11:30:09Z opened." == said.summary
    assert (
        "2026-12-01 11:30:01Z delivered on app_push (apns)",
        "2026-12-01 11:30:09Z opened",
    ) == said.story


@pytest.mark.parametrize("result", list(Result))
def test_every_result_has_words(result: Result) -> None:
    """No reason is left without a sentence."""
    summary = explain(decided(result)).summary
    assert summary.endswith(".")
    assert (result is Result.SENT) != summary.startswith(f"Not sent: {result.value}. ")
