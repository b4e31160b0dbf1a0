"""Pings and sightings as they come over the wire, and as the engine takes them.

``Ping`` and ``Sighting`` are the public request bodies (unknown fields are errors that name the
nearest field). A whole batch is decoded in one go; only when that fails is each item decoded apart,
so that one bad item costs the batch nothing and its error names its index and field.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from difflib import get_close_matches
from types import GenericAlias
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

MAX_ITEMS = 10_000
MAX_FUTURE_S = 300
CLOCK_STEP_MS = 60_000  # clock offsets are applied in whole minutes, so a repeat gets the same one
GPS_ROLLOVER_MS = 1024 * 7 * 86_400_000
ROLLOVER_SLACK_MS = 7 * 86_400_000
FAR_MS = 2**53
EARLIEST_AT = 946_684_800_000  # 2000-01-01: no phone has an older position

Id = Annotated[str, Meta(min_length=1, max_length=128)]
Instant = Annotated[datetime, Meta(tz=True)] | int | float
Finite = Annotated[float, Meta(ge=-1e9, le=1e9)]


class Ping(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A position fix of one device."""

    device_id: Id
    lat: Annotated[float, Meta(ge=-90, le=90)]
    lon: Annotated[float, Meta(ge=-180, le=180)]
    recorded_at: Instant
    ping_id: Id | None = None
    user_id: Id | None = None
    accuracy_m: Annotated[float, Meta(ge=0, le=1e8)] | None = None
    altitude_m: Finite | None = None
    speed_mps: Annotated[float, Meta(ge=-1, le=1e5)] | None = None
    heading_deg: Annotated[float, Meta(ge=-1, le=360)] | None = None
    sent_at: Instant | None = None
    is_mock: bool | None = None
    battery: Annotated[float, Meta(ge=0, le=1)] | None = None
    activity: Annotated[str, Meta(max_length=32)] | None = None


