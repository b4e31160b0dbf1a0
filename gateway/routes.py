"""All routes of the gateway."""

from collections.abc import Sequence
from types import ModuleType

from litestar.handlers import BaseRouteHandler

from gateway.api import (
    backtests,
    beacons,
    console,
    credentials,
    custom_events,
    dead_letters,
    deliveries,
    devices,
    events,
    explain,
    geofences,
    inboxes,
    ingest,
    keys,
    messages,
    notifications,
    pages,
    pings,
    push_page,
    receipts,
    receivers,
    regions,
    sightings,
    stream,
    system,
    tenants,
    transfer,
    triggers,
    users,
)

MODULES: Sequence[ModuleType] = (
    system,
    pages,
    console,
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
    backtests,
    devices,
    users,
    credentials,
    events,
    stream,
    deliveries,
    explain,
    regions,
    receipts,
    inboxes,
    notifications,
    messages,
    dead_letters,
    push_page,
    tenants,
)

ROUTES: Sequence[BaseRouteHandler] = [route for module in MODULES for route in module.ROUTES]
