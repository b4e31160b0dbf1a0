"""Device tokens: short-lived JWTs that speak for one device, on intake and receipts only.

Model: a tenant registers verification keys, each with one fixed algorithm, or lets the gateway mint
tokens with a secret derived from the master key (the first of several signs and every one verifies,
so tokens outlive a rotation). The header's ``kid`` is ``<tenant>/<key id>`` and
only selects among registered keys; the algorithm is the key's, never the token's. Required claims:
``aud`` = ``gateway``, ``exp``, ``iat``, ``sub`` = device id; ``exp - iat`` is bounded.

Source: RFC 8725 (sections 3.1, 3.2, 3.8, 3.10), RFC 7519.
Error tree: ``TokenError`` (a token is refused), ``InvalidJwtKey`` (a key cannot be registered).
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal, NamedTuple

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import load_pem_public_key

AUDIENCE = "gateway"
OWN_KEY_ID = "~gateway"  # '~' is in no registered key's id
LEEWAY_S = 30
MIN_SECRET_BYTES = 32
MIN_RSA_BITS = 2048
MAX_TOKEN_BYTES = 4096

Algorithm = Literal["HS256", "ES256", "RS256"]


class TokenError(ValueError):
    """A token that is not accepted, and why."""


class _SignedOtherwise(TokenError):
    """This key did not sign the token; another may have."""


class InvalidJwtKey(ValueError):
    """A verification key that cannot be: which field (JSON pointer), and why."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer}: {detail}")
        self.pointer = pointer
        self.detail = detail


class JwtKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A registered verification key: a shared secret (HS256) or a public key in PEM."""

    algorithm: Algorithm
    secret: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    public_key: Annotated[str, msgspec.Meta(max_length=8192)] = ""


class DeviceClaims(NamedTuple):
    """What a valid token says."""

    tenant: str
    device_id: str
    key_id: str
    expires_at: int


# (tenant, key id) -> the key, or None.
FindKey = Callable[[str, str], Awaitable[JwtKey | None]]


def looks_like_token(credential: str) -> bool:
    """Whether this has the form of a JWT (three parts)."""
    return credential.startswith("eyJ") and credential.count(".") == 2


def check_jwt_key(key: JwtKey) -> JwtKey:
    """The key, if its material fits its algorithm.

    Raises:
        InvalidJwtKey: the secret is too short, or the public key is of another kind or too weak.
    """
    if key.algorithm == "HS256":
        if key.public_key:
            raise InvalidJwtKey("/public_key", "HS256 takes a secret, not a public key")
        if len(key.secret.encode()) < MIN_SECRET_BYTES:
            raise InvalidJwtKey("/secret", f"must have at least {MIN_SECRET_BYTES} bytes")
        return key
    if key.secret:
        raise InvalidJwtKey("/secret", f"{key.algorithm} takes a public key, not a secret")
    try:
        public = load_pem_public_key(key.public_key.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidJwtKey(
            "/public_key", "must be a public key in PEM (BEGIN PUBLIC KEY)"
        ) from None
    if key.algorithm == "ES256" and not (
        isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1)
    ):
        raise InvalidJwtKey("/public_key", "ES256 needs a key on the curve P-256")
    if key.algorithm == "RS256" and not (
        isinstance(public, rsa.RSAPublicKey) and public.key_size >= MIN_RSA_BITS
    ):
        raise InvalidJwtKey("/public_key", f"RS256 needs an RSA key of {MIN_RSA_BITS} bits or more")
    return key


class TokenVerifier:
    """Verifies device tokens with the tenants' keys and the gateway's own."""

    def __init__(self, find_key: FindKey, master_keys: Sequence[bytes], max_ttl_s: int) -> None:
        self._find_key = find_key
        self._master_keys = tuple(master_keys)
        self._max_ttl_s = max_ttl_s

    async def verify(self, token: str) -> DeviceClaims:
        """What the token says.

        Raises:
            TokenError: it is malformed, of an unknown key, wrongly signed, expired, for another
                audience, without a required claim, or lives too long.
        """
        tenant, key_id = _selector(token)
        keys = await self._keys(tenant, key_id)
        if not keys:
            raise TokenError(f"no key {key_id!r} is registered for its tenant")
        claims = _decode_by_any(token, keys)
        lifetime_s = claims["exp"] - claims["iat"]
        if not 0 < lifetime_s <= self._max_ttl_s:
            raise TokenError(f"it lives {lifetime_s} s; at most {self._max_ttl_s} s are accepted")
        return DeviceClaims(tenant, claims["sub"], key_id, int(claims["exp"] * 1000))

    def mint(self, tenant: str, device_id: str, ttl_s: int, now: int) -> str:
        """A token of the gateway's own for one device, valid ``ttl_s`` from ``now`` (epoch ms)."""
        issued_s = now // 1000
        return jwt.encode(
            {"aud": AUDIENCE, "sub": device_id, "iat": issued_s, "exp": issued_s + ttl_s},
            own_secret(self._master_keys[0], tenant),
            algorithm="HS256",
            headers={"kid": f"{tenant}/{OWN_KEY_ID}"},
        )

    async def _keys(self, tenant: str, key_id: str) -> list[JwtKey]:
        if key_id == OWN_KEY_ID:
            return [JwtKey("HS256", secret=own_secret(key, tenant)) for key in self._master_keys]
        key = await self._find_key(tenant, key_id)
        return [key] if key else []


def own_secret(master_key: bytes, tenant: str) -> str:
    """The tenant's secret for tokens that the gateway mints: derived, so that none is stored."""
    derived = HKDF(hashes.SHA256(), 32, salt=None, info=b"device-token|" + tenant.encode())
    return derived.derive(master_key).hex()


def _selector(token: str) -> tuple[str, str]:
    if len(token) > MAX_TOKEN_BYTES:
        raise TokenError(f"it has more than {MAX_TOKEN_BYTES} bytes")
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise TokenError("it is not a JWT") from None
    kid = str(header.get("kid", ""))
    tenant, slash, key_id = kid.partition("/")
    if not (tenant and slash and key_id and kid.isprintable()):
        raise TokenError("its header has no `kid` of the form <tenant>/<key id>")
    return tenant, key_id


def _decode_by_any(token: str, keys: Sequence[JwtKey]) -> dict[str, Any]:
    *others, last = keys
    for key in others:
        with suppress(_SignedOtherwise):
            return _decode(token, key)
    return _decode(token, last)


def _decode(token: str, key: JwtKey) -> dict[str, Any]:
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key.secret or key.public_key,
            algorithms=[key.algorithm],
            audience=AUDIENCE,
            leeway=LEEWAY_S,
            options={"require": ["aud", "exp", "iat", "sub"]},
        )
    except jwt.ExpiredSignatureError:
        raise TokenError(f"it has expired (it is {int(time.time())} here)") from None
    except jwt.InvalidSignatureError as error:
        raise _SignedOtherwise(_words(error)) from None
    except (jwt.PyJWTError, ValueError, OverflowError) as error:  # an infinite `exp` overflows
        raise TokenError(_words(error)) from None
    if not all(type(claims[name]) in (int, float) for name in ("exp", "iat")):
        raise TokenError("its `exp` and `iat` must be numbers")
    if not isinstance(claims["sub"], str) or not claims["sub"]:
        raise TokenError("its `sub` must be the device id")
    return claims


def _words(error: Exception) -> str:
    return str(error)[:200].rstrip(".").lower()
