"""All routes of the gateway."""

from collections.abc import Sequence

from litestar.handlers import BaseRouteHandler

from gateway.api import keys, pages, pings, system

ROUTES: Sequence[BaseRouteHandler] = [
    route for module in (system, pages, keys, pings) for route in module.ROUTES
]
