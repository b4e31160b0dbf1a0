"""Rendering fills in every text for one recipient, or refuses the message with the field."""

from typing import Any

import pytest

from senders.message import parse_message
from senders.model import InvalidMessage, Rendered
from senders.render import render, translation

PUSH_ID = "7f9c2a10-0000-4000-8000-000000000001"
NOW = 1_790_000_000_000
VALUES: dict[str, Any] = {
    "user": {"first_name": "Ann", "page": "https://img.example/ann.jpg", "html": "<b>x</b>"},
    "zone": {"id": "s12", "name": "Store 12"},
    "bad": {"link": "javascript:alert(1)", "image": "http://intranet/"},
}


class _Links:
    def receipt(self) -> tuple[str, str]:
        return "proof", "https://gw.example/v1/receipts"

    def action(self, action_id: str) -> tuple[str, str]:
        return f"token-{action_id}", f"https://gw.example/v1/actions/token-{action_id}"


def _render(document: dict[str, Any], locale: str = "", *, with_links: bool = False) -> Rendered:
    return render(
        parse_message(document),
        VALUES,
        push_id=PUSH_ID,
        expires_at=NOW,
        lane="marketing",
        locale=locale,
        links=_Links() if with_links else None,
    )


def test_every_text_is_filled_in() -> None:
    """Words, addresses, data, keys and overrides."""
    found = _render(
        {
            "title": "Hi {{ user.first_name }}",
            "subtitle": "{{ zone.name }}",
            "body": "{{ zone.id | upcase }}",
            "image_url": "{{ user.page }}",
            "carousel": [
                {"image_url": "https://img.example/{{ zone.id }}.jpg", "title": "{{ zone.name }}"},
                {"image_url": "https://img.example/2.jpg", "deep_link": "shop://{{ zone.id }}"},
            ],
            "deep_link": "shop://zones/{{ zone.id }}",
            "data": {"zone": "{{ zone.id }}", "count": 3, "vip": True},
            "collapse_key": "lunch-{{ zone.id }}",
            "group": "{{ zone.id }}",
            "overrides": {"fcm": {"android": {"notification": {"ticker": "{{ zone.name }}"}}}},
        }
    )
    assert ("Hi Ann", "Store 12", "S12") == (found.title, found.subtitle, found.body)
    assert ["https://img.example/ann.jpg"] == [medium.url for medium in found.media]
    assert "Store 12" == found.carousel[0].title
    assert "https://img.example/s12.jpg" == found.carousel[0].image_url
    assert ("shop://s12", "shop://zones/s12") == (found.carousel[1].deep_link, found.deep_link)
    assert {"zone": "s12", "count": "3", "vip": "true"} == found.data
    assert ("lunch-s12", "s12") == (found.collapse_key, found.group)
    assert "Store 12" == found.overrides["fcm"]["android"]["notification"]["ticker"]


def test_tokens_are_signed_in() -> None:
    """Receipt and buttons carry tokens and where to post them, unless receipts are off."""
    document = {"title": "x", "actions": [{"id": "remind", "title": "Later"}]}
    found = _render(document, with_links=True)
    assert ("proof", "https://gw.example/v1/receipts") == (found.receipt_token, found.receipt_url)
    assert "token-remind" == found.actions[0].token
    assert found.actions[0].url.endswith("/actions/token-remind")
    assert "" == _render(document).actions[0].token
    assert "" == _render({**document, "receipts": False}, with_links=True).receipt_token


@pytest.mark.parametrize(
    ("locale", "title"),
    [
        ("de", "Hallo"),
        ("de-AT", "Servus"),
        ("de_AT", "Servus"),
        ("DE-ch", "Hallo"),
        ("de-Latn-AT", "Hallo"),
        ("fr", "Hi"),
        ("", "Hi"),
    ],
)
def test_the_nearest_translation_speaks(locale: str, title: str) -> None:
    """The whole tag, then shorter ones, then the original; upper case and underscores as well."""
    document = {
        "title": "Hi",
        "body": "there",
        "actions": [{"id": "go", "title": "Go"}],
        "translations": {
            "de": {"title": "Hallo", "actions": {"go": "Los"}},
            "de-AT": {"title": "Servus", "image_url": "https://img.example/at.jpg"},
        },
    }
    found = _render(document, locale)
    assert (title, "there") == (found.title, found.body)
    assert ("Los" if title == "Hallo" else "Go") == found.actions[0].title
    assert (title == "Servus") == bool(found.media)


def test_no_translations_is_no_translation() -> None:
    """A message without translations speaks as it is written."""
    assert None is translation(parse_message({"title": "x"}), "de").title


def test_numbers_follow_the_recipient() -> None:
    """The recipient's language decides how a number is written."""
    document = {"title": "{{ 1234.5 | number }}"}
    assert ["1.234,5", "1,234.5"] == [_render(document, tag).title for tag in ("de-DE", "")]


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({"title": "x", "deep_link": "{{ bad.link }}"}, "/deep_link"),
        ({"title": "x", "image_url": "{{ bad.image }}"}, "/media"),
        ({"title": "{{ user.nope }}", "missing": "strict"}, "/title"),
        ({"title": "x", "data": {"a": "{{ a.b }}"}, "missing": "strict"}, "/data/a"),
        (
            {"title": "x", "overrides": {"sms": {"text": "{{ a }}"}}, "missing": "strict"},
            "/overrides/sms/text",
        ),
        (
            {"title": "x", "actions": [{"id": "a", "title": "b", "deep_link": "{{ bad.link }}"}]},
            "/actions/0/deep_link",
        ),
    ],
)
def test_what_cannot_be_sent_is_refused(document: dict[str, Any], pointer: str) -> None:
    """An address that is none, or a missing variable where that is an error."""
    with pytest.raises(InvalidMessage) as caught:
        _render(document)
    assert pointer == caught.value.pointer


def test_an_empty_address_is_none() -> None:
    """A user without a picture gets the message without one."""
    found = _render({"title": "x", "image_url": "{{ user.nope }}", "deep_link": "{{ user.nope }}"})
    assert ((), "") == (found.media, found.deep_link)


def test_html_is_escaped() -> None:
    """A value cannot bring markup into a mail; in plain text it stays as it is."""
    mail = {"html": "<p>{{ user.html }}</p>", "text": "{{ user.html }}"}
    found = _render({"title": "x", "overrides": {"email": mail}}).overrides["email"]
    assert {"html": "<p>&lt;b&gt;x&lt;/b&gt;</p>", "text": "<b>x</b>"} == found
