"""The canonical message: what a person writes once, for every channel.

Common fields, translations of the words, and ``overrides`` per provider that are laid over the
payload last. Every text may be a Liquid template; all of them are parsed here, so that a mistake is
told when the message is written and not when it should have been sent.
"""

import re
from collections.abc import Iterator
from typing import Any, Literal, get_args

import msgspec

from senders import apns, webpush
from senders.documents import convert, pointer
from senders.fcm_payload import OWN_DATA_KEYS, RESERVED_DATA_KEYS, RESERVED_DATA_PREFIXES
from senders.model import InvalidMessage, Provider
from senders.templates import TemplateError, check, is_template

MAX_ACTIONS = 3
CARDS = (2, 10)
MAX_MEDIA = 5
MAX_TTL_S = 28 * 86_400
MAX_TRANSLATIONS = 100
MAX_DATA_KEYS = 50
MAX_DOCUMENT_BYTES = 65_536
PROVIDERS: tuple[str, ...] = get_args(Provider)
OVERRIDABLE_HEADERS = {"apns": apns.HEADERS, "webpush": webpush.HEADERS}
FORBIDDEN_SCHEMES = frozenset({"javascript", "data", "vbscript", "file", "blob", "about"})

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?=.)")
_HTTPS = re.compile(r"https://[^\s/?#@]+([/?#]\S*)?")
_ACTION_ID = re.compile(r"[A-Za-z0-9_.-]{1,32}")
_LOCALE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}")
_SIMPLE = {"image_url": "image", "video_url": "video", "audio_url": "audio"}


class MediaTemplate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A picture, film or sound."""

    type: Literal["image", "gif", "video", "audio"]
    url: str
    alt: str = ""


class CardTemplate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One card of a carousel."""

    image_url: str
    title: str = ""
    body: str = ""
    deep_link: str = ""


class ActionTemplate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A button."""

    id: str
    title: str
    deep_link: str = ""
    icon_url: str = ""


class Translation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The words in another language; what is absent stays as it is. ``actions``: id to title."""

    title: str | None = None
    subtitle: str | None = None
    body: str | None = None
    deep_link: str | None = None
    image_url: str | None = None
    actions: dict[str, str] = {}


