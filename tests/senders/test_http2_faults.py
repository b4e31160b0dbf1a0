"""HTTP/2 peers misbehave: the client survives, and says whether a request may have arrived.

The peer speaks raw frames (RFC 9113) over TLS: just enough of HTTP/2 to do what real front ends do
on a bad day.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from senders import http as http_module
from senders.http import Answer, ProviderHttp, UnansweredError, UnsentError
from senders.sandbox.certificates import ensure_certificates

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
REFUSED_STREAM = 7
MAX_CONCURRENT_STREAMS = 3
STATUS_200 = b"\x88"  # HPACK: ":status: 200" is entry 8 of the static table
PREFACE_BYTES = 24


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def settings(streams: int | None = None) -> bytes:
    payload = b""
    if streams is not None:
        payload = MAX_CONCURRENT_STREAMS.to_bytes(2) + streams.to_bytes(4)
    return frame(SETTINGS, 0, 0, payload)


OK = HEADERS, END_STREAM | END_HEADERS


class Connection:
    """One accepted connection: frames in, frames out."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.open: set[int] = set()
        self.most_open = 0
        self.answers_pings = True

    def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    def answer(self, stream: int) -> None:
        self.open.discard(stream)
        self.send(frame(*OK, stream, STATUS_200))

    async def requests(self) -> Any:
        """Stream numbers, as requests end."""
        while True:
            try:
                head = await self.reader.readexactly(9)
                payload = await self.reader.readexactly(int.from_bytes(head[:3]))
            except (asyncio.IncompleteReadError, OSError):
                return
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:])
            if kind == SETTINGS and not flags & ACK:
                self.send(frame(SETTINGS, ACK, 0))
            if kind == PING and not flags & ACK and self.answers_pings:
                self.send(frame(PING, ACK, 0, payload))
            if kind == HEADERS:
                self.open.add(stream)
                self.most_open = max(self.most_open, len(self.open))
            if kind in (HEADERS, DATA) and flags & END_STREAM:
                yield stream


Behaviour = Callable[[Connection, int], Awaitable[None]]


