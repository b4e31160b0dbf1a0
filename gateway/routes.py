"""All routes of the gateway."""

from collections.abc import Sequence

from litestar.handlers import BaseRouteHandler

from gateway.api import custom_events, keys, pages, pings, sightings, system

ROUTES: Sequence[BaseRouteHandler] = [
    route
    for module in (system, pages, keys, pings, sightings, custom_events)
    for route in module.ROUTES
]
