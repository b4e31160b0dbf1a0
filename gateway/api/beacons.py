"""Beacon zones: sets of beacons that one can be in."""

from typing import Any

from litestar.handlers import HTTPRouteHandler

from gateway.api.caller import Call
from gateway.api.resources import Resource, document_routes
from gateway.kinds import beacon

EXAMPLE: dict[str, Any] = {
    "id": "till-3",
    "name": "Till 3",
    "beacons": ["ibeacon:e2c56db5-dffb-48d2-b060-d0f5a71096e0:1:3"],
    "tags": ["till"],
    "policy": {"silence_exit_s": 30, "enter_rssi_dbm": -75, "exit_rssi_dbm": -85},
    "timezone": "Europe/Berlin",
}


def _parse(_: Call, zone_id: str, document: dict[str, Any]) -> dict[str, Any]:
    return beacon.parse(zone_id, document)


BEACONS = Resource("beacons", "beacon", _parse, EXAMPLE)

ROUTES: list[HTTPRouteHandler] = document_routes(BEACONS)
