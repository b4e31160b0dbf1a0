"""The records of devices and users, and what of them may be posted.

A device is what pings and can be pushed to; a user is the person behind some devices. Consents,
attributes and tags may stand at both: the stricter consent holds, and a user's attribute wins.

Error tree: ``kinds.fields.InvalidDocument`` names the wrong field by JSON pointer.
"""

import re
from typing import Any, Literal

import msgspec

from gateway.kinds.beacon import beacon_keys
from gateway.kinds.fields import (
    InvalidDocument,
    check_id,
    check_metadata,
    check_same_id,
    check_tags,
    check_timezone,
    convert,
    without_read_only,
)
from senders.model import Target
from senders.registry import InvalidTarget, validate_target

LocationConsent = Literal["precise", "coarse", "off"]
STRICTNESS: dict[LocationConsent | None, int] = {None: 0, "precise": 1, "coarse": 2, "off": 3}

MAX_TARGETS = 50
MAX_TRANSMITTERS = 50
_LOCALE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*")
_COMPUTED = frozenset({"last_seen_at", "devices"})


class Consents(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the person allowed; None: never asked."""

    push: bool | None = None
    location: LocationConsent | None = None


class User(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person. ``targets`` are addresses of the person rather than of a device (mail, phone)."""

    id: str
    attributes: dict[str, Any] = {}
    tags: tuple[str, ...] = ()
    timezone: str | None = None
    locale: str | None = None
    consents: Consents = Consents()
    targets: tuple[Target, ...] = ()


class Device(User, frozen=True, omit_defaults=True):
    """A phone, a browser or a tag. ``transmitters`` are the beacon keys that it sends."""

    user_id: str | None = None
    transmitters: tuple[str, ...] = ()


class UserDocument(msgspec.Struct, forbid_unknown_fields=True):
    """A user, as posted."""

    id: str
    attributes: dict[str, Any] = {}
    tags: list[str] = []
    timezone: str | None = None
    locale: str | None = None
    consents: Consents = Consents()
    targets: list[dict[str, Any]] = []


class DeviceDocument(UserDocument, forbid_unknown_fields=True):
    """A device, as posted."""

    user_id: str | None = None
    transmitters: list[str] = []


def parse_user(user_id: str, document: dict[str, Any], now: int) -> User:
    """A posted user. A target without ``registered_at`` is registered now.

    Raises:
        InvalidDocument: the field that is wrong, and what to do.
    """
    posted = _posted(user_id, document, UserDocument)
    return User(id=user_id, **_shared(posted, now))


def parse_device(device_id: str, document: dict[str, Any], now: int) -> Device:
    """A posted device; see ``parse_user``.

    Raises:
        InvalidDocument: the field that is wrong, and what to do.
    """
    posted = _posted(device_id, document, DeviceDocument)
    if posted.user_id is not None:
        check_id(posted.user_id, "/user_id")
    if len(posted.transmitters) > MAX_TRANSMITTERS:
        raise InvalidDocument("/transmitters", f"has more than {MAX_TRANSMITTERS} entries")
    return Device(
        id=device_id,
        user_id=posted.user_id,
        transmitters=tuple(beacon_keys(posted.transmitters, "/transmitters", allow_set=False)),
        **_shared(posted, now),
    )


def to_document(person: User) -> dict[str, Any]:
    """The record as the API shows it."""
    document: dict[str, Any] = msgspec.to_builtins(person)
    return document


def stricter(one: Consents, other: Consents) -> Consents:
    """What both allow."""
    pushes = [c.push for c in (one, other) if c.push is not None]
    location = max(one.location, other.location, key=STRICTNESS.__getitem__)
    return Consents(push=all(pushes) if pushes else None, location=location)


def _posted(person_id: str, document: dict[str, Any], into: Any) -> Any:
    document = {k: v for k, v in without_read_only(document).items() if k not in _COMPUTED}
    check_same_id(document, person_id)
    return convert({**document, "id": person_id}, into)


def _shared(posted: UserDocument, now: int) -> dict[str, Any]:
    check_timezone(posted.timezone)
    check_metadata(posted.attributes, "/attributes")
    if posted.locale is not None and not _LOCALE.fullmatch(posted.locale):
        raise InvalidDocument("/locale", f"{posted.locale!r} is not a language tag such as 'de-AT'")
    return {
        "attributes": posted.attributes,
        "tags": tuple(check_tags(posted.tags)),
        "timezone": posted.timezone,
        "locale": posted.locale,
        "consents": posted.consents,
        "targets": _targets(posted.targets, now),
    }


def _targets(documents: list[dict[str, Any]], now: int) -> tuple[Target, ...]:
    """The targets, each address once, the last one given of each."""
    if len(documents) > MAX_TARGETS:
        raise InvalidDocument("/targets", f"has more than {MAX_TARGETS} entries")
    targets: dict[tuple[str, str], Target] = {}
    for index, document in enumerate(documents):
        try:
            target = validate_target(str(document.get("provider", "")), document)
        except InvalidTarget as error:
            raise InvalidDocument(f"/targets/{index}{error.pointer}", error.detail) from None
        registered_at = min(target.registered_at or now, now)
        targets[target.provider, target.address] = msgspec.structs.replace(
            target, registered_at=registered_at
        )
    return tuple(targets.values())
