"""A client of the management routes on a real Redis."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from litestar import Litestar
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.testing import TestClient
from redis.asyncio import Redis

from gateway.audit import Audit
from gateway.auth import Principal
from gateway.errors import exception_handlers
from gateway.registry import Registry
from senders.vault import Vault

ApiClient = Callable[..., TestClient[Litestar]]


def _let_in(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    tenant = connection.headers.get("x-tenant", "acme")
    connection.scope["user"] = Principal(tenant, frozenset({"manage", "read"}), "test-key")


@pytest.fixture
def api_client(clean_redis_url: str) -> Iterator[ApiClient]:
    """Makes a client of the given routes; header ``X-Tenant`` chooses the tenant.

    Keyword arguments are further services, made from the Redis client. A fault of the gateway (what
    would be answered with 500) fails the test.
    """
    failures: list[Exception] = []

    def make(routes: list[Any], **parts: Callable[[Redis], Any]) -> TestClient[Litestar]:
        @asynccontextmanager
        async def lifespan(app: Litestar) -> AsyncIterator[None]:
            redis = Redis.from_url(clean_redis_url)
            made = {name: make_part(redis) for name, make_part in parts.items()}
            app.state.services = SimpleNamespace(
                redis=redis,
                registry=Registry(redis),
                audit=Audit(redis),
                vault=Vault([os.urandom(32)]),
                **made,
            )
            yield
            await redis.aclose()

        app = Litestar(
            route_handlers=routes,
            guards=[_let_in],
            lifespan=[lifespan],
            exception_handlers=exception_handlers("", lambda _, exc: failures.append(exc)),
            openapi_config=None,
            logging_config=None,
        )
        return stack.enter_context(TestClient(app))

    with ExitStack() as stack:
        yield make
    assert [] == failures
