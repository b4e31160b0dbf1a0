"""The golden list of refusals: each documented rule of each provider, broken over real HTTP/2."""

import base64
import hmac
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pyreqwest.client import SyncClient, SyncClientBuilder

from senders.sandbox.fcm import GRANT_TYPE, SCOPES
from senders.sandbox.process import SandboxProcess

APNS_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
DEVICE = "ab" * 32
FCM_DEVICE = "fcm-device_token:0123456789"


Answered = tuple[int, str]  # status, reason


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Client:
    """A blocking HTTP/2 client of one sandbox."""

    def __init__(self, sandbox: SandboxProcess, http: SyncClient) -> None:
        self.sandbox = sandbox
        self._http = http

    def send(
        self,
        path: str,
        headers: dict[str, str] | list[tuple[str, str]],
        body: bytes = b"",
        *,
        method: str = "POST",
    ) -> Reply:
        url = self.sandbox.url + path
        answer = self._http.request(method, url).headers(headers).body_bytes(body).build().send()
        return Reply(answer.status, dict(answer.headers), answer.text())


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with SandboxProcess(Path(tmp_path_factory.mktemp("sandbox"))) as sandbox:
        builder = SyncClientBuilder().http2_prior_knowledge()
        with builder.add_root_certificate_pem(sandbox.ca.read_bytes()).build() as http:
            yield Client(sandbox, http)


@pytest.fixture(autouse=True)
def _fresh(client: Client) -> None:
    client.sandbox.call("POST", "reset")


def apns_token(
    key: ec.EllipticCurvePrivateKey = APNS_KEY,
    *,
    kid: str | None = "KEY1234567",
    **changed: Any,
) -> str:
    claims = {"iss": "TEAM123456", "iat": int(time.time())} | changed
    return jwt.encode(claims, key, algorithm="ES256", headers={"kid": kid} if kid else None)


def apns_headers(**changed: str | None) -> dict[str, str]:
    headers = {
        "authorization": f"bearer {apns_token()}",
        "apns-topic": "com.acme.shop",
        "apns-push-type": "alert",
        "apns-priority": "10",
        "apns-id": "123e4567-e89b-12d3-a456-426614174000",
    }
    for name, value in changed.items():
        headers.pop(name.replace("_", "-"), None)
        if value is not None:
            headers[name.replace("_", "-")] = value
    return headers


ALERT = b'{"aps":{"alert":"hi"}}'
APNS_REFUSALS: list[tuple[str, dict[str, str | None], bytes, str, int, str]] = [
    ("no token", {"authorization": None}, ALERT, DEVICE, 403, "MissingProviderToken"),
    ("basic auth", {"authorization": "Basic eDp5"}, ALERT, DEVICE, 403, "MissingProviderToken"),
    ("not a jwt", {"authorization": "bearer abc"}, ALERT, DEVICE, 403, "InvalidProviderToken"),
    ("no topic", {"apns_topic": None}, ALERT, DEVICE, 400, "MissingTopic"),
    ("odd topic", {"apns_topic": "com acme"}, ALERT, DEVICE, 400, "BadTopic"),
    ("voip topic", {"apns_push_type": "voip"}, ALERT, DEVICE, 400, "BadTopic"),
    ("push type", {"apns_push_type": "loud"}, ALERT, DEVICE, 400, "InvalidPushType"),
    ("priority", {"apns_priority": "7"}, ALERT, DEVICE, 400, "BadPriority"),
    ("expiration", {"apns_expiration": "soon"}, ALERT, DEVICE, 400, "BadExpirationDate"),
    ("collapse id", {"apns_collapse_id": "c" * 65}, ALERT, DEVICE, 400, "BadCollapseId"),
    ("id not a uuid", {"apns_id": "42"}, ALERT, DEVICE, 400, "BadMessageId"),
    (
        "id in capitals",
        {"apns_id": "123E4567-E89B-12D3-A456-426614174000"},
        ALERT,
        DEVICE,
        400,
        "BadMessageId",
    ),
    ("empty body", {}, b"", DEVICE, 400, "PayloadEmpty"),
    ("not JSON", {}, b'{"aps":', DEVICE, 400, "PayloadEmpty"),
    ("no aps", {}, b'{"alert":"hi"}', DEVICE, 400, "PayloadEmpty"),
    ("not UTF-8", {}, b'{"aps":{"alert":"\xff"}}', DEVICE, 400, "PayloadEmpty"),
    ("nothing to show", {}, b'{"aps":{"content-available":1}}', DEVICE, 400, "InvalidPushType"),
    (
        "background that shows",
        {"apns_push_type": "background", "apns_priority": "5"},
        b'{"aps":{"content-available":1,"alert":"hi"}}',
        DEVICE,
        400,
        "InvalidPushType",
    ),
    (
        "background at once",
        {"apns_push_type": "background", "apns_priority": "10"},
        b'{"aps":{"content-available":1}}',
        DEVICE,
        400,
        "BadPriority",
    ),
    ("too large", {}, b'{"aps":{"alert":"' + b"x" * 4079 + b'"}}', DEVICE, 413, "PayloadTooLarge"),
    ("token not hex", {}, ALERT, "z" * 64, 400, "BadDeviceToken"),
    ("token short", {}, ALERT, "ab", 400, "BadDeviceToken"),
    ("no token in path", {}, ALERT, "", 400, "MissingDeviceToken"),
    ("path", {}, ALERT, f"{DEVICE}/more", 404, "BadPath"),
]


