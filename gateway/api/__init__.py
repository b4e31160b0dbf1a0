"""Routes, one module a resource. ``ROUTES`` is all of them."""

from litestar.handlers import BaseRouteHandler

from gateway.api.system import healthz, livez, readyz, show_metrics

ROUTES: list[BaseRouteHandler] = [livez, healthz, readyz, show_metrics]
