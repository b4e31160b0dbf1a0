"""Every provider's sender against the sandbox: real HTTP/2, TLS, signatures and decryption."""

import asyncio
import base64
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from senders.apns import ApnsSender
from senders.credentials import Credential, validate_credential
from senders.fcm import FcmSender
from senders.http import Answer, build_http
from senders.model import (
    Action,
    Ambiguous,
    Delivered,
    Media,
    Misconfigured,
    Outcome,
    Rejected,
    Rendered,
    RetryAfter,
    Sender,
    Target,
    Unregistered,
)
from senders.network import NetworkPolicy
from senders.registry import build_sender, dry_run
from senders.sandbox.process import SandboxProcess
from senders.token_cache import MemoryTokenCache, TokenCache

APNS_KEY = ec.generate_private_key(ec.SECP256R1())
FCM_KEY = rsa.generate_private_key(65537, 2048)
VAPID_KEY = ec.generate_private_key(ec.SECP256R1())
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
POLICY = NetworkPolicy()
DEVICE = "ab" * 32


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _public(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    public = key.public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


DOCUMENTS: dict[str, dict[str, Any]] = {
    "apns": {
        "team_id": "TEAM123456",
        "key_id": "KEY1234567",
        "private_key": _pem(APNS_KEY),
        "topic": "com.example.shop",
    },
    "fcm": {
        "service_account": {
            "type": "service_account",
            "project_id": "demo-shop",
            "client_email": "push@demo-shop.example",
            "private_key_id": "k1",
            "private_key": _pem(FCM_KEY),
        }
    },
    "webpush": {"private_key": _pem(VAPID_KEY), "subject": "mailto:push@example.com"},
    "webhook": {"secrets": [SECRET]},
    "whatsapp": {"phone_number_id": "1234567890", "access_token": "EAAtoken"},
    "sms": {"account_sid": "AC" + "0" * 32, "auth_token": "secret", "from": "+15005550006"},
}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    with SandboxProcess(Path(tmp_path_factory.mktemp("sandbox"))) as process:
        for key in (
            {"provider": "apns", "id": "KEY1234567", "public_key": _public(APNS_KEY)},
            {"provider": "fcm", "id": "push@demo-shop.example", "public_key": _public(FCM_KEY)},
            {"provider": "webhook", "id": "staff", "secret": SECRET},
        ):
            process.call("POST", "keys", key)
        yield process


def _credential(sandbox: SandboxProcess, provider: str, **changes: Any) -> Credential:
    here = {"endpoint": sandbox.url, "ca": str(sandbox.ca)}
    return validate_credential(provider, {**DOCUMENTS[provider], **here, **changes})


def _message(**changes: Any) -> Rendered:
    message = Rendered(
        id=str(uuid.uuid4()),
        title="Hi Ann",
        body="Lunch is on us",
        expires_at=int(time.time() * 1000) + 600_000,
        media=(Media("image", "https://img.example/a.jpg"),),
        deep_link="https://shop.example/7",
        receipt_token="t" * 22,
        receipt_url="https://gw.example/v1/receipts",
    )
    return msgspec.structs.replace(message, **changes)


def _subscription(sandbox: SandboxProcess, outcome: str | None = None) -> Target:
    wanted = {"outcome": outcome} if outcome else {}
    found = sandbox.call("POST", "subscriptions", wanted)
    return Target("webpush", found["endpoint"], keys=found["keys"])


def _target(sandbox: SandboxProcess, provider: str, outcome: str = "") -> Target:
    """A target that meets this outcome at the sandbox, or is served."""
    hexadecimal = {
        "unregistered": "dead",
        "long-gone": "dea0",
        "invalid": "bad0",
        "mismatch": "bad1",
        "disallowed": "bad2",
        "unauthorized": "4030",
        "throttled": "4290",
        "error": "5000",
        "unavailable": "5030",
        "reset": "c105",
        "lose": "1057",
    }
    numbers = {
        "unregistered": "0410",
        "invalid": "0400",
        "unauthorized": "0401",
        "throttled": "0429",
        "error": "0500",
        "unavailable": "0503",
        "lose": "0995",
        "": "1234",
    }
    if provider == "webpush":
        return _subscription(sandbox, outcome or None)
    named = f"sandbox-{outcome}-1" if outcome else "device-1"
    match provider:
        case "apns":
            return Target("apns", (hexadecimal.get(outcome, "ab") + DEVICE)[:64], app="com.x")
        case "fcm":
            return Target("fcm", named + "-0123456789abcdef")
        case "webhook":
            return Target("webhook", f"{sandbox.url}/webhook/{named if outcome else 'staff'}")
        case "whatsapp" | "sms":
            return Target(provider, f"+1500555{numbers[outcome]}")
    raise AssertionError(provider)


def _run(
    sandbox: SandboxProcess,
    provider: str,
    use: Callable[[Sender], Awaitable[Any]],
    *,
    tokens: TokenCache | None = None,
    **changes: Any,
) -> Any:
    async def run() -> Any:
        credential = _credential(sandbox, provider, **changes)
        sender = build_sender(credential, token_cache=tokens or TOKENS, network_policy=POLICY)
        try:
            return await use(sender)
        finally:
            await sender.close()

    return asyncio.run(run())


class _SharedTokens(MemoryTokenCache):
    """Tokens kept over the event loops of these tests, as Apple allows few new ones."""

    async def get(self, name: str, mint: Any) -> Any:
        self._locks.clear()
        return await super().get(name, mint)


TOKENS = _SharedTokens()


@pytest.mark.parametrize("provider", sorted(DOCUMENTS))
def test_a_message_arrives(sandbox: SandboxProcess, provider: str) -> None:
    """The provider takes it under the push's id, and what it took is the message."""
    actions = (Action("remind", "Later", token="tok", url="https://gw.example/a"),)
    message = _message(actions=actions)
    outcome = _run(
        sandbox, provider, lambda sender: sender.send(message, _target(sandbox, provider))
    )
    assert isinstance(outcome, Delivered)
    taken = sandbox.messages(f"provider={provider}")[-1]
    text = json.dumps(taken["payload"])
    assert "Lunch is on us" in text
    if provider not in ("sms", "webpush"):
        assert message.id in text + json.dumps(taken["headers"]) + str(taken["id"])
    if provider in ("apns", "whatsapp", "sms", "fcm", "webpush"):
        assert outcome.provider_id


@pytest.mark.parametrize(
    ("provider", "outcome", "expected"),
    [
        ("apns", "unregistered", Unregistered),
        ("apns", "invalid", Unregistered),
        ("apns", "mismatch", Unregistered),
        ("apns", "disallowed", Misconfigured),
        ("apns", "unauthorized", Misconfigured),
        ("apns", "throttled", RetryAfter),
        ("apns", "error", RetryAfter),
        ("apns", "unavailable", RetryAfter),
        ("fcm", "unregistered", Unregistered),
        ("fcm", "invalid", Unregistered),
        ("fcm", "mismatch", Rejected),
        ("fcm", "disallowed", Misconfigured),
        ("fcm", "unauthorized", Misconfigured),
        ("fcm", "throttled", RetryAfter),
        ("fcm", "error", RetryAfter),
        ("fcm", "unavailable", RetryAfter),
        ("webpush", "unregistered", Unregistered),
        ("webpush", "invalid", Rejected),
        ("webpush", "unauthorized", Misconfigured),
        ("webpush", "throttled", RetryAfter),
        ("webpush", "unavailable", RetryAfter),
        ("webhook", "unregistered", Unregistered),
        ("webhook", "invalid", RetryAfter),
        ("webhook", "throttled", RetryAfter),
        ("webhook", "error", RetryAfter),
        ("whatsapp", "unregistered", Rejected),
        ("whatsapp", "unauthorized", Misconfigured),
        ("whatsapp", "throttled", RetryAfter),
        ("whatsapp", "error", RetryAfter),
        ("sms", "unregistered", Unregistered),
        ("sms", "invalid", Unregistered),
        ("sms", "unauthorized", Misconfigured),
        ("sms", "throttled", RetryAfter),
        ("sms", "error", RetryAfter),
        *((provider, "lose", Ambiguous) for provider in sorted(DOCUMENTS)),
    ],
)
def test_answers_become_outcomes(
    sandbox: SandboxProcess, provider: str, outcome: str, expected: type[Outcome]
) -> None:
    """Each provider's own way of saying it, over the wire."""
    target = _target(sandbox, provider, outcome)
    found = _run(sandbox, provider, lambda sender: sender.send(_message(), target))
    assert expected is type(found), found
    if outcome == "throttled":
        assert not found.is_counted
        assert provider == "apns" or found.after_s == 5.0  # Retry-After


def test_a_dead_token_says_since_when(sandbox: SandboxProcess) -> None:
    """The timestamp of the 410 comes along, so that a newer registration is kept."""
    target = _target(sandbox, "apns", "long-gone")
    found = _run(sandbox, "apns", lambda sender: sender.send(_message(), target))
    assert isinstance(found, Unregistered)
    assert time.time() * 1000 - found.since > 300 * 86_400_000


def test_a_topic_of_ours_does_not_kill_tokens(sandbox: SandboxProcess) -> None:
    """When the topic is the credential's, a mismatch is a configuration error."""
    target = Target("apns", ("bad1" + DEVICE)[:64])
    found = _run(sandbox, "apns", lambda sender: sender.send(_message(), target))
    assert isinstance(found, Misconfigured)


def test_silent_pushes_follow_apples_rules(sandbox: SandboxProcess) -> None:
    """Background type, priority 5, nothing but content-available: the sandbox checks all of it."""
    silent = _message(is_silent=True, title="", body="", media=())
    found = _run(sandbox, "apns", lambda sender: sender.send(silent, _target(sandbox, "apns")))
    assert isinstance(found, Delivered)
    taken = sandbox.messages("provider=apns")[-1]
    assert {"content-available": 1} == taken["payload"]["aps"]


def test_one_provider_token_serves_many_pushes(sandbox: SandboxProcess) -> None:
    """Two senders of one key and a hundred pushes make one token."""
    made = []

    class Counting(MemoryTokenCache):
        async def _obtain(self, name: str, refused: str, mint: Any) -> Any:
            made.append(name)
            return await super()._obtain(name, refused, mint)

    async def run() -> set[type[Outcome]]:
        tokens = Counting()
        found: list[Outcome] = []
        for _ in range(2):
            sender = build_sender(
                _credential(sandbox, "apns"), token_cache=tokens, network_policy=POLICY
            )
            sends = (sender.send(_message(), Target("apns", DEVICE)) for _ in range(50))
            found += await asyncio.gather(*sends)
            await sender.close()
        return {type(outcome) for outcome in found}

    assert {Delivered} == asyncio.run(run())
    assert 1 == len(made)


class _Scripted:
    """HTTP that gives prepared answers and keeps what was posted."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.posted: list[dict[str, str]] = []
        self.renewed = 0

    async def post(self, url: str, headers: Any, body: bytes) -> Answer:
        self.posted.append(dict(headers))
        return self.answers.pop(0)

    def renew(self) -> None:
        self.renewed += 1

    async def close(self) -> None:
        """Nothing to close."""


def _apns_error(status: int, reason: str) -> Answer:
    return Answer(status, {}, json.dumps({"reason": reason}).encode())


class _Clock:
    now_s = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now_s


def test_an_expired_provider_token_is_replaced_once() -> None:
    """A new token over a new connection, the same push again; a young token is not replaced."""

    async def run() -> None:
        clock = _Clock()
        http = _Scripted(
            Answer(200, {}, b""),
            _apns_error(403, "ExpiredProviderToken"),
            Answer(200, {"apns-id": "x"}, b""),
            _apns_error(403, "ExpiredProviderToken"),
        )
        credential = validate_credential("apns", DOCUMENTS["apns"])
        sender = ApnsSender(credential, http, MemoryTokenCache(clock), clock)  # type: ignore[arg-type]
        message, target = _message(), Target("apns", DEVICE)
        await sender.send(message, target)
        clock.now_s += 30 * 60
        assert Delivered("x") == await sender.send(message, target)
        first, second, third = (posted["authorization"] for posted in http.posted)
        assert first == second != third
        assert 1 == http.renewed
        assert {message.id} == {posted["apns-id"] for posted in http.posted}
        # the token is new: the clock must be wrong, and another token would only draw a 429
        assert isinstance(await sender.send(message, target), RetryAfter)
        assert 4 == len(http.posted)

    asyncio.run(run())


def test_too_many_token_updates_keeps_the_token() -> None:
    """The token stays, the credential pauses for minutes, nothing is counted as a try."""

    async def run() -> None:
        http = _Scripted(
            _apns_error(429, "TooManyProviderTokenUpdates"),
            _apns_error(403, "UnrelatedKeyIdInToken"),
            _apns_error(403, "UnrelatedKeyIdInToken"),
            _apns_error(400, "IdleTimeout"),
        )
        credential = validate_credential("apns", DOCUMENTS["apns"])
        sender = ApnsSender(credential, http, MemoryTokenCache())  # type: ignore[arg-type]
        message, target = _message(), Target("apns", DEVICE)
        throttled = await sender.send(message, target)
        assert RetryAfter("TooManyProviderTokenUpdates", 300.0, is_counted=False) == throttled
        assert isinstance(await sender.send(message, target), Misconfigured)
        assert isinstance(await sender.send(message, target), RetryAfter)
        assert 1 == len({posted["authorization"] for posted in http.posted})
        assert 2 == http.renewed

    asyncio.run(run())


def test_fcm_refreshes_its_access_token_once() -> None:
    """401 gets one new token and one more try; what Google's token endpoint refuses is told."""

    async def run() -> None:
        grant = Answer(200, {}, b'{"access_token": "a", "expires_in": 3599}')
        stale = Answer(401, {}, b'{"error": {"status": "UNAUTHENTICATED"}}')
        sent = Answer(200, {}, b'{"name": "projects/p/messages/1"}')
        second = Answer(200, {}, b'{"access_token": "b", "expires_in": 3599}')
        credential = validate_credential("fcm", DOCUMENTS["fcm"])
        http = _Scripted(grant, stale, second, sent)
        sender = FcmSender(credential, http, MemoryTokenCache())  # type: ignore[arg-type]
        target = Target("fcm", "token-0123456789abcdef")
        assert Delivered("projects/p/messages/1") == await sender.send(_message(), target)
        assert "Bearer b" == http.posted[-1]["authorization"]
        for status, expected in ((400, Misconfigured), (503, RetryAfter), (429, RetryAfter)):
            http = _Scripted(Answer(status, {}, b'{"error": "invalid_grant"}'))
            sender = FcmSender(credential, http, MemoryTokenCache())  # type: ignore[arg-type]
            assert expected is type(await sender.send(_message(), target))

    asyncio.run(run())


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"message": "The registration token is not a valid FCM registration token"}, Unregistered),
        ({"message": "Android message is too big"}, Rejected),
        ({"fields": ["message.token"]}, Unregistered),
        ({"fields": ["message.data[0].value"], "message": "registration token"}, Rejected),
    ],
)
def test_fcm_blames_token_or_payload(body: dict[str, Any], expected: type[Outcome]) -> None:
    """INVALID_ARGUMENT drops a token only when the token is what it is about."""

    async def run() -> Outcome:
        detail: dict[str, Any] = {
            "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError",
            "errorCode": "INVALID_ARGUMENT",
        }
        violations = [{"field": field} for field in body.get("fields", [])]
        details = [detail, {"@type": "x.BadRequest", "fieldViolations": violations}]
        error = {"status": "INVALID_ARGUMENT", "message": body.get("message", "")}
        answer = json.dumps({"error": {**error, "details": details}}).encode()
        http = _Scripted(Answer(200, {}, b'{"access_token": "a"}'), Answer(400, {}, answer))
        credential = validate_credential("fcm", DOCUMENTS["fcm"])
        sender = FcmSender(credential, http, MemoryTokenCache())  # type: ignore[arg-type]
        return await sender.send(_message(), Target("fcm", "token-0123456789abcdef"))

    assert expected is type(asyncio.run(run()))


