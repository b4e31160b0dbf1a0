"""Credentials: what a provider needs to know us by, parsed and proved usable when they are set.

``parse_credential`` refuses anything that cannot work with the field and the reason; the private
keys in a parsed credential have been loaded once. Documents are stored sealed
(``senders/vault.py``) and never shown again: ``redact`` keeps what identifies, not what proves.
"""

import re
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from senders.documents import convert, pointer
from senders.key_material import encode_base64url, load_p256, load_pem, webhook_secret
from senders.model import InvalidCredential
from senders.network import ForbiddenUrlError, parse_origin

GOOGLE_TOKEN_URIS = (
    "https://oauth2.googleapis.com/token",
    "https://accounts.google.com/o/oauth2/token",
)
GOOGLE_TOKEN_URI = GOOGLE_TOKEN_URIS[0]
Type = Literal["apns", "fcm", "webpush", "webhook", "whatsapp", "sms", "email"]


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every credential may carry: another address of the provider, and a CA to trust there."""

    endpoint: str = ""
    ca: str = ""


class ApnsCredential(_Document, frozen=True, kw_only=True, tag_field="type", tag="apns"):
    """An APNs signing key (.p8). ``environment`` empty: each target's own."""

    team_id: str
    key_id: str
    private_key: str
    topic: str = ""
    environment: Literal["", "production", "sandbox"] = ""


class ServiceAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A Google service-account file; fields we do not need are ignored."""

    project_id: str
    client_email: str
    private_key: str
    private_key_id: str = ""
    token_uri: str = GOOGLE_TOKEN_URI


class FcmCredential(_Document, frozen=True, kw_only=True, tag_field="type", tag="fcm"):
    """A Firebase project by its service account."""

    service_account: ServiceAccount


class WebPushCredential(_Document, frozen=True, kw_only=True, tag_field="type", tag="webpush"):
    """A VAPID key (RFC 8292): PEM, or the raw 32-byte scalar in base64url."""

    private_key: str
    subject: str
    allow_hosts: tuple[str, ...] = ()  # push services; empty: any public one


class WebhookCredential(_Document, frozen=True, kw_only=True, tag_field="type", tag="webhook"):
    """A Standard Webhooks receiver; every secret signs, the first is the newest."""

    secrets: tuple[str, ...]
    url: str = ""
    headers: dict[str, str] = {}


class WhatsAppCredential(_Document, frozen=True, kw_only=True, tag_field="type", tag="whatsapp"):
    """A WhatsApp Cloud API number."""

    phone_number_id: str
    access_token: str
    api_version: str = "v23.0"


class SmsCredential(_Document, frozen=True, kw_only=True, tag_field="type", tag="sms"):
    """A Twilio-shaped SMS account; it sends from a number or from a messaging service."""

    account_sid: str
    auth_token: str
    sender: str = msgspec.field(default="", name="from")
    messaging_service_sid: str = ""


class EmailCredential(_Document, frozen=True, kw_only=True, tag_field="type", tag="email"):
    """An SMTP submission server."""

    host: str
    sender: str = msgspec.field(name="from")
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str = ""
    password: str = ""
    unsubscribe_url: str = ""  # takes the one-click POST (RFC 8058); ?id=<push id> is appended


Credential = (
    ApnsCredential
    | FcmCredential
    | WebPushCredential
    | WebhookCredential
    | WhatsAppCredential
    | SmsCredential
    | EmailCredential
)
TYPES: tuple[str, ...] = get_args(Type)
_STRUCTS: dict[str, type[Credential]] = {
    "apns": ApnsCredential,
    "fcm": FcmCredential,
    "webpush": WebPushCredential,
    "webhook": WebhookCredential,
    "whatsapp": WhatsAppCredential,
    "sms": SmsCredential,
    "email": EmailCredential,
}
_SECRET_FIELDS = frozenset({"private_key", "secrets", "access_token", "auth_token", "password"})
_TEN = re.compile(r"[A-Z0-9]{10}")
_PEM_FILE = re.compile(r"[^\n]+\.(pem|crt|cer)")


def validate_credential(type: str, document: dict[str, Any]) -> Credential:  # noqa: A002
    """Parse a credential and prove that it can work as far as that is known without the provider.

    Args:
        type: one of ``TYPES``; a ``type`` field in the document must agree.
        document: decoded JSON. ``ca`` may be PEM text or the path of a PEM file, which is read now.

    Raises:
        InvalidCredential: the field (JSON pointer) and why.
    """
    struct = _STRUCTS.get(type)
    if struct is None:
        raise InvalidCredential("/type", f"{type!r} is not one of {', '.join(TYPES)}")
    if document.get("type", type) != type:
        raise InvalidCredential("/type", f"is {document['type']!r} but this is a {type} credential")
    credential = convert({**document, "type": type}, struct, InvalidCredential)
    credential = msgspec.structs.replace(credential, ca=_authority(credential.ca))
    if credential.endpoint:
        _check_https("/endpoint", credential.endpoint)
    _CHECKS[type](credential)
    return credential


def redact(credential: Credential) -> dict[str, Any]:
    """The credential as it may be shown: secrets replaced by whether they are set."""
    shown: dict[str, Any] = _without_secrets(msgspec.to_builtins(credential))
    if isinstance(credential, WebPushCredential):
        shown["public_key"] = vapid_public_key(credential)
    return shown


def to_document(credential: Credential) -> dict[str, Any]:
    """The whole document, secrets included, to be sealed and stored."""
    document: dict[str, Any] = msgspec.to_builtins(credential)
    return document


def signing_key(credential: ApnsCredential | WebPushCredential) -> ec.EllipticCurvePrivateKey:
    """The key that signs provider tokens or VAPID.

    Raises:
        InvalidCredential: not a P-256 private key.
    """
    try:
        return load_p256(credential.private_key)
    except ValueError as error:
        raise InvalidCredential("/private_key", str(error)) from None


def vapid_public_key(credential: WebPushCredential) -> str:
    """The ``applicationServerKey`` that browsers subscribe with: 65 bytes in base64url."""
    public = signing_key(credential).public_key()
    return encode_base64url(public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


def _check_apns(credential: ApnsCredential) -> None:
    for field in ("team_id", "key_id"):
        if not _TEN.fullmatch(getattr(credential, field)):
            raise InvalidCredential(f"/{field}", "must be ten capital letters and digits")
    signing_key(credential)


def _check_fcm(credential: FcmCredential) -> None:
    account = credential.service_account
    if not re.fullmatch(r"[a-z0-9:.-]{4,64}", account.project_id):
        raise InvalidCredential("/service_account/project_id", "is not a project id")
    if "@" not in account.client_email:
        raise InvalidCredential("/service_account/client_email", "is not an address")
    if not credential.endpoint and account.token_uri not in GOOGLE_TOKEN_URIS:
        raise InvalidCredential(
            "/service_account/token_uri",
            f"must be {GOOGLE_TOKEN_URI}; with `endpoint`, tokens come from its /token",
        )
    try:
        key = load_pem(account.private_key)
    except ValueError as error:
        raise InvalidCredential("/service_account/private_key", str(error)) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise InvalidCredential("/service_account/private_key", "must be an RSA key")


def _check_webpush(credential: WebPushCredential) -> None:
    signing_key(credential)
    contact = credential.subject
    # Apple answers BadJwtToken to blanks, angle brackets and localhost.
    if not re.fullmatch(r"mailto:[^\s<>@]+@[^\s<>@]+|https://[^\s<>]+", contact):
        raise InvalidCredential("/subject", "must be mailto:name@host or an https URL")
    if re.search(r"[@/]localhost\b", contact) and not credential.endpoint:
        raise InvalidCredential("/subject", "push services refuse localhost")


def _check_webhook(credential: WebhookCredential) -> None:
    if not credential.secrets:
        raise InvalidCredential("/secrets", "at least one is needed")
    for index, secret in enumerate(credential.secrets):
        try:
            webhook_secret(secret)
        except ValueError as error:
            raise InvalidCredential(pointer("secrets", index), str(error)) from None
    if credential.url:
        _check_https("/url", credential.url)
    for name, text in credential.headers.items():
        if not re.fullmatch(r"[A-Za-z0-9-]+", name) or name.lower() in _OWN_HEADERS:
            raise InvalidCredential(pointer("headers", name), "cannot be set")
        if name.lower().startswith("webhook-"):
            raise InvalidCredential(pointer("headers", name), "webhook-* headers are ours")
        _check_header_text(pointer("headers", name), text)


def _check_whatsapp(credential: WhatsAppCredential) -> None:
    if not credential.phone_number_id.isdecimal():
        raise InvalidCredential("/phone_number_id", "must be digits")
    if not re.fullmatch(r"v\d{1,3}\.0", credential.api_version):
        raise InvalidCredential("/api_version", "must look like v23.0")
    _check_header_text("/access_token", credential.access_token)


def _check_sms(credential: SmsCredential) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]{2,64}", credential.account_sid):
        raise InvalidCredential("/account_sid", "must be letters and digits")
    if bool(credential.sender) == bool(credential.messaging_service_sid):
        raise InvalidCredential("/from", "give either from or messaging_service_sid")
    _check_header_text("/auth_token", credential.auth_token)


def _check_email(credential: EmailCredential) -> None:
    if not re.fullmatch(r"[A-Za-z0-9.:-]+", credential.host):
        raise InvalidCredential("/host", "is not a host name")
    if not 1 <= credential.port <= 65535:
        raise InvalidCredential("/port", "must be 1 to 65535")
    if not re.fullmatch(r"[^\r\n<>]*<?[^\s<>@]+@[^\s<>@]+>?", credential.sender):
        raise InvalidCredential("/from", "is not a mail address")
    if bool(credential.username) != bool(credential.password):
        raise InvalidCredential("/username", "username and password go together")
    if credential.username and credential.security == "none":
        raise InvalidCredential("/security", "a password is never sent without TLS")
    if credential.unsubscribe_url:
        _check_https("/unsubscribe_url", credential.unsubscribe_url)


_OWN_HEADERS = frozenset(
    {"host", "authorization", "content-type", "content-length", "user-agent", "expect", "te"}
    | {"connection", "transfer-encoding", "upgrade", "trailer", "keep-alive"}
    | {"proxy-authorization", "proxy-connection"}
)
_CHECKS: dict[str, Any] = {
    "apns": _check_apns,
    "fcm": _check_fcm,
    "webpush": _check_webpush,
    "webhook": _check_webhook,
    "whatsapp": _check_whatsapp,
    "sms": _check_sms,
    "email": _check_email,
}


def _check_https(where: str, url: str) -> None:
    try:
        origin = parse_origin(url)
    except ForbiddenUrlError as error:
        raise InvalidCredential(where, str(error)) from None
    if origin.scheme != "https":
        raise InvalidCredential(where, "must be https")


def _check_header_text(where: str, text: str) -> None:
    if not text or not text.isascii() or not text.isprintable():
        raise InvalidCredential(where, "must be printable ASCII and not empty")


def _authority(ca: str) -> str:
    """PEM certificates from text or from the path of a PEM file."""
    if not ca:
        return ""
    if _PEM_FILE.fullmatch(ca):
        try:
            ca = Path(ca).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            raise InvalidCredential("/ca", "is neither PEM text nor a readable PEM file") from None
    try:
        x509.load_pem_x509_certificates(ca.encode())
    except ValueError:
        raise InvalidCredential("/ca", "holds no PEM certificate") from None
    return ca


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: "set" if key in _SECRET_FIELDS and item else _without_secrets(item)
            for key, item in value.items()
        }
    return value
