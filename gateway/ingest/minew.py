"""Minew's gateways G1, G2, MG3, MG4: JSON-LONG, JSON-RAW and BINARY-LONG, told by the first bytes.

Older firmware sends the binary form as ``application/json``. The other binary forms are refused
with words.
Source: reelyactive/barnowl-minew, lib/*decoder.js; captures of JSON-LONG.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from gateway.ingest.body import read_json
from gateway.ingest.heard import clock_offset_ms, heard, octets, seen_time
from gateway.ingest.model import (
    BadRecord,
    Parsed,
    Posted,
    Reply,
    UnreadableBody,
    as_object,
    read_each,
)
from gateway.wire import Sighting

OK = Reply(b"", media_type="text/plain")
_BINARY = b"\xbb\x01"
_OTHERS = {b"\xbb\x00": "BINARY-SHORT", b"\xbb\x02": "MINEW-CONNECT"}
_RANDOM_ADDRESS = 0x06
_HEAD_BYTES = 14


class _Packet(NamedTuple):
    receiver: str
    address: str
    is_random: bool
    rssi_dbm: int
    advertisement: bytes


def parse(posted: Posted) -> Parsed:
    """Every packet of the upload.

    Raises:
        UnreadableBody: it is none of the three forms.
    """
    other = _OTHERS.get(posted.body[:2])
    if other:
        raise UnreadableBody(
            f"This is {other}, which is not documented. Set the gateway's upload format to "
            "JSON-LONG or BINARY-LONG."
        )
    if posted.body.startswith(_BINARY):
        return _parse_binary(posted)
    document = read_json(posted.body)
    if not isinstance(document, list):
        raise UnreadableBody("A Minew gateway sends an array, its own record first.")
    head = document[0] if document and _is_gateway(document[0]) else {}
    offset_ms = clock_offset_ms(head.get("timestamp"), posted.received_at)

    def read(record: Any) -> Iterable[Sighting]:
        if _is_gateway(record):
            return ()
        return _read(posted, as_object(record), head, offset_ms)

    return read_each(document, read, OK)


def _is_gateway(record: Any) -> bool:
    return isinstance(record, dict) and (record.get("type") == "Gateway" or "gateway" in record)


def _read(
    posted: Posted, record: dict[str, Any], head: dict[str, Any], offset_ms: int
) -> Iterable[Sighting]:
    beacon = None
    if record.get("ibeaconUuid"):
        beacon = {
            "uuid": str(record["ibeaconUuid"]),
            "major": record.get("ibeaconMajor"),
            "minor": record.get("ibeaconMinor"),
        }
    return heard(
        posted.receiver(head.get("mac"), head.get("gateway")),
        record.get("rssi"),
        seen_time(record.get("timestamp"), offset_ms, posted.received_at),
        address=record.get("mac"),
        advertisement=octets(record.get("rawData")),
        beacon=beacon,
        power_dbm=record.get("ibeaconTxPower"),
    )


def _parse_binary(posted: Posted) -> Parsed:
    """``BB01``, u32 length, gateway (6), u16 transmitters, their packets, ``DD``."""
    receiver = posted.body[6:12].hex()
    packets: list[_Packet] = []
    end = "the upload is cut short"
    for packet in _packets(posted.body, receiver):
        if packet is None:
            break
        packets.append(packet)
    else:
        end = ""

    def read(packet: _Packet) -> Iterable[Sighting]:
        return heard(
            posted.receiver(packet.receiver),
            packet.rssi_dbm,
            posted.received_at,
            address=packet.address,
            is_random=packet.is_random,
            advertisement=packet.advertisement,
        )

    found = read_each(packets, read, OK)
    if end:
        cut = read_each([posted.body], _refuse(end), OK)
        return found._replace(bad=[*found.bad, *cut.bad])
    return found


def _refuse(reason: str) -> Any:
    def refuse(_: Any) -> Iterable[Sighting]:
        raise BadRecord(reason)

    return refuse


def _packets(body: bytes, receiver: str) -> Iterator[_Packet | None]:
    """The packets; a last None where the body ends too early."""
    transmitters = int.from_bytes(body[12:14], "big")
    at = _HEAD_BYTES
    for _ in range(transmitters):
        address = body[at : at + 6].hex(":")
        count = int.from_bytes(body[at + 6 : at + 8], "big")
        at += 8
        for _ in range(count):
            if at >= len(body) or at + body[at] + 3 > len(body):
                yield None
                return
            size = body[at]
            data, flags, rssi = (
                body[at + 1 : at + 1 + size],
                body[at + 1 + size],
                body[at + 2 + size],
            )
            at += size + 3
            yield _Packet(
                receiver,
                address,
                bool(flags & _RANDOM_ADDRESS),
                rssi - 256 if rssi > 127 else rssi,
                data,
            )
    if at > len(body):
        yield None