@pytest.mark.parametrize(
    ("changed", "body", "device", "expected"),
    [(*case[1:4], case[4:]) for case in APNS_REFUSALS],
    ids=[case[0] for case in APNS_REFUSALS],
)
def test_apns_refuses(
    client: Client, changed: dict[str, str | None], body: bytes, device: str, expected: Answered
) -> None:
    """Each broken rule gets Apple's own status and reason, and the message's id back."""
    status, reason = expected
    reply = client.send(f"/3/device/{device}", apns_headers(**changed), body)
    assert (status, {"reason": reason}) == (reply.status, reply.json)
    assert "apns-id" in reply.headers


NOW_S = int(time.time())
APNS_TOKENS = [
    ("older than an hour", {"iat": NOW_S - 3700}, "KEY1234567", "ExpiredProviderToken"),
    ("from the future", {"iat": NOW_S + 900}, "KEY1234567", "InvalidProviderToken"),
    ("iat a string", {"iat": "now"}, "KEY1234567", "InvalidProviderToken"),
    ("team id", {"iss": "acme"}, "KEY1234567", "InvalidProviderToken"),
    ("no key id", {}, None, "InvalidProviderToken"),
    ("short key id", {}, "KEY", "InvalidProviderToken"),
]


@pytest.mark.parametrize(
    ("claims", "kid", "reason"),
    [case[1:] for case in APNS_TOKENS],
    ids=[case[0] for case in APNS_TOKENS],
)
def test_apns_refuses_provider_tokens(
    client: Client, claims: dict[str, Any], kid: str | None, reason: str
) -> None:
    """A provider token needs a team, a key id, and an ``iat`` within the last hour."""
    headers = apns_headers(authorization=f"bearer {_token_with(claims, kid)}")
    reply = client.send(f"/3/device/{DEVICE}", headers, ALERT)
    assert (403, {"reason": reason}) == (reply.status, reply.json)


def _token_with(claims: dict[str, Any], kid: str | None) -> str:
    """PyJWT refuses to make a token with an ``iat`` that is no number, so it is signed as bytes."""
    document = {"iss": "TEAM123456", "iat": NOW_S} | claims
    payload = json.dumps(document).encode()
    return jwt.api_jws.encode(payload, APNS_KEY, "ES256", {"kid": kid} if kid else None)