class MessageTemplate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A message as it is configured. Texts may hold Liquid.

    ``missing``: whether a missing variable is empty ("default") or an error that stops the push
    ("strict"; the ``default`` filter still applies). ``optional_data`` names keys of ``data`` that
    may be left out where a platform's size limit demands it.
    """

    title: str = ""
    subtitle: str = ""
    body: str = ""
    image_url: str = ""
    video_url: str = ""
    audio_url: str = ""
    media: tuple[MediaTemplate, ...] = ()
    carousel: tuple[CardTemplate, ...] = ()
    actions: tuple[ActionTemplate, ...] = ()
    deep_link: str = ""
    sound: str = "default"
    badge: int | None = None
    data: dict[str, str | int | float | bool] = {}
    optional_data: tuple[str, ...] = ()
    ttl_s: int | None = None
    collapse_key: str = ""
    priority: Literal["low", "normal", "high", "time_sensitive"] = "high"
    group: str = ""
    category: str = ""
    is_silent: bool = False
    receipts: bool = True
    translations: dict[str, Translation] = {}
    overrides: dict[str, dict[str, Any]] = {}
    missing: Literal["default", "strict"] = "default"

    @property
    def all_media(self) -> tuple[MediaTemplate, ...]:
        """The three simple URLs and ``media``, in this order."""
        simple = (
            MediaTemplate(kind, url)  # type: ignore[arg-type]
            for field, kind in _SIMPLE.items()
            if (url := getattr(self, field))
        )
        return (*simple, *self.media)


def parse_message(document: Any) -> MessageTemplate:
    """Parse and check a message.

    Args:
        document: decoded JSON.

    Raises:
        InvalidMessage: the field (JSON pointer) and why.
    """
    message = convert(document, MessageTemplate, InvalidMessage)
    if len(msgspec.json.encode(message)) > MAX_DOCUMENT_BYTES:
        raise InvalidMessage("", f"longer than {MAX_DOCUMENT_BYTES} bytes")
    for where, text in texts(message):
        try:
            check(text)
        except TemplateError as error:
            raise InvalidMessage(where, str(error)) from None
    _check_words(message)
    _check_links(message)
    _check_rich(message)
    _check_data(message)
    _check_translations(message)
    _check_overrides(message)
    return message


def texts(message: MessageTemplate) -> Iterator[tuple[str, str]]:
    """Every text of the message with its JSON pointer."""
    yield from _walk(msgspec.to_builtins(message), ())


def check_link(url: str) -> None:
    """A deep link: any scheme an app may own, but none that runs script or reads files.

    Raises:
        ValueError: no scheme, a forbidden one, or blanks.
    """
    found = _SCHEME.match(url)
    if found is None:
        raise ValueError("must be an absolute URL such as https://… or myapp://…")
    if found[1].lower() in FORBIDDEN_SCHEMES:
        raise ValueError(f"the scheme {found[1]!r} is not allowed")
    if any(character.isspace() for character in url):
        raise ValueError("must not hold blanks; use the url_encode filter")


def check_media(url: str) -> None:
    """An address phones and browsers load from.

    Raises:
        ValueError: not https.
    """
    if not _HTTPS.fullmatch(url):
        raise ValueError("must be an https URL")


def _walk(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield pointer(*path), value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _walk(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _walk(item, (*path, index))


def _check_words(message: MessageTemplate) -> None:
    if not (message.title or message.body or message.is_silent):
        raise InvalidMessage("/body", "a message needs a title or a body, or is_silent")
    if message.ttl_s is not None and not 0 <= message.ttl_s <= MAX_TTL_S:
        raise InvalidMessage("/ttl_s", f"must be 0 to {MAX_TTL_S} (28 days)")
    if message.badge is not None and not 0 <= message.badge <= 99_999:
        raise InvalidMessage("/badge", "must be 0 to 99999")


def _check_links(message: MessageTemplate) -> None:
    """Addresses without templates are judged now, the others when they are filled in."""
    judged = {"image_url": check_media, "video_url": check_media, "audio_url": check_media}
    judged |= {"icon_url": check_media, "url": check_media, "deep_link": check_link}
    for where, text in texts(message):
        top, _, name = where.rpartition("/")
        judge = judged.get(name)
        if judge is None or not text or is_template(text):
            continue
        if top.startswith(("/overrides", "/data")):
            continue
        try:
            judge(text)
        except ValueError as error:
            raise InvalidMessage(where, str(error)) from None


def _check_rich(message: MessageTemplate) -> None:
    if len(message.all_media) > MAX_MEDIA:
        raise InvalidMessage("/media", f"at most {MAX_MEDIA} media")
    if message.carousel and not CARDS[0] <= len(message.carousel) <= CARDS[1]:
        raise InvalidMessage("/carousel", f"{CARDS[0]} to {CARDS[1]} cards")
    if len(message.actions) > MAX_ACTIONS:
        raise InvalidMessage("/actions", f"at most {MAX_ACTIONS} actions")
    seen: set[str] = set()
    for index, action in enumerate(message.actions):
        if not _ACTION_ID.fullmatch(action.id) or action.id in seen:
            detail = "must be 1 to 32 of A-Z a-z 0-9 _ . - and unique"
            raise InvalidMessage(pointer("actions", index, "id"), detail)
        if not action.title:
            raise InvalidMessage(pointer("actions", index, "title"), "must not be empty")
        seen.add(action.id)


def _check_data(message: MessageTemplate) -> None:
    if len(message.data) > MAX_DATA_KEYS:
        raise InvalidMessage("/data", f"at most {MAX_DATA_KEYS} keys")
    for key in message.data:
        if key in OWN_DATA_KEYS or key in RESERVED_DATA_KEYS:
            raise InvalidMessage(pointer("data", key), "is a reserved name")
        if not key or key.startswith(RESERVED_DATA_PREFIXES):
            raise InvalidMessage(pointer("data", key), "must not start with google. or gcm.")
    for index, key in enumerate(message.optional_data):
        if key not in message.data:
            raise InvalidMessage(pointer("optional_data", index), "is not a key of data")


def _check_translations(message: MessageTemplate) -> None:
    if len(message.translations) > MAX_TRANSLATIONS:
        raise InvalidMessage("/translations", f"at most {MAX_TRANSLATIONS} languages")
    ids = {action.id for action in message.actions}
    for locale, words in message.translations.items():
        if not _LOCALE.fullmatch(locale):
            where = pointer("translations", locale)
            raise InvalidMessage(where, "must be a language tag such as de or pt-BR")
        for action in words.actions.keys() - ids:
            where = pointer("translations", locale, "actions", action)
            raise InvalidMessage(where, "is not an action of this message")


def _check_overrides(message: MessageTemplate) -> None:
    for provider, override in message.overrides.items():
        if provider not in PROVIDERS:
            where = pointer("overrides", provider)
            raise InvalidMessage(where, f"is not one of {', '.join(PROVIDERS)}")
        headers = override.get("headers", {})
        if not isinstance(headers, dict):
            raise InvalidMessage(pointer("overrides", provider, "headers"), "must be an object")
        known = OVERRIDABLE_HEADERS.get(provider, ())
        for name in headers:
            if name not in known:
                where = pointer("overrides", provider, "headers", name)
                allowed = f"only {', '.join(known)}" if known else "no headers here"
                raise InvalidMessage(where, f"cannot be overridden; {allowed}")
