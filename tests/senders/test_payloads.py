"""Golden payloads for every platform and kind of message, and the size limits."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from senders.apns import LIMIT_BYTES as APNS_LIMIT
from senders.apns import apns_payload
from senders.email import email_message
from senders.fcm_payload import LIMIT_BYTES as FCM_LIMIT
from senders.fcm_payload import fcm_payload
from senders.inbox import inbox_item
from senders.model import Action, Card, InvalidMessage, Media, Rendered
from senders.payload import ELLIPSIS, Payload, collapse_id, merge
from senders.preview import preview
from senders.sms import LIMIT_CHARS, sms_text
from senders.webhook import webhook_body
from senders.webpush import topic, webpush_payload
from senders.webpush_crypto import PLAINTEXT_BYTES
from senders.whatsapp import whatsapp_body

GOLDEN = Path(__file__).parent / "golden"
NOW = 1_790_000_000_000
BASE = Rendered(
    id="7f9c2a10-0000-4000-8000-000000000001",
    title="Hi Ann",
    body="Lunch is on us",
    expires_at=NOW + 3_600_000,
)
IMAGE = Media("image", "https://img.example/a.jpg", "A plate")
GIF = Media("gif", "https://img.example/a.gif")
VIDEO = Media("video", "https://img.example/a.mp4")
AUDIO = Media("audio", "https://img.example/a.mp3")
CARDS = (
    Card("https://img.example/1.jpg", "One", "First", "shop://1"),
    Card("https://img.example/2.jpg", "Two"),
)
ACTIONS = (
    Action("remind", "Later", "", "", "token-1", "https://gw.example/v1/actions/token-1"),
    Action("go", "Go", "https://shop.example/go", "https://img.example/go.png"),
)


def _with(**changes: Any) -> Rendered:
    return msgspec.structs.replace(BASE, **changes)


KINDS: dict[str, Rendered] = {
    "text": BASE,
    "image": _with(media=(IMAGE,)),
    "gif": _with(media=(GIF,)),
    "video": _with(media=(VIDEO,)),
    "audio": _with(media=(AUDIO,)),
    "carousel": _with(carousel=CARDS),
    "actions": _with(actions=ACTIONS),
    "silent": _with(title="", body="", is_silent=True, data={"sync": "1"}),
    "full": _with(
        subtitle="Only today",
        media=(IMAGE, VIDEO),
        actions=ACTIONS,
        deep_link="https://shop.example/offers/7",
        sound="chime.caf",
        badge=3,
        data={"offer": "7"},
        collapse_key="lunch",
        priority="time_sensitive",
        group="store-12",
        category="offer",
        receipt_token="t" * 22,
        receipt_url="https://gw.example/v1/receipts",
        lane="transactional",
    ),
    "overrides": _with(
        overrides={
            "apns": {"headers": {"apns-priority": "5"}, "aps": {"relevance-score": 0.5}, "x": 1},
            "fcm": {"android": {"notification": {"channel_id": "offers"}}},
            "webpush": {"headers": {"Urgency": "low"}, "notification": {"icon": "/i.png"}},
            "webhook": {"type": "offer.created", "data": {"extra": True}},
            "inbox": {"pinned": True},
            "whatsapp": {"template": "lunch", "language": "de", "parameters": ["Ann"]},
        }
    ),
}
PLATFORMS = {
    "apns": apns_payload,
    "fcm": lambda rendered: fcm_payload(rendered, "registration-token", NOW),
    "webpush": lambda rendered: webpush_payload(rendered, NOW),
    "webhook": lambda rendered: webhook_body(rendered, NOW),
    "inbox": inbox_item,
    "whatsapp": lambda rendered: whatsapp_body(rendered, "+4915112345678"),
}


CASES = [
    (platform, kind)
    for platform in PLATFORMS
    for kind in KINDS
    if kind != "silent" or platform not in ("webpush", "whatsapp")
]


@pytest.mark.parametrize(("platform", "kind"), CASES)
def test_golden_payloads(platform: str, kind: str) -> None:
    """What each platform gets for each kind; ``UPDATE_GOLDEN=1`` writes the files anew."""
    made: Payload = PLATFORMS[platform](KINDS[kind])
    shown = {"headers": made.headers, "body": json.loads(made.body)}
    text = json.dumps(shown, indent=2, ensure_ascii=False) + "\n"
    path = GOLDEN / f"{platform}-{kind}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def test_fcm_leaves_buttons_to_the_app() -> None:
    """With buttons, carousel, film or sound: data only, high priority; a picture alone is shown."""
    for kind in ("video", "audio", "gif", "carousel", "actions", "full"):
        message = json.loads(fcm_payload(KINDS[kind], "t", NOW).body)["message"]
        assert "notification" not in message
        assert "HIGH" == message["android"]["priority"]
        assert "Hi Ann" == message["data"]["title"]
        assert all(isinstance(value, str) for value in message["data"].values())
    shown = json.loads(fcm_payload(KINDS["image"], "t", NOW).body)["message"]
    assert IMAGE.url == shown["notification"]["image"]


def test_a_retry_keeps_its_ids() -> None:
    """The same message gives the same collapse ids, so that a repetition replaces the first."""
    head = apns_payload(BASE).headers
    assert (BASE.id, BASE.id) == (head["apns-id"], head["apns-collapse-id"])
    assert BASE.id.replace("-", "") == topic(BASE)
    long = _with(collapse_key="ü" * 100)
    assert 64 >= len(collapse_id(long, 64)) > 20
    assert collapse_id(long, 64) == collapse_id(long, 64)
    assert 32 == len(topic(long))
    assert topic(long) != topic(BASE)
    assert "lunch" == topic(_with(collapse_key="lunch"))


LIMITS = {"apns": APNS_LIMIT, "fcm": FCM_LIMIT, "webpush": PLAINTEXT_BYTES}


def _size(platform: str, made: Payload) -> int:
    if platform == "fcm":
        return len(made.body) - len(b'{"message":{"token":"registration-token",')
    return len(made.body)


@settings(max_examples=60, deadline=None)
@given(
    platform=st.sampled_from(sorted(LIMITS)),
    body=st.text('aü€😀"\\\n', max_size=6000),
    cards=st.integers(0, 10),
    data=st.dictionaries(st.sampled_from("abcdef"), st.text(max_size=800), max_size=6),
)
def test_limits_hold_or_the_message_is_refused(
    platform: str, body: str, cards: int, data: dict[str, str]
) -> None:
    """No payload is over the limit; what was given up is told; what must stay is never dropped."""
    rendered = _with(
        body=body,
        carousel=CARDS[:1] * cards,
        data=data,
        optional_data=tuple(sorted(data)[:3]),
        actions=ACTIONS,
    )
    try:
        made = PLATFORMS[platform](rendered)
    except InvalidMessage:
        required = {key: text for key, text in data.items() if key not in rendered.optional_data}
        assert len(json.dumps(required)) > 1000  # data that must stay takes the room
        return
    assert made.size == _size(platform, made) <= LIMITS[platform]
    if not made.degraded:
        assert json.dumps(body, ensure_ascii=False)[1:20].encode() in made.body


def test_things_are_given_up_in_order() -> None:
    """Carousel, extra media, optional data, the last medium, the end of the body."""
    rendered = _with(
        body="word " * 1000,
        carousel=CARDS * 5,
        media=(IMAGE, VIDEO),
        data={"keep": "1", "drop": "x" * 500},
        optional_data=("drop",),
    )
    made = apns_payload(rendered)
    assert ("carousel", "extra_media", "optional_data", "media", "body") == made.degraded
    shown = json.loads(made.body)
    assert {"keep": "1"} == shown["data"]
    assert shown["aps"]["alert"]["body"].endswith(ELLIPSIS)
    assert APNS_LIMIT - 8 <= made.size <= APNS_LIMIT


def test_a_carousel_that_does_not_fit_leaves_a_picture() -> None:
    """Its first card's picture stands for it."""
    cards = tuple(Card(f"https://img.example/{n}.jpg", "x" * 500) for n in range(9))
    made = apns_payload(_with(carousel=cards))
    assert ("carousel",) == made.degraded
    assert "https://img.example/0.jpg" == json.loads(made.body)["media"][0]["url"]


