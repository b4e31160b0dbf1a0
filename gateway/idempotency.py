"""Answers kept for their ``Idempotency-Key``: the same request again gets the same answer.

The key belongs to the tenant. Another body under a used key is refused, a request that is still
running is answered with 409, and a request that failed in the gateway leaves no answer.

Source: draft-ietf-httpapi-idempotency-key-header-07, section 2.
"""

from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any

import msgspec
from litestar import Response

from gateway.api.caller import Call
from gateway.document import Client
from gateway.errors import Problem
from gateway.sharding import CONFIG_TAG

RUNNING_MS = 60_000
MAX_KEY_CHARS = 255


class KeptAnswer(msgspec.Struct, frozen=True, array_like=True):
    """An answer, and the digest of the request that it belongs to."""

    digest: bytes
    status: int = 0  # 0: still running
    headers: dict[str, str] = {}
    body: bytes = b""


class KeptAnswers:
    """Answers by key. ``retention_ms`` is how long they are kept."""

    def __init__(self, client: Client, retention_ms: int) -> None:
        self._client: Any = client
        self._retention_ms = retention_ms

    async def once(
        self, request: Call, tenant: str, run: Callable[[], Awaitable[Response[bytes]]]
    ) -> Response[bytes]:
        """The answer of ``run``, or the one that it gave to the same request before.

        Raises:
            Problem: the key is malformed, was used for another request, or is being used.
        """
        key = request.headers.get("idempotency-key")
        if key is None:
            return await run()
        name = _name(tenant, key)
        digest = sha256(f"{request.method} {request.url.path}\n".encode() + await request.body())
        kept = await self._begin(name, digest.digest())
        if kept is not None:
            headers = {**kept.headers, "Idempotent-Replayed": "true"}
            return Response(kept.body, status_code=kept.status, headers=headers)
        try:
            response = await run()
        except BaseException:
            await self._client.delete(name)
            raise
        await self._keep(name, digest.digest(), response)
        return response

    async def _begin(self, name: str, digest: bytes) -> KeptAnswer | None:
        """Take the key, or find what was answered under it."""
        mark = msgspec.msgpack.encode(KeptAnswer(digest))
        if await self._client.set(name, mark, nx=True, px=RUNNING_MS):
            return None
        found = await self._client.get(name)
        if found is None:
            return await self._begin(name, digest)
        kept = msgspec.msgpack.decode(found, type=KeptAnswer)
        if kept.digest != digest:
            raise Problem(
                "idempotency-mismatch", "This Idempotency-Key was used for another request."
            )
        if not kept.status:
            raise Problem("request-running", "The first request with this key is still running.")
        return kept

    async def _keep(self, name: str, digest: bytes, response: Response[bytes]) -> None:
        headers = {str(k): str(v) for k, v in response.headers.items()}
        headers.setdefault("Content-Type", str(response.media_type or "application/json"))
        kept = KeptAnswer(digest, response.status_code or 200, headers, response.content)
        encoded = msgspec.msgpack.encode(kept)
        await self._client.set(name, encoded, px=self._retention_ms)


def _name(tenant: str, key: str) -> str:
    plain = key.strip().strip('"')
    if not plain or len(plain) > MAX_KEY_CHARS:
        raise Problem(
            "invalid-request",
            f"Idempotency-Key must have 1 to {MAX_KEY_CHARS} characters; a UUID is a good one.",
            errors=[("header Idempotency-Key", f"must have 1 to {MAX_KEY_CHARS} characters")],
        )
    return f"{CONFIG_TAG}:answers:{tenant}/{sha256(plain.encode()).hexdigest()}"