def test_apns_knows_registered_keys(client: Client) -> None:
    """With a key registered, an unknown key id and a foreign signature are refused."""
    pem = APNS_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    client.sandbox.call(
        "POST", "keys", {"provider": "apns", "id": "KEY1234567", "public_key": pem.decode()}
    )
    stranger = ec.generate_private_key(ec.SECP256R1())
    cases = [
        (apns_token(), 200),
        (apns_token(kid="OTHER12345"), 403),
        (apns_token(stranger), 403),
    ]
    for token, status in cases:
        headers = apns_headers(authorization=f"bearer {token}")
        assert status == client.send(f"/3/device/{DEVICE}", headers, ALERT).status


def test_apns_refuses_too_many_provider_tokens(client: Client) -> None:
    """A team that shows a sixth new token within 20 minutes is throttled; its old ones are good."""
    now_s = int(time.time())
    tokens = [apns_token(iat=now_s - age) for age in range(6)]
    replies = [
        client.send(f"/3/device/{DEVICE}", apns_headers(authorization=f"bearer {token}"), ALERT)
        for token in [*tokens, tokens[0]]
    ]
    assert [200] * 5 + [429, 200] == [reply.status for reply in replies]
    assert {"reason": "TooManyProviderTokenUpdates"} == replies[5].json


def test_apns_refuses_other_methods_and_repeated_headers(client: Client) -> None:
    """GET gets 405, a header sent twice ``DuplicateHeaders``."""
    assert 405 == client.send(f"/3/device/{DEVICE}", apns_headers(), method="GET").status
    twice = [*apns_headers().items(), ("apns-topic", "com.acme.other")]
    reply = client.send(f"/3/device/{DEVICE}", twice, ALERT)
    assert {"reason": "DuplicateHeaders"} == reply.json


def test_apns_refuses_http_1(client: Client) -> None:
    """APNs speaks HTTP/2 only."""
    builder = SyncClientBuilder().add_root_certificate_pem(client.sandbox.ca.read_bytes())
    with builder.build() as http:
        request = http.post(f"{client.sandbox.url}/3/device/{DEVICE}").headers(apns_headers())
        assert 505 == request.body_bytes(ALERT).build().send().status


def assertion(**changed: Any) -> str:
    now_s = int(time.time())
    claims = {
        "iss": "push@acme.iam.gserviceaccount.com",
        "scope": SCOPES[0],
        "aud": "https://oauth2.googleapis.com/token",
        "iat": now_s,
        "exp": now_s + 3600,
    } | changed
    return jwt.encode(claims, RSA_KEY, algorithm="RS256", headers={"kid": "k1"})


def ask_token(client: Client, text: str, grant_type: str = GRANT_TYPE) -> Reply:
    form = urlencode({"grant_type": grant_type, "assertion": text}).encode()
    return client.send("/token", {"content-type": "application/x-www-form-urlencoded"}, form)


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "nobody"},
        {"scope": "https://www.googleapis.com/auth/drive"},
        {"aud": "https://example.org/token"},
        {"exp": NOW_S + 90_000},
        {"iat": NOW_S - 7200, "exp": NOW_S - 3600},
        {"iat": NOW_S + 4000, "exp": NOW_S + 4100},
    ],
    ids=["iss", "scope", "aud", "too long", "past", "future"],
)
def test_token_endpoint_refuses_assertions(client: Client, changed: dict[str, Any]) -> None:
    """A wrong claim gets 400 ``invalid_grant``."""
    reply = ask_token(client, assertion(**changed))
    assert (400, "invalid_grant") == (reply.status, reply.json["error"])


def test_token_endpoint_refuses_other_grants_and_strangers(client: Client) -> None:
    """Another grant type and, once a key is registered, another key are refused."""
    assert "unsupported_grant_type" == ask_token(client, assertion(), "password").json["error"]
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = stranger.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    account = "push@acme.iam.gserviceaccount.com"
    client.sandbox.call(
        "POST", "keys", {"provider": "fcm", "id": account, "public_key": pem.decode()}
    )
    assert "invalid_grant" == ask_token(client, assertion()).json["error"]


def fcm_send(client: Client, document: Any, bearer: str | None = None) -> Reply:
    if bearer is None:
        bearer = ask_token(client, assertion()).json["access_token"]
    headers = {"authorization": f"Bearer {bearer}", "content-type": "application/json"}
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return client.send("/v1/projects/acme/messages:send", headers, body)


