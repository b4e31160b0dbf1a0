"""The OsmAnd protocol: Traccar Client, its SDK, OsmAnd, and many small trackers.

One position a request, as a query (GET, or POST with an empty body), a form, or JSON; Traccar
Client 9 sends the Transistor shape instead. Speeds are knots (Traccar's clients and server agree),
unless the URL says ``?speed_unit=mps`` (or ``kmh``, ``mph``, ``kn``). Posts without a position
(heartbeats, push tokens) are answered and passed over.
Source: traccar/traccar, OsmAndProtocolDecoder; traccar/traccar-client-{android,ios}.
"""

from collections.abc import Iterable
from typing import Any

from gateway.ingest import transistor
from gateway.ingest.body import read_any
from gateway.ingest.model import BadRecord, Parsed, Posted, Reply, as_object, read_each
from gateway.ingest.values import (
    first,
    fix_time,
    make_ping,
    share,
    speed_mps,
    speed_unit,
)
from gateway.wire import Ping

OK = Reply(b"", media_type="text/plain")
_INVALID = frozenset({"false", "0"})


def parse(posted: Posted) -> Parsed:
    """The positions of a request.

    Raises:
        UnreadableBody: it starts like JSON and is none, or the speed unit is not known.
    """
    document = read_any(posted)
    if isinstance(document, dict) and isinstance(document.get("location"), dict | list):
        return transistor.parse(posted)._replace(reply=OK)
    unit = speed_unit(posted.speed_unit, "kn")
    records = document if isinstance(document, list) else [document]

    def read(record: Any) -> Iterable[Ping]:
        return _read(posted, as_object(record), unit)

    return read_each(records, read, OK)


def _read(posted: Posted, record: dict[str, Any], unit: float) -> Iterable[Ping]:
    lat, lon = first(record, "lat", "latitude"), first(record, "lon", "longitude")
    together = record.get("location")
    if isinstance(together, str) and together:
        lat, _, lon = together.partition(",")
    if lat is None and lon is None:
        return ()
    if str(record.get("valid", "true")).lower() in _INVALID:
        raise BadRecord("the app itself marks the position as invalid")
    ping = make_ping(
        posted.device(first(record, "id", "deviceid", "deviceId", "device_id")),
        lat,
        lon,
        fix_time(record.get("timestamp"), posted.received_at),
        accuracy_m=record.get("accuracy"),
        altitude_m=record.get("altitude"),
        speed_mps=speed_mps(record.get("speed"), unit),
        heading_deg=first(record, "bearing", "heading"),
        is_mock=record.get("mock"),
        battery=share(record.get("batt")),
        activity=record.get("activity"),
    )
    return (ping,)
