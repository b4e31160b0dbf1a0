"""Secrets open only with a known master key, unchanged, for the owner they were sealed for."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from senders.vault import CannotOpen, Vault, new_key, parse_key

OLD, NEW = os.urandom(32), os.urandom(32)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=500), st.text(max_size=50))
def test_what_is_sealed_opens(secret: bytes, owner: str) -> None:
    """Sealing and opening for the same owner gives the secret back."""
    vault = Vault([NEW])
    assert secret == vault.open(vault.seal(secret, owner), owner)


def test_another_owner_cannot_open() -> None:
    """A row copied to another tenant does not decrypt."""
    vault = Vault([NEW])
    sealed = vault.seal(b"secret", "acme/apns")
    with pytest.raises(CannotOpen, match="another owner"):
        vault.open(sealed, "evil/apns")


def test_every_changed_byte_is_noticed() -> None:
    """Version, key id, nonce, ciphertext and tag are all authenticated."""
    vault = Vault([NEW])
    sealed = vault.seal(b"secret", "acme")
    for index in range(len(sealed)):
        damaged = bytearray(sealed)
        damaged[index] ^= 1
        with pytest.raises(CannotOpen):
            vault.open(bytes(damaged), "acme")
    with pytest.raises(CannotOpen, match="not a sealed secret"):
        vault.open(b"", "acme")


def test_master_keys_rotate() -> None:
    """New key first: old secrets still open, and are sealed anew; then the old key may go."""
    sealed = Vault([OLD]).seal(b"secret", "acme")
    both = Vault([NEW, OLD])
    assert not both.is_current(sealed)
    renewed = both.reseal(sealed, "acme")
    assert both.is_current(renewed)
    assert renewed == both.reseal(renewed, "acme")
    assert b"secret" == Vault([NEW]).open(renewed, "acme")
    with pytest.raises(CannotOpen, match="unknown master key"):
        Vault([NEW]).open(sealed, "acme")


@pytest.mark.parametrize("keys", [[], [b"short"], [NEW, b""]])
def test_keys_have_32_bytes(keys: list[bytes]) -> None:
    """A vault without keys, or with short ones, is refused."""
    with pytest.raises(ValueError, match="32 bytes"):
        Vault(keys)


def test_keys_as_text() -> None:
    """A key survives being written to a file; other text is refused."""
    assert 32 == len(parse_key(new_key() + "\n"))
    for text in ("", "abc", "!!!!", new_key()[:-8]):
        with pytest.raises(ValueError, match="32 bytes in base64"):
            parse_key(text)