def test_what_must_stay_is_too_much() -> None:
    """Data that is not optional is never dropped; the message is refused with its size."""
    with pytest.raises(InvalidMessage, match="at most 4096"):
        apns_payload(_with(data={"a": "x" * 5000}))


def test_merging_lays_one_over_the_other() -> None:
    """Objects merge by member, everything else is replaced; the original stays."""
    value = {"a": {"b": 1, "c": [1]}, "d": 2}
    assert {"a": {"b": 3, "c": [2]}, "d": 2, "e": 4} == merge(
        value, {"a": {"b": 3, "c": [2]}, "e": 4}
    )
    assert {"a": {"b": 1, "c": [1]}, "d": 2} == value


@pytest.mark.parametrize("platform", ["webpush", "whatsapp", "sms", "email"])
def test_channels_that_people_read_take_no_silent_message(platform: str) -> None:
    """Only apps can be woken without a word; elsewhere the message is refused."""
    assert "nothing to show" in preview(KINDS["silent"], NOW)[platform].error


def test_sms_says_what_fits() -> None:
    """Title, body and web link; an app's link is of no use; too long bodies end in an ellipsis."""
    assert ("Hi Ann\nLunch is on us\nhttps://x.example", ()) == sms_text(
        _with(deep_link="https://x.example")
    )
    assert ("Hi Ann\nLunch is on us", ()) == sms_text(_with(deep_link="shop://x"))
    text, degraded = sms_text(_with(body="y" * 5000, deep_link="https://x.example"))
    assert (LIMIT_CHARS, ("body",)) == (len(text), degraded)
    assert text.endswith(ELLIPSIS + "\nhttps://x.example")
    assert ("Own", ()) == sms_text(_with(overrides={"sms": {"text": "Own"}}))
    with pytest.raises(InvalidMessage):
        sms_text(_with(title="x" * 5000))


