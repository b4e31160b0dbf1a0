"""Gates: concurrency, rate, breaker, lanes; time is an argument."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from senders.flow import AUTH_COOLDOWN_MS, Bucket, Concurrency, Gate, GateLimits
from senders.model import (
    Ambiguous,
    Delivered,
    Lane,
    Misconfigured,
    Outcome,
    Rejected,
    RetryAfter,
    Unregistered,
)

NOW = 1_800_000_000_000
OK = Delivered()


def gate(**limits: int | float) -> Gate[str]:
    return Gate(GateLimits(**limits))  # type: ignore[arg-type]


def fill(one: Gate[str], count: int, lane: Lane = "transactional") -> None:
    for i in range(count):
        one.join(f"{lane[0]}{i}", lane)


def take_all(one: Gate[str], now: int) -> list[str]:
    taken = []
    while item := one.take(now):
        taken.append(item)
    return taken


def fail(one: Gate[str], times: int, outcome: Outcome, now: int = NOW) -> None:
    for _ in range(times):
        one.join("x", "transactional")
        assert "x" == one.take(now)
        one.leave("transactional", outcome, now)


def test_transactional_goes_first_and_marketing_leaves_room_for_it() -> None:
    """Whatever the order of arrival; marketing never takes the last places."""
    one = gate(first_in_flight=16)
    fill(one, 20, "marketing")
    assert 14 == len(take_all(one, NOW))
    fill(one, 2)
    assert ["t0", "t1"] == take_all(one, NOW)
    one.leave("transactional", OK, NOW)
    one.leave("marketing", OK, NOW)
    assert ["m14"] == take_all(one, NOW)[:1]


def test_concurrency_grows_fast_at_first_then_slowly_and_halves_once_per_congestion() -> None:
    """Slow start, additive increase, multiplicative decrease; from 1 to the most."""
    one = Concurrency(16, 100)
    for _ in range(16):
        one.grow(16)
    assert 32 == one.limit
    one.shrink(NOW)
    one.shrink(NOW + 500)
    assert 16 == one.limit
    for _ in range(17):
        one.grow(16)
    assert 17 == one.limit
    for i in range(1, 20):
        one.shrink(NOW + 1000 * i)
    assert 1 == one.limit
    for _ in range(100_000):
        one.grow(1000)
    assert 100 == one.limit


def test_an_unused_limit_does_not_grow() -> None:
    """One send at a time proves nothing about a hundred."""
    one = Concurrency(16, 100)
    for _ in range(100):
        one.grow(1)
    assert 16 == one.limit


@settings(max_examples=50)
@given(rate=st.integers(1, 10_000), ticks=st.lists(st.integers(0, 500), min_size=1, max_size=50))
def test_a_bucket_never_passes_more_than_its_rate(rate: int, ticks: list[int]) -> None:
    """In any span: at most a second's worth, plus what the rate gave in that span."""
    bucket, now, passed = Bucket(rate), NOW, 0
    for tick in ticks:
        now += tick
        for _ in range(rate):
            if bucket.ready_at(now) > now:
                break
            bucket.take(now)
            passed += 1
    assert passed <= rate + rate * (now - NOW) / 1000 + 1


def test_a_gate_with_a_rate_says_when_to_come_back() -> None:
    """The bucket's next token, not a busy loop."""
    one = gate(rate_per_s=10, first_in_flight=100)
    fill(one, 12)
    assert 10 == len(take_all(one, NOW))
    assert NOW + 101 == one.opens_at(NOW)
    assert 1 == len(take_all(one, NOW + 101))


def test_a_refused_credential_closes_its_gate_at_once() -> None:
    """One refusal is enough, and it is for long."""
    one = gate()
    fail(one, 1, Misconfigured("InvalidProviderToken"))
    one.join("next", "transactional")
    assert one.take(NOW + 1) is None
    assert NOW + AUTH_COOLDOWN_MS == one.opens_at(NOW + 1)


def test_a_gate_opens_half_then_wholly() -> None:
    """After the cooldown one probe goes; success opens the gate, failure doubles the wait."""
    one = gate(cooldown_ms=2000)
    fail(one, 10, RetryAfter("503"))
    fill(one, 3)
    assert [] == take_all(one, NOW + 1999)
    assert ["t0"] == take_all(one, NOW + 2000)
    one.leave("transactional", Ambiguous("reset"), NOW + 2100)
    assert NOW + 6100 == one.opens_at(NOW + 2100)
    assert ["t1"] == take_all(one, NOW + 6100)
    one.leave("transactional", OK, NOW + 6200)
    assert ["t2"] == take_all(one, NOW + 6200)


def test_a_probe_that_was_called_off_lets_another_go() -> None:
    """An expired push is no evidence about the credential."""
    one = gate()
    fail(one, 1, Misconfigured("403"))
    fill(one, 2)
    later = NOW + AUTH_COOLDOWN_MS
    assert ["t0"] == take_all(one, later)
    one.leave("transactional", None, later)
    assert ["t1"] == take_all(one, later)


@pytest.mark.parametrize(
    "outcome",
    [OK, Rejected("PayloadTooLarge"), Unregistered("gone"), RetryAfter("429", scope="target")],
)
def test_what_concerns_one_message_never_closes_the_gate(outcome: Outcome) -> None:
    """A bad message or a dead address says nothing against the credential."""
    one = gate()
    fail(one, 50, outcome)
    one.join("next", "marketing")
    assert "next" == one.take(NOW)


def test_throttling_pauses_the_gate_and_is_no_failure() -> None:
    """Retry-After holds everybody back; the breaker stays closed."""
    one = gate()
    fail(one, 1, RetryAfter("429", after_s=1.5, is_counted=False))
    assert NOW + 1500 == one.opens_at(NOW)
    assert one.breaker.is_closed
    assert 8 == one.concurrency.limit


def test_late_answers_do_not_touch_an_open_breaker() -> None:
    """Sends from before it opened neither close it nor lengthen it."""
    one = gate(first_in_flight=16)
    fill(one, 12)
    take_all(one, NOW)
    one.leave("transactional", Misconfigured("403"), NOW)
    one.leave("transactional", OK, NOW + 5)
    one.leave("transactional", Misconfigured("403"), NOW + 9)
    assert NOW + AUTH_COOLDOWN_MS == one.opens_at(NOW + 9)


def test_drain_empties_the_gate() -> None:
    """Everything that waits comes out, transactional first."""
    one = gate()
    fill(one, 1, "marketing")
    fill(one, 1)
    assert ["t0", "m0"] == one.drain()
    assert 0 == len(one)
