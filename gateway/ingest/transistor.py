"""Transistor Software's background-geolocation, and its kin: Expo, W3C positions, Traccar Client 9.

The records stand under ``location`` (an object, or an array even for one), under a root property of
the app's choice, or at the root; the device id stands beside them under a name of the app's choice.
Units are ours, -1 means unknown, times are ISO 8601 or epoch ms.
Source: transistorsoft/background-geolocation-types, Location.ts and HttpConfig.ts;
expo/expo, Location.types.ts.
"""

from collections.abc import Iterable
from typing import Any

from gateway.ingest.body import read_json
from gateway.ingest.model import (
    BadRecord,
    Parsed,
    Posted,
    Reply,
    UnreadableBody,
    as_object,
    clean_id,
    read_each,
)
from gateway.ingest.values import first, fix_time, make_ping, measure
from gateway.wire import Ping

OK = Reply()
_DEVICE_NAMES = ("device_id", "deviceId", "deviceid", "uid", "user_id", "userId", "id")
_ROOTS = ("location", "locations")


def parse(posted: Posted) -> Parsed:
    """The positions of a request: of one record, a batch, or a geofence event.

    Raises:
        UnreadableBody: it is not JSON, or holds no records.
    """
    document = read_json(posted.body)
    root = document if isinstance(document, dict) else {}
    records = _records(document)

    def read(record: Any) -> Iterable[Ping]:
        return _read(posted, record, root)

    return read_each(records, read, OK)


def _records(document: Any) -> list[Any]:
    if isinstance(document, list):
        return document
    if _is_record(document):
        return [document]
    for name in (*_ROOTS, *document):
        inner = document.get(name)
        if isinstance(inner, list) and (name in _ROOTS or any(map(_is_record, inner))):
            return inner
        if isinstance(inner, dict) and (name in _ROOTS or _is_record(inner)):
            return [inner]
    if "event" in document or "eventType" in document:
        return [document]
    raise UnreadableBody("The body holds no location: neither `location` nor `coords` is in it.")


def _is_record(value: Any) -> bool:
    return isinstance(value, dict) and ("coords" in value or "latitude" in value)


def _read(posted: Posted, record: Any, root: dict[str, Any]) -> Iterable[Ping]:
    if isinstance(record, list):
        raise BadRecord("the record is an array; use the SDK's own locationTemplate")
    record = as_object(record)
    coords = record.get("coords")
    if not isinstance(coords, dict):
        coords = record
    if "latitude" not in coords and ("event" in record or "eventType" in record):
        return ()  # a change of the provider or a region event, without a position
    at = fix_time(record.get("timestamp"), posted.received_at)
    age_ms = measure(record.get("age"), 1e12)
    ping = make_ping(
        posted.device(*_device_claims(record, root)),
        coords.get("latitude"),
        coords.get("longitude"),
        at,
        ping_id=clean_id(record.get("uuid")),
        accuracy_m=coords.get("accuracy"),
        altitude_m=coords.get("altitude"),
        speed_mps=coords.get("speed"),
        heading_deg=coords.get("heading"),
        sent_at=None if age_ms is None else at + round(age_ms),
        is_mock=first(record, "mock", "mocked", "is_mock"),
        battery=_inner(record, root, "battery", "level"),
        activity=_inner(record, root, "activity", "type"),
    )
    return (ping,)


def _device_claims(record: dict[str, Any], root: dict[str, Any]) -> list[Any]:
    extras = record.get("extras")
    holders = [root, record, extras if isinstance(extras, dict) else {}]
    device = root.get("device")
    named = device.get("uuid") if isinstance(device, dict) else device
    return [first(holder, *_DEVICE_NAMES) for holder in holders] + [named]


def _inner(record: dict[str, Any], root: dict[str, Any], name: str, part: str) -> Any:
    """``battery.level``, ``activity.type``: of the record, or of the root where apps flatten it."""
    value = first(record, name) if name in record else root.get(name)
    return value.get(part) if isinstance(value, dict) else value
