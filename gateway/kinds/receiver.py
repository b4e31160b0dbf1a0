"""Receivers: fixed devices that hear transmitters."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from gateway.kinds.fields import (
    Latitude,
    Longitude,
    check_id,
    check_metadata,
    check_place,
    check_same_id,
    check_tags,
    convert,
    without_read_only,
)


class Receiver(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A fixed device that hears transmitters."""

    id: str
    name: str | None = None
    zone: str | None = None  # a beacon zone that this receiver stands for
    tags: list[str] = []
    report_interval_s: Annotated[float, Meta(gt=0, le=86_400)] | None = None
    rssi_offset_dbm: Annotated[float, Meta(ge=-50, le=50)] = 0.0
    lat: Latitude | None = None
    lon: Longitude | None = None
    metadata: dict[str, Any] = {}


def parse(receiver_id: str, document: dict[str, Any]) -> dict[str, Any]:
    """The stored form of a posted receiver.

    Raises:
        InvalidDocument: the field that is wrong, and what to do.
    """
    check_same_id(document, receiver_id)
    receiver = convert({**without_read_only(document), "id": receiver_id}, Receiver)
    if receiver.zone is not None:
        check_id(receiver.zone, "/zone")
    check_place(receiver.lat, receiver.lon)
    check_metadata(receiver.metadata)
    checked = msgspec.structs.replace(receiver, tags=check_tags(receiver.tags))
    stored: dict[str, Any] = msgspec.to_builtins(checked)
    return stored


def read(stored: bytes) -> Receiver:
    """A stored receiver."""
    return _RECEIVERS.decode(stored)


_RECEIVERS = msgspec.json.Decoder(Receiver)
