"""``POST /v1/pings`` without the framework.

The route exists in Litestar, too (it is what ``/docs`` shows, and serves where CORS is on); this is
the same function behind the thinnest possible layer, because most requests of an installation are
these and the framework takes longer for one of them than everything else together.
"""

from typing import Any

from gateway import metrics
from gateway.api.pings import format_of, take_pings
from gateway.auth import Authenticator, Principal, credential_of
from gateway.errors import MEDIA_TYPE, Problem, answer_of, problem_of
from gateway.log import get_logger
from gateway.services import Services

_log = get_logger(__name__)

ROUTE = "/v1/pings"
WANTED = frozenset({b"authorization", b"content-type", b"content-length"})

Headers = list[tuple[bytes, bytes]]


class ThinIntake:
    """See the module."""

    def __init__(self, base_url: str, max_body_bytes: int) -> None:
        self._base_url = base_url
        self._max_body_bytes = max_body_bytes

    def takes(self, scope: Any) -> bool:
        """Whether this request is its own; the console's, with a cookie, goes the usual way."""
        is_post = scope["path"] == ROUTE and scope["method"] == "POST"
        return is_post and not any(name == b"cookie" for name, _ in scope["headers"])

    async def __call__(self, services: Services, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request; whatever happens is answered."""
        scope["path_template"] = ROUTE
        try:
            body = await self._take(services, scope, receive)
        except Exception as error:  # noqa: BLE001 - the border: all becomes an answer
            problem = problem_of(error) or _fault(error)
            metrics.PROBLEMS.labels(problem.kind.slug).inc()
            request_id = scope["state"]["request_id"]
            status, extra, answer = answer_of(problem, self._base_url, request_id)
            headers = [(name.lower().encode(), value.encode()) for name, value in extra.items()]
            headers.append((b"content-type", MEDIA_TYPE.encode()))
            await _send(send, status, headers, answer)
        else:
            await _send(send, 202, [(b"content-type", b"application/json")], body)

    async def _take(self, services: Services, scope: Any, receive: Any) -> bytes:
        headers = {name: value for name, value in scope["headers"] if name in WANTED}
        principal = await _caller(services.authenticator, headers)
        body = await self._body(receive, headers)
        return await take_pings(
            services,
            principal,
            body,
            format_of(headers.get(b"content-type", b"").decode("latin-1")),
            wants_wake_radius=b"wake_radius=" in scope["query_string"],
        )

    async def _body(self, receive: Any, headers: dict[bytes, bytes]) -> bytes:
        """The whole body.

        Raises:
            Problem: ``body-too-large``, before more of it is read.
        """
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > self._max_body_bytes:
            raise self._too_large()
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Problem("malformed-body", "The body ended early.")
            part = message.get("body", b"")
            size += len(part)
            if size > self._max_body_bytes:
                raise self._too_large()
            if not message.get("more_body") and not parts:
                return bytes(part)
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)

    def _too_large(self) -> Problem:
        return Problem("body-too-large", f"The body has more than {self._max_body_bytes} bytes.")


async def _caller(authenticator: Authenticator, headers: dict[bytes, bytes]) -> Principal:
    credential = credential_of(headers.get(b"authorization", b"").decode("latin-1"))
    if credential is None:
        raise Problem(
            "unauthorized",
            "No credential. Send `Authorization: Bearer <key>`; make a key with "
            "`gateway keys create`.",
        )
    principal = await authenticator.authenticate(credential)
    principal.require("ingest")
    return principal


def _fault(error: Exception) -> Problem:
    """What is told of a fault of the gateway itself; its cause goes to the log."""
    metrics.FAILURES.labels("http").inc()
    _log.error("request_failed", path=ROUTE, exc_info=error)
    return Problem("internal", "The gateway failed; its log has the cause.")


async def _send(send: Any, status: int, headers: Headers, body: bytes) -> None:
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