def test_mail_has_two_bodies_and_stable_ids() -> None:
    """Text and HTML, Message-ID from the push id, one-click unsubscribe; markup is escaped."""
    mail = email_message(
        _with(title="<Sale>\r\nBcc: x", deep_link="https://shop.example/?a=1&b=2", media=(IMAGE,)),
        sender="Shop <push@shop.example>",
        recipient="ann@example.com",
        now=NOW,
        unsubscribe_url="https://shop.example/u?k=1",
    )
    assert f"<{BASE.id}@shop.example>" == mail["Message-ID"]
    assert "<Sale> Bcc: x" == mail["Subject"]
    assert mail["Bcc"] is None
    assert f"<https://shop.example/u?k=1&id={BASE.id}>" == mail["List-Unsubscribe"]
    assert "List-Unsubscribe=One-Click" == mail["List-Unsubscribe-Post"]
    html = mail.get_body(("html",))
    assert html is not None
    assert "&lt;Sale&gt;" in html.get_content()
    assert 'alt="A plate"' in html.get_content()
    plain = mail.get_body(("plain",))
    assert plain is not None
    assert "https://shop.example/?a=1&b=2" in plain.get_content()


def test_preview_shows_every_platform() -> None:
    """Payload, size, limit and what was given up; a platform that cannot take it says why."""
    shown = preview(_with(body="word " * 1000), NOW)
    assert {"apns", "fcm", "webpush", "inbox", "webhook", "whatsapp", "sms", "email"} == set(shown)
    assert ("body",) == shown["apns"].degraded
    assert shown["apns"].size <= shown["apns"].limit
    assert "characters" == shown["sms"].unit
    assert "Hi Ann" == shown["webhook"].payload["data"]["title"]
