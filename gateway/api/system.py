"""What operators and machines ask of the process itself."""

import hmac
import platform
import time
from email.utils import parsedate_to_datetime
from typing import Any

from litestar import Request, Response, get
from litestar.enums import MediaType
from litestar.params import FromQuery

from gateway import __version__, metrics
from gateway.config import Settings
from gateway.errors import Problem
from gateway.health import Finding
from gateway.services import Services
from gateway.times import rfc3339

NO_STORE = {"Cache-Control": "no-store"}


def _services(request: Request[Any, Any, Any]) -> Services:
    services: Services = request.app.state.services
    return services


@get("/livez", operation_id="livez", tags=["system"], opt={"public": True}, security=[])
async def livez() -> Response[str]:
    """Whether the process answers."""
    return Response("ok\n", media_type=MediaType.TEXT, headers=NO_STORE)


@get("/healthz", operation_id="healthz", tags=["system"], opt={"public": True}, security=[])
async def healthz() -> Response[str]:
    """The same as `/livez`, for older tooling."""
    return Response("ok\n", media_type=MediaType.TEXT, headers=NO_STORE)


@get("/readyz", operation_id="readyz", tags=["system"], opt={"public": True}, security=[])
async def readyz(
    request: Request[Any, Any, Any], verbose: FromQuery[str | None] = None
) -> Response[str]:
    """Whether the process can take work: 200 or 503. `?verbose` lists every check."""
    findings = _services(request).health.findings()
    is_ready = all(finding.is_ok for finding in findings)
    text = "ok\n" if is_ready else "not ready\n"
    if verbose is not None or not is_ready:
        text += "".join(_line(finding) for finding in findings)
    status = 200 if is_ready else 503
    return Response(text, status_code=status, media_type=MediaType.TEXT, headers=NO_STORE)


@get("/metrics", operation_id="metrics", tags=["system"], opt={"public": True}, security=[])
async def show_metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The numbers of all serving processes, for Prometheus."""
    settings: Settings = request.app.state.settings
    if settings.metrics_token:
        sent = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(sent.encode(), settings.metrics_token.encode()):
            raise Problem("unauthorized", "/metrics wants `Authorization: Bearer <metrics_token>`.")
    body, media_type = metrics.exposition()
    return Response(body, media_type=media_type, headers=NO_STORE)


@get("/v1/system", operation_id="system", tags=["system"], opt={"scope": "read"})
async def show_system(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """What runs here: versions, clock, Redis, readiness. `clock.skew_s` compares your `Date`."""
    services = _services(request)
    now = time.time_ns() // 1_000_000
    memory = await services.redis.info("memory")
    server = await services.redis.info("server")
    findings = services.health.findings()
    return {
        "version": __version__,
        "installation_id": services.installation.id,
        "started_at": rfc3339(services.started_at),
        "python": platform.python_version(),
        "clock": {"now": rfc3339(now), "skew_s": _skew_s(request.headers.get("date"), now)},
        "durability": services.settings.durability,
        "shards": services.installation.shard_count,
        "redis": {
            "version": server["redis_version"],
            "used_memory_bytes": memory["used_memory"],
            "max_memory_bytes": memory["maxmemory"],
        },
        "limits": {
            "max_body_bytes": services.settings.max_body_bytes,
            "max_pings_per_call": services.settings.max_pings_per_call,
        },
        "ready": all(finding.is_ok for finding in findings),
        "checks": [finding._asdict() for finding in findings],
    }


def _skew_s(date: str | None, now: int) -> float | None:
    """How far the caller's clock is ahead of ours, by its `Date` header."""
    try:
        return parsedate_to_datetime(date).timestamp() - now / 1000 if date else None
    except ValueError:
        return None


def _line(finding: Finding) -> str:
    return f"[{'+' if finding.is_ok else '-'}] {finding.name}: {finding.detail}\n"


ROUTES = [livez, healthz, readyz, show_metrics, show_system]
