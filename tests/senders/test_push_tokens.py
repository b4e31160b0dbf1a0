"""Receipt proofs and action tokens: only ours pass, for what they were made for, in time."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from senders.tokens import InvalidToken, is_proof, prove, sign, verify

KEY, OTHER = os.urandom(32), os.urandom(32)
NOW = 1_790_000_000_000


def test_a_proof_is_short_and_holds_for_its_subject_alone() -> None:
    """22 characters; another push, kind or key does not pass; an older key still does."""
    proof = prove("receipt", "push-1", KEY)
    assert 22 == len(proof)
    assert is_proof("receipt", "push-1", proof, [KEY])
    assert is_proof("receipt", "push-1", proof, [OTHER, KEY])
    assert not is_proof("receipt", "push-2", proof, [KEY])
    assert not is_proof("action", "push-1", proof, [KEY])
    assert not is_proof("receipt", "push-1", proof, [OTHER])
    assert not is_proof("receipt", "push-1", "é", [KEY])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=20), max_size=4))
def test_a_token_carries_its_claims(claims: list[str]) -> None:
    """What is signed comes back until the token's end."""
    token = sign("action", claims, KEY, expires_at=NOW)
    assert tuple(claims) == verify("action", token, [OTHER, KEY], now=NOW - 1)


def test_a_token_ends() -> None:
    """At its end a token is refused, and the caller can tell this from forgery."""
    token = sign("action", ["a"], KEY, expires_at=NOW)
    with pytest.raises(InvalidToken) as caught:
        verify("action", token, [KEY], now=NOW)
    assert caught.value.is_expired


def test_forged_tokens_are_refused() -> None:
    """Any changed character, another kind or key, or no token at all."""
    token = sign("action", ["acme", "push-1", "remind"], KEY, expires_at=NOW)
    forged = [token[:i] + ("A" if token[i] != "A" else "B") + token[i + 1 :] for i in range(20)]
    for text in [*forged, "", "%", "é", "a" * 2000, token[:10]]:
        with pytest.raises(InvalidToken) as caught:
            verify("action", text, [KEY], now=0)
        assert not caught.value.is_expired
    with pytest.raises(InvalidToken):
        verify("receipt", token, [KEY], now=0)
    with pytest.raises(InvalidToken):
        verify("action", token, [OTHER], now=0)
