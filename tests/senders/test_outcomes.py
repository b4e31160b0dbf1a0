"""Every documented answer has exactly one outcome; what is not documented is safe."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from senders.http import UnansweredError, UnsentError
from senders.model import (
    Ambiguous,
    Delivered,
    Misconfigured,
    Provider,
    Rejected,
    RetryAfter,
    Unregistered,
)
from senders.network import ForbiddenUrlError
from senders.outcomes import RULES, Verdict, classify, find_rule, from_failure, markdown

# What the providers' documentation lists, and which class each answer must be in.
DOCUMENTED = {
    ("apns", Verdict.UNREGISTERED): "400 BadDeviceToken, 400 DeviceTokenNotForTopic, "
    "410 Unregistered, 410 ExpiredToken",
    ("apns", Verdict.MISCONFIGURED): "400 TopicDisallowed, 400 BadTopic, 400 MissingTopic, "
    "403 InvalidProviderToken, 403 MissingProviderToken, 403 BadEnvironmentKeyIdInToken, "
    "403 BadEnvironmentKeyInToken, 403 Forbidden, 403 BadCertificate, "
    "403 BadCertificateEnvironment, 403 UnrelatedKeyIdInToken",
    ("apns", Verdict.REJECTED): "400 BadCollapseId, 400 BadExpirationDate, 400 BadMessageId, "
    "400 BadPriority, 400 InvalidPushType, 400 DuplicateHeaders, 400 MissingDeviceToken, "
    "400 PayloadEmpty, 404 BadPath, 405 MethodNotAllowed, 413 PayloadTooLarge",
    ("apns", Verdict.RETRY): "400 IdleTimeout, 403 ExpiredProviderToken, "
    "500 InternalServerError, 503 ServiceUnavailable, 503 Shutdown",
    ("apns", Verdict.THROTTLED): "429 TooManyRequests, 429 TooManyProviderTokenUpdates",
    ("fcm", Verdict.UNREGISTERED): "404 UNREGISTERED, 400 INVALID_TOKEN",
    ("fcm", Verdict.REJECTED): "400 INVALID_ARGUMENT, 403 SENDER_ID_MISMATCH",
    ("fcm", Verdict.MISCONFIGURED): "401 THIRD_PARTY_AUTH_ERROR, 401 UNAUTHENTICATED, "
    "403 PERMISSION_DENIED",
    ("fcm", Verdict.THROTTLED): "429 QUOTA_EXCEEDED, 429 RESOURCE_EXHAUSTED",
    ("fcm", Verdict.RETRY): "503 UNAVAILABLE, 500 INTERNAL, 502 -, 504 -",
    ("webpush", Verdict.DELIVERED): "200 -, 201 -, 202 -",
    ("webpush", Verdict.UNREGISTERED): "404 -, 410 -, 400 UnauthorizedRegistration, "
    "400 VapidPkHashMismatch",
    ("webpush", Verdict.MISCONFIGURED): "401 -, 403 -, 403 BadJwtToken",
    ("webpush", Verdict.THROTTLED): "406 -, 429 -",
    ("webpush", Verdict.REJECTED): "413 -, 400 -, 301 -, 302 -, 307 -",
    ("webpush", Verdict.RETRY): "500 -, 502 -, 503 -, 503 201, 503 202",
    ("webhook", Verdict.DELIVERED): "200 -, 201 -, 202 -, 204 -",
    ("webhook", Verdict.UNREGISTERED): "410 -",
    ("webhook", Verdict.THROTTLED): "429 -, 502 -, 504 -",
    ("webhook", Verdict.RETRY): "301 -, 400 -, 401 -, 404 -, 500 -, 503 -",
    ("whatsapp", Verdict.THROTTLED): "400 130429, 429 130429, 400 131056, 400 4, 400 80007",
    ("whatsapp", Verdict.RETRY): "500 131000, 500 2, 503 2, 400 131016",
    ("whatsapp", Verdict.REJECTED): "400 131026, 400 131047, 400 131008, 400 132000, "
    "404 132001, 400 100",
    ("whatsapp", Verdict.MISCONFIGURED): "401 190, 400 190, 403 131005",
    ("sms", Verdict.THROTTLED): "429 20429, 429 -",
    ("sms", Verdict.UNREGISTERED): "400 30003, 400 30005, 400 30006, 400 21610, 400 21211",
    ("sms", Verdict.MISCONFIGURED): "401 20003, 401 -",
    ("email", Verdict.UNREGISTERED): "550 5.1.1",
    ("email", Verdict.REJECTED): "550 -, 554 5.7.1",
    ("email", Verdict.RETRY): "421 -, 450 4.2.1, 451 -",
    ("email", Verdict.MISCONFIGURED): "535 5.7.8, 530 -",
}
CASES = [
    (provider, int(answer.split()[0]), answer.split()[1].strip("-"), verdict)
    for (provider, verdict), answers in DOCUMENTED.items()
    for answer in answers.split(", ")
]
KINDS = {
    Verdict.DELIVERED: Delivered,
    Verdict.RETRY: RetryAfter,
    Verdict.THROTTLED: RetryAfter,
    Verdict.UNREGISTERED: Unregistered,
    Verdict.REJECTED: Rejected,
    Verdict.MISCONFIGURED: Misconfigured,
}
PROVIDERS = ("apns", "fcm", "webpush", "webhook", "whatsapp", "sms", "email")


@pytest.mark.parametrize(("provider", "status", "code", "verdict"), CASES)
def test_documented_answers(provider: Provider, status: int, code: str, verdict: Verdict) -> None:
    """Each answer of the providers' documentation is in its class."""
    assert verdict == find_rule(provider, status, code).verdict
    outcome = classify(provider, status, code)
    assert KINDS[verdict] is type(outcome)
    if isinstance(outcome, RetryAfter):
        assert (verdict == Verdict.RETRY) == outcome.is_counted


