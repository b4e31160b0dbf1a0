"""What the sandbox takes, lists, and does on request: over real HTTP/2 and TLS."""

import asyncio
import json
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import http_ece
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from pyreqwest.client import ClientBuilder, SyncClientBuilder
from pyreqwest.exceptions import RequestError

from senders.sandbox.aes128gcm import UndecryptableError, decrypt
from senders.sandbox.apns import Apns
from senders.sandbox.app import Sandbox
from senders.sandbox.certificates import ensure_certificates
from senders.sandbox.exchange import Accepted, Request, raw_json
from senders.sandbox.faults import (
    HEX_OUTCOMES,
    NUMBER_OUTCOMES,
    Fault,
    Faults,
    InvalidFault,
    target_outcome,
)
from senders.sandbox.fcm import Fcm
from senders.sandbox.process import SandboxError, SandboxProcess
from senders.sandbox.received import Received
from senders.sandbox.relay import Relay
from senders.sandbox.sms import Sms
from senders.sandbox.webhook import Webhook
from senders.sandbox.webpush import WebPush
from senders.sandbox.whatsapp import WhatsApp

KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
PROVIDER_TOKEN = jwt.encode(
    {"iss": "TEAM123456", "iat": int(time.time())},
    KEY,
    algorithm="ES256",
    headers={"kid": "KEY1234567"},
)
ALERT = b'{"aps":{"alert":"hi"}}'
DEVICE = "ab" * 32

WORDS = st.sampled_from(
    [
        "message",
        "token",
        "data",
        "android",
        "ttl",
        "apns",
        "aps",
        "alert",
        "to",
        "type",
        "text",
        "status",
        "outcome",
        "provider",
        "messaging_product",
        "notification",
        "payload",
    ]
)
NAMES = st.sampled_from(
    [
        "authorization",
        "apns-topic",
        "apns-id",
        "apns-push-type",
        "apns-expiration",
        "ttl",
        "topic",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "content-type",
        "content-encoding",
    ]
)
TEXTS = st.text(max_size=30) | st.sampled_from(
    [
        f"bearer {PROVIDER_TOKEN}",
        "Basic QUM6eA==",
        "vapid t=a.b.c,k=x",
        "com.acme",
        "9" * 5000,
        "1",
        "v1,x",
        "alert",
        "aes128gcm",
        "application/x-www-form-urlencoded",
        "Bearer e30.e30.e30",
    ]
)
PATHS = [
    f"/3/device/{DEVICE}",
    "/token",
    "/v1/projects/acme/messages:send",
    "/wpush/none",
    "/webhook/shop",
    "/v23.0/123456789/messages",
    f"/2010-04-01/Accounts/AC{'0' * 32}/Messages.json",
    "/_sandbox/faults",
    "/_sandbox/keys",
    "/_sandbox/subscriptions",
    "/_sandbox/connections",
    "//",
    "",
]

Send = Callable[..., tuple[int, dict[str, str], str]]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxProcess]:
    with SandboxProcess(Path(tmp_path_factory.mktemp("sandbox"))) as process:
        yield process


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Relay:
    """A second port that is never opened."""
    files = ensure_certificates(tmp_path_factory.mktemp("relay"))
    return Relay(0, 0, "127.0.0.1", files)


@pytest.fixture
def send(sandbox: SandboxProcess) -> Iterator[Send]:
    sandbox.call("POST", "reset")
    builder = SyncClientBuilder().http2_prior_knowledge().timeout(timedelta(seconds=5))
    with builder.add_root_certificate_pem(sandbox.ca.read_bytes()).build() as http:

        def call(
            url: str, headers: dict[str, str], body: bytes, timeout_s: float = 5
        ) -> tuple[int, dict[str, str], str]:
            request = http.post(url).headers(headers).body_bytes(body)
            answer = request.timeout(timedelta(seconds=timeout_s)).build().send()
            return answer.status, dict(answer.headers), answer.text()

        yield call