class Peer:
    """A server whose n-th connection behaves as told."""

    def __init__(self, folder: Path, behaviour: Behaviour) -> None:
        files = ensure_certificates(folder)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(files.certificate, files.key)
        self.tls.set_alpn_protocols(["h2"])
        self.ca = (folder / "sandbox-ca.pem").read_text()
        self.behaviour = behaviour
        self.connections: list[Connection] = []
        self.tasks: list[asyncio.Task[Any]] = []

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.append(task)
        try:
            await reader.readexactly(PREFACE_BYTES)
        except asyncio.IncompleteReadError:
            return
        connection = Connection(reader, writer)
        self.connections.append(connection)
        await self.behaviour(connection, len(self.connections))
        writer.close()

    def run(self, use: Callable[[ProviderHttp, str], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self.tls)
            port = server.sockets[0].getsockname()[1]
            http = ProviderHttp(ca=self.ca)
            try:
                return await use(http, f"https://127.0.0.1:{port}/3/device/x")
            finally:
                await http.close()
                server.close()
                for connection in self.connections:
                    connection.writer.transport.abort()
                await asyncio.gather(*self.tasks, return_exceptions=True)
                writers = [connection.writer for connection in self.connections]
                await asyncio.gather(*(w.wait_closed() for w in writers), return_exceptions=True)

        return asyncio.run(run())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


async def _many(http: ProviderHttp, url: str, count: int) -> list[Answer | BaseException]:
    posts = (http.post(url, {"apns-id": str(n)}, b"{}") for n in range(count))
    return await asyncio.gather(*posts, return_exceptions=True)


async def _serve(connection: Connection) -> None:
    async for stream in connection.requests():
        connection.answer(stream)


@pytest.mark.parametrize("streams", [None, 1, 10, 1000])
def test_any_number_of_streams(folder: Path, streams: int | None) -> None:
    """No limit told, one stream, a few, many: all requests are served and the limit is kept."""

    async def behave(connection: Connection, _: int) -> None:
        connection.send(settings(streams))
        await _serve(connection)

    peer = Peer(folder, behave)
    answers = peer.run(lambda http, url: _many(http, url, 200))
    assert [200] * 200 == [getattr(answer, "status", answer) for answer in answers]
    if streams is not None:
        # until the settings arrive a client may open what it likes
        assert all(each.most_open <= max(streams, 100) for each in peer.connections)


def test_limits_that_shrink_under_load(folder: Path) -> None:
    """The limit falls to one while requests run, and rises again: all are served."""

    async def behave(connection: Connection, _: int) -> None:
        connection.send(settings(100))
        served = 0
        async for stream in connection.requests():
            served += 1
            if served in (20, 60):
                connection.send(settings(1 if served == 20 else 50))
            connection.answer(stream)

    answers = Peer(folder, behave).run(lambda http, url: _many(http, url, 200))
    assert [200] * 200 == [getattr(answer, "status", answer) for answer in answers]


def test_refused_streams_are_sent_again_or_unsent(folder: Path) -> None:
    """REFUSED_STREAM says that nothing was processed: never ambiguous."""

    async def behave(connection: Connection, _: int) -> None:
        connection.send(settings(100))
        async for stream in connection.requests():
            if stream % 4 == 1:
                connection.open.discard(stream)
                connection.send(frame(RST_STREAM, 0, stream, REFUSED_STREAM.to_bytes(4)))
            else:
                connection.answer(stream)

    answers = Peer(folder, behave).run(lambda http, url: _many(http, url, 20))
    kinds = {type(answer) for answer in answers}
    assert kinds <= {Answer, UnsentError}
    assert Answer in kinds


def test_goaway_before_anything_was_processed(folder: Path) -> None:
    """A front end that leaves at once: requests go over the next connection, or are unsent."""

    async def behave(connection: Connection, number: int) -> None:
        connection.send(settings(100))
        if number > 1:
            await _serve(connection)
        async for _ in connection.requests():
            connection.send(frame(GOAWAY, 0, 0, bytes(8)))
            return

    async def use(http: ProviderHttp, url: str) -> list[Any]:
        first = await _many(http, url, 3)
        return [*first, *await _many(http, url, 5)]

    answers = Peer(folder, behave).run(use)
    assert all(isinstance(each, Answer | UnsentError | UnansweredError) for each in answers)
    assert [200] * 5 == [getattr(each, "status", each) for each in answers[3:]]


def test_goaway_after_some(folder: Path) -> None:
    """What was accepted before GOAWAY is answered; the rest goes over another connection."""

    async def behave(connection: Connection, number: int) -> None:
        connection.send(settings(100))
        if number > 1:
            await _serve(connection)
        async for stream in connection.requests():
            connection.answer(stream)
            if stream >= 9:
                connection.send(frame(GOAWAY, 0, 0, stream.to_bytes(4) + bytes(4)))
                return

    async def use(http: ProviderHttp, url: str) -> list[Any]:
        found = []
        for _ in range(20):
            found += await _many(http, url, 1)
        return found

    peer = Peer(folder, behave)
    answers = peer.run(use)
    assert 19 <= sum(isinstance(each, Answer) for each in answers)
    assert 2 <= len(peer.connections)


def test_a_reset_in_flight_is_ambiguous(folder: Path) -> None:
    """The connection is cut after the request was read: it may have been processed."""

    async def behave(connection: Connection, number: int) -> None:
        connection.send(settings(100))
        if number > 1:
            await _serve(connection)
        async for _ in connection.requests():
            connection.writer.transport.abort()
            return

    async def use(http: ProviderHttp, url: str) -> list[Any]:
        return [*await _many(http, url, 1), *await _many(http, url, 1)]

    lost, served = Peer(folder, behave).run(use)
    assert isinstance(lost, UnansweredError)
    assert isinstance(served, Answer)


def test_a_slow_stream_does_not_hold_up_the_others(folder: Path) -> None:
    """One request without answer, a hundred beside it are served."""

    async def behave(connection: Connection, _: int) -> None:
        connection.send(settings(100))
        first = None
        async for stream in connection.requests():
            if first is None:
                first = stream
                continue
            connection.answer(stream)
            if stream > 150:
                connection.answer(first)

    answers = Peer(folder, behave).run(lambda http, url: _many(http, url, 100))
    assert [200] * 100 == [getattr(answer, "status", answer) for answer in answers]


def test_a_half_open_connection_is_noticed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer, no FIN, no pong: pings find it long before the request's own time is over."""
    monkeypatch.setattr(http_module, "PING_INTERVAL_S", 0.2)
    monkeypatch.setattr(http_module, "PING_TIMEOUT_S", 0.2)

    async def behave(connection: Connection, number: int) -> None:
        connection.send(settings(100))
        connection.answers_pings = number > 1
        async for stream in connection.requests():
            if number > 1:
                connection.answer(stream)

    async def use(http: ProviderHttp, url: str) -> tuple[list[Any], float]:
        started_s = asyncio.get_running_loop().time()
        first = await _many(http, url, 1)
        took_s = asyncio.get_running_loop().time() - started_s
        return [*first, *await _many(http, url, 1)], took_s

    answers, took_s = Peer(folder, behave).run(use)
    assert [UnansweredError, Answer] == [type(answer) for answer in answers]
    assert took_s < 5
