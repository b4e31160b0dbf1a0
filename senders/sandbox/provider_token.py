"""Signed tokens that clients show: structure, claims, and the signature where the key is known.

A token's text is judged once and remembered; what depends on the time is judged by the caller.
"""

import base64
import binascii
from typing import Any, NamedTuple

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa

REMEMBERED = 4096

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


class InvalidToken(ValueError):
    """A token that no provider takes; the text says why."""


class ProviderToken(NamedTuple):
    """A token that was read; ``is_verified`` is false when no key was there to check it with."""

    header: dict[str, Any]
    claims: dict[str, Any]
    is_verified: bool


def decode_base64url(text: str) -> bytes:
    """Return the bytes of unpadded base64url text.

    Raises:
        InvalidToken: padding or a character outside the alphabet.
    """
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidToken(f"not base64url: {error}") from error


def read_token(token: str, algorithm: str, key: PublicKey | None) -> ProviderToken:
    """Read a JWS in compact form, and verify it when a key is given.

    ES256 signatures must be the 64 bytes ``r || s`` (RFC 7518 section 3.4), not DER.

    Raises:
        InvalidToken: not three parts, not JSON objects, another algorithm, or a bad signature.
    """
    parts = token.split(".")
    if len(parts) != 3:
        raise InvalidToken("a token has three parts separated by dots")
    header, claims = _json_object(parts[0], "header"), _json_object(parts[1], "claims")
    if header.get("alg") != algorithm:
        raise InvalidToken(f"alg is {header.get('alg')!r}, must be {algorithm!r}")
    signature = decode_base64url(parts[2])
    if algorithm == "ES256" and len(signature) != 64:
        raise InvalidToken(f"an ES256 signature has 64 bytes, this one {len(signature)}")
    if not signature:
        raise InvalidToken("the signature is empty")
    if key is not None:
        _verify(token, algorithm, key)
    return ProviderToken(header, claims, key is not None)


def token_key_id(token: str) -> str | None:
    """Return the ``kid`` in a token's header, ``None`` if there is none to be read."""
    try:
        key_id = _json_object(token.split(".", 1)[0], "header").get("kid")
    except InvalidToken:
        return None
    return key_id if isinstance(key_id, str) else None


def _json_object(part: str, name: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(decode_base64url(part), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidToken(f"the {name} is not a JSON object: {error}") from error


def _verify(token: str, algorithm: str, key: PublicKey) -> None:
    checks = {"verify_aud": False, "verify_exp": False, "verify_iat": False, "verify_nbf": False}
    try:
        jwt.decode(token, key, algorithms=[algorithm], options=checks)  # type: ignore[arg-type]
    except jwt.PyJWTError as error:
        raise InvalidToken(f"signature: {error}") from error
