"""All routes of the gateway."""

from collections.abc import Sequence
from types import ModuleType

from litestar.handlers import BaseRouteHandler

from gateway.api import (
    beacons,
    credentials,
    custom_events,
    devices,
    geofences,
    keys,
    pages,
    pings,
    receivers,
    sightings,
    system,
    triggers,
    users,
)

MODULES: Sequence[ModuleType] = (
    system,
    pages,
    keys,
    pings,
    sightings,
    custom_events,
    geofences,
    beacons,
    receivers,
    triggers,
    devices,
    users,
    credentials,
)

ROUTES: Sequence[BaseRouteHandler] = [route for module in MODULES for route in module.ROUTES]
