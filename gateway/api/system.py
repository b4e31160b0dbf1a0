"""What operators and machines ask of the process itself."""

import hmac
from typing import Any

from litestar import Request, Response, get
from litestar.enums import MediaType

from gateway import metrics
from gateway.config import Settings
from gateway.errors import Problem
from gateway.health import Finding
from gateway.services import Services

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
async def readyz(request: Request[Any, Any, Any], verbose: str | None = None) -> Response[str]:
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


def _line(finding: Finding) -> str:
    return f"[{'+' if finding.is_ok else '-'}] {finding.name}: {finding.detail}\n"


ROUTES = [livez, healthz, readyz, show_metrics]
