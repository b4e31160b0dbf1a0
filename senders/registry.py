"""Which sender belongs to a credential, and what a target must look like."""

from collections.abc import Callable
from typing import Any, get_args

import aiosmtplib

from senders import apns, email, fcm, inbox, sms, webhook, webpush, whatsapp
from senders.credentials import (
    ApnsCredential,
    Credential,
    EmailCredential,
    FcmCredential,
    SmsCredential,
    WebhookCredential,
    WebPushCredential,
    WhatsAppCredential,
)
from senders.documents import convert
from senders.http import GuardedHttp, UnansweredError, UnsentError, build_http
from senders.model import Provider, Sender, SenderError, Target
from senders.network import ForbiddenUrlError, NetworkPolicy
from senders.token_cache import MemoryTokenCache, MintError, TokenCache

FCM_CONNECTIONS = 4  # Google's front ends take about 100 streams a connection
PROVIDERS: tuple[str, ...] = get_args(Provider)

_CHECKS: dict[str, Callable[[Target], None]] = {
    "apns": apns.check_target,
    "fcm": fcm.check_target,
    "webpush": webpush.check_target,
    "inbox": inbox.check_target,
    "webhook": webhook.check_target,
    "whatsapp": whatsapp.check_target,
    "sms": sms.check_target,
    "email": email.check_target,
}


class InvalidTarget(SenderError):
    """A target that no push can reach: which field (JSON pointer), and why."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer}: {detail}")
        self.pointer = pointer
        self.detail = detail


# What each provider's users call the address.
OWN_WORDS = {
    "apns": "token",
    "fcm": "token",
    "webpush": "endpoint",
    "webhook": "url",
    "whatsapp": "phone",
    "sms": "phone",
}


def validate_target(provider: str, document: dict[str, Any]) -> Target:
    """Parse a target when it is registered.

    Args:
        provider: one of ``PROVIDERS``; a ``provider`` field in the document must agree.
        document: decoded JSON: ``address`` (or the provider's own word for it, see
            ``OWN_WORDS``) and, where the provider has them, ``app``, ``environment``, ``keys``. A
            browser's ``PushSubscription`` may stand as it is, or under ``subscription``.

    Raises:
        InvalidTarget: the field and why.
    """
    if provider not in PROVIDERS:
        raise InvalidTarget("/provider", f"{provider!r} is not one of {', '.join(PROVIDERS)}")
    if document.get("provider", provider) != provider:
        raise InvalidTarget("/provider", f"is {document['provider']!r}, not {provider!r}")
    document = _in_our_words(provider, document)
    known = {field: document[field] for field in document if field in Target.__struct_fields__}
    if unknown := document.keys() - known.keys():
        raise InvalidTarget(f"/{min(unknown)}", "is not a field of a target")
    target = convert({**known, "provider": provider}, Target, InvalidTarget)
    try:
        _CHECKS[provider](target)
    except ValueError as error:
        where, _, detail = str(error).partition(": ")
        raise InvalidTarget(where, detail) from None
    return target


def _in_our_words(provider: str, document: dict[str, Any]) -> dict[str, Any]:
    subscription = document.get("subscription")
    if provider == "webpush" and isinstance(subscription, dict):
        rest = {name: value for name, value in document.items() if name != "subscription"}
        document = {**subscription, **rest}
    if provider == "webpush":
        document = {name: v for name, v in document.items() if name != "expirationTime"}
    own = OWN_WORDS.get(provider)
    if own is None or own not in document or "address" in document:
        return document
    return {("address" if name == own else name): value for name, value in document.items()}


def build_sender(
    credential: Credential, *, token_cache: TokenCache, network_policy: NetworkPolicy
) -> Sender:
    """The sender of a validated credential."""
    return _build(credential, token_cache, network_policy)


async def dry_run(credential: Credential, *, network_policy: NetworkPolicy) -> str:
    """Try a credential as far as its provider allows without a message.

    Keys are read, an FCM access token is fetched, an SMTP server is logged in to.

    Returns:
        What is wrong, in words; empty if nothing is.
    """
    sender = _build(credential, MemoryTokenCache(), network_policy)
    try:
        await sender.check()
    except MintError as error:
        return getattr(error.outcome, "reason", str(error))
    except (UnsentError, UnansweredError, ForbiddenUrlError) as error:
        return str(error)
    except aiosmtplib.SMTPResponseException as error:
        return f"the server answers {error.code}: {error.message}"
    finally:
        await sender.close()
    return ""


_Built = (
    apns.ApnsSender
    | fcm.FcmSender
    | webpush.WebPushSender
    | webhook.WebhookSender
    | whatsapp.WhatsAppSender
    | sms.SmsSender
    | email.EmailSender
)


def _build(credential: Credential, tokens: TokenCache, policy: NetworkPolicy) -> _Built:
    endpoint, ca = credential.endpoint, credential.ca
    match credential:
        case EmailCredential():
            return email.EmailSender(credential, policy)
        case WebPushCredential():
            return webpush.WebPushSender(credential, GuardedHttp(policy, endpoint=endpoint, ca=ca))
        case WebhookCredential():
            guarded = GuardedHttp(policy, endpoint=endpoint or credential.url, ca=ca)
            return webhook.WebhookSender(credential, guarded)
    return _build_fixed(credential, tokens, policy)


def _build_fixed(
    credential: ApnsCredential | FcmCredential | WhatsAppCredential | SmsCredential,
    tokens: TokenCache,
    policy: NetworkPolicy,
) -> _Built:
    """Providers with hosts of their own."""
    connections = FCM_CONNECTIONS if isinstance(credential, FcmCredential) else 1
    http = build_http(
        policy, endpoint=credential.endpoint, ca=credential.ca, connections=connections
    )
    match credential:
        case ApnsCredential():
            return apns.ApnsSender(credential, http, tokens)
        case FcmCredential():
            return fcm.FcmSender(credential, http, tokens)
        case WhatsAppCredential():
            return whatsapp.WhatsAppSender(credential, http)
        case SmsCredential():
            return sms.SmsSender(credential, http)
