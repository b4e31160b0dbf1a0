"""A second port whose HTTP/2 connections go wrong on request: GOAWAY, a silent peer, few streams.

The relay ends TLS, reads frame headers (RFC 9113 section 4.1) and passes the frames on to the
sandbox. It never looks into HPACK: what it holds back is always the end of a connection.
"""

import asyncio
import ssl
from pathlib import Path
from typing import NamedTuple

import msgspec

from senders.sandbox.certificates import Certificates

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEADER_BYTES = 9
HEADERS, SETTINGS, GOAWAY = 1, 4, 7
ACK = 1
MAX_CONCURRENT_STREAMS = 3
GOAWAY_REASON = b'{"reason":"Shutdown"}'  # APNs puts such a text into its GOAWAY


_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - names what others listen on


class ConnectionRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What becomes of each new connection to the relay.

    ``goaway_after``: the n-th request is the last; later ones are not processed (RFC 9113 6.8).
    ``silent_after``: after the n-th request nothing is passed on, and the connection stays open.
    ``max_concurrent_streams``: the limit told in SETTINGS once the connection stands.
    """

    goaway_after: int | None = None
    silent_after: int | None = None
    max_concurrent_streams: int | None = None


class Frame(NamedTuple):
    """One HTTP/2 frame, as bytes with its header read."""

    kind: int
    flags: int
    stream: int
    raw: bytes


def encode_frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return a frame: length (24 bits), type, flags, stream (31 bits), payload."""
    head = len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big")
    return head + payload


class Relay:
    """The second port; ``rule`` holds for connections made from now on."""

    def __init__(self, port: int, upstream_port: int, host: str, files: Certificates) -> None:
        self.port = port
        self.rule = ConnectionRule()
        self._upstream_port = upstream_port
        self._host = host
        self._server_context = _server_context(files)
        self._client_context = _client_context(files.ca)
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        self._server = await asyncio.start_server(
            self._connected, self._host, self.port, ssl=self._server_context
        )

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream = await asyncio.open_connection(
                _LOOPBACK.get(self._host, self._host),
                self._upstream_port,
                ssl=self._client_context,
            )
        except OSError:
            writer.close()
            return
        connection = _Connection(self.rule, (reader, writer), upstream)
        await connection.run()


Pipe = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Connection:
    """One client connection and its way on to the sandbox."""

    def __init__(self, rule: ConnectionRule, client: Pipe, upstream: Pipe) -> None:
        self._rule = rule
        self._client_reader, self._client_writer = client
        self._upstream_reader, self._upstream_writer = upstream
        self._requests = 0
        self._last_stream: int | None = None  # set once GOAWAY was said
        self._is_silent = False
        self._acks_to_swallow = 0

    async def run(self) -> None:
        """Pass frames both ways until one side ends."""
        pumps = [asyncio.ensure_future(self._requests_on()), asyncio.ensure_future(self._back())]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._client_writer.close()
            self._upstream_writer.close()

    async def _requests_on(self) -> None:
        preface = await self._client_reader.readexactly(len(PREFACE))
        self._upstream_writer.write(preface)
        while True:
            frame = await _read_frame(self._client_reader)
            if self._is_passed_on(frame):
                self._upstream_writer.write(frame.raw)
                await self._upstream_writer.drain()
            self._count(frame)

    async def _back(self) -> None:
        while True:
            frame = await _read_frame(self._upstream_reader)
            if self._is_silent:
                continue
            self._client_writer.write(frame.raw)
            if frame.kind == SETTINGS and not frame.flags & ACK:
                self._limit_streams()
            await self._client_writer.drain()

    def _is_passed_on(self, frame: Frame) -> bool:
        if self._is_silent:
            return False
        if frame.kind == SETTINGS and frame.flags & ACK and self._acks_to_swallow:
            self._acks_to_swallow -= 1
            return False
        return self._last_stream is None or frame.stream <= self._last_stream

    def _count(self, frame: Frame) -> None:
        """Count a request; say GOAWAY or fall silent when its number has come."""
        if frame.kind != HEADERS or self._is_silent or self._last_stream is not None:
            return
        self._requests += 1
        if self._requests == self._rule.goaway_after:
            self._last_stream = frame.stream
            payload = frame.stream.to_bytes(4, "big") + bytes(4) + GOAWAY_REASON
            self._client_writer.write(encode_frame(GOAWAY, 0, 0, payload))
        if self._requests == self._rule.silent_after:
            self._is_silent = True

    def _limit_streams(self) -> None:
        """Tell a limit of our own after the sandbox's; its acknowledgement is ours, too."""
        limit = self._rule.max_concurrent_streams
        if limit is not None:
            self._acks_to_swallow += 1
            payload = MAX_CONCURRENT_STREAMS.to_bytes(2, "big") + limit.to_bytes(4, "big")
            self._client_writer.write(encode_frame(SETTINGS, 0, 0, payload))


async def _read_frame(reader: asyncio.StreamReader) -> Frame:
    head = await reader.readexactly(FRAME_HEADER_BYTES)
    payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
    stream = int.from_bytes(head[5:9], "big") & 0x7FFF_FFFF
    return Frame(head[3], head[4], stream, head + payload)


def _server_context(files: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    context.set_alpn_protocols(["h2"])
    return context


def _client_context(ca: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca))
    context.check_hostname = False  # our own server, by whatever address it listens on
    context.set_alpn_protocols(["h2"])
    return context
