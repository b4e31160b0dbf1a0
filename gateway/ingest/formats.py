"""The formats that ``/ingest/{format}`` knows."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from gateway.ingest import (
    advertisements,
    aliases,
    espresense,
    minew,
    openmqttgateway,
    osmand,
    overland,
    owntracks,
    raddec,
    ruuvi,
    transistor,
)
from gateway.ingest.model import Parsed, Posted, Reply


class Format(NamedTuple):
    """One format: how it is read, and what a test of the connection (GET or HEAD) hears."""

    name: str
    parse: Callable[[Posted], Parsed]
    hello: Callable[[str], Reply]  # of the tenant's name
    posts_by_query: bool = False  # a GET with a query is a post


def _same(reply: Reply) -> Callable[[str], Reply]:
    return lambda _tenant: reply


_FORMATS = (
    Format("owntracks", owntracks.parse, _same(owntracks.NOTHING)),
    Format("overland", overland.parse, overland.hello),
    Format("traccar", osmand.parse, _same(osmand.OK), posts_by_query=True),
    Format("transistor", transistor.parse, _same(transistor.OK)),
    Format("gpslogger", aliases.parse, _same(aliases.OK), posts_by_query=True),
    Format("radar", aliases.parse_radar, _same(aliases.RADAR_OK)),
    Format("minew", minew.parse, _same(minew.OK)),
    Format("ruuvi", ruuvi.parse, _same(ruuvi.OK)),
    Format("raddec", raddec.parse, _same(raddec.OK)),
    Format("advertisements", advertisements.parse, _same(advertisements.OK)),
    Format("openmqttgateway", openmqttgateway.parse, _same(openmqttgateway.OK)),
    Format("espresense", espresense.parse, _same(espresense.OK)),
)
_ALIASES = {
    "osmand": "traccar",
    "expo": "transistor",
    "tracelet": "transistor",
    "homeassistant": "gpslogger",
    "phonetrack": "gpslogger",
    "colota": "gpslogger",
    "mauron85": "gpslogger",
    "shelly": "advertisements",
    "moko": "advertisements",
    "cassia": "advertisements",
    "theengs": "openmqttgateway",
}
_BY_NAME = {one.name: one for one in _FORMATS}

FORMATS: Mapping[str, Format] = {
    **_BY_NAME,
    **{alias: _BY_NAME[name] for alias, name in _ALIASES.items()},
}
