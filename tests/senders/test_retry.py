"""The retry policy: every outcome, both lanes, both ends of the clock."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from senders.model import (
    Ambiguous,
    Delivered,
    Misconfigured,
    Outcome,
    Rejected,
    RetryAfter,
    Unregistered,
)
from senders.retry import (
    FCM,
    PUSH,
    WEBHOOK,
    Ack,
    Dead,
    DropTarget,
    NextChannel,
    Park,
    RetryAt,
    Standing,
    Verdict,
    decide,
    schedule_of,
)

NOW = 1_800_000_000_000
SOON = NOW + 900_000

TABLE: list[tuple[str, Outcome, Standing, Verdict]] = [
    ("delivered", Delivered("x"), Standing("marketing", 0, SOON), Ack()),
    (
        "dead address",
        Unregistered("Unregistered", 7),
        Standing("marketing", 0, SOON),
        DropTarget("Unregistered", 7),
    ),
    (
        "refused",
        Rejected("PayloadTooLarge"),
        Standing("transactional", 3, SOON),
        NextChannel("PayloadTooLarge"),
    ),
    ("wrong key", Misconfigured("403"), Standing("marketing", 0, SOON), Park("403")),
    (
        "wrong key, too late",
        Misconfigured("403"),
        Standing("marketing", 0, NOW),
        Dead("expired: 403"),
    ),
    (
        "ambiguous marketing is final",
        Ambiguous("reset"),
        Standing("marketing", 0, SOON),
        Ack(is_certain=False, reason="reset"),
    ),
    (
        "ambiguous transactional is tried again",
        Ambiguous("reset"),
        Standing("transactional", 0, SOON),
        RetryAt(NOW + 500, 1, "reset"),
    ),
    (
        "transient is counted",
        RetryAfter("503"),
        Standing("marketing", 2, SOON),
        RetryAt(NOW + 2000, 3, "503"),
    ),
    (
        "throttled is not counted",
        RetryAfter("429", 30, is_counted=False),
        Standing("marketing", 2, SOON),
        RetryAt(NOW + 31_000, 2, "429"),
    ),
    (
        "Retry-After beyond expiry",
        RetryAfter("429", 900, is_counted=False),
        Standing("marketing", 0, SOON),
        Dead("expired: 429"),
    ),
    (
        "no expiry",
        RetryAfter("429", 86_400, is_counted=False),
        Standing("marketing", 0, 0),
        RetryAt(NOW + 86_400_500, 0, "429"),
    ),
    (
        "attempts used up",
        RetryAfter("503"),
        Standing("marketing", PUSH.attempts - 1, SOON),
        NextChannel(f"503, after {PUSH.attempts} attempts"),
    ),
    (
        "webhook's first step",
        RetryAfter("timeout"),
        Standing("transactional", 0, 0, WEBHOOK),
        RetryAt(NOW + 5500, 1, "timeout"),
    ),
    (
        "fcm's floor",
        RetryAfter("503"),
        Standing("marketing", 0, SOON, FCM),
        RetryAt(NOW + 15_000, 1, "503"),
    ),
]


@pytest.mark.parametrize(
    ("outcome", "push", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_every_outcome_has_its_verdict(outcome: Outcome, push: Standing, expected: Verdict) -> None:
    """The table of the policy, with the random number fixed at one half."""
    assert expected == decide(outcome, push, NOW, lambda: 0.5)


RETRIES = st.builds(
    RetryAfter,
    reason=st.just("x"),
    after_s=st.none() | st.floats(0, 1e6),
    is_counted=st.booleans(),
)
STANDINGS = st.builds(
    Standing,
    lane=st.sampled_from(["transactional", "marketing"]),
    attempt=st.integers(0, 10_000),
    expires_at=st.integers(NOW - 10_000, NOW + 10_000_000),
    schedule=st.sampled_from([schedule_of("apns"), schedule_of("fcm"), schedule_of("webhook")]),
)


@settings(max_examples=200)
@given(outcome=RETRIES, push=STANDINGS, chance=st.floats(0, 1, exclude_max=True))
def test_a_retry_keeps_its_promises(outcome: RetryAfter, push: Standing, chance: float) -> None:
    """A retry lies in the future, after Retry-After, before expiry, and counts only what counts."""
    verdict = decide(outcome, push, NOW, lambda: chance)
    if isinstance(verdict, RetryAt):
        assert verdict.at > NOW
        assert verdict.at >= NOW + round((outcome.after_s or 0) * 1000)
        assert verdict.at < push.expires_at
        assert push.attempt + outcome.is_counted == verdict.attempt


def test_delays_grow_to_the_cap_and_are_jittered() -> None:
    """Full jitter: from nothing to base * 2 ** n, at most the cap, however many attempts."""
    assert [1, 2, 4, 8, 16, 32, 60, 60] == [PUSH.delay_s(n, lambda: 1.0) for n in range(1, 9)]
    assert 0.0 == PUSH.delay_s(5, lambda: 0.0)
    assert 60.0 == PUSH.delay_s(10_000, lambda: 1.0)
    assert 86_400 == WEBHOOK.delay_s(50, lambda: 0.0)
