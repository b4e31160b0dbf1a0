"""The HTTP application: routes, errors, documents and the lifetime of services.

``Gateway`` wraps every request, found or not: it gives it an id, undoes its content encoding,
counts it, and writes one line for it unless it is a probe or intake.
"""

import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import cache
from itertools import count
from typing import Any

from litestar import Litestar, Request
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.types import HTTPScope, Message, Scope, Send
from prometheus_client import Counter, Histogram

from gateway import metrics
from gateway.auth import authorize
from gateway.config import Settings
from gateway.encoding import decoded
from gateway.errors import exception_handlers, problem_of
from gateway.log import get_logger, hide_secrets
from gateway.openapi import openapi_config
from gateway.routes import ROUTES
from gateway.services import Services, build_services
from gateway.thin import ThinIntake

_log = get_logger(__name__)

QUIET_ROUTES = (
    "/livez",
    "/readyz",
    "/healthz",
    "/metrics",
    "/v1/pings",
    "/v1/sightings",
    "/ingest",
    "/i/",
    "/pub",
)
_REQUEST_ID = re.compile(rb"[\w.:-]{8,64}")

BuildServices = Callable[[Settings], Awaitable[Services]]


class Gateway(Litestar):
    """Litestar, with every request numbered, counted and (if it is not intake) logged.

    ``thin`` takes its requests past the framework, if set.
    """

    thin: ThinIntake | None = None
    request_ids: Iterator[str]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        exchange = _Exchange(scope, send, self.request_ids)
        try:
            services = getattr(self.state, "services", None)
            if self.thin is not None and services is not None and self.thin.takes(scope):
                await self.thin(services, scope, decoded(scope, receive), exchange.send)
            else:
                await super().__call__(scope, decoded(scope, receive), exchange.send)
        finally:
            exchange.finish()


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: HTTPScope, send: Send, request_ids: Iterator[str]) -> None:
        self._scope = scope
        self._send = send
        self._started = time.perf_counter()
        self._status = 0
        self.request_id = _given_id(scope) or next(request_ids)
        scope.setdefault("state", {})["request_id"] = self.request_id

    async def send(self, message: Message) -> None:
        """Pass a message on; note the status and add the request id."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message["headers"] = [
                *message.get("headers", ()),
                (b"x-request-id", self.request_id.encode()),
            ]
        await self._send(message)

    def finish(self) -> None:
        """Count the request, and write its line."""
        elapsed_s = time.perf_counter() - self._started
        route = self._scope.get("path_template") or "unknown"
        method = str(self._scope["method"])
        counter, duration = _series(route, method, self._status)
        counter.inc()
        duration.observe(elapsed_s)
        if route.startswith(QUIET_ROUTES):
            return
        principal = self._scope.get("user")
        _log.info(
            "request",
            request_id=self.request_id,
            method=method,
            path=hide_secrets(str(self._scope["path"])),
            route=route,
            status=self._status,
            duration_s=round(elapsed_s, 4),
            tenant=getattr(principal, "tenant", None),
            key_id=getattr(principal, "key_id", None),
        )


def create_app(settings: Settings, build: BuildServices = build_services) -> Litestar:
    """The application; services are built when it starts and closed when it stops.

    Routes find them as the dependency ``services`` and at ``app.state.services``.
    """

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        services = await build(settings)
        app.state.services = services
        try:
            yield
        finally:
            await services.close()

    app = Gateway(
        route_handlers=ROUTES,
        guards=[authorize],
        lifespan=[lifespan],
        exception_handlers=exception_handlers(settings.base_url, _log_failure),
        after_exception=[_count_problem],
        openapi_config=openapi_config(settings),
        request_max_body_size=settings.max_body_bytes,
        cors_config=CORSConfig(
            allow_origins=list(settings.cors_origins),
            allow_headers=["Authorization", "Content-Type", "If-Match", "If-None-Match"],
            expose_headers=["ETag", "Link", "Location", "Retry-After", "X-Request-ID"],
        )
        if settings.cors_origins
        else None,
        logging_config=None,
        state=State({"settings": settings}),
    )
    app.request_ids = _new_ids()
    if not settings.cors_origins:
        app.thin = ThinIntake(settings.base_url, settings.max_body_bytes)
    return app


async def _count_problem(exc: Exception, _scope: Scope) -> None:
    problem = problem_of(exc)
    metrics.PROBLEMS.labels(problem.kind.slug if problem else "internal").inc()


def _log_failure(request: Request[Any, Any, Any], exc: Exception) -> None:
    metrics.FAILURES.labels("http").inc()
    _log.error(
        "request_failed",
        request_id=request.scope.get("state", {}).get("request_id"),
        path=request.scope["path"],
        exc_info=exc,
    )


@cache
def _series(route: str, method: str, status: int) -> tuple[Counter, Histogram]:
    """The metrics of a route; looking them up by label costs more than counting."""
    return (
        metrics.REQUESTS.labels(route, method, str(status)),
        metrics.REQUEST_DURATION.labels(route),
    )


def _given_id(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value.decode()
    return None


def _new_ids() -> Iterator[str]:
    """Unique ids: a random name and a number. A UUID a request would cost much more."""
    name = uuid.uuid4().hex[:16]
    return (f"{name}{number:08x}" for number in count())
