"""Overland for iOS, and what speaks its format: GeoJSON features in batches.

Units are ours (m, m/s, degrees); numbers below 0 mean unknown. The app keeps its copy until it
reads ``{"result": "ok"}``. Source: aaronpk/Overland-iOS, README and GPSLogger/GLManager.m.
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
    json_reply,
    read_each,
)
from gateway.ingest.values import fix_time, make_ping
from gateway.wire import Ping

OK = json_reply({"result": "ok"})


def parse(posted: Posted) -> Parsed:
    """All positions of the batch; visits, trips and lifecycle records are passed over.

    Raises:
        UnreadableBody: the body is not JSON, or has no ``locations``.
    """
    document = read_json(posted.body)
    records = document.get("locations") if isinstance(document, dict) else None
    if not isinstance(records, list):
        raise UnreadableBody('The body needs an array `locations`: {"locations": [...]}.')
    current = document.get("current")
    if current:
        records = [*records, current]

    def read(record: Any) -> Iterable[Ping]:
        return _read(posted, record, document.get("device_id"))

    return read_each(records, read, OK)


def hello(tenant: str) -> Reply:
    """The account name that the app shows."""
    return json_reply({"result": "ok", "name": tenant})


def _read(posted: Posted, record: Any, sender: Any) -> Iterable[Ping]:
    feature = as_object(record)
    known = feature.get("properties")
    known = known if isinstance(known, dict) else {}
    if known.get("action") or known.get("type") == "trip":
        return ()
    lat, lon = _position(feature.get("geometry"))
    if known.get("timestamp") is None:
        raise BadRecord("properties.timestamp is missing")
    ping = make_ping(
        posted.device(known.get("device_id"), sender, known.get("unique_id")),
        lat,
        lon,
        fix_time(known["timestamp"], posted.received_at),
        accuracy_m=known.get("horizontal_accuracy"),
        altitude_m=known.get("altitude"),
        speed_mps=known.get("speed"),
        heading_deg=known.get("course"),
        battery=known.get("battery_level"),
        activity=known.get("motion"),
    )
    return (ping,)


def _position(geometry: Any) -> tuple[Any, Any]:
    """Latitude and longitude of a GeoJSON point.

    Raises:
        BadRecord: it is none.
    """
    place = geometry.get("coordinates") if isinstance(geometry, dict) else None
    if not isinstance(place, list) or len(place) < 2:
        raise BadRecord("geometry.coordinates must be [longitude, latitude]")
    return place[1], place[0]
