"""Signed tokens for receipts and buttons: they authorise without a look-up and cannot be made up.

Two forms. A *proof* is 22 characters for a subject that both sides know (a push id): receipts carry
it. A *token* carries its own claims and an end: buttons post it. Both are HMAC-SHA256 cut to 128
bits (RFC 2104, section 5), keyed per kind, compared in constant time; several keys may be valid at
once, the first signs. That an action token is used once is for the caller to keep.
"""

import hmac
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Literal

import msgspec

from senders.key_material import decode_base64url, encode_base64url
from senders.model import SenderError

Kind = Literal["receipt", "action"]
MAC_BYTES = 16
MAX_TOKEN_CHARS = 1024

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[int, tuple[str, ...]]).decode


class InvalidToken(SenderError):
    """A token we did not sign, or that is past its end (``is_expired``)."""

    def __init__(self, detail: str, *, is_expired: bool = False) -> None:
        super().__init__(detail)
        self.is_expired = is_expired


def prove(kind: Kind, subject: str, key: bytes) -> str:
    """22 characters that only a holder of ``key`` can make for ``subject``."""
    return encode_base64url(_mac(kind, subject.encode(), key))


def is_proof(kind: Kind, subject: str, proof: str, keys: Sequence[bytes]) -> bool:
    """Whether one of ``keys`` made ``proof`` for ``subject``."""
    given = proof.encode()
    made = [prove(kind, subject, key).encode() for key in keys]
    return any([hmac.compare_digest(given, each) for each in made])  # noqa: C419 - all, in constant time


def sign(kind: Kind, claims: Sequence[str], key: bytes, *, expires_at: int) -> str:
    """A token that carries ``claims`` until ``expires_at`` (epoch ms)."""
    payload = _encode((expires_at, tuple(claims)))
    return encode_base64url(_mac(kind, payload, key) + payload)


def verify(kind: Kind, token: str, keys: Sequence[bytes], *, now: int) -> tuple[str, ...]:
    """The claims of a token.

    Args:
        kind: what it must have been signed for.
        token: text from outside.
        keys: all keys that may have signed it.
        now: epoch ms.

    Raises:
        InvalidToken: not ours, another kind, or expired.
    """
    if len(token) > MAX_TOKEN_CHARS:
        raise InvalidToken("not a token")
    try:
        raw = decode_base64url(token)
    except ValueError:
        raise InvalidToken("not a token") from None
    mac, payload = raw[:MAC_BYTES], raw[MAC_BYTES:]
    if not any([hmac.compare_digest(mac, _mac(kind, payload, key)) for key in keys]):  # noqa: C419
        raise InvalidToken("the signature does not match")
    expires_at, claims = _decode(payload)
    if now >= expires_at:
        raise InvalidToken("expired", is_expired=True)
    return claims


def _mac(kind: Kind, data: bytes, key: bytes) -> bytes:
    return hmac.digest(_purpose(kind, key), data, sha256)[:MAC_BYTES]


@lru_cache(maxsize=64)
def _purpose(kind: Kind, key: bytes) -> bytes:
    """The key of one kind of token."""
    return hmac.digest(key, b"trigger-gateway " + kind.encode(), sha256)
