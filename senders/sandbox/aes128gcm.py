"""Decryption of web push messages: what the browser would do (RFC 8291 over RFC 8188)."""

import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

KEY_BYTES = 65  # an uncompressed P-256 point
HEADER_BYTES = 16 + 4 + 1 + KEY_BYTES
TAG_BYTES = 16


class UndecryptableError(ValueError):
    """A body that the browser would drop; the text says why."""


def public_bytes(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the 65 bytes of an uncompressed point."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def decrypt(body: bytes, key: ec.EllipticCurvePrivateKey, auth: bytes) -> bytes:
    """Return the plaintext of a push message.

    Raises:
        UndecryptableError: wrong header, wrong key, more than one record, or bad padding.
    """
    if len(body) < HEADER_BYTES + TAG_BYTES + 1 or body[20] != KEY_BYTES:
        raise UndecryptableError("the header is salt (16), record size (4), 65, public key (65)")
    salt, record_bytes = body[:16], int.from_bytes(body[16:20], "big")
    record = body[HEADER_BYTES:]
    if not len(record) <= record_bytes:
        raise UndecryptableError("a push message is a single record: the record size is too small")
    sender = body[21:HEADER_BYTES]
    try:
        sender_key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender)
    except ValueError as error:
        raise UndecryptableError("the sender's key is not a point of P-256") from error
    content_key, nonce = _keys(salt, key, sender_key, sender, auth)
    try:
        padded = AESGCM(content_key).decrypt(nonce, record, None)
    except InvalidTag as error:
        raise UndecryptableError("encrypted for other keys, or changed on the way") from error
    plaintext = padded.rstrip(b"\0")
    if not plaintext.endswith(b"\2"):
        raise UndecryptableError("the last record must end with the delimiter 0x02")
    return plaintext[:-1]


def _keys(
    salt: bytes,
    key: ec.EllipticCurvePrivateKey,
    sender_key: ec.EllipticCurvePublicKey,
    sender: bytes,
    auth: bytes,
) -> tuple[bytes, bytes]:
    """Content encryption key and nonce (RFC 8291 section 3.4); one HKDF block each is enough."""
    shared = key.exchange(ec.ECDH(), sender_key)
    info = b"WebPush: info\0" + public_bytes(key.public_key()) + sender
    secret = _sha256(_sha256(auth, shared), info + b"\1")
    pseudo_random = _sha256(salt, secret)
    content_key = _sha256(pseudo_random, b"Content-Encoding: aes128gcm\0\1")[:16]
    return content_key, _sha256(pseudo_random, b"Content-Encoding: nonce\0\1")[:12]


def _sha256(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")
