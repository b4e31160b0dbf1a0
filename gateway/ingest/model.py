"""What every adapter takes and gives.

An adapter is a pure function ``parse(posted) -> Parsed``. One record that cannot be read never
fails the others: it comes back in ``Parsed.bad``, goes to the quarantine, and the app is told that
all is well, for most apps would otherwise send the same record for ever, or drop what follows it.

Error tree: ``IngestError`` is the root; ``UnreadableBody`` (nothing of the body can be read) is all
that ``parse`` raises; ``BadRecord`` stays inside the adapters.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from gateway.wire import Ping, Sighting

MAX_ID_CHARS = 128


class IngestError(ValueError):
    """Root of this package's errors."""


class UnreadableBody(IngestError):
    """The body as a whole is not what the app or receiver sends."""


class BadRecord(IngestError):
    """One record cannot be read, and why."""


class Posted(NamedTuple):
    """One request (or MQTT message) of an app or a receiver."""

    body: bytes
    received_at: int  # epoch ms
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}  # names in lower case
    device_id: str | None = None  # from the URL or a device token: beats what the body says
    receiver_id: str | None = None  # from the URL or a receiver key: likewise
    user: str | None = None  # of HTTP Basic
    fallback_id: str = ""  # where nothing names the device: one credential is one device
    passphrases: Sequence[str] = ()  # that may open an encrypted body
    speed_unit: str | None = None  # what the URL says the app's speed is in

    def device(self, *claims: object) -> str:
        """The device: the URL's, else the first claim that is an id, else the user, else the key.

        Raises:
            BadRecord: nothing names a device.
        """
        for claim in (self.device_id, *claims, self.user, self.fallback_id):
            found = clean_id(claim)
            if found:
                return found
        raise BadRecord("nothing names the device; put its id at the end of the URL")

    def receiver(self, *claims: object) -> str:
        """The receiver: the URL's or the key's, else the first claim (addresses in one spelling).

        Raises:
            BadRecord: nothing names a receiver.
        """
        if self.receiver_id:
            return self.receiver_id
        for claim in claims:
            found = clean_id(claim)
            if found:
                return _address_spelling(found)
        raise BadRecord("nothing names the receiver; put its id at the end of the URL")


class Reply(NamedTuple):
    """What the app needs to hear."""

    body: bytes = b"{}"
    status: int = 200
    media_type: str = "application/json"
    headers: Mapping[str, str] = {}


class Bad(NamedTuple):
    """One record that was not taken, as it came, and why."""

    raw: Any
    reason: str


class Parsed(NamedTuple):
    """What a request holds."""

    reply: Reply
    pings: Sequence[Ping] = ()
    sightings: Sequence[Sighting] = ()
    bad: Sequence[Bad] = ()


Read = Callable[[Any], Iterable[Ping | Sighting]]


def read_each(records: Iterable[Any], read: Read, reply: Reply) -> Parsed:
    """Every record apart: what ``read`` gives is taken, what it refuses is bad."""
    pings: list[Ping] = []
    sightings: list[Sighting] = []
    bad: list[Bad] = []
    for record in records:
        try:
            for item in read(record):
                if isinstance(item, Ping):
                    pings.append(item)
                else:
                    sightings.append(item)
        except BadRecord as error:
            bad.append(Bad(record, str(error)))
    return Parsed(reply, pings, sightings, bad)


def clean_id(value: object) -> str | None:
    """An id out of what an app sent: text or a whole number, without control characters."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    if isinstance(value, int) and abs(value) >= 10**MAX_ID_CHARS:
        return None
    text = str(value)
    if not text.isprintable():
        text = "".join(char for char in text if char.isprintable())
    text = text.strip().lstrip("~")
    return text[:MAX_ID_CHARS] or None


def as_object(record: Any) -> dict[str, Any]:
    """The record, if it is an object.

    Raises:
        BadRecord: it is something else.
    """
    if not isinstance(record, dict):
        raise BadRecord("the record is not an object")
    return record


def json_reply(answer: Any) -> Reply:
    """A JSON answer with status 200."""
    return Reply(msgspec.json.encode(answer))


def _address_spelling(text: str) -> str:
    """Bluetooth addresses in one spelling (``ac:23:3f:c0:01:ea``); other ids as they are."""
    plain = text.replace(":", "").replace("-", "").lower()
    if len(plain) == 12 and all(char in "0123456789abcdef" for char in plain):
        return ":".join(plain[i : i + 2] for i in range(0, 12, 2))
    return text
