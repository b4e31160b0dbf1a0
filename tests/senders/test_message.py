"""A wrong message is refused when it is written, with the field and the reason."""

from typing import Any

import pytest

from senders.message import MAX_DOCUMENT_BYTES, parse_message, texts
from senders.model import InvalidMessage

FULL: dict[str, Any] = {
    "title": "Hi {{ user.first_name | default: 'there' }}",
    "subtitle": "Only today",
    "body": "Lunch at {{ zone.name }}",
    "image_url": "https://img.example/{{ zone.id }}.jpg",
    "media": [{"type": "video", "url": "https://img.example/a.mp4", "alt": "A film"}],
    "carousel": [
        {"image_url": "https://img.example/1.jpg", "title": "One", "deep_link": "shop://1"},
        {"image_url": "https://img.example/2.jpg", "body": "Two"},
    ],
    "actions": [{"id": "remind", "title": "Later"}, {"id": "go", "title": "Go"}],
    "deep_link": "shop://offers/7",
    "sound": "chime.caf",
    "badge": 1,
    "data": {"offer": "7", "price": 12.5, "vip": True},
    "optional_data": ["price"],
    "ttl_s": 3600,
    "collapse_key": "lunch-{{ zone.id }}",
    "priority": "time_sensitive",
    "translations": {"de": {"title": "Hallo", "actions": {"remind": "Später"}}},
    "overrides": {"apns": {"headers": {"apns-priority": "5"}, "aps": {"relevance-score": 1}}},
    "missing": "strict",
}


def test_a_full_message_passes() -> None:
    """Everything together is a valid message, and the simple URLs come before the list."""
    message = parse_message(FULL)
    assert ["image", "video"] == [medium.type for medium in message.all_media]
    assert ("/translations/de/actions/remind", "Später") in list(texts(message))


@pytest.mark.parametrize(
    ("change", "pointer", "problem"),
    [
        ({"titel": "x"}, "/titel", "did you mean 'title'?"),
        ({"title": 3}, "/title", "expected `str`"),
        ({"title": "", "body": ""}, "/body", "needs a title or a body"),
        ({"body": "{{ x"}, "/body", "expected '}}'"),
        ({"body": "{{ x | nope }}"}, "/body", "unknown filter 'nope'"),
        ({"data": {"a": "{% if %}"}}, "/data/a", "expression"),
        ({"overrides": {"sms": {"text": "{{"}}}, "/overrides/sms/text", "expected"),
        ({"image_url": "http://img.example/a.jpg"}, "/image_url", "https"),
        ({"media": [{"type": "image", "url": "ftp://x"}]}, "/media/0/url", "https"),
        ({"media": [{"type": "pdf", "url": "https://x"}]}, "/media/0/type", "invalid enum"),
        ({"media": [{"type": "image"}]}, "/media/0/url", "is required"),
        ({"media": [{"type": "image", "url": "https://x.example/"}] * 9}, "/media", "at most 5"),
        ({"deep_link": "javascript:alert(1)"}, "/deep_link", "not allowed"),
        ({"deep_link": "JavaScript:alert(1)"}, "/deep_link", "not allowed"),
        ({"deep_link": "data:text/html,x"}, "/deep_link", "not allowed"),
        ({"deep_link": "offers/7"}, "/deep_link", "absolute"),
        ({"deep_link": "shop://a b"}, "/deep_link", "blanks"),
        ({"carousel": FULL["carousel"][:1]}, "/carousel", "2 to 10"),
        ({"carousel": FULL["carousel"] * 6}, "/carousel", "2 to 10"),
        (
            {"carousel": [{"image_url": "http://x"}, {"image_url": "https://x"}]},
            "/carousel/0/image_url",
            "https",
        ),
        ({"actions": [{"id": str(n), "title": "x"} for n in range(4)]}, "/actions", "at most 3"),
        ({"actions": [{"id": "a b", "title": "x"}]}, "/actions/0/id", "1 to 32"),
        ({"actions": [{"id": "a", "title": "x"}] * 2}, "/actions/1/id", "unique"),
        ({"actions": [{"id": "a", "title": ""}]}, "/actions/0/title", "empty"),
        (
            {"actions": [{"id": "a", "title": "x", "icon_url": "http://x"}]},
            "/actions/0/icon_url",
            "https",
        ),
        ({"ttl_s": -1}, "/ttl_s", "28 days"),
        ({"ttl_s": 28 * 86_400 + 1}, "/ttl_s", "28 days"),
        ({"badge": -1}, "/badge", "0 to 99999"),
        ({"priority": "urgent"}, "/priority", "invalid enum"),
        ({"data": {"from": "x"}}, "/data/from", "reserved"),
        ({"data": {"title": "x"}}, "/data/title", "reserved"),
        ({"data": {"google.x": "x"}}, "/data/google.x", "google."),
        ({"data": {f"k{n}": "x" for n in range(51)}}, "/data", "at most 50"),
        ({"optional_data": ["b"]}, "/optional_data/0", "not a key of data"),
        ({"translations": {"deutsch!": {}}}, "/translations/deutsch!", "language tag"),
        ({"translations": {"de": {"body": "{{"}}}, "/translations/de/body", "expected"),
        (
            {"translations": {"de": {"actions": {"x": "y"}}}},
            "/translations/de/actions/x",
            "not an action",
        ),
        ({"overrides": {"gcm": {}}}, "/overrides/gcm", "is not one of"),
        (
            {"overrides": {"apns": {"headers": {"authorization": "x"}}}},
            "/overrides/apns/headers/authorization",
            "cannot be overridden",
        ),
        (
            {"overrides": {"webhook": {"headers": {"x": "y"}}}},
            "/overrides/webhook/headers/x",
            "no headers here",
        ),
        ({"overrides": {"apns": {"headers": 1}}}, "/overrides/apns/headers", "object"),
        ({"body": "x" * MAX_DOCUMENT_BYTES}, "", "longer than"),
    ],
)
def test_wrong_messages(change: dict[str, Any], pointer: str, problem: str) -> None:
    """Each names the field by its JSON pointer and says what is wrong."""
    document = {"title": "Hi", "body": "there", **change}
    with pytest.raises(InvalidMessage) as caught:
        parse_message(document)
    assert pointer == caught.value.pointer
    assert problem in caught.value.detail


@pytest.mark.parametrize("document", [None, [], "x", 1])
def test_a_message_is_an_object(document: Any) -> None:
    """Anything else is refused as such."""
    with pytest.raises(InvalidMessage, match="expected `object`"):
        parse_message(document)


def test_addresses_with_templates_are_judged_later() -> None:
    """They are nothing yet; rendering judges them."""
    parse_message({"title": "x", "image_url": "{{ zone.image }}", "deep_link": "{{ a }}"})


def test_a_silent_message_needs_no_words() -> None:
    """It only wakes the app."""
    assert parse_message({"is_silent": True, "data": {"sync": "1"}}).is_silent