def to_device(**fields: Any) -> dict[str, Any]:
    return {"message": {"token": FCM_DEVICE, **fields}}


FCM_REFUSALS: list[tuple[str, Any, str]] = [
    ("not JSON", b'{"message":', ""),
    ("no message", {}, "message"),
    ("unknown field", to_device(actions=[]), "message"),
    (
        "unknown nested field",
        to_device(android={"notification": {"x": 1}}),
        "message.android.notification",
    ),
    ("no target", {"message": {"data": {}}}, "message"),
    ("two targets", to_device(topic="news"), "message"),
    ("topic name", {"message": {"topic": "a b"}}, "message.topic"),
    ("data not text", to_device(data={"n": 1}), "message.data"),
    ("reserved key", to_device(data={"from": "x"}), "message.data"),
    ("reserved prefix", to_device(data={"google.x": "x"}), "message.data"),
    ("reserved in android", to_device(android={"data": {"gcm.x": "x"}}), "message.android.data"),
    ("ttl form", to_device(android={"ttl": "60"}), "message.android.ttl"),
    ("ttl long", to_device(android={"ttl": "2419201s"}), "message.android.ttl"),
    ("priority", to_device(android={"priority": "URGENT"}), "message.android.priority"),
    (
        "color",
        to_device(android={"notification": {"color": "red"}}),
        "message.android.notification.color",
    ),
    ("apns header", to_device(apns={"headers": {"apns-priority": 10}}), "message.apns.headers"),
    (
        "web link",
        to_device(webpush={"fcm_options": {"link": "http://a"}}),
        "message.webpush.fcm_options.link",
    ),
    (
        "label",
        to_device(fcm_options={"analytics_label": "a b"}),
        "message.fcm_options.analytics_label",
    ),
    ("too big", to_device(data={"x": "y" * 4096}), "message.android"),
    ("apns too big", to_device(apns={"payload": {"x": "y" * 4096}}), "message.apns"),
    (
        "twice",
        to_device(android={"collapse_key": "a", "collapseKey": "b"}),
        "message.android.collapse_key",
    ),
]


@pytest.mark.parametrize(
    ("document", "field"),
    [case[1:] for case in FCM_REFUSALS],
    ids=[case[0] for case in FCM_REFUSALS],
)
def test_fcm_refuses(client: Client, document: Any, field: str) -> None:
    """A message that breaks the schema gets 400 with the violated field, in Google's shape."""
    error = fcm_send(client, document).json["error"]
    bad_request = error["details"][-1]
    assert (400, "INVALID_ARGUMENT") == (error["code"], error["status"])
    assert "type.googleapis.com/google.rpc.BadRequest" == bad_request["@type"]
    assert field == bad_request["fieldViolations"][0]["field"]


def test_fcm_takes_every_documented_field(client: Client) -> None:
    """A message with all blocks, in either spelling, is taken and listed in snake_case."""
    notification = {
        "title": "Hi",
        "channelId": "offers",
        "color": "#00ff00",
        "notification_priority": "PRIORITY_HIGH",
        "vibrateTimings": ["0.5s", "1s"],
        "lightSettings": {"color": {"red": 1, "green": 0.5}, "light_on_duration": "1s"},
        "visibility": "PRIVATE",
        "bodyLocArgs": ["a"],
        "sticky": True,
        "notification_count": 3,
    }
    message = {
        "token": FCM_DEVICE,
        "data": {"push_id": "1"},
        "notification": {"title": "Hi", "body": "there", "image": "https://a/b.png"},
        "android": {
            "collapseKey": "lunch",
            "priority": "high",
            "ttl": "3.5s",
            "directBootOk": True,
            "notification": notification,
        },
        "apns": {"headers": {"apns-priority": "10"}, "payload": {"aps": {"badge": 1}}},
        "webpush": {"headers": {"TTL": "60"}, "fcmOptions": {"link": "https://a"}},
        "fcmOptions": {"analyticsLabel": "lunch-offer"},
    }
    reply = fcm_send(client, {"message": message})
    assert 200 == reply.status
    (listed,) = client.sandbox.messages("provider=fcm")
    assert f"projects/acme/messages/{listed['id']}" == reply.json["name"]
    assert "lunch" == listed["payload"]["android"]["collapse_key"]
    assert ["0.5s", "1s"] == listed["payload"]["android"]["notification"]["vibrate_timings"]


