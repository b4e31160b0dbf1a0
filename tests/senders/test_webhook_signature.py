"""Webhooks are signed as Standard Webhooks says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from senders.key_material import webhook_secret
from senders.retry_after import LONGEST_S, retry_after_s
from senders.webhook import sign


def test_published_vector() -> None:
    """The specification's own example."""
    key = webhook_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" == signature


def test_every_secret_signs() -> None:
    """While rotating, both signatures are sent, separated by a space."""
    both = sign([b"a" * 24, b"b" * 24], "id", 1, b"{}")
    assert both.split(" ") == [sign([key], "id", 1, b"{}") for key in (b"a" * 24, b"b" * 24)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", 5.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("999999999", LONGEST_S),
        ("Mon, 21 Sep 2026 14:14:20 GMT", 60.0),
        ("Mon, 21 Sep 2020 14:14:20 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_retry_after(text: str, expected: float | None) -> None:
    """Seconds or a date, at most a day; anything else is as if it were not there."""
    assert expected == retry_after_s({"retry-after": text}, 1_790_000_000)


@given(st.text(max_size=40))
def test_any_retry_after_is_read_or_ignored(text: str) -> None:
    """Whatever a provider sends, the wait is None or between nothing and a day."""
    found = retry_after_s({"retry-after": text}, 1_790_000_000)
    assert found is None or 0 <= found <= LONGEST_S


def test_no_retry_after() -> None:
    """Absent is None."""
    assert None is retry_after_s({}, 0)
