"""A message template and a recipient's values into what is sent: ``Rendered``.

Pure: the same template and values give the same message. A failing template, or an address that is
none after filling in, is ``InvalidMessage`` with the field: the push is refused, not sent broken.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from senders.documents import pointer
from senders.message import (
    ActionTemplate,
    MessageTemplate,
    Translation,
    check_link,
    check_media,
)
from senders.model import Action, Card, InvalidMessage, Lane, Media, Rendered
from senders.templates import TemplateError, fill, known_locale

HTML_FIELDS = frozenset({"html"})  # in overrides: values are escaped


class Links(Protocol):
    """Signed tokens and the addresses they are posted to, for one push."""

    def receipt(self) -> tuple[str, str]:
        """Token and URL for receipts."""
        ...

    def action(self, action_id: str) -> tuple[str, str]:
        """Token and URL for one button."""
        ...


def render(
    template: MessageTemplate,
    values: Mapping[str, Any],
    *,
    push_id: str,
    expires_at: int,
    lane: Lane,
    locale: str = "",
    links: Links | None = None,
) -> Rendered:
    """Fill a message in for one recipient.

    Args:
        template: a parsed message.
        values: plain data for the templates (``user``, ``device``, ``event``, ``zone``, …).
        push_id: UUID that the push keeps over all tries.
        expires_at: epoch ms.
        lane: marketing or transactional.
        locale: the recipient's language tag; chooses the translation, formats numbers and dates.
        links: makes receipt and action tokens; without it there are none.

    Raises:
        InvalidMessage: the field and why.
    """
    words = translation(template, locale)
    values = {**values, "locale": known_locale(locale or "en-US")}
    text = _Filler(values, is_strict=template.missing == "strict")
    receipt = links.receipt() if links is not None and template.receipts else ("", "")
    return Rendered(
        id=push_id,
        title=text("/title", _choose(words.title, template.title)),
        subtitle=text("/subtitle", _choose(words.subtitle, template.subtitle)),
        body=text("/body", _choose(words.body, template.body)),
        expires_at=expires_at,
        lane=lane,
        media=_media(template, words, text) if _has_media(template, words) else (),
        carousel=_carousel(template, text) if template.carousel else (),
        actions=_actions(template.actions, words, text, links) if template.actions else (),
        deep_link=text.checked(
            "/deep_link", _choose(words.deep_link, template.deep_link), check_link
        ),
        sound=template.sound,
        badge=template.badge,
        data={key: text(f"/data/{key}", _as_text(value)) for key, value in template.data.items()},
        optional_data=template.optional_data,
        collapse_key=text("/collapse_key", template.collapse_key),
        priority=template.priority,
        group=text("/group", template.group),
        category=template.category,
        receipt_token=receipt[0],
        receipt_url=receipt[1],
        is_silent=template.is_silent,
        overrides=text.deep(template.overrides, "/overrides") if template.overrides else {},
    )


def translation(template: MessageTemplate, locale: str) -> Translation:
    """The nearest translation: the whole tag, then ever shorter ones; empty if there is none."""
    if not template.translations or not locale:
        return _NONE
    known = {name.replace("_", "-").lower(): name for name in template.translations}
    tag = locale.replace("_", "-").lower()
    while tag:
        if tag in known:
            return template.translations[known[tag]]
        tag = tag.rpartition("-")[0]
    return _NONE


_NONE = Translation()


class _Filler:
    """Fills texts in with one recipient's values; errors carry the field."""

    def __init__(self, values: Mapping[str, Any], *, is_strict: bool) -> None:
        self._values, self._is_strict = values, is_strict

    def __call__(self, where: str, source: str, *, escape: bool = False) -> str:
        if "{" not in source:
            return source
        try:
            return fill(source, self._values, strict=self._is_strict, escape=escape)
        except TemplateError as error:
            raise InvalidMessage(where, str(error)) from None

    def checked(self, where: str, source: str, judge: Callable[[str], None]) -> str:
        """Fill in an address and judge it; an empty one is none."""
        if "{" not in source:
            return source  # judged when the message was parsed
        url = self(where, source).strip()
        try:
            if url:
                judge(url)
        except ValueError as error:
            raise InvalidMessage(where, str(error)) from None
        return url

    def deep(self, value: Any, where: str) -> Any:
        """Fill in every text inside ``value``."""
        if isinstance(value, str):
            return self(where, value, escape=where.rpartition("/")[2] in HTML_FIELDS)
        if isinstance(value, dict):
            return {key: self.deep(item, where + pointer(key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.deep(item, f"{where}/{index}") for index, item in enumerate(value)]
        return value


def _choose(translated: str | None, original: str) -> str:
    return original if translated is None else translated


def _as_text(value: str | float) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _has_media(template: MessageTemplate, words: Translation) -> bool:
    return bool(
        template.image_url
        or template.video_url
        or template.audio_url
        or template.media
        or words.image_url
    )


def _media(template: MessageTemplate, words: Translation, text: _Filler) -> tuple[Media, ...]:
    if words.image_url is not None:
        template = msgspec.structs.replace(template, image_url=words.image_url)
    return tuple(
        Media(medium.type, url, text("/media", medium.alt))
        for medium in template.all_media
        if (url := text.checked("/media", medium.url, check_media))
    )


def _carousel(template: MessageTemplate, text: _Filler) -> tuple[Card, ...]:
    return tuple(
        Card(
            text.checked(f"/carousel/{index}/image_url", card.image_url, check_media),
            text(f"/carousel/{index}/title", card.title),
            text(f"/carousel/{index}/body", card.body),
            text.checked(f"/carousel/{index}/deep_link", card.deep_link, check_link),
        )
        for index, card in enumerate(template.carousel)
    )


def _actions(
    actions: tuple[ActionTemplate, ...], words: Translation, text: _Filler, links: Links | None
) -> tuple[Action, ...]:
    filled = []
    for index, action in enumerate(actions):
        where = f"/actions/{index}"
        token, url = links.action(action.id) if links is not None else ("", "")
        filled.append(
            Action(
                id=action.id,
                title=text(f"{where}/title", words.actions.get(action.id, action.title)),
                deep_link=text.checked(f"{where}/deep_link", action.deep_link, check_link),
                icon_url=text.checked(f"{where}/icon_url", action.icon_url, check_media),
                token=token,
                url=url,
            )
        )
    return tuple(filled)
