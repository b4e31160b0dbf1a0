"""The thin intake answers what the framework's route answers."""

import asyncio
import gzip
import json
from typing import Any

import pytest

from gateway.app import Gateway, create_app
from gateway.config import Settings
from gateway.services import build_services
from gateway.thin import ThinIntake

NOW = "2026-11-22T10:00:00Z"
PING = {"device_id": "p1", "lat": 48.1, "lon": 11.5, "recorded_at": NOW}


async def ask(app: Gateway, key: str, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    """One request, through ASGI."""
    sent: list[dict[str, Any]] = []
    pieces = [{"type": "http.request", "body": body, "more_body": False}]
    given = {"authorization": f"Bearer {key}"} | {
        k.replace("_", "-"): v for k, v in headers.items()
    }

    async def receive() -> dict[str, Any]:
        return pieces.pop() if pieces else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/v1/pings", "raw_path": b"/v1/pings",
        "root_path": "", "query_string": b"", "scheme": "http", "http_version": "1.1",
        "headers": [(k.encode(), v.encode()) for k, v in given.items() if v],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "app": app,
    }  # fmt: skip
    await app(scope, receive, send)
    answer = b"".join(m.get("body", b"") for m in sent if m["type"] == "http.response.body")
    return sent[0]["status"], json.loads(answer)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (json.dumps(PING).encode(), {}, 202),
        (json.dumps([PING, {"lat": 1}]).encode(), {}, 202),
        (gzip.compress(json.dumps([PING]).encode()), {"content_encoding": "gzip"}, 202),
        (gzip.compress(b"[" + b" " * 30_000_000 + b"]"), {"content_encoding": "gzip"}, 413),
        (b"x" * 17_000_000, {}, 413),
        (b"nope", {}, 400),
        (b"", {}, 400),
        (json.dumps({**PING, "lat": 91}).encode(), {}, 422),
        (json.dumps(PING).encode(), {"authorization": ""}, 401),
        (json.dumps(PING).encode(), {"authorization": "Bearer tgw_nope"}, 401),
        (json.dumps([PING]).encode(), {"content_encoding": "br"}, 415),
    ],
)
def test_the_thin_route_is_the_route(
    body: bytes, headers: dict[str, str], status: int, clean_redis_url: str, tmp_path: Any
) -> None:
    """Status and body are the same with and without the framework, for good and bad requests."""

    async def main() -> list[tuple[int, dict[str, Any]]]:
        settings = Settings(data_dir=tmp_path, redis_url=clean_redis_url, background=False)
        app = create_app(settings)
        services = await build_services(settings)
        app.state.services = services
        made = await services.keys.create("acme", ["ingest"], now=1)
        key = made.text
        answers = []
        for thin in (ThinIntake(settings.base_url, settings.max_body_bytes), None):
            app.thin = thin  # type: ignore[attr-defined]
            answers.append(await ask(app, key, body, **headers))  # type: ignore[arg-type]
            await services.redis.flushall()
            services.authenticator.forget()
            made = await services.keys.create("acme", ["ingest"], now=1)
            key = made.text
        await services.close()
        return answers

    answers = asyncio.run(main())
    for _, answer in answers:
        answer.pop("instance", None)
        if status == 413:  # the framework has no words of its own for it
            answer.pop("detail")
    assert status == answers[0][0]
    assert answers[0] == answers[1]