def test_web_push_signs_once_for_each_service(sandbox: SandboxProcess) -> None:
    """Many pushes to one service carry one VAPID signature, whose audience is its origin."""

    async def use(sender: Sender) -> list[str]:
        target = _subscription(sandbox)
        for _ in range(3):
            assert isinstance(await sender.send(_message(), target), Delivered)
        return [str(origin) for origin in sender._signed]  # type: ignore[attr-defined]

    assert [sandbox.url] == _run(sandbox, "webpush", use)


def test_web_push_goes_to_allowed_services_only(sandbox: SandboxProcess) -> None:
    """Private endpoints and services that are not listed are refused without a connection."""
    keys = _subscription(sandbox).keys

    async def use(sender: Sender) -> list[Outcome]:
        return [
            await sender.send(_message(), Target("webpush", url, keys=keys))
            for url in ("https://10.0.0.1/x", "https://127.0.0.1:1/x", "https://push.example/x")
        ]

    private, local, _ = _run(sandbox, "webpush", use)
    assert isinstance(private, Rejected)
    assert isinstance(local, Rejected)
    for outcome in _run(sandbox, "webpush", use, allow_hosts=["updates.example"]):
        assert "not among the allowed" in outcome.reason


def test_webhooks_are_signed_with_every_secret(sandbox: SandboxProcess) -> None:
    """While a secret is rotated, a receiver that knows either takes the message."""
    newer = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()
    for secrets in ([newer, SECRET], [SECRET, newer]):
        found = _run(
            sandbox,
            "webhook",
            lambda sender: sender.send(_message(), _target(sandbox, "webhook")),
            secrets=secrets,
        )
        assert isinstance(found, Delivered)
    found = _run(
        sandbox,
        "webhook",
        lambda sender: sender.send(_message(), _target(sandbox, "webhook")),
        secrets=[newer],
    )
    assert isinstance(found, RetryAfter)


