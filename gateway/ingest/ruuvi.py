"""Ruuvi Gateway: a table of the latest packet of each tag, over HTTP, or a packet over MQTT.

Numbers are text in posts. Without a clock the times vanish, and the time of receipt counts. With
``?rate_s=`` in the URL the reply sets how often the gateway posts (1 to 3600 s).
Source: ruuvi/docs, ruuvi-gateway-firmware; ruuvi/ruuvi.gateway_esp.c, http_post_event_handler.c.
"""

from collections.abc import Iterable
from typing import Any

from gateway.ingest.body import read_json
from gateway.ingest.heard import clock_offset_ms, heard, octets, seen_time
from gateway.ingest.model import Parsed, Posted, Reply, UnreadableBody, as_object, read_each
from gateway.ingest.values import whole
from gateway.wire import Sighting

OK = Reply(b"", media_type="text/plain")
RATE_HEADER = "X-Ruuvi-Gateway-Rate"
_STATUS_FIELDS = ("DEVICE_ADDR", "UPTIME", "state")


def parse(posted: Posted) -> Parsed:
    """Every tag of the table. Status posts and connection messages hold none.

    Raises:
        UnreadableBody: it is neither of them.
    """
    document = read_json(posted.body)
    if not isinstance(document, dict):
        raise UnreadableBody("A Ruuvi Gateway sends an object.")
    data = document.get("data")
    reply = _reply(posted)
    if isinstance(data, str):
        return _parse_packet(posted, document)
    if not isinstance(data, dict) or not isinstance(data.get("tags"), dict):
        if any(name in document for name in _STATUS_FIELDS):
            return Parsed(reply)
        raise UnreadableBody("The body has neither data.tags nor a packet in data.")
    offset_ms = clock_offset_ms(data.get("timestamp"), posted.received_at)

    def read(tag: tuple[str, Any]) -> Iterable[Sighting]:
        address, record = tag
        return _read(posted, address, as_object(record), data.get("gw_mac"), offset_ms)

    return read_each(data["tags"].items(), read, reply)


def _parse_packet(posted: Posted, packet: dict[str, Any]) -> Parsed:
    """One packet of MQTT; the tag's address ends the topic."""

    def read(record: dict[str, Any]) -> Iterable[Sighting]:
        told = {**record, "timestamp": record.get("ts")}
        offset_ms = clock_offset_ms(record.get("gwts"), posted.received_at)
        address = posted.query.get("address", "")
        return _read(posted, address, told, record.get("gw_mac"), offset_ms)

    return read_each([packet], read, OK)


def _read(
    posted: Posted, address: str, record: dict[str, Any], receiver: object, offset_ms: int
) -> Iterable[Sighting]:
    return heard(
        posted.receiver(receiver),
        record.get("rssi"),
        seen_time(record.get("timestamp"), offset_ms, posted.received_at),
        address=address,
        advertisement=octets(record.get("data")),
    )


def _reply(posted: Posted) -> Reply:
    rate_s = whole(posted.query.get("rate_s"))
    if rate_s is None or not 1 <= rate_s <= 3600:
        return OK
    return OK._replace(headers={RATE_HEADER: str(rate_s)})
