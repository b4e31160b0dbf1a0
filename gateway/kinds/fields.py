"""Checks that several kinds share: ids, tags, time zones, positions, free-form data.

Error tree: ``InvalidDocument`` carries the JSON pointer of the field that is wrong, and why.
"""

import re
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from senders.documents import convert as convert_struct
from triggers.model import Policy

T = TypeVar("T")

Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]

MAX_TAGS = 100
MAX_METADATA_BYTES = 16_384
READ_ONLY = frozenset({"version", "created_at", "updated_at", "repairs", "distance_m"})

_ID = re.compile(r"[^\x00-\x20\x7f/\\]{1,128}")
_TAG = re.compile(r"[^\x00-\x1f\x7f,]{1,64}")
_POSITIVE = ("max_accuracy_m", "confirm_window_s", "enter_confirmations", "exit_confirmations")
_NOT_NEGATIVE = ("exit_buffer_m", "exit_accuracy_cap_m", "assumed_accuracy_m")
_POSITIVE_SECONDS = ("max_evidence_age_s", "silence_exit_s")


class InvalidDocument(ValueError):
    """A document that cannot be stored: which field (JSON pointer), and why."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer or 'the document'}: {detail}")
        self.pointer = pointer
        self.detail = detail


def convert(document: object, into: type[T]) -> T:
    """The document as ``into``.

    Raises:
        InvalidDocument: the field that does not fit, with the nearest name for an unknown one.
    """
    return convert_struct(document, into, InvalidDocument)


def check_id(document_id: object, pointer: str = "/id") -> str:
    """An id: 1 to 128 characters without blanks, slashes and control characters.

    Raises:
        InvalidDocument: it is something else.
    """
    if not isinstance(document_id, str) or not _ID.fullmatch(document_id):
        raise InvalidDocument(
            pointer, "must be 1 to 128 characters without blanks, slashes and control characters"
        )
    if document_id in (".", ".."):
        raise InvalidDocument(pointer, f"{document_id!r} cannot stand in a URL")
    return document_id


def check_same_id(document: dict[str, Any], document_id: str) -> None:
    """The id in the body, if any, is the id in the path.

    Raises:
        InvalidDocument: it is another.
    """
    check_id(document_id)
    inside = document.get("id", document_id)
    if inside != document_id:
        raise InvalidDocument(
            "/id", f"is {inside!r} but the path says {document_id!r}; leave it out or make it equal"
        )


def check_tags(tags: list[str], pointer: str = "/tags") -> list[str]:
    """Tags without repetition, in the order given.

    Raises:
        InvalidDocument: too many, empty, too long, or with a comma.
    """
    if len(tags) > MAX_TAGS:
        raise InvalidDocument(pointer, f"has {len(tags)} tags; at most {MAX_TAGS}")
    for index, tag in enumerate(tags):
        if not _TAG.fullmatch(tag):
            raise InvalidDocument(f"{pointer}/{index}", "must be 1 to 64 characters, no comma")
    return list(dict.fromkeys(tags))


def check_timezone(name: str | None, pointer: str = "/timezone") -> None:
    """An IANA time zone name, or none.

    Raises:
        InvalidDocument: no such zone.
    """
    if name is None:
        return
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidDocument(
            pointer, f"{name!r} is not an IANA time zone such as 'Europe/Berlin'"
        ) from None


def check_policy(policy: Policy | None, pointer: str = "/policy") -> None:
    """Numbers of a policy that can be.

    Raises:
        InvalidDocument: a number that cannot.
    """
    if policy is None:
        return
    for name in (*_POSITIVE, *_POSITIVE_SECONDS):
        value = getattr(policy, name)
        if value is not None and value <= 0:
            raise InvalidDocument(f"{pointer}/{name}", f"is {value}; must be more than 0")
    for name in _NOT_NEGATIVE:
        value = getattr(policy, name)
        if value is not None and value < 0:
            raise InvalidDocument(f"{pointer}/{name}", f"is {value}; must not be negative")
    enter, leave = policy.enter_rssi_dbm, policy.exit_rssi_dbm
    if enter is not None and leave is not None and leave > enter:
        raise InvalidDocument(
            f"{pointer}/exit_rssi_dbm", f"is {leave}, above enter_rssi_dbm ({enter})"
        )


def check_place(lat: float | None, lon: float | None) -> None:
    """A position is given whole or not at all.

    Raises:
        InvalidDocument: half of it.
    """
    if (lat is None) != (lon is None):
        raise InvalidDocument("/lat" if lat is None else "/lon", "lat and lon go together")


def check_metadata(metadata: dict[str, Any] | None, pointer: str = "/metadata") -> None:
    """Free-form data of bounded size.

    Raises:
        InvalidDocument: more than 16 KiB of JSON.
    """
    size = len(msgspec.json.encode(metadata)) if metadata else 0
    if size > MAX_METADATA_BYTES:
        raise InvalidDocument(pointer, f"is {size} bytes of JSON; at most {MAX_METADATA_BYTES}")


def without_read_only(document: dict[str, Any]) -> dict[str, Any]:
    """The document without what only the gateway sets, so that what was read can be put back."""
    return {name: value for name, value in document.items() if name not in READ_ONLY}
