"""Targets are checked when they are registered, so that sending finds no nonsense."""

from typing import Any

import pytest

from senders.model import Target
from senders.registry import PROVIDERS, InvalidTarget, validate_target

KEYS = {
    "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcx"
    "aOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
    "auth": "BTBZMqHH6r4Tts7J_aSIgg",
}
GOOD: dict[str, dict[str, Any]] = {
    "apns": {"address": "ab" * 32, "app": "com.example.shop", "environment": "sandbox"},
    "fcm": {"address": "dGVzdA:APA91b-0123456789"},
    "webpush": {"address": "https://push.example/wpush/1", "keys": KEYS},
    "inbox": {"address": "user-1"},
    "webhook": {"address": "https://hooks.example/x"},
    "whatsapp": {"address": "+4915112345678"},
    "sms": {"address": "+4915112345678"},
    "email": {"address": "ann@example.com"},
}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_good_targets(provider: str) -> None:
    """Each provider's address as its apps deliver it."""
    target = validate_target(provider, {**GOOD[provider], "provider": provider})
    assert isinstance(target, Target)
    assert (provider, GOOD[provider]["address"]) == (target.provider, target.address)


@pytest.mark.parametrize(
    ("provider", "change", "pointer", "problem"),
    [
        ("gcm", {}, "/provider", "is not one of"),
        ("apns", {"provider": "fcm"}, "/provider", "not 'apns'"),
        ("apns", {"token": "x"}, "/token", "not a field"),
        ("apns", {"address": "xyz"}, "/address", "hexadecimal"),
        ("apns", {"address": None}, "/address", "expected `str`"),
        ("apns", {"app": "a b"}, "/app", "bundle id"),
        ("apns", {"environment": "test"}, "/environment", "invalid enum"),
        ("fcm", {"address": "with blank"}, "/address", "without blanks"),
        ("fcm", {"address": "a" * 20 + " b"}, "/address", "blanks"),
        ("webpush", {"address": "http://push.example/"}, "/address", "https"),
        ("webpush", {"address": "https://u@push.example/"}, "/address", "user information"),
        ("webpush", {"address": "https://push.example/" + "x" * 2048}, "/address", "longer"),
        ("webpush", {"keys": {"p256dh": "AAAA", "auth": KEYS["auth"]}}, "/keys/p256dh", "P-256"),
        ("webpush", {"keys": {**KEYS, "auth": "AAAA"}}, "/keys/auth", "3 bytes"),
        ("webpush", {"keys": {**KEYS, "auth": "!"}}, "/keys", "base64url"),
        ("inbox", {"address": ""}, "/address", "1 to 256"),
        ("webhook", {"address": "hooks"}, "/address", "not a URL"),
        ("webhook", {"address": "http://hooks.example"}, "/address", "https"),
        ("whatsapp", {"address": "0151"}, "/address", "E.164"),
        ("sms", {"address": "4915112345678"}, "/address", "E.164"),
        ("email", {"address": "ann@example.com, bob@example.com"}, "/address", "mail address"),
        ("email", {"address": "ann@example.com\r\nBcc: x@y.z"}, "/address", "mail address"),
    ],
)
def test_wrong_targets(provider: str, change: dict[str, Any], pointer: str, problem: str) -> None:
    """Each names the field by its JSON pointer and says what is wrong."""
    with pytest.raises(InvalidTarget) as caught:
        validate_target(provider, {**GOOD.get(provider, {}), **change})
    assert pointer == caught.value.pointer
    assert problem in caught.value.detail


@pytest.mark.parametrize(
    ("provider", "document"),
    [
        ("fcm", {"token": "device-token-001"}),
        ("apns", {"token": "ab" * 32, "app": "com.example.shop"}),
        ("sms", {"phone": "+4915112345678"}),
    ],
)
def test_an_address_may_be_called_as_its_provider_calls_it(provider: str, document: dict) -> None:
    """Phone apps post tokens, not addresses."""
    own = {k: v for k, v in document.items() if k in ("token", "phone")}
    assert next(iter(own.values())) == validate_target(provider, document).address


def test_a_browsers_subscription_stands_as_it_is() -> None:
    """``PushSubscription.toJSON()`` is a target, plain or under ``subscription``."""
    keys = {
        "p256dh": KEYS["p256dh"],
        "auth": KEYS["auth"],
    }
    browser = {"endpoint": "https://push.example/x", "expirationTime": None, "keys": keys}
    plain = validate_target("webpush", browser)
    assert plain == validate_target("webpush", {"subscription": browser})
    assert ("https://push.example/x", keys) == (plain.address, plain.keys)
