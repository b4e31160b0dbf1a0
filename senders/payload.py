"""What payloads have in common: their size limit, what is given up to keep it, overrides last.

A provider's module knows the shape (``shape(rendered) -> JSON value``); ``fit`` makes the bytes.
When they are too many, things are given up in this order until they fit: the carousel (its first
card's picture stays), all media but the first, optional data, the last medium, then the end of the
body (marked by an ellipsis). What was given up is told in ``Payload.degraded``.
"""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from senders.model import InvalidMessage, Media, Rendered

ELLIPSIS = "…"
MIN_BODY_CHARS = 16  # a body cut shorter than this says nothing

Shape = Callable[[Rendered], Any]
_encode = msgspec.json.Encoder().encode


class Payload(NamedTuple):
    """A provider's message, ready to post."""

    headers: dict[str, str]
    body: bytes
    size: int  # bytes counted against the provider's limit
    degraded: tuple[str, ...] = ()


def fit(rendered: Rendered, shape: Shape, limit_bytes: int) -> tuple[bytes, tuple[str, ...]]:
    """The shaped message as JSON of at most ``limit_bytes``, and what was given up for it.

    Raises:
        InvalidMessage: it does not fit, even without all that may be left out.
    """
    body = _encode(shape(rendered))
    if len(body) <= limit_bytes:
        return body, ()
    degraded: list[str] = []
    smaller = rendered
    for what, smaller in _reductions(rendered):
        degraded.append(what)
        body = _encode(shape(smaller))
        if len(body) <= limit_bytes:
            return body, tuple(degraded)
    body = _shortened(smaller, shape, limit_bytes)
    return body, (*degraded, "body")


def merge(value: Any, override: Any) -> Any:
    """``override`` laid over ``value``: objects merge by member, everything else replaces."""
    if isinstance(value, dict) and isinstance(override, dict):
        merged = {**value}
        for key, item in override.items():
            merged[key] = merge(value[key], item) if key in value else item
        return merged
    return override


def collapse_id(rendered: Rendered, limit_bytes: int) -> str:
    """What makes a resent or newer push replace the older: the collapse key, else the push id.

    Keys too long for the provider are replaced by their digest, which is as stable.
    """
    key = rendered.collapse_key or rendered.id
    raw = key.encode()
    return key if len(raw) <= limit_bytes else hashlib.sha256(raw).hexdigest()[:limit_bytes]


def extras(rendered: Rendered) -> dict[str, Any]:
    """What apps read beside the words: ids, receipt, link, media, carousel, actions and data."""
    found: dict[str, Any] = {"push_id": rendered.id}
    if rendered.receipt_token:
        found["receipt_token"] = rendered.receipt_token
        found["receipt_url"] = rendered.receipt_url
    if rendered.deep_link:
        found["deep_link"] = rendered.deep_link
    if rendered.media:
        found["media"] = rendered.media
    if rendered.carousel:
        found["carousel"] = rendered.carousel
    if rendered.actions:
        found["actions"] = rendered.actions
    if rendered.data:
        found["data"] = rendered.data
    return found


def require_words(rendered: Rendered) -> None:
    """For channels that people read: a message that only wakes an app is not for them.

    Raises:
        InvalidMessage: it is silent, or it has neither title nor body.
    """
    if rendered.is_silent or not (rendered.title or rendered.body):
        raise InvalidMessage("/body", "nothing to show; this channel needs words")


def ttl_s(rendered: Rendered, now: int) -> int:
    """Whole seconds until the message expires; 0 if it has."""
    return max(0, (rendered.expires_at - now) // 1000)


def first_image(rendered: Rendered) -> str:
    """Address of the picture that stands for the message; empty if none."""
    for medium in rendered.media:
        if medium.type in ("image", "gif"):
            return medium.url
    return rendered.carousel[0].image_url if rendered.carousel else ""


def _reductions(rendered: Rendered) -> Iterator[tuple[str, Rendered]]:
    """What may be left out, one thing after another, each with the message without it."""
    replace = msgspec.structs.replace
    if rendered.carousel:
        media = rendered.media or (Media("image", rendered.carousel[0].image_url),)
        rendered = replace(rendered, carousel=(), media=media)
        yield "carousel", rendered
    if len(rendered.media) > 1:
        rendered = replace(rendered, media=rendered.media[:1])
        yield "extra_media", rendered
    if optional := set(rendered.optional_data) & set(rendered.data):
        data = {key: value for key, value in rendered.data.items() if key not in optional}
        rendered = replace(rendered, data=data)
        yield "optional_data", rendered
    if rendered.media:
        yield "media", replace(rendered, media=())


def _shortened(rendered: Rendered, shape: Shape, limit_bytes: int) -> bytes:
    """The longest beginning of the body that fits, by bisection on its length in characters."""
    low, high, best = MIN_BODY_CHARS, len(rendered.body), b""
    while low < high:
        middle = (low + high) // 2
        cut = rendered.body[:middle].rstrip() + ELLIPSIS
        body = _encode(shape(msgspec.structs.replace(rendered, body=cut)))
        if len(body) <= limit_bytes:
            best, low = body, middle + 1
        else:
            high = middle
    if not best:
        size = len(_encode(shape(rendered)))
        raise InvalidMessage("", f"{size} bytes after rendering; at most {limit_bytes} fit")
    return best