def test_fcm_dry_run_is_not_listed(client: Client) -> None:
    """``validate_only`` judges a message and delivers nothing."""
    assert 200 == fcm_send(client, {"validateOnly": True, **to_device()}).status
    assert [] == client.sandbox.messages()


FCM_OUTCOMES = [
    ("unregistered", 404, "NOT_FOUND", "UNREGISTERED"),
    ("invalid", 400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    ("mismatch", 403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"),
    ("disallowed", 401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"),
    ("unauthorized", 403, "PERMISSION_DENIED", None),
    ("stale-credential", 401, "UNAUTHENTICATED", None),
    ("throttled", 429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"),
    ("error", 500, "INTERNAL", "INTERNAL"),
    ("unavailable", 503, "UNAVAILABLE", "UNAVAILABLE"),
]


@pytest.mark.parametrize(("outcome", "code", "status", "fcm_code"), FCM_OUTCOMES)
def test_fcm_token_chooses_the_outcome(
    client: Client, outcome: str, code: int, status: str, fcm_code: str | None
) -> None:
    """``sandbox-<outcome>`` as a token gets the error in Google's shape, with FCM's own code."""
    reply = fcm_send(client, {"message": {"token": f"sandbox-{outcome}-000001"}})
    error = reply.json["error"]
    codes = [detail.get("errorCode") for detail in error.get("details", [])]
    assert (code, code, status) == (reply.status, error["code"], error["status"])
    assert ([fcm_code] if fcm_code else []) == codes
    assert (code in (429, 503)) == ("retry-after" in reply.headers)


def test_fcm_refuses_strangers_and_bad_tokens(client: Client) -> None:
    """No access token is 401 without an FCM code; a malformed device token is FCM's own error."""
    error = fcm_send(client, to_device(), "ya29.guess").json["error"]
    assert (401, "UNAUTHENTICATED", None) == (
        error["code"],
        error["status"],
        error.get("details"),
    )
    error = fcm_send(client, {"message": {"token": "bad token"}}).json["error"]
    fcm_error = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
    assert [{"@type": fcm_error, "errorCode": "INVALID_ARGUMENT"}] == error["details"]


WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"s" * 24).decode()


def webhook_headers(body: bytes, **changed: str) -> dict[str, str]:
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(time.time()))}
    headers |= {name.replace("_", "-"): value for name, value in changed.items()}
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    signature = base64.b64encode(hmac.digest(b"s" * 24, signed, "sha256")).decode()
    return {"webhook-signature": f"v1,other v1,{signature}", **headers}


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, 204),
        ({"webhook_id": ""}, 400),
        ({"webhook_timestamp": "now"}, 400),
        ({"webhook_timestamp": "1000"}, 400),
        ({"webhook_signature": ""}, 401),
        ({"webhook_signature": "v1,AAAA"}, 401),
    ],
    ids=["good", "id", "timestamp", "old", "no signature", "wrong signature"],
)
def test_webhook_judges_signatures(client: Client, changed: dict[str, str], status: int) -> None:
    """Standard Webhooks: id, fresh timestamp, and one signature that matches the secret."""
    client.sandbox.call(
        "POST", "keys", {"provider": "webhook", "id": "shop", "secret": WEBHOOK_SECRET}
    )
    body = b'{"type":"push.sent"}'
    headers = webhook_headers(body) | webhook_headers(body, **changed)
    assert status == client.send("/webhook/shop", headers, body).status


