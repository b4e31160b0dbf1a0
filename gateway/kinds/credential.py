"""Provider credentials: validated, then sealed; what is shown identifies, but proves nothing.

Stored form: ``{"type", "shown": {...}, "sealed": base64}``; sealed under the master key and bound
to tenant, type and id, so that it opens nowhere else.
"""

import base64
from typing import Any

import msgspec

from gateway.kinds.fields import InvalidDocument, check_same_id, without_read_only
from senders.credentials import TYPES, Credential, redact, to_document, validate_credential
from senders.vault import Vault


class StoredCredential(msgspec.Struct, frozen=True):
    """A credential as it is stored."""

    type: str
    shown: dict[str, Any]
    sealed: str


_STORED = msgspec.json.Decoder(StoredCredential)


def parse(
    vault: Vault, tenant: str, credential_id: str, document: dict[str, Any]
) -> dict[str, Any]:
    """The stored form of a posted credential. Without ``type`` the id is the type.

    Raises:
        InvalidDocument: the id or the type.
        InvalidCredential: the field that cannot work, and why.
    """
    document = without_read_only(document)
    check_same_id(document, credential_id)
    document.pop("id", None)
    type_ = document.get("type", credential_id if credential_id in TYPES else None)
    if type_ is None:
        raise InvalidDocument("/type", f"is required: one of {', '.join(TYPES)}")
    credential = validate_credential(str(type_), document)
    secret = msgspec.json.encode(to_document(credential))
    sealed = vault.seal(secret, bound_to(tenant, str(type_), credential_id))
    return {
        "type": type_,
        "shown": {"id": credential_id, **redact(credential)},
        "sealed": base64.b64encode(sealed).decode(),
    }


def read(stored: bytes) -> StoredCredential:
    """A stored credential, still sealed."""
    return _STORED.decode(stored)


def unseal(vault: Vault, tenant: str, credential_id: str, stored: bytes) -> Credential:
    """The credential, to send with.

    Raises:
        CannotOpen: it was sealed with a master key that is not known, or for another owner.
        InvalidCredential: it was valid once and is no more (its CA file is gone, for example).
    """
    found = read(stored)
    bound = bound_to(tenant, found.type, credential_id)
    document = msgspec.json.decode(vault.open(base64.b64decode(found.sealed), bound))
    return validate_credential(found.type, document)


def bound_to(tenant: str, type_: str, credential_id: str) -> str:
    """What a credential's seal is bound to."""
    return f"{tenant}|{type_}|{credential_id}"
