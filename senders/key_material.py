"""Keys as people write them: PEM, base64url, ``whsec_`` secrets."""

import base64
import binascii

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

CURVE = "secp256r1"


def load_pem(text: str) -> object:
    """A private key of any kind.

    Raises:
        ValueError: not an unencrypted private key in PEM.
    """
    try:
        return load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError):
        raise ValueError("is not an unencrypted private key in PEM") from None


def load_p256(text: str) -> ec.EllipticCurvePrivateKey:
    """A P-256 private key: PEM, or its 32-byte scalar in base64url.

    Raises:
        ValueError: neither, or another kind of key.
    """
    if text.strip().startswith("-----"):
        key = load_pem(text)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != CURVE:
            raise ValueError("must be a P-256 key")
        return key
    try:
        scalar = decode_base64url(text.strip())
    except ValueError:
        scalar = b""
    if len(scalar) != 32:
        raise ValueError("must be PEM, or 32 bytes in base64url")
    return ec.derive_private_key(int.from_bytes(scalar), ec.SECP256R1())


def webhook_secret(secret: str) -> bytes:
    """The signing key inside a ``whsec_`` secret (Standard Webhooks 1.0.0).

    Raises:
        ValueError: not base64 of 24 to 64 bytes.
    """
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ValueError("is not base64 after whsec_") from None
    if not 24 <= len(key) <= 64:
        raise ValueError(f"holds {len(key)} bytes; 24 to 64 are needed")
    return key


def decode_base64url(text: str) -> bytes:
    """Bytes of base64url, with or without padding.

    Raises:
        ValueError: other characters.
    """
    raw = text.rstrip("=")
    return base64.b64decode(raw + "=" * (-len(raw) % 4), altchars=b"-_", validate=True)


def encode_base64url(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