def test_every_rule_is_reached_and_none_stands_twice() -> None:
    """Each row of the table answers for its own status and code, once."""
    counts = Counter((rule.provider, rule.status, rule.code) for rule in RULES)
    assert [] == [key for key, count in counts.items() if count > 1]
    for rule in RULES:
        if not rule.status.endswith("xx"):
            assert rule == find_rule(rule.provider, int(rule.status), rule.code)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(PROVIDERS),
    st.integers(100, 599),
    st.text("abcXYZ_", min_size=1, max_size=12),
)
def test_unknown_codes_are_safe(provider: Provider, status: int, code: str) -> None:
    """An unknown code never drops an address, unless the status alone says so; 5xx is retried."""
    outcome = classify(provider, status, f"unknown-{code}")
    if isinstance(outcome, Unregistered):
        assert (provider, status) in {("webpush", 404), ("webpush", 410), ("webhook", 410)}
    if status >= 500 and provider != "email":
        assert isinstance(outcome, RetryAfter)
    if status == 429 and provider != "email":
        assert isinstance(outcome, RetryAfter)
        assert not outcome.is_counted


@pytest.mark.parametrize("provider", PROVIDERS[:-1])
def test_403_and_429_never_drop_a_token(provider: Provider) -> None:
    """Whatever code comes with them."""
    codes = {rule.code for rule in RULES if rule.provider == provider and rule.status != "4xx"}
    for status in (403, 429):
        for code in codes:
            assert not isinstance(classify(provider, status, code), Unregistered)


def test_the_answer_is_wiser_than_the_table() -> None:
    """Retry-After wins over the table's delay; the timestamp of a dead token is kept."""
    assert 7.0 == _wait("fcm", 429, "QUOTA_EXCEEDED", 7.0)
    assert 60.0 == _wait("fcm", 429, "QUOTA_EXCEEDED", None)
    assert 0.0 == _wait("webpush", 503, "202", None)
    gone = classify("apns", 410, "Unregistered", since=1_700_000_000_000)
    assert Unregistered("Unregistered", 1_700_000_000_000) == gone
    assert Delivered("id") == classify("apns", 200, provider_id="id")


def _wait(provider: Provider, status: int, code: str, retry_after_s: float | None) -> float | None:
    outcome = classify(provider, status, code, retry_after_s=retry_after_s)
    assert isinstance(outcome, RetryAfter)
    return outcome.after_s


def test_one_device_does_not_slow_the_others() -> None:
    """Throttles that name a device hold back that target; the others hold back the credential."""
    for provider, status, code, scope in [
        ("apns", 429, "TooManyRequests", "target"),
        ("apns", 429, "TooManyProviderTokenUpdates", "credential"),
        ("fcm", 429, "DEVICE_QUOTA_EXCEEDED", "target"),
        ("fcm", 429, "QUOTA_EXCEEDED", "credential"),
        ("whatsapp", 400, "131056", "target"),
    ]:
        assert scope == find_rule(provider, status, code).scope  # type: ignore[arg-type]


def test_requests_without_answer() -> None:
    """Unsent is tried again, unanswered is ambiguous, forbidden is refused for good."""
    assert RetryAfter("refused", scope="target") == from_failure(UnsentError("refused"), "target")
    assert Ambiguous("lost") == from_failure(UnansweredError("lost"))
    assert Rejected("forbidden address: x") == from_failure(ForbiddenUrlError("x"))


def test_the_documentation_holds_the_table() -> None:
    """docs/senders.md shows the table as it is."""
    page = Path(__file__).parents[2] / "docs" / "senders.md"
    assert markdown() in page.read_text(encoding="utf-8")