def test_credentials_are_tried(sandbox: SandboxProcess) -> None:
    """A dry run is quiet for what works and says what does not."""

    async def run() -> list[str]:
        wrong = _pem(rsa.generate_private_key(65537, 2048))
        account = {**DOCUMENTS["fcm"]["service_account"], "private_key": wrong}
        nowhere = {"endpoint": "https://127.0.0.1:1"}
        tried = [
            *(_credential(sandbox, provider) for provider in sorted(DOCUMENTS)),
            _credential(sandbox, "fcm", service_account=account),
            _credential(sandbox, "fcm", **nowhere),
        ]
        return [await dry_run(credential, network_policy=POLICY) for credential in tried]

    *fine, refused, unreachable = asyncio.run(run())
    assert [""] * len(DOCUMENTS) == fine
    assert "no access token" in refused
    assert "refused" in unreachable


def test_an_unknown_authority_is_not_trusted(sandbox: SandboxProcess) -> None:
    """Without the sandbox's CA there is no connection, and nothing was sent."""

    async def run() -> Outcome:
        document = {**DOCUMENTS["apns"], "endpoint": sandbox.url}
        credential = validate_credential("apns", document)
        http = build_http(POLICY, endpoint=sandbox.url)
        sender = ApnsSender(credential, http, MemoryTokenCache())  # type: ignore[arg-type]
        return await sender.send(_message(), Target("apns", DEVICE))

    outcome = asyncio.run(run())
    assert isinstance(outcome, RetryAfter)
    assert "certificate" in outcome.reason.lower()
