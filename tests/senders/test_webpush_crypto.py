"""Encryption is RFC 8291's: its own vector, and an independent decoder."""

import http_ece
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from senders.key_material import decode_base64url, encode_base64url
from senders.webpush_crypto import PLAINTEXT_BYTES, check_keys, decode_keys, encrypt

CURVE = ec.SECP256R1()
RECEIVER = ec.generate_private_key(CURVE)
POINT = RECEIVER.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
AUTH = bytes(range(16))


def _private(scalar: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(decode_base64url(scalar)), CURVE)


def test_vector_of_rfc_8291() -> None:
    """Section 5: this message, these keys and this salt give exactly this body."""
    body = encrypt(
        b"When I grow up, I want to be a watermelon",
        decode_base64url(
            "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
        ),
        decode_base64url("BTBZMqHH6r4Tts7J_aSIgg"),
        sender_key=_private("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"),
        salt=decode_base64url("DGv6ra1nlYgDCS1FRnbzlw"),
    )
    expected = (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6T"
        "lzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4"
        "a-fN"
    )
    assert expected == encode_base64url(body)


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=PLAINTEXT_BYTES))
def test_another_implementation_decrypts_it(plaintext: bytes) -> None:
    """Whatever is encrypted, http_ece decrypts to the same bytes."""
    body = encrypt(plaintext, POINT, AUTH)
    assert plaintext == http_ece.decrypt(
        body, private_key=RECEIVER, auth_secret=AUTH, version="aes128gcm"
    )


def test_longest_message_fills_one_record() -> None:
    """3993 bytes become 4096, which every push service must take; one more is refused."""
    assert 4096 == len(encrypt(bytes(PLAINTEXT_BYTES), POINT, AUTH))
    with pytest.raises(ValueError, match="at most 3993"):
        encrypt(bytes(PLAINTEXT_BYTES + 1), POINT, AUTH)


def test_messages_cannot_be_linked() -> None:
    """Salt and sender key are fresh for every message."""
    first, second = (encrypt(b"hi", POINT, AUTH) for _ in range(2))
    assert first[:16] != second[:16]
    assert first[21:86] != second[21:86]


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (None, "/keys/auth"),
        ({"p256dh": "%", "auth": "x"}, "must be base64url"),
        ({"p256dh": encode_base64url(POINT), "auth": encode_base64url(bytes(15))}, "15 bytes"),
        ({"p256dh": encode_base64url(POINT[:64]), "auth": encode_base64url(AUTH)}, "not an uncom"),
        (
            {"p256dh": encode_base64url(b"\x02" + POINT[1:]), "auth": encode_base64url(AUTH)},
            "not an uncompressed",
        ),
        (
            {"p256dh": encode_base64url(b"\x04" + bytes(64)), "auth": encode_base64url(AUTH)},
            "not a point",
        ),
    ],
)
def test_broken_keys_are_refused(keys: dict[str, str] | None, problem: str) -> None:
    """Keys that cannot be a subscription's are refused with what is wrong."""
    with pytest.raises(ValueError, match=problem):
        check_keys(keys)


def test_keys_are_read_with_and_without_padding() -> None:
    """Browsers send base64url without padding, some libraries with it."""
    padded = encode_base64url(AUTH) + "=="
    assert (POINT, AUTH) == decode_keys({"p256dh": encode_base64url(POINT), "auth": padded})
