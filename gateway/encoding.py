"""Request bodies with ``Content-Encoding``: undone while they are read, in bounded memory.

Model: the body reaches the routes as if it had been sent plain, in pieces of bounded size, so that
the limit of the route (counted on decoded bytes) stops a bomb after its first pieces.

Source: RFC 9110, section 8.4.1; RFC 8878 for zstd.
"""

import zlib
from collections.abc import Iterator
from typing import Any, Protocol

import zstandard
from litestar.types import HTTPRequestEvent, Receive, Scope

from gateway.errors import Problem

PIECE_BYTES = 256 * 1024
# A zstd block of 4 bytes may expand to 128 KiB: small feeds keep one answer of the decoder small.
ZSTD_FEED_BYTES = 64
ZSTD_WINDOW_BYTES = 8 * 1024 * 1024


class _Decoder(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]:
        """The decoded pieces of these bytes."""

    def finish(self) -> None:
        """Raises ``Problem`` if the stream is not complete."""


class _Zlib:
    """Gzip (several members, too) and deflate."""

    def __init__(self, window_bits: int) -> None:
        self._window_bits = window_bits
        self._inner = zlib.decompressobj(window_bits)
        self._is_empty = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            self._is_empty = False
            if self._inner.eof:
                self._inner = zlib.decompressobj(self._window_bits)
            try:
                yield self._inner.decompress(data, PIECE_BYTES)
            except zlib.error as error:
                raise _broken(str(error)) from None
            data = self._inner.unconsumed_tail or self._inner.unused_data

    def finish(self) -> None:
        if not self._is_empty and not self._inner.eof:
            raise _broken("it ends too early")


class _Zstd:
    def __init__(self) -> None:
        self._inner = self._new()
        self._is_inside = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), ZSTD_FEED_BYTES):
            piece = data[start : start + ZSTD_FEED_BYTES]
            while piece:
                if self._inner.eof:
                    self._inner = self._new()
                self._is_inside = True
                try:
                    yield self._inner.decompress(piece)
                except zstandard.ZstdError as error:
                    raise _broken(str(error)) from None
                piece = self._inner.unused_data if self._inner.eof else b""

    def finish(self) -> None:
        if self._is_inside and not self._inner.eof:
            raise _broken("it ends too early")

    @staticmethod
    def _new() -> Any:
        return zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES).decompressobj()


def decoded(scope: Scope, receive: Receive) -> Receive:
    """A receive that gives the plain body; the same one if the body is plain.

    The content headers that no longer hold are taken from the scope. What cannot be decoded is a
    ``Problem``, raised when the body is read.
    """
    encoding = _encoding_of(scope)
    if encoding in ("", "identity"):
        return receive
    scope["headers"] = [
        pair for pair in scope["headers"] if pair[0] not in (b"content-encoding", b"content-length")
    ]
    return _Decoding(encoding, receive).receive


class _Decoding:
    """Turns the messages of an encoded body into messages of the plain one."""

    def __init__(self, encoding: str, receive: Receive) -> None:
        self._encoding = encoding
        self._receive = receive
        self._decoder: _Decoder | None = None
        self._pieces: Iterator[bytes] = iter(())
        self._has_more = True

    async def receive(self) -> Any:
        """The next message: a piece of the plain body, or what is no body."""
        if self._decoder is None:
            self._decoder = _decoder_of(self._encoding)
        while True:
            for piece in self._pieces:
                if piece:
                    return _body(piece, has_more=True)
            if not self._has_more:
                self._decoder.finish()
                return _body(b"", has_more=False)
            message: Any = await self._receive()
            if message["type"] != "http.request":
                return message
            self._has_more = message.get("more_body", False)
            self._pieces = self._decoder.feed(message.get("body", b""))


def _body(piece: bytes, *, has_more: bool) -> HTTPRequestEvent:
    return {"type": "http.request", "body": piece, "more_body": has_more}


def _encoding_of(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"content-encoding":
            return value.decode("latin-1").strip().lower()
    return ""


def _decoder_of(encoding: str) -> _Decoder:
    if encoding in ("gzip", "x-gzip"):
        return _Zlib(16 + zlib.MAX_WBITS)
    if encoding == "deflate":
        return _Zlib(zlib.MAX_WBITS)
    if encoding == "zstd":
        return _Zstd()
    raise Problem(
        "unsupported-media-type",
        f"Content-Encoding {encoding!r} is not understood. Send gzip, zstd, deflate or none.",
        headers={"Accept-Encoding": "gzip, zstd, deflate"},
    )


def _broken(why: str) -> Problem:
    return Problem("malformed-body", f"The compressed body cannot be decoded: {why}.")
