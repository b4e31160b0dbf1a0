"""OwnTracks' encrypted messages: libsodium's secretbox under a passphrase.

``data`` is base64 of a 24-byte nonce and the box (XSalsa20-Poly1305); the key is the passphrase in
UTF-8, filled with zero bytes to 32. Source: owntracks/booklet, docs/features/encrypt.md.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from gateway.ingest.body import read_json
from gateway.ingest.model import BadRecord, UnreadableBody, as_object


def open_message(message: dict[str, Any], passphrases: Sequence[str]) -> dict[str, Any]:
    """The message inside.

    Raises:
        BadRecord: no passphrase is known, none fits, or what is inside is no message.
    """
    if not passphrases:
        raise BadRecord(
            "the message is encrypted and no passphrase is known; set the device's attribute "
            "owntracks_passphrase, or the tenant's setting of the same name"
        )
    try:
        sealed = base64.b64decode(str(message.get("data")), validate=True)
    except (binascii.Error, ValueError):
        raise BadRecord("data is not base64") from None
    for passphrase in passphrases:
        plain = _opened(sealed, passphrase)
        if plain is not None:
            return _message(plain)
    raise BadRecord("the passphrase does not open the message")


def _opened(sealed: bytes, passphrase: str) -> bytes | None:
    key = passphrase.encode()[: SecretBox.KEY_SIZE].ljust(SecretBox.KEY_SIZE, b"\0")
    try:
        return SecretBox(key).decrypt(sealed)
    except (CryptoError, ValueError):
        return None


def _message(plain: bytes) -> dict[str, Any]:
    try:
        return as_object(read_json(plain))
    except UnreadableBody as error:
        raise BadRecord(f"the message inside: {error}") from None
