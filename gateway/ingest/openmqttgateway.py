"""OpenMQTTGateway and Theengs Gateway: one decoded packet a message, without a time.

Topic ``home/<gateway>/BTtoMQTT/<address>``; the gateway is the receiver. Data that was not decoded
comes in parts and is put together again.
Source: 1technophile/OpenMQTTGateway, docs/use/ble.md; theengs/gateway, ble_gateway.py.
"""

from collections.abc import Iterable
from typing import Any

from gateway.ingest.body import read_json
from gateway.ingest.heard import heard, octets
from gateway.ingest.model import Parsed, Posted, Reply, as_object, read_each
from gateway.ingest.values import whole
from gateway.wire import Sighting

OK = Reply()
_MANUFACTURER, _SERVICE_DATA = 0xFF, 0x16
_PUBLIC = 0
MAX_PART_BYTES = 250


def parse(posted: Posted) -> Parsed:
    """The packet of a message (or an array of them); trackers' ``presence`` messages hold none.

    Raises:
        UnreadableBody: it is not JSON.
    """
    document = read_json(posted.body)
    records = document if isinstance(document, list) else [document]

    def read(record: Any) -> Iterable[Sighting]:
        return _read(posted, as_object(record))

    return read_each(records, read, OK)


def _read(posted: Posted, record: dict[str, Any]) -> Iterable[Sighting]:
    if "presence" in record or "rssi" not in record:
        return ()
    beacon = None
    if record.get("uuid") and record.get("major") is not None:
        beacon = {
            "uuid": str(record["uuid"]),
            "major": whole(record.get("major")),
            "minor": whole(record.get("minor")),
        }
    return heard(
        posted.receiver(),
        record.get("rssi"),
        posted.received_at,
        address=record.get("mac") or record.get("id"),  # the id may be the UUID, by setting
        is_random=whole(record.get("mac_type")) not in (_PUBLIC, None),
        advertisement=_advertisement(record),
        beacon=beacon,
        power_dbm=record.get("txpower"),
    )


def _advertisement(record: dict[str, Any]) -> bytes | None:
    """Advertising data from its parts: length, type, payload each."""
    found = b""
    maker = octets(record.get("manufacturerdata")) or b""
    if 0 < len(maker) <= MAX_PART_BYTES:
        found += bytes((len(maker) + 1, _MANUFACTURER)) + maker
    data = octets(record.get("servicedata")) or b""
    uuid = octets(record.get("servicedatauuid")) or b""
    if data and len(uuid) == 2 and len(data) <= MAX_PART_BYTES:
        found += bytes((len(data) + 3, _SERVICE_DATA)) + uuid[::-1] + data
    return found or None