@pytest.fixture
def push(sandbox: SandboxProcess, send: Send) -> Send:
    headers = {"authorization": f"bearer {PROVIDER_TOKEN}", "apns-topic": "com.acme.shop"}

    def call(device: str = DEVICE, timeout_s: float = 5) -> tuple[int, dict[str, str], str]:
        return send(f"{sandbox.url}/3/device/{device}", headers, ALERT, timeout_s)

    return call


def base64url(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def unbase64url(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def vapid(origin: str, key: ec.EllipticCurvePrivateKey = KEY, **changed: Any) -> str:
    claims = {"aud": origin, "exp": int(time.time()) + 3600, "sub": "mailto:ops@acme.example"}
    token = jwt.encode(claims | changed, key, algorithm="ES256")
    public = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return f"vapid t={token}, k={base64url(public)}"


def encrypted(subscription: dict[str, Any], plaintext: bytes) -> bytes:
    """Encrypt with an independent implementation."""
    return bytes(
        http_ece.encrypt(
            plaintext,
            private_key=ec.generate_private_key(ec.SECP256R1()),
            dh=unbase64url(subscription["keys"]["p256dh"]),
            auth_secret=unbase64url(subscription["keys"]["auth"]),
            version="aes128gcm",
        )
    )


def test_lists_what_arrived(sandbox: SandboxProcess, push: Send) -> None:
    """An accepted push is listed with its target, headers and payload; a refused one is not."""
    status, headers, _ = push()
    push("bad0" + DEVICE[4:])
    (message,) = sandbox.messages("provider=apns")
    assert (200, headers["apns-id"]) == (status, message["id"])
    assert (DEVICE, {"aps": {"alert": "hi"}}) == (message["target"], message["payload"])
    assert {"apns-topic": "com.acme.shop"} == message["headers"]
    stats = sandbox.call("GET", "stats")
    assert {"apns": 1} == stats["accepted"]
    assert {"apns": {"200": 1, "400": 1}} == stats["answers"]


def test_clears_messages(sandbox: SandboxProcess, push: Send) -> None:
    """DELETE forgets messages; sequence numbers go on, so that ``after`` stays good."""
    push()
    last = sandbox.messages()[-1]["sequence"]
    sandbox.call("DELETE", "messages")
    assert [] == sandbox.messages()
    push()
    assert [last + 1] == [item["sequence"] for item in sandbox.messages(f"after={last}")]


APNS_OUTCOMES = [
    ("dead", 410, "Unregistered"),
    ("dea0", 410, "Unregistered"),
    ("dea1", 410, "ExpiredToken"),
    ("bad0", 400, "BadDeviceToken"),
    ("bad1", 400, "DeviceTokenNotForTopic"),
    ("bad2", 400, "TopicDisallowed"),
    ("4030", 403, "InvalidProviderToken"),
    ("4031", 403, "ExpiredProviderToken"),
    ("4290", 429, "TooManyRequests"),
    ("5000", 500, "InternalServerError"),
    ("5030", 503, "ServiceUnavailable"),
    ("5031", 503, "Shutdown"),
]


@pytest.mark.parametrize(("marker", "status", "reason"), APNS_OUTCOMES)
def test_device_token_chooses_the_outcome(
    push: Send, marker: str, status: int, reason: str
) -> None:
    """The first four characters of a device token say what APNs answers."""
    answered, _, text = push(marker + DEVICE[4:])
    assert (status, reason) == (answered, json.loads(text)["reason"])


def test_dead_token_tells_since_when(push: Send) -> None:
    """``dead`` died now, ``dea0`` a year ago: the timestamp tells which registrations to keep."""
    now_ms = time.time() * 1000
    just_now = json.loads(push("dead" + DEVICE[4:])[2])["timestamp"]
    long_ago = json.loads(push("dea0" + DEVICE[4:])[2])["timestamp"]
    assert abs(just_now - now_ms) < 60_000
    assert abs(now_ms - long_ago - 365 * 86_400_000) < 60_000


def test_flaky_target_takes_the_second_try(push: Send) -> None:
    """``f1a0`` answers 503 and 200 in turn."""
    assert [503, 200, 503] == [push("f1a0" + DEVICE[4:])[0] for _ in range(3)]


def test_lost_answer_was_accepted(sandbox: SandboxProcess, push: Send) -> None:
    """``1057`` takes the message and cuts the connection: the caller cannot know."""
    with pytest.raises(RequestError):
        push("1057" + DEVICE[4:])
    assert 1 == len(sandbox.messages())
    assert {"apns": {"0": 1}} == sandbox.call("GET", "stats")["answers"]


def test_reset_is_not_accepted(sandbox: SandboxProcess, push: Send) -> None:
    """``c105`` cuts the connection first; a new one works."""
    with pytest.raises(RequestError):
        push("c105" + DEVICE[4:])
    assert [] == sandbox.messages()
    assert 200 == push()[0]


def test_hanging_answer_leaves_others_alone(push: Send) -> None:
    """``4a96`` never answers; other requests on the connection do not wait for it."""
    with pytest.raises(TimeoutError):
        push("4a96" + DEVICE[4:], timeout_s=0.2)
    assert 200 == push()[0]


def test_scripted_fault_meets_every_nth_so_many_times(sandbox: SandboxProcess, push: Send) -> None:
    """``every`` and ``times`` bound a fault; a status without a reason takes the provider's."""
    fault = {"provider": "apns", "target": "ab*", "every": 2, "times": 2, "status": 503}
    created = sandbox.call("POST", "faults", {**fault, "retry_after_s": 7})
    answers = [push() for _ in range(6)]
    assert [200, 503, 200, 503, 200, 200] == [status for status, _, _ in answers]
    assert "7" == answers[1][1]["retry-after"]
    assert {"reason": "ServiceUnavailable"} == json.loads(answers[1][2])
    assert [2] == [item["met"] for item in sandbox.call("GET", "faults")["items"]]
    sandbox.call("DELETE", f"faults/{created['id']}")
    assert [] == sandbox.call("GET", "faults")["items"]


def relay_pushes(sandbox: SandboxProcess, count: int, timeout_s: float = 2) -> list[Any]:
    """Send pushes at once over one connection to the relay; statuses and exceptions."""
    headers = {"authorization": f"bearer {PROVIDER_TOKEN}", "apns-topic": "com.acme.shop"}

    async def run() -> list[Any]:
        builder = ClientBuilder().http2_prior_knowledge().timeout(timedelta(seconds=timeout_s))
        async with builder.add_root_certificate_pem(sandbox.ca.read_bytes()).build() as http:

            async def one(number: int) -> int:
                url = f"{sandbox.relay_url}/3/device/{number:064x}"
                return (
                    await http.post(url).headers(headers).body_bytes(ALERT).build().send()
                ).status

            first = await asyncio.gather(one(0), return_exceptions=True)
            rest = (one(number) for number in range(1, count))
            return [*first, *await asyncio.gather(*rest, return_exceptions=True)]

    return asyncio.run(run())


@pytest.mark.usefixtures("send")
def test_relay_passes_requests_on(sandbox: SandboxProcess) -> None:
    """Without a rule the second port is the sandbox itself, also under a small stream limit."""
    assert [200] * 5 == relay_pushes(sandbox, 5)
    sandbox.call("PUT", "connections", {"max_concurrent_streams": 1})
    assert [200] * 5 == relay_pushes(sandbox, 5)


@pytest.mark.usefixtures("send")
def test_goaway_ends_a_connection_without_loss(sandbox: SandboxProcess) -> None:
    """Streams after the last one named in GOAWAY were not processed: each is resent or failed."""
    sandbox.call("PUT", "connections", {"goaway_after": 3})
    answers = relay_pushes(sandbox, 10)
    accepted_targets = [item["target"] for item in sandbox.messages()]
    assert len(accepted_targets) == answers.count(200) >= 3
    assert len(set(accepted_targets)) == len(accepted_targets)


@pytest.mark.usefixtures("send")
def test_silent_connection_answers_nothing_more(sandbox: SandboxProcess) -> None:
    """A half-open peer: the first request is answered, then nothing, and nothing is closed."""
    sandbox.call("PUT", "connections", {"silent_after": 2})
    first, *rest = relay_pushes(sandbox, 3, timeout_s=0.3)
    assert 200 == first
    assert all(isinstance(answer, TimeoutError) for answer in rest)


def test_latency_delays_the_answer(sandbox: SandboxProcess, push: Send) -> None:
    """``latency_ms`` alone makes the provider slow, not wrong."""
    sandbox.call("POST", "faults", {"latency_ms": 150})
    started = time.monotonic()
    assert 200 == push()[0]
    assert time.monotonic() - started >= 0.15


WRONG_CALLS: list[tuple[str, str, Any, str]] = [
    ("POST", "faults", {}, "status"),
    ("POST", "faults", {"outcome": "sad"}, "outcome"),
    ("POST", "faults", {"status": 200}, "status"),
    ("POST", "faults", {"status": 503, "every": 0}, "every"),
    ("POST", "faults", {"code": 503}, "code"),
    ("POST", "keys", {"provider": "apns", "id": "K", "public_key": "x"}, "PEM"),
    ("POST", "keys", {"provider": "apns", "id": "K", "secret": "x"}, "public_key"),
    ("POST", "keys", {"provider": "sms", "id": "K", "public_key": "x"}, "secret"),
    ("GET", "messages?since=1", None, "since"),
    ("GET", "messages?limit=all", None, "limit"),
    ("DELETE", "faults/99", None, "99"),
    ("GET", "nothing", None, "nothing"),
    ("POST", "subscriptions", {"outcome": "sad"}, "outcome"),
]


@pytest.mark.parametrize(("method", "path", "document", "named"), WRONG_CALLS)
def test_wrong_management_calls_say_why(
    sandbox: SandboxProcess, method: str, path: str, document: Any, named: str
) -> None:
    """A wrong call gets a problem that names what is wrong."""
    with pytest.raises(SandboxError, match=named):
        sandbox.call(method, path, document)


def webpush_headers(subscription: dict[str, Any], **changed: str | None) -> dict[str, str]:
    origin = subscription["endpoint"].split("/wpush/")[0]
    headers = {
        "authorization": vapid(origin),
        "ttl": "60",
        "urgency": "high",
        "topic": "lunch",
        "content-encoding": "aes128gcm",
    } | changed
    return {name: value for name, value in headers.items() if value is not None}


def test_web_push_is_decrypted(sandbox: SandboxProcess, send: Send) -> None:
    """What was encrypted for a subscription is listed in plain, with 201 and a Location."""
    subscription = sandbox.call("POST", "subscriptions")
    body = encrypted(subscription, b'{"web_push":8030}')
    status, headers, _ = send(subscription["endpoint"], webpush_headers(subscription), body)
    (message,) = sandbox.messages("provider=webpush")
    assert (201, {"web_push": 8030}) == (status, message["payload"])
    assert f"{sandbox.url}/m/{message['id']}" == headers["location"]
    assert "lunch" == message["headers"]["topic"]


def _web_push_refusals(origin: str) -> list[tuple[str, dict[str, str | None], int]]:
    now_s = int(time.time())
    return [
        ("no TTL", {"ttl": None}, 400),
        ("TTL a word", {"ttl": "soon"}, 400),
        ("urgency", {"urgency": "now"}, 400),
        ("topic", {"topic": "t" * 33}, 400),
        ("topic letters", {"topic": "a b"}, 400),
        ("encoding", {"content-encoding": "aesgcm"}, 400),
        ("no VAPID", {"authorization": None}, 401),
        ("not VAPID", {"authorization": "Bearer x"}, 401),
        ("VAPID of another key", {"authorization": _swapped(origin)}, 401),
        ("aud", {"authorization": vapid("https://example.org")}, 403),
        ("exp past", {"authorization": vapid(origin, exp=now_s - 1)}, 403),
        ("exp far", {"authorization": vapid(origin, exp=now_s + 90_000)}, 403),
        ("sub", {"authorization": vapid(origin, sub="ops@acme.example")}, 403),
        ("sub local", {"authorization": vapid(origin, sub="mailto:me@localhost")}, 403),
    ]


def _swapped(origin: str) -> str:
    token = vapid(origin, ec.generate_private_key(ec.SECP256R1())).split(",")[0]
    return f"{token}, k={base64url(PUBLIC)}"


def test_web_push_refusals(sandbox: SandboxProcess, send: Send) -> None:
    """Each broken rule of RFC 8030, 8291 and 8292 is refused with its status."""
    subscription = sandbox.call("POST", "subscriptions")
    body = encrypted(subscription, b"hi")
    cases = _web_push_refusals(sandbox.url)
    answered = [
        (name, send(subscription["endpoint"], webpush_headers(subscription, **changed), body)[0])
        for name, changed, _ in cases
    ]
    assert [(name, status) for name, _, status in cases] == answered


def test_web_push_refuses_bodies(sandbox: SandboxProcess, send: Send) -> None:
    """Over 4096 bytes is 413; encrypted for another browser, or changed, is 400."""
    mine, other = (sandbox.call("POST", "subscriptions") for _ in range(2))
    good = encrypted(mine, b"hi")
    bodies = [
        encrypted(mine, b"x" * 3993),
        encrypted(mine, b"x" * 3993) + b"x",
        encrypted(other, b"hi"),
        good[:-1] + bytes([good[-1] ^ 1]),
        good[:50],
        b"",
    ]
    answered = [send(mine["endpoint"], webpush_headers(mine), body)[0] for body in bodies]
    assert [201, 413, 400, 400, 400, 201] == answered


def test_web_push_subscription_ends(sandbox: SandboxProcess, send: Send) -> None:
    """An ended subscription is 410; one bound to another VAPID key is 403; a name may choose."""
    ended, bound, throttled = (
        sandbox.call("POST", "subscriptions", wanted)
        for wanted in ({}, {"application_server_key": "BOther"}, {"outcome": "throttled"})
    )
    sandbox.call("DELETE", f"subscriptions/{ended['endpoint'].rsplit('/', 1)[1]}")
    answered = [
        send(item["endpoint"], webpush_headers(item), encrypted(item, b"hi"))
        for item in (ended, bound, throttled)
    ]
    assert [410, 403, 429] == [status for status, _, _ in answered]
    assert "5" == answered[2][1]["retry-after"]


def test_decrypts_the_example_of_rfc_8291() -> None:
    """The message of RFC 8291 section 5 is read."""
    number = int.from_bytes(unbase64url("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"), "big")
    body = unbase64url(
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmY"
        "WAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexS"
        "gSxsj_Qulcy4a-fN"
    )
    key = ec.derive_private_key(number, ec.SECP256R1())
    plaintext = decrypt(body, key, unbase64url("BTBZMqHH6r4Tts7J_aSIgg"))
    assert b"When I grow up, I want to be a watermelon" == plaintext


@given(st.binary(max_size=300))
@settings(max_examples=50)
def test_garbage_is_never_decrypted(body: bytes) -> None:
    """Any body that nobody encrypted is refused, never an exception of another kind."""
    with pytest.raises(UndecryptableError):
        decrypt(body, KEY, bytes(16))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
BODIES = st.binary(max_size=200) | JSON_VALUES.map(lambda value: json.dumps(value).encode())


@given(path=st.sampled_from(PATHS), headers=st.dictionaries(NAMES, TEXTS, max_size=8), body=BODIES)
@settings(max_examples=300)
def test_no_request_breaks_an_emulator(
    relay: Relay, path: str, headers: dict[str, str], body: bytes
) -> None:
    """Whatever a client sends, it gets an answer of the provider: 4xx unless all is right."""
    sandbox = Sandbox(relay)
    request = Request("POST", path, headers, body, int(time.time() * 1000), "", "https://sandbox")
    emulator = sandbox.emulator(path)
    answer = sandbox.manage(request) if emulator is None else emulator.answer(request)
    assert 200 <= answer.status < 500


def test_deep_nesting_is_only_not_json(relay: Relay) -> None:
    """A body nested beyond reason is refused like any other that is not JSON."""
    request = Request("POST", "/_sandbox/faults", {}, b"[" * 100_000, 0)
    assert 400 == Sandbox(relay).manage(request).status


def accepted(target: str = DEVICE, provider: str = "apns") -> Accepted:
    return Accepted(provider, target, "id", 0, {}, raw_json({}))


@given(st.integers(0, 40), st.integers(1, 20), st.integers(1, 7))
@settings(max_examples=50)
def test_pages_give_every_kept_message_once(count: int, kept: int, limit: int) -> None:
    """Following ``next_cursor`` gives the latest ``kept`` messages in order, each once."""
    received = Received(kept)
    for number in range(count):
        received.keep(accepted(str(number)))
    targets: list[str] = []
    after: int | None = 0
    while after is not None:
        page = received.page(after=after, limit=limit)
        targets += [item["target"] for item in page["items"]]
        after = page["next_cursor"]
    assert [str(number) for number in range(max(0, count - kept), count)] == targets
    assert count == received.stats()["accepted"].get("apns", 0)


def test_names_and_numbers_choose_outcomes_too() -> None:
    """FCM tokens, subscriptions and webhooks by name, telephone numbers by their last digits."""
    cases = {
        "sandbox-unregistered-17": "unregistered",
        "sandbox-stale-credential": "stale-credential",
        "sandbox-sunny": None,
        "sandbox-slowly": None,
        "+15005550429": "throttled",
        "15005550500": "error",
        "+15005551234": None,
        "+4915112345678": None,
        "dead": None,
        "dead" + "0" * 60: "unregistered",
    }
    assert cases == {target: target_outcome(target) for target in cases}
    assert all(len(marker) == 4 and int(marker, 16) >= 0 for marker in HEX_OUTCOMES)


def test_the_guide_lists_every_outcome() -> None:
    """docs/sandbox.md has each outcome's marker, number, and status at every provider."""
    guide = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()
    numbers = {outcome: digits for digits, outcome in NUMBER_OUTCOMES.items()}
    providers = (Apns, Fcm, WebPush, Webhook, WhatsApp, Sms)
    for marker, outcome in HEX_OUTCOMES.items():
        digits = f"`{numbers[outcome]}`" if outcome in numbers else ""
        answers = [
            f"{provider.outcomes[outcome][0]} {provider.outcomes[outcome][1]}"
            for provider in providers
            if outcome in provider.outcomes
        ]
        assert " | ".join([f"| `{outcome}`", f"`{marker}`", digits, *answers]) in guide


def test_a_fault_must_do_something() -> None:
    """A fault without any effect is refused."""
    with pytest.raises(InvalidFault, match="/status"):
        Faults().add(Fault(provider="apns"))


def test_certificates_are_kept_over_restarts(tmp_path: Path) -> None:
    """The same directory gives the same CA; a damaged certificate is made anew, the key private."""
    files = ensure_certificates(tmp_path)
    first = files.ca.read_bytes()
    assert first == ensure_certificates(tmp_path).ca.read_bytes()
    files.certificate.write_text("damaged")
    assert first != ensure_certificates(tmp_path).ca.read_bytes()
    assert 0o600 == files.key.stat().st_mode & 0o777


def test_a_taken_port_is_told(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """A sandbox that cannot listen says so instead of hanging."""
    with pytest.raises(SandboxError, match="did not start"):
        SandboxProcess(tmp_path, sandbox.port).start()
