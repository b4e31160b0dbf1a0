"""Receivers: fixed devices that hear transmitters."""

from typing import Any

from litestar.handlers import HTTPRouteHandler

from gateway.api.caller import Call
from gateway.api.resources import Resource, document_routes
from gateway.kinds import receiver

EXAMPLE: dict[str, Any] = {
    "id": "gw-entrance",
    "name": "Entrance",
    "zone": "entrance",
    "report_interval_s": 5,
    "rssi_offset_dbm": 0,
    "lat": 52.5163,
    "lon": 13.3777,
}


def _parse(_: Call, receiver_id: str, document: dict[str, Any]) -> dict[str, Any]:
    return receiver.parse(receiver_id, document)


RECEIVERS = Resource("receivers", "receiver", _parse, EXAMPLE)

ROUTES: list[HTTPRouteHandler] = document_routes(RECEIVERS)
