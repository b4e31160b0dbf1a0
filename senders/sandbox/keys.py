"""What clients must prove: public keys and shared secrets registered with the sandbox.

Without a registered key a provider checks all but the signature, so that any credential works;
once one key is registered for a provider, only registered keys are good there.
"""

from typing import Literal

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from senders.sandbox.provider_token import PublicKey

SignedProvider = Literal["apns", "fcm"]
SecretProvider = Literal["webhook", "whatsapp", "sms"]


class InvalidKey(ValueError):
    """A key that cannot be registered; the text says why."""


class KeyRegistration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``id``: APNs key id, service account mail, webhook name, phone number id, account SID."""

    provider: SignedProvider | SecretProvider
    id: str
    public_key: str | None = None  # PEM
    secret: str | None = None


class Keys:
    """Registered keys and secrets; ``version`` grows with every change."""

    def __init__(self) -> None:
        self.version = 0
        self._public: dict[str, dict[str, PublicKey]] = {}
        self._secrets: dict[str, dict[str, str]] = {}

    def register(self, registration: KeyRegistration) -> None:
        """Keep a key; the same id replaces the earlier one.

        Raises:
            InvalidKey: not a PEM public key of the provider's kind, or the wrong field filled.
        """
        provider, name = registration.provider, registration.id
        if provider in ("apns", "fcm"):
            self._public.setdefault(provider, {})[name] = _public_key(registration)
        else:
            if not registration.secret or registration.public_key is not None:
                raise InvalidKey(f"/secret: {provider} proves itself by a secret: send that alone")
            self._secrets.setdefault(provider, {})[name] = registration.secret
        self.version += 1

    def clear(self) -> None:
        """Forget all keys."""
        self._public.clear()
        self._secrets.clear()
        self.version += 1

    def public_key(self, provider: SignedProvider, name: str) -> PublicKey | None:
        """Return the key registered under a name."""
        return self._public.get(provider, {}).get(name)

    def secret(self, provider: SecretProvider, name: str) -> str | None:
        """Return the secret registered under a name."""
        return self._secrets.get(provider, {}).get(name)

    def is_strict(self, provider: str) -> bool:
        """Say whether a provider has any key, so that unknown ones are refused."""
        return bool(self._public.get(provider) or self._secrets.get(provider))


def _public_key(registration: KeyRegistration) -> PublicKey:
    if not registration.public_key or registration.secret is not None:
        raise InvalidKey(f"/public_key: {registration.provider} needs a public key in PEM, alone")
    try:
        key = serialization.load_pem_public_key(registration.public_key.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidKey(f"/public_key: not a PEM public key: {error}") from error
    if registration.provider == "apns":
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
            return key
        raise InvalidKey("/public_key: APNs keys are on the curve P-256")
    if isinstance(key, rsa.RSAPublicKey):
        return key
    raise InvalidKey("/public_key: service accounts sign with RSA")