class Sighting(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A receiver (or a phone) heard a transmitter.

    Exactly one of ``receiver_id`` and ``device_id`` says who heard; the transmitter is named by
    ``beacon`` (a key, or its parts) or by the raw advertisement in hex.
    """

    rssi_dbm: Annotated[float, Meta(ge=-127, le=20)]
    seen_at: Instant | None = None
    receiver_id: Id | None = None
    device_id: Id | None = None
    beacon: str | dict[str, str | int] | None = None
    advertisement: Annotated[str, Meta(max_length=1024)] | None = None
    address: Annotated[str, Meta(max_length=32)] | None = None
    measured_power_dbm: Annotated[float, Meta(ge=-127, le=20)] | None = None
    sighting_id: Id | None = None
    user_id: Id | None = None
    battery: Annotated[float, Meta(ge=0, le=1)] | None = None


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Refusal(msgspec.Struct, frozen=True):
    """Why one item of a batch was not taken."""

    index: int
    type: str  # problem slug
    detail: str


Slug = Literal["malformed-body", "body-too-large"]


class BadEnvelopeError(ValueError):
    """The body as a whole cannot be read: nothing was taken."""

    def __init__(self, slug: Slug, detail: str) -> None:
        super().__init__(detail)
        self.slug = slug
        self.detail = detail


Format = Literal["json", "msgpack"]


class Codec:
    """Decodes bodies of one item type: one object, an array, or ``{"<plural>": [...]}``."""

    def __init__(self, item_type: type[Any], plural: str, max_items: int = MAX_ITEMS) -> None:
        many: Any = GenericAlias(list, (item_type,))
        envelope = msgspec.defstruct("Envelope", [(plural, many)], forbid_unknown_fields=True)
        loose = msgspec.defstruct("LooseEnvelope", [(plural, list[msgspec.Raw])])
        self._item_type = item_type
        self._plural = plural
        self._max_items = max_items
        self._fields = [f.name for f in msgspec.structs.fields(item_type)]
        name = plural.encode()
        self._key = {
            "json": re.compile(rb'\s*\{\s*"' + name + rb'"\s*:'),
            "msgpack": re.compile(rb"\x81" + bytes([0xA0 + len(name)]) + name),
        }
        self._one: dict[str, Any] = {
            "json": msgspec.json.Decoder(item_type),
            "msgpack": msgspec.msgpack.Decoder(item_type),
        }
        self._many: dict[str, Any] = {
            "json": msgspec.json.Decoder(many),
            "msgpack": msgspec.msgpack.Decoder(many),
        }
        self._enveloped: dict[str, Any] = {
            "json": msgspec.json.Decoder(envelope),
            "msgpack": msgspec.msgpack.Decoder(envelope),
        }
        self._raw: dict[str, Any] = {
            "json": msgspec.json.Decoder(list[msgspec.Raw]),
            "msgpack": msgspec.msgpack.Decoder(list[msgspec.Raw]),
        }
        self._raw_enveloped: dict[str, Any] = {
            "json": msgspec.json.Decoder(loose),
            "msgpack": msgspec.msgpack.Decoder(loose),
        }

    def decode(self, body: bytes, format_: Format) -> tuple[list[Any], list[int], list[Refusal]]:
        """The good items, their indexes in the request, and the refusals.

        Raises:
            BadEnvelopeError: the body is not JSON (or MessagePack), not one of the three shapes, or
                has too many items.
        """
        try:
            items = self._decode_all(body, format_)
        except msgspec.ValidationError:
            return self._decode_each(body, format_)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadEnvelopeError(
                "malformed-body", f"The body is not {format_}: {error}"
            ) from error
        self._check_count(len(items))
        return items, list(range(len(items))), []

    def is_single(self, body: bytes, format_: Format) -> bool:
        """Whether the body is one item, not a batch."""
        return _shape(body, format_) == "object" and not self._is_envelope(body, format_)

    def _decode_all(self, body: bytes, format_: Format) -> list[Any]:
        shape = _shape(body, format_)
        if shape == "array":
            return self._many[format_].decode(body)  # type: ignore[no-any-return]
        if shape == "object" and self._is_envelope(body, format_):
            return getattr(self._enveloped[format_].decode(body), self._plural)  # type: ignore[no-any-return]
        return [self._one[format_].decode(body)]

    def _is_envelope(self, body: bytes, format_: Format) -> bool:
        return bool(self._key[format_].match(body))

    def _decode_each(
        self, body: bytes, format_: Format
    ) -> tuple[list[Any], list[int], list[Refusal]]:
        raws = self._raw_items(body, format_)
        self._check_count(len(raws))
        items, indexes, refusals = [], [], []
        decoder = self._one[format_]
        for index, raw in enumerate(raws):
            try:
                items.append(decoder.decode(raw))
                indexes.append(index)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                refusals.append(
                    Refusal(index, f"invalid-{self._plural[:-1]}", self._explain(str(error)))
                )
        return items, indexes, refusals

    def _raw_items(self, body: bytes, format_: Format) -> Sequence[msgspec.Raw | bytes]:
        shape = _shape(body, format_)
        try:
            if shape == "array":
                return self._raw[format_].decode(body)  # type: ignore[no-any-return]
            if shape == "object" and self._is_envelope(body, format_):
                return getattr(self._raw_enveloped[format_].decode(body), self._plural)  # type: ignore[no-any-return]
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadEnvelopeError("malformed-body", self._explain(str(error))) from error
        if shape == "object":
            return [body]
        raise BadEnvelopeError(
            "malformed-body",
            f'Send one object, an array of objects, or {{"{self._plural}": [...]}}.',
        )

    def _check_count(self, count: int) -> None:
        if count > self._max_items:
            raise BadEnvelopeError(
                "body-too-large", f"{count} items in one call; send at most {self._max_items}."
            )

    def _explain(self, message: str) -> str:
        """The decoder's message, with the nearest field where a field is unknown."""
        marker = "contains unknown field `"
        if marker in message:
            name = message.split(marker, 1)[1].split("`", 1)[0]
            near = get_close_matches(name, self._fields, 1)
            hint = f"did you mean `{near[0]}`?" if near else f"known: {', '.join(self._fields)}"
            return f"Unknown field `{name}`; {hint}"
        return message


def _shape(body: bytes, format_: Format) -> str:
    if format_ == "json":
        head = body[:64].lstrip()[:1]
        return {b"[": "array", b"{": "object"}.get(head, "other")
    head_byte = body[0] if body else 0
    if 0x90 <= head_byte <= 0x9F or head_byte in (0xDC, 0xDD):
        return "array"
    if 0x80 <= head_byte <= 0x8F or head_byte in (0xDE, 0xDF):
        return "object"
    return "other"


PINGS = Codec(Ping, "pings")
SIGHTINGS = Codec(Sighting, "sightings")


def bad_ids(ids: Sequence[str | None]) -> list[int]:
    """Positions of ids that cannot be: control characters, or ``~`` (kept for users) in front.

    All ids are searched as one text, since hardly any is ever bad.
    """
    text = "\x1f".join([one or "" for one in ids])
    if len(_CONTROL.findall(text)) == max(len(ids) - 1, 0) and not (
        text.startswith("~") or "\x1f~" in text
    ):
        return []
    return [i for i, one in enumerate(ids) if one and (one[0] == "~" or _CONTROL.search(one))]


def to_ms(instant: datetime | float) -> int:
    """Epoch milliseconds of a wire instant (a datetime with zone, or epoch milliseconds).

    What no clock can show (MessagePack has infinity, and no number) is far from every instant, so
    that it is refused as such.
    """
    if isinstance(instant, datetime):
        return round(instant.timestamp() * 1000)
    if -FAR_MS <= instant <= FAR_MS:
        return int(instant)
    return FAR_MS if instant > 0 else -FAR_MS


def event_time(recorded_at: int, sent_at: int | None, received_at: int) -> int:
    """Event time of a fix: its own clock, corrected where that clock is plainly wrong.

    A GPS week rollover (1,024 weeks back) is undone. With ``sent_at``, a clock that is more than a
    minute ahead is set back in whole minutes, so that the same ping sent again gets the same time.
    """
    if abs(received_at - recorded_at - GPS_ROLLOVER_MS) < ROLLOVER_SLACK_MS:
        recorded_at += GPS_ROLLOVER_MS
    if sent_at is not None and sent_at - received_at > CLOCK_STEP_MS:
        recorded_at -= round((sent_at - received_at) / CLOCK_STEP_MS) * CLOCK_STEP_MS
    return recorded_at


def check_time(recorded_at: int, received_at: int) -> str | None:
    """Why this event time cannot be, or None."""
    if recorded_at > received_at + MAX_FUTURE_S * 1000:
        ahead_s = (recorded_at - received_at) // 1000
        return (
            f"recorded_at is {ahead_s} s in the future (at most {MAX_FUTURE_S} s). "
            "Check the clock, or send sent_at so that it can be corrected."
        )
    if recorded_at < EARLIEST_AT:
        return (
            f"recorded_at {recorded_at} is before the year 2000. "
            "Send epoch milliseconds (not seconds) or an RFC 3339 string."
        )
    return None
