"""Credentials that cannot work are refused with the field; secrets are never shown."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from senders.credentials import (
    TYPES,
    redact,
    to_document,
    validate_credential,
    vapid_public_key,
)
from senders.key_material import decode_base64url, encode_base64url, webhook_secret
from senders.model import InvalidCredential
from senders.sandbox.certificates import ensure_certificates

EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)


def _pem(key: Any, password: bytes = b"") -> str:
    protection = BestAvailableEncryption(password) if password else NoEncryption()
    text: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)
    return text.decode()


SCALAR = encode_base64url(EC_KEY.private_numbers().private_value.to_bytes(32))
SECRET = "whsec_" + base64.b64encode(b"s" * 24).decode()
ACCOUNT = {
    "type": "service_account",
    "project_id": "demo-shop",
    "client_email": "push@demo-shop.example",
    "private_key": _pem(RSA_KEY),
    "client_id": "ignored",
}
GOOD: dict[str, dict[str, Any]] = {
    "apns": {"team_id": "TEAM123456", "key_id": "KEY1234567", "private_key": _pem(EC_KEY)},
    "fcm": {"service_account": ACCOUNT},
    "webpush": {"private_key": _pem(EC_KEY), "subject": "mailto:push@example.com"},
    "webhook": {"url": "https://hooks.example/x", "secrets": [SECRET], "headers": {"x-a": "1"}},
    "whatsapp": {"phone_number_id": "12345", "access_token": "EAAsecret"},
    "sms": {"account_sid": "AC123", "auth_token": "secret", "from": "+15005550006"},
    "email": {
        "host": "smtp.example",
        "from": "Shop <push@shop.example>",
        "username": "u",
        "password": "secret",
    },
}


@pytest.mark.parametrize("type_", TYPES)
def test_good_credentials_survive_storage(type_: str) -> None:
    """What is stored parses to the same credential again."""
    credential = validate_credential(type_, GOOD[type_])
    stored = json.loads(json.dumps(to_document(credential)))
    assert credential == validate_credential(type_, stored)


@pytest.mark.parametrize("type_", TYPES)
def test_secrets_are_never_shown(type_: str) -> None:
    """What is shown identifies the credential and holds no secret."""
    shown = json.dumps(redact(validate_credential(type_, GOOD[type_])))
    for secret in ("PRIVATE KEY", "secret", SECRET, SCALAR):
        assert secret not in shown.replace('"secrets"', "")
    assert '"type": "' + type_ in shown


def test_a_web_push_key_shows_its_public_half() -> None:
    """Browsers subscribe with it; PEM and raw scalar are the same key."""
    pem = validate_credential("webpush", GOOD["webpush"])
    raw = validate_credential("webpush", {**GOOD["webpush"], "private_key": SCALAR})
    assert vapid_public_key(pem) == vapid_public_key(raw) == redact(raw)["public_key"]  # type: ignore[arg-type]
    assert 65 == len(decode_base64url(redact(pem)["public_key"]))


@pytest.mark.parametrize(
    ("type_", "change", "pointer", "problem"),
    [
        ("pigeon", {}, "/type", "is not one of"),
        ("apns", {"type": "fcm"}, "/type", "but this is"),
        ("apns", {"team": "x"}, "/team", "did you mean 'team_id'?"),
        ("apns", {"team_id": "short"}, "/team_id", "ten capital"),
        ("apns", {"key_id": 7}, "/key_id", "expected `str`"),
        ("apns", {"private_key": "x"}, "/private_key", "PEM"),
        ("apns", {"private_key": _pem(RSA_KEY)}, "/private_key", "P-256"),
        ("apns", {"private_key": _pem(EC_KEY, b"pw")}, "/private_key", "unencrypted"),
        ("apns", {"environment": "test"}, "/environment", "invalid enum"),
        ("apns", {"endpoint": "http://x.example"}, "/endpoint", "https"),
        ("apns", {"endpoint": "x"}, "/endpoint", "not a URL"),
        ("apns", {"ca": "no certificate"}, "/ca", "no PEM certificate"),
        ("apns", {"ca": "/nowhere/ca.pem"}, "/ca", "readable"),
        (
            "fcm",
            {"service_account": {"project_id": "x"}},
            "/service_account/client_email",
            "is required",
        ),
        (
            "fcm",
            {"service_account": {**ACCOUNT, "project_id": "A B"}},
            "/service_account/project_id",
            "project",
        ),
        (
            "fcm",
            {"service_account": {**ACCOUNT, "token_uri": "https://169.254.169.254/token"}},
            "/service_account/token_uri",
            "must be https://oauth2.googleapis.com/token",
        ),
        (
            "fcm",
            {"service_account": {**ACCOUNT, "private_key": _pem(EC_KEY)}},
            "/service_account/private_key",
            "RSA",
        ),
        (
            "fcm",
            {"service_account": {**ACCOUNT, "client_email": "x"}},
            "/service_account/client_email",
            "address",
        ),
        ("webpush", {"private_key": "AAAA"}, "/private_key", "32 bytes"),
        ("webpush", {"private_key": _pem(RSA_KEY)}, "/private_key", "P-256"),
        ("webpush", {"subject": "push@example.com"}, "/subject", "mailto:"),
        ("webpush", {"subject": "mailto: a@b.example"}, "/subject", "mailto:"),
        ("webpush", {"subject": "mailto:a@localhost"}, "/subject", "localhost"),
        ("webhook", {"secrets": []}, "/secrets", "at least one"),
        ("webhook", {"secrets": ["whsec_AAAA"]}, "/secrets/0", "24 to 64"),
        ("webhook", {"secrets": ["whsec_!"]}, "/secrets/0", "base64"),
        ("webhook", {"url": "http://hooks.example"}, "/url", "https"),
        ("webhook", {"url": "https://u:p@hooks.example"}, "/url", "user information"),
        ("webhook", {"headers": {"Host": "x"}}, "/headers/Host", "cannot be set"),
        ("webhook", {"headers": {"a b": "x"}}, "/headers/a b", "cannot be set"),
        ("webhook", {"headers": {"Webhook-Id": "x"}}, "/headers/Webhook-Id", "ours"),
        ("webhook", {"headers": {"x-a": "b\r\nc"}}, "/headers/x-a", "printable"),
        ("whatsapp", {"phone_number_id": "+49"}, "/phone_number_id", "digits"),
        ("whatsapp", {"api_version": "23"}, "/api_version", "v23.0"),
        ("whatsapp", {"access_token": "a\nb"}, "/access_token", "printable"),
        ("sms", {"from": ""}, "/from", "either"),
        ("sms", {"messaging_service_sid": "MG1"}, "/from", "either"),
        ("sms", {"account_sid": "a/b"}, "/account_sid", "letters"),
        ("email", {"host": "a b"}, "/host", "host name"),
        ("email", {"port": 0}, "/port", "65535"),
        ("email", {"from": "nobody"}, "/from", "mail address"),
        ("email", {"password": ""}, "/username", "together"),
        ("email", {"security": "none"}, "/security", "never sent without TLS"),
        ("email", {"unsubscribe_url": "http://x"}, "/unsubscribe_url", "https"),
    ],
)
def test_wrong_credentials(type_: str, change: dict[str, Any], pointer: str, problem: str) -> None:
    """Each names the field by its JSON pointer and says what is wrong."""
    with pytest.raises(InvalidCredential) as caught:
        validate_credential(type_, {**GOOD.get(type_, {}), **change})
    assert pointer == caught.value.pointer
    assert problem in caught.value.detail


def test_an_authority_by_text_or_file(tmp_path: Path) -> None:
    """A file is read when the credential is set, and its text is kept."""
    ensure_certificates(tmp_path)
    path = tmp_path / "sandbox-ca.pem"
    by_file = validate_credential("apns", {**GOOD["apns"], "ca": str(path)})
    by_text = validate_credential("apns", {**GOOD["apns"], "ca": path.read_text()})
    assert by_file == by_text
    assert "BEGIN CERTIFICATE" in by_file.ca


@given(st.binary(max_size=80))
def test_base64url_round_trip(data: bytes) -> None:
    """Without padding, and with it."""
    text = encode_base64url(data)
    assert data == decode_base64url(text) == decode_base64url(text + "=" * (-len(text) % 4))


def test_webhook_secrets() -> None:
    """The prefix may be there or not."""
    assert b"s" * 24 == webhook_secret(SECRET) == webhook_secret(SECRET.removeprefix("whsec_"))
