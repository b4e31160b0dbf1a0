"""Raw advertisements as JSON: for receivers of one's own making, and those that are nearly alike.

Each record is one packet: who heard it, the sender's address, the strength, and the advertising
data in hexadecimal or as an array of numbers. Names are free within the usual ones; MOKO's envelope
(``device_info``, ``data``), Cassia's (``bdaddrs``, ``adData``) and the events of Shelly's scripts
are understood. Without a time the time of receipt counts.
Source: reelyactive/barnowl-{mokosmart,cassia}; shelly-api-docs, BTHome.
"""

from collections.abc import Iterable
from typing import Any

from gateway.ingest.body import read_json
from gateway.ingest.heard import heard, octets, seen_time
from gateway.ingest.model import Parsed, Posted, Reply, as_object, read_each
from gateway.ingest.values import first
from gateway.wire import Sighting

OK = Reply()
_MANY = ("advertisements", "sightings", "packets", "data")
_RECEIVER = ("receiver_id", "receiver", "gateway", "gw", "gw_mac", "chipId")
_ADDRESS = ("address", "mac", "addr", "bdaddr")
_DATA = ("advertisement", "adv", "adv_data", "adData", "raw", "raw data", "rawData", "scanData")
_TIME = ("seen_at", "timestamp", "time", "ts")
_POWER = ("measured_power_dbm", "measured_power", "txpower")


def parse(posted: Posted) -> Parsed:
    """One packet, an array of them, or an envelope with an array.

    Raises:
        UnreadableBody: it is not JSON.
    """
    document = read_json(posted.body)
    root = document if isinstance(document, dict) else {}

    def read(record: Any) -> Iterable[Sighting]:
        return _read(posted, as_object(record), root)

    return read_each(_records(document), read, OK)


def _records(document: Any) -> list[Any]:
    if isinstance(document, list):
        return document
    for name in _MANY:
        inner = document.get(name)
        if isinstance(inner, list) and "rssi" not in document:
            return inner
    return [document]


def _read(posted: Posted, record: dict[str, Any], root: dict[str, Any]) -> Iterable[Sighting]:
    if isinstance(record.get("value"), dict):  # MOKO's older firmware
        record = record["value"]
    return heard(
        posted.receiver(first(record, *_RECEIVER), *_receivers(root)),
        record.get("rssi"),
        seen_time(first(record, *_TIME), 0, posted.received_at),
        address=_address(record),
        advertisement=octets(first(record, *_DATA)),
        beacon=record.get("beacon"),
        power_dbm=first(record, *_POWER),
    )


def _receivers(root: dict[str, Any]) -> list[Any]:
    info = root.get("device_info")
    return [first(root, *_RECEIVER), info.get("mac") if isinstance(info, dict) else None]


def _address(record: dict[str, Any]) -> Any:
    listed = record.get("bdaddrs")
    if isinstance(listed, list) and listed and isinstance(listed[0], dict):
        return listed[0].get("bdaddr")
    return first(record, *_ADDRESS)
