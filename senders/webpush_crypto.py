"""Encryption of web-push messages: RFC 8291 over the aes128gcm coding of RFC 8188, one record.

Every message has a fresh sender key and salt, so that two messages cannot be linked. The shared
library primitives are used directly: half the time of the reference library, which the tests check
this against, together with the vector of RFC 8291, section 5.
"""

import hmac
import os
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from senders.key_material import decode_base64url

KEY_BYTES = 65  # an uncompressed P-256 point
AUTH_BYTES = 16
RECORD_BYTES = 4096
OVERHEAD_BYTES = 16 + 4 + 1 + KEY_BYTES + 1 + 16  # salt, rs, idlen, key; delimiter and tag
PLAINTEXT_BYTES = RECORD_BYTES - OVERHEAD_BYTES  # 3993: what every push service must take

_CURVE = ec.SECP256R1()


def encrypt(
    plaintext: bytes,
    receiver_key: bytes,
    auth: bytes,
    *,
    sender_key: ec.EllipticCurvePrivateKey | None = None,
    salt: bytes | None = None,
) -> bytes:
    """The request body for a subscription.

    Args:
        plaintext: at most 3993 bytes.
        receiver_key: the subscription's ``p256dh``, 65 bytes.
        auth: the subscription's ``auth``, 16 bytes.
        sender_key: a fresh one by default; only tests give one.
        salt: 16 random bytes by default; only tests give them.

    Raises:
        ValueError: plaintext too long, or the key is not a point of the curve.
    """
    if len(plaintext) > PLAINTEXT_BYTES:
        raise ValueError(f"{len(plaintext)} bytes; at most {PLAINTEXT_BYTES} can be encrypted")
    sender_key = sender_key or ec.generate_private_key(_CURVE)
    salt = salt or os.urandom(16)
    receiver = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, receiver_key)
    public = sender_key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    shared = sender_key.exchange(ec.ECDH(), receiver)
    # RFC 8291, section 3.4: HKDF twice, each expand a single HMAC block.
    material = _expand(_mac(auth, shared), b"WebPush: info\0" + receiver_key + public)
    secret = _mac(salt, material)
    key = _expand(secret, b"Content-Encoding: aes128gcm\0")[:16]
    nonce = _expand(secret, b"Content-Encoding: nonce\0")[:12]
    sealed = AESGCM(key).encrypt(nonce, plaintext + b"\x02", None)
    return salt + RECORD_BYTES.to_bytes(4) + bytes((KEY_BYTES,)) + public + sealed


def decode_keys(keys: dict[str, str] | None) -> tuple[bytes, bytes]:
    """``p256dh`` and ``auth`` of a subscription as bytes.

    Raises:
        ValueError: missing, not base64url, or of the wrong length.
    """
    found = keys or {}
    try:
        receiver_key, auth = (decode_base64url(found.get(name, "")) for name in ("p256dh", "auth"))
    except ValueError:
        raise ValueError("/keys: p256dh and auth must be base64url") from None
    if len(auth) != AUTH_BYTES:
        raise ValueError(f"/keys/auth: {len(auth)} bytes instead of {AUTH_BYTES}")
    if len(receiver_key) != KEY_BYTES or receiver_key[0] != 4:
        raise ValueError(f"/keys/p256dh: not an uncompressed P-256 point of {KEY_BYTES} bytes")
    return receiver_key, auth


def check_keys(keys: dict[str, str] | None) -> None:
    """Check the keys of a subscription, the point included.

    Raises:
        ValueError: see ``decode_keys``, or not on the curve.
    """
    receiver_key, _ = decode_keys(keys)
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, receiver_key)
    except ValueError:
        raise ValueError("/keys/p256dh: not a point of P-256") from None


def _mac(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, sha256)


def _expand(key: bytes, info: bytes) -> bytes:
    return hmac.digest(key, info + b"\x01", sha256)