SID = "AC" + "0" * 32
SMS_REFUSALS: list[tuple[str, dict[str, str], int]] = [
    ("no recipient", {"To": ""}, 21604),
    ("not a number", {"To": "0123"}, 21211),
    ("no sender", {"From": ""}, 21603),
    ("odd sender", {"From": "a-very-long-name"}, 21212),
    ("no text", {"Body": ""}, 21602),
    ("long text", {"Body": "x" * 1601}, 21617),
    ("unknown field", {"Urgency": "high"}, 20001),
    ("validity", {"ValidityPeriod": "0"}, 20001),
]


def sms_send(client: Client, form: dict[str, str], password: str = "secret") -> Reply:
    login = base64.b64encode(f"{SID}:{password}".encode()).decode()
    headers = {
        "authorization": f"Basic {login}",
        "content-type": "application/x-www-form-urlencoded",
    }
    body = urlencode({"To": "+4915112345678", "From": "+4930123456", "Body": "hi"} | form)
    return client.send(f"/2010-04-01/Accounts/{SID}/Messages.json", headers, body.encode())


@pytest.mark.parametrize(
    ("form", "code"), [case[1:] for case in SMS_REFUSALS], ids=[case[0] for case in SMS_REFUSALS]
)
def test_sms_refuses(client: Client, form: dict[str, str], code: int) -> None:
    """Each broken rule gets 400 and Twilio's code."""
    reply = sms_send(client, form)
    assert (400, code) == (reply.status, reply.json["code"])


def test_sms_knows_registered_accounts(client: Client) -> None:
    """With an account registered, its auth token is compared."""
    client.sandbox.call("POST", "keys", {"provider": "sms", "id": SID, "secret": "right"})
    assert 20003 == sms_send(client, {}, "wrong").json["code"]
    assert 201 == sms_send(client, {}, "right").status
    (listed,) = client.sandbox.messages("provider=sms&target=%2B4915112345678")
    assert "hi" == listed["payload"]["Body"]


def test_numbers_choose_the_outcome(client: Client) -> None:
    """+1 500 555 xxxx meets the outcome of its last digits, at SMS and WhatsApp alike."""
    assert 21610 == sms_send(client, {"To": "+15005550410"}).json["code"]
    throttled = whatsapp_send(client, {"to": "15005550429"})
    assert (429, 130429) == (throttled.status, throttled.json["error"]["code"])


TEMPLATE = {"name": "welcome", "language": {"code": "en_US"}}
WHATSAPP_REFUSALS: list[tuple[str, dict[str, Any], int]] = [
    ("product", {"messaging_product": "sms"}, 100),
    ("number", {"to": "nobody"}, 100),
    ("unknown field", {"colour": "red"}, 100),
    ("no template", {"template": None}, 131009),
    ("template name", {"template": {**TEMPLATE, "name": "Wel come"}}, 132001),
    ("language", {"template": {**TEMPLATE, "language": {"code": "English"}}}, 132001),
    ("no text", {"type": "text", "text": {"body": ""}}, 100),
]


def whatsapp_send(client: Client, changed: dict[str, Any], bearer: str = "Bearer t") -> Reply:
    document = {
        "messaging_product": "whatsapp",
        "to": "4915112345678",
        "type": "template",
        "template": TEMPLATE,
    } | changed
    headers = {"authorization": bearer, "content-type": "application/json"}
    return client.send("/v23.0/123456789/messages", headers, json.dumps(document).encode())


@pytest.mark.parametrize(
    ("changed", "code"),
    [case[1:] for case in WHATSAPP_REFUSALS],
    ids=[case[0] for case in WHATSAPP_REFUSALS],
)
def test_whatsapp_refuses(client: Client, changed: dict[str, Any], code: int) -> None:
    """Each broken rule gets 400 and the Graph API's code."""
    reply = whatsapp_send(client, changed)
    assert (400, code) == (reply.status, reply.json["error"]["code"])


def test_whatsapp_wants_a_token(client: Client) -> None:
    """No bearer token is 401 with code 190; with one the message's id comes back."""
    assert 190 == whatsapp_send(client, {}, "Basic x").json["error"]["code"]
    assert whatsapp_send(client, {}).json["messages"][0]["id"].startswith("wamid.")
