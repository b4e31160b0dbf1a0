"""Requests end in an answer or in one of three errors that tell whether they may have arrived."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from senders import http as http_module
from senders.http import (
    MAX_ANSWER_BYTES,
    PIN_S,
    Answer,
    GuardedHttp,
    ProviderHttp,
    UnansweredError,
    UnsentError,
)
from senders.network import ForbiddenUrlError, NetworkPolicy

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-Mark: 7\r\n\r\nhi"


def _answering(data: bytes) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()
        writer.close()

    return handle


@asynccontextmanager
async def _serving(handler: Handler) -> AsyncIterator[int]:
    """The port of a server with this handler; nothing of it outlives the block."""
    handling: list[tuple[asyncio.Task[None], asyncio.StreamWriter]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handling.append((task, writer))
        await handler(reader, writer)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task, writer in handling:
            task.cancel()
            writer.transport.abort()
        await asyncio.gather(*(task for task, _ in handling), return_exceptions=True)
        await asyncio.gather(
            *(writer.wait_closed() for _, writer in handling), return_exceptions=True
        )


def _post(handler: Handler, path: str = "/") -> Answer:
    """Post to a server with this handler, through the plain client."""

    async def run() -> Answer:
        async with _serving(handler) as port:
            http = ProviderHttp()
            try:
                return await http.post(f"http://127.0.0.1:{port}{path}", {"x-a": "1"}, b"body")
            finally:
                await http.close()

    return asyncio.run(run())


def test_an_answer_has_status_headers_and_body() -> None:
    """Header names are found in lower case."""
    answer = _post(_answering(OK))
    assert (200, "7", b"hi") == (answer.status, answer.headers.get("x-mark"), answer.body)


def test_redirects_are_not_followed() -> None:
    """The redirect itself is the answer."""
    answer = _post(
        _answering(
            b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
        )
    )
    assert 302 == answer.status


def test_long_answers_are_cut() -> None:
    """A hostile receiver cannot fill our memory."""
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\n"
    assert MAX_ANSWER_BYTES == len(_post(_answering(head + bytes(5_000_000))).body)


def test_a_refused_connection_is_unsent() -> None:
    """Nothing listens: sending again cannot double anything. The address is not told."""

    async def run() -> None:
        http = ProviderHttp()
        await http.post("http://127.0.0.1:1/3/device/secret-token", {}, b"")

    with pytest.raises(UnsentError) as caught:
        asyncio.run(run())
    assert "secret-token" not in str(caught.value)
    assert "refused" in str(caught.value)


def test_a_peer_that_never_says_hello_is_unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    """TCP is there, TLS does not come about: the request was not written."""
    monkeypatch.setattr(http_module, "CONNECT_TIMEOUT_S", 0.2)

    async def run() -> None:
        async with _serving(_silent) as port:
            http = ProviderHttp()
            try:
                await http.post(f"https://127.0.0.1:{port}/", {}, b"body")
            finally:
                await http.close()

    with pytest.raises(UnsentError):
        asyncio.run(run())


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


def test_a_lost_connection_after_writing_is_unanswered() -> None:
    """The request was read and no answer came: it may have been processed."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"body")
        writer.close()

    with pytest.raises(UnansweredError):
        _post(hang_up)


def test_headers_that_cannot_be_sent_are_unsent() -> None:
    """A header with a line break never leaves this machine."""

    async def run() -> None:
        await ProviderHttp().post("https://x.example/", {"a": "b\r\nc: d"}, b"")

    with pytest.raises((UnsentError, ValueError)):
        asyncio.run(run())


class _Names:
    """A resolver whose answers change, as a rebinding attacker's do."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class _Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def _guarded(names: _Names, clock: _Clock, port: int, *, allow: bool = True) -> GuardedHttp:
    policy = NetworkPolicy(
        allow_http=True,
        allow_ports=frozenset({port}),
        allow_networks=("127.0.0.0/8",) if allow else (),
    )
    return GuardedHttp(policy, resolver=names, monotonic=clock)


def test_a_name_is_connected_where_the_guard_looked() -> None:
    """The address that was judged is used, and asked for again only when its time is over."""

    async def run() -> None:
        async with _serving(_answering(OK)) as port:
            names, clock = _Names(["127.0.0.1"]), _Clock()
            http = _guarded(names, clock, port)
            for _ in range(3):
                answer = await http.post(f"http://shop.example:{port}/x", {}, b"")
                assert 200 == answer.status
            assert 1 == names.asked
            clock.now_s = PIN_S
            await http.post(f"http://shop.example:{port}/x", {}, b"")
            assert 2 == names.asked
            await http.close()

    asyncio.run(run())


@pytest.mark.parametrize("second", [["169.254.169.254"], ["8.8.8.8", "10.0.0.1"]])
def test_rebinding_is_refused(second: list[str]) -> None:
    """A name that was public and now points inside is refused, also if only one address does."""

    async def run() -> None:
        async with _serving(_answering(OK)) as port:
            clock = _Clock()
            http = _guarded(_Names(["127.0.0.1"], second), clock, port)
            await http.post(f"http://shop.example:{port}/", {}, b"")
            clock.now_s = PIN_S + 1
            with pytest.raises(ForbiddenUrlError):
                await http.post(f"http://shop.example:{port}/", {}, b"")
            await http.close()

    asyncio.run(run())


def test_names_and_literals_inside_are_refused() -> None:
    """Loopback is refused by name and by number, without a connection."""

    async def run() -> None:
        http = _guarded(_Names(["127.0.0.1"]), _Clock(), 18_081, allow=False)
        for host in ("inside.example", "127.0.0.1", "[::1]"):
            with pytest.raises(ForbiddenUrlError):
                await http.post(f"http://{host}:18081/", {}, b"")
        with pytest.raises(UnsentError, match="resolved"):
            await _guarded(_Names([]), _Clock(), 443).post("https://x.example/", {}, b"")

    asyncio.run(run())


def test_renewing_uses_new_connections_once() -> None:
    """Many failures of one connection renew it once; what is in flight goes on."""

    async def run() -> None:
        http = ProviderHttp(connections=2)
        first = http._clients
        http.renew()
        second = http._clients
        http.renew()
        assert first is not second
        assert second is http._clients
        assert 2 == len(second)
        await http.close()

    asyncio.run(run())
