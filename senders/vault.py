"""Secrets at rest: AES-256-GCM under a master key, bound to where they belong.

A sealed secret is ``version (1) | key id (4) | nonce (12) | ciphertext and tag``. The associated
data (for a credential: tenant, type and id) is not stored: a secret copied to another tenant does
not open. Several master keys may be known at once; the first seals, all open, which is how keys
are rotated: put the new key first, seal everything anew (``reseal``), take the old key away.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from senders.model import SenderError

KEY_BYTES = 32
_VERSION = 1
_HEAD_BYTES = 1 + 4 + 12


class CannotOpen(SenderError):
    """A sealed secret that does not open: another key, another owner, or damage."""


class Vault:
    """Seals with the first master key, opens with any of them."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Take the master keys, the current one first.

        Raises:
            ValueError: no key, or a key that is not 32 bytes.
        """
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"master keys are {KEY_BYTES} bytes each, at least one")
        self._ciphers = {key_id(key): AESGCM(key) for key in keys}
        self._current = key_id(keys[0])

    def seal(self, secret: bytes, bound_to: str) -> bytes:
        """Encrypt ``secret`` so that it opens only with the same ``bound_to``."""
        nonce = os.urandom(12)
        head = bytes((_VERSION,)) + self._current + nonce
        return head + self._ciphers[self._current].encrypt(nonce, secret, _bound(head, bound_to))

    def open(self, sealed: bytes, bound_to: str) -> bytes:
        """Decrypt.

        Raises:
            CannotOpen: unknown master key, other ``bound_to``, or damaged bytes.
        """
        head = sealed[:_HEAD_BYTES]
        if len(head) < _HEAD_BYTES or head[0] != _VERSION:
            raise CannotOpen("not a sealed secret")
        cipher = self._ciphers.get(head[1:5])
        if cipher is None:
            raise CannotOpen(f"sealed with the unknown master key {head[1:5].hex()}")
        try:
            return cipher.decrypt(head[5:], sealed[_HEAD_BYTES:], _bound(head, bound_to))
        except InvalidTag:
            raise CannotOpen("damaged, or it belongs to another owner") from None

    def is_current(self, sealed: bytes) -> bool:
        """Whether the first master key sealed this."""
        return sealed[1:5] == self._current

    def reseal(self, sealed: bytes, bound_to: str) -> bytes:
        """The same secret under the current master key; unchanged if it is already."""
        return (
            sealed if self.is_current(sealed) else self.seal(self.open(sealed, bound_to), bound_to)
        )


def key_id(key: bytes) -> bytes:
    """Four bytes that name a master key without telling it."""
    return hashlib.sha256(b"trigger-gateway master key\0" + key).digest()[:4]


def new_key() -> str:
    """A fresh master key as text (base64)."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def parse_key(text: str) -> bytes:
    """A master key from base64 text.

    Raises:
        ValueError: it is not base64 of 32 bytes.
    """
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"a master key is {KEY_BYTES} bytes in base64")
    return key


def _bound(head: bytes, bound_to: str) -> bytes:
    return head[:5] + bound_to.encode()
