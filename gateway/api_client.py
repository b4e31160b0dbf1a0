"""The gateway's own client, for the commands that talk to a running gateway."""

import time
from collections.abc import Iterable, Iterator
from typing import Any

import httpx

MAX_TRIES = 6
RETRIED = frozenset({429, 503})


class ApiError(RuntimeError):
    """The gateway refused, or could not be reached; the message says why and what to do."""


class ApiClient:
    """Calls a gateway with a key; what may be sent again is sent again."""

    def __init__(self, url: str, key: str, timeout_s: float = 60) -> None:
        self._client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=timeout_s
        )

    def call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | Iterable[bytes] | None = None,
        params: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """One answer of the gateway.

        Raises:
            ApiError: it answered a problem, or could not be reached.
        """
        tries = MAX_TRIES if content is None or isinstance(content, bytes) else 1
        for left in reversed(range(tries)):
            try:
                answer = self._client.request(
                    method, path, json=json, content=content, params=params, headers=headers
                )
            except httpx.TransportError as error:
                if not left:
                    raise ApiError(
                        f"{self._client.base_url} cannot be reached ({error}). Is `gateway serve` "
                        "running there?"
                    ) from None
                time.sleep(1)
                continue
            if answer.status_code in RETRIED and left:
                time.sleep(float(answer.headers.get("Retry-After", "1")))
                continue
            if answer.is_error:
                raise ApiError(_reason(answer))
            return answer
        raise AssertionError("unreachable")

    def stream(self, path: str, params: dict[str, Any]) -> Iterator[bytes]:
        """The pieces of a long answer.

        Raises:
            ApiError: the gateway answered a problem, could not be reached, or broke off.
        """
        try:
            with self._client.stream("GET", path, params=params) as answer:
                if answer.is_error:
                    answer.read()
                    raise ApiError(_reason(answer))
                yield from answer.iter_bytes()
        except httpx.TransportError as error:
            raise ApiError(f"{self._client.base_url} cannot be read ({error}).") from None

    def close(self) -> None:
        """Close connections."""
        self._client.close()


def _reason(answer: httpx.Response) -> str:
    try:
        problem = answer.json()
        return f"{answer.status_code} {problem['title']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code} {answer.reason_phrase} from {answer.url}"
