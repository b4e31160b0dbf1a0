"""Apps whose fields are a user's template or a plain dialect: told apart by field names alone.

GPSLogger's custom URL, Home Assistant (its ``update_location`` webhook, and its GPSLogger fields),
PhoneTrack, Colota's own template, the mauron85 plugin, Tasker, Shortcuts, and Radar's ``track``.
Query, form or JSON; one record or many. Speeds are m/s unless the field or ``?speed_unit=`` says
otherwise, batteries percent; without a time the time of receipt counts.
Source: mendhak/gpslogger, CustomUrlManager; home-assistant/core, gpslogger and mobile_app;
julien-nc/phonetrack, LogController; dietrichmax/colota, api-reference;
mauron85/background-geolocation-android, LocationTemplateFactory.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.ingest.body import read_any
from gateway.ingest.model import BadRecord, Parsed, Posted, Reply, as_object, json_reply, read_each
from gateway.ingest.values import (
    KMH_MPS,
    first,
    fix_time,
    make_ping,
    share,
    speed_mps,
    speed_unit,
)
from gateway.wire import Ping

OK = Reply()
RADAR_OK = json_reply({"meta": {"code": 200}, "events": [], "user": {}})

_MANY = ("points", "locations", "replays")
_DEVICE = ("device", "device_id", "deviceId", "deviceid", "id", "aid", "ser", "tid")
_LAT = ("lat", "latitude")
_LON = ("lon", "lng", "long", "longitude")
_TIME = (
    "timestamp", "tst", "time", "updatedAtMs", "updatedAt", "locationMs", "datetime", "recorded_at",
)  # fmt: skip
_ACCURACY = ("acc", "accuracy", "gps_accuracy", "horizontal_accuracy")
_ALTITUDE = ("alt", "altitude")
_SPEED = ("spd", "speed", "vel", "s")
_SPEED_KMH = ("spd_kph", "speed_kph", "speed_kmh")
_HEADING = ("dir", "direction", "bearing", "bear", "heading", "course", "cog")
_BATTERY = ("batt", "bat", "battery", "battery_level")
_MOCK = ("mock", "is_mock", "mocked", "isFromMockProvider")
_ACTIVITY = ("activity", "motion", "act")
# The columns of PhoneTrack's logPostMultiple.
_COLUMNS = ("lat", "lon", "timestamp", "alt", "acc", "bat", "sat", "useragent", "speed", "bearing")


def parse(posted: Posted) -> Parsed:
    """The positions of a request.

    Raises:
        UnreadableBody: it starts like JSON and is none, or the speed unit is not known.
    """
    document = read_any(posted)
    unit = speed_unit(posted.speed_unit, "mps")
    root = document if isinstance(document, dict) else {}

    def read(record: Any) -> Iterable[Ping]:
        return _read(posted, record, root, unit)

    return read_each(_records(document), read, OK)


def parse_radar(posted: Posted) -> Parsed:
    """``POST /v1/track`` of Radar's callers, who need a JSON object of a certain shape."""
    return parse(posted)._replace(reply=RADAR_OK)


def _records(document: Any) -> list[Any]:
    if isinstance(document, list):
        return document
    for name in _MANY:
        inner = document.get(name)
        if isinstance(inner, list):
            return inner
    return [document]


def _read(posted: Posted, record: Any, root: Mapping[str, Any], unit: float) -> Iterable[Ping]:
    if isinstance(record, list):
        record = dict(zip(_COLUMNS, record, strict=False))
    record = _unwrapped(as_object(record))
    if record is None:
        return ()
    lat, lon = _position(record)
    kmh = first(record, *_SPEED_KMH)
    ping = make_ping(
        posted.device(first(record, *_DEVICE), first(root, *_DEVICE)),
        lat,
        lon,
        fix_time(first(record, *_TIME), posted.received_at),
        accuracy_m=first(record, *_ACCURACY),
        altitude_m=first(record, *_ALTITUDE),
        speed_mps=speed_mps(first(record, *_SPEED), unit) if kmh is None else _kmh(kmh),
        heading_deg=first(record, *_HEADING),
        is_mock=first(record, *_MOCK),
        battery=share(first(record, *_BATTERY)),
        activity=first(record, *_ACTIVITY),
    )
    return (ping,)


def _kmh(value: Any) -> float | None:
    return speed_mps(value, KMH_MPS)


def _unwrapped(record: dict[str, Any]) -> dict[str, Any] | None:
    """The record inside Home Assistant's webhook envelope; None if it is about no position.

    Raises:
        BadRecord: it is encrypted.
    """
    kind, inner = record.get("type"), record.get("data")
    if kind == "encrypted":
        raise BadRecord("the message is encrypted; turn encryption off for this address")
    if not isinstance(kind, str) or not isinstance(inner, dict | list):
        return record
    if kind == "update_location" and isinstance(inner, dict) and "gps" in inner:
        return inner
    return None


def _position(record: dict[str, Any]) -> tuple[Any, Any]:
    together = record.get("gps")
    if isinstance(together, list) and len(together) >= 2:
        return together[0], together[1]
    joined = record.get("location")
    if isinstance(joined, str) and "," in joined:
        lat, _, lon = joined.partition(",")
        return lat, lon
    return first(record, *_LAT), first(record, *_LON)
