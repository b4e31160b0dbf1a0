"""raddec: one transmitter heard by several receivers, as reelyActive's barnowl bridges send it.

Through those bridges come the receivers of Aruba, Cisco, Cassia, Huawei, Laird, Zebra and others.
Source: reelyactive/raddec, README (JSON form).
"""

from collections.abc import Iterable
from typing import Any

from gateway.ingest.body import read_json
from gateway.ingest.heard import heard, octets, seen_time
from gateway.ingest.model import BadRecord, Parsed, Posted, Reply, as_object, read_each
from gateway.wire import Sighting
from geo.advertisement import parse_advertisement

OK = Reply()
_PUBLIC_ADDRESS, _UNKNOWN = 2, 0
_PDU_HEAD_BYTES = 8  # two of header, six of address
MOST_RECEIVERS = 256


def parse(posted: Posted) -> Parsed:
    """One raddec, an array of them, or ``{"raddecs": [...]}``.

    Raises:
        UnreadableBody: it is not JSON.
    """
    document = read_json(posted.body)
    if isinstance(document, dict) and isinstance(document.get("raddecs"), list):
        document = document["raddecs"]
    records = document if isinstance(document, list) else [document]

    def read(record: Any) -> Iterable[Sighting]:
        return _read(posted, as_object(record))

    return read_each(records, read, OK)


def _read(posted: Posted, record: dict[str, Any]) -> Iterable[Sighting]:
    signature = record.get("rssiSignature")
    if not isinstance(signature, list) or len(signature) > MOST_RECEIVERS:
        raise BadRecord("rssiSignature must be an array of the receivers that heard it")
    seen_at = seen_time(record.get("timestamp"), 0, posted.received_at)
    is_random = record.get("transmitterIdType") not in (_PUBLIC_ADDRESS, _UNKNOWN, None)
    advertisement = _advertisement(record.get("packets"))
    found: list[Sighting] = []
    for decoding in map(as_object, signature):
        found += heard(
            posted.receiver(decoding.get("receiverId")),
            decoding.get("rssi"),
            seen_at,
            address=record.get("transmitterId"),
            is_random=is_random,
            advertisement=advertisement,
        )
    return found


def _advertisement(packets: object) -> bytes | None:
    """The packet that names a beacon; bridges send whole packets or advertising data alone."""
    if not isinstance(packets, list):
        return None
    for packet in packets:
        data = octets(packet) or b""
        for candidate in (data, data[_PDU_HEAD_BYTES:]):
            if parse_advertisement(candidate).beacons:
                return candidate
    return None
