"""All routes of the gateway."""

from collections.abc import Sequence
from types import ModuleType

from litestar.handlers import BaseRouteHandler

from gateway.api import (
    beacons,
    credentials,
    custom_events,
    deliveries,
    devices,
    events,
    explain,
    geofences,
    ingest,
    keys,
    pages,
    pings,
    receivers,
    regions,
    sightings,
    stream,
    system,
    transfer,
    triggers,
    users,
)

MODULES: Sequence[ModuleType] = (
    system,
    pages,
    keys,
    pings,
    sightings,
    ingest,
    custom_events,
    transfer,
    geofences,
    beacons,
    receivers,
    triggers,
    devices,
    users,
    credentials,
    events,
    stream,
    deliveries,
    explain,
    regions,
)

ROUTES: Sequence[BaseRouteHandler] = [route for module in MODULES for route in module.ROUTES]
