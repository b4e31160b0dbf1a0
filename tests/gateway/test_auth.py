"""Who is let in: keys remembered and forgotten, tokens of every wrong kind refused."""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from typing import Any

import jwt
import pytest
import redis.asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from gateway.auth import Authenticator, Principal, credential_of
from gateway.errors import Problem
from gateway.keys import KeyRecord, KeyStore
from gateway.tokens import (
    AUDIENCE,
    OWN_KEY_ID,
    InvalidJwtKey,
    JwtKey,
    TokenError,
    TokenVerifier,
    check_jwt_key,
    own_secret,
)

NOW_S = int(time.time())
MASTER_KEY = b"m" * 32
SECRET = "s" * 40
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)


def pem(key: Any) -> str:
    public = key.public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return public.public_bytes(serialization.Encoding.PEM, form).decode()


def private_pem(key: Any) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


REGISTERED = {
    ("acme", "hs"): JwtKey("HS256", secret=SECRET),
    ("acme", "es"): JwtKey("ES256", public_key=pem(EC_KEY)),
    ("acme", "rs"): JwtKey("RS256", public_key=pem(RSA_KEY)),
}


async def find_key(tenant: str, key_id: str) -> JwtKey | None:
    return REGISTERED.get((tenant, key_id))


VERIFIER = TokenVerifier(find_key, [MASTER_KEY], max_ttl_s=3600)


def claims(**changes: Any) -> dict[str, Any]:
    whole = {"aud": AUDIENCE, "sub": "d1", "iat": NOW_S, "exp": NOW_S + 600, **changes}
    return {name: value for name, value in whole.items() if value is not None}


def token(
    kid: str | None = "acme/hs", key: Any = SECRET, algorithm: str = "HS256", **changes: Any
) -> str:
    headers = {} if kid is None else {"kid": kid}
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=headers)


# --- device tokens ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key_id"),
    [
        (token(), "hs"),
        (token("acme/es", private_pem(EC_KEY), "ES256"), "es"),
        (token("acme/rs", private_pem(RSA_KEY), "RS256"), "rs"),
        (VERIFIER.mint("acme", "d1", 600, NOW_S * 1000), OWN_KEY_ID),
    ],
    ids=["HS256", "ES256", "RS256", "minted"],
)
def test_good_tokens_name_tenant_and_device(text: str, key_id: str) -> None:
    """Each algorithm, and the gateway's own tokens."""
    found = asyncio.run(VERIFIER.verify(text))
    assert ("acme", "d1", key_id, (NOW_S + 600) * 1000) == found


def unsigned() -> str:
    """A token with `alg: none`."""
    return jwt.encode(claims(), None, algorithm="none", headers={"kid": "acme/hs"})


def hs_with_public_key() -> str:
    """RS/HS confusion: the public key, which anybody has, used as an HMAC secret."""
    import hashlib
    import hmac
    import json

    def part(value: object) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    head = part({"alg": "HS256", "typ": "JWT", "kid": "acme/rs"}) + b"." + part(claims())
    mac = hmac.new(pem(RSA_KEY).encode(), head, hashlib.sha256).digest()
    return (head + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("eyJ.a.b", "not a JWT", id="garbage"),
        pytest.param("eyJ" + "a" * 5000 + ".b.c", "bytes", id="too-long"),
        pytest.param(token(None), "kid", id="no-kid"),
        pytest.param(token("hs"), "kid", id="kid-without-tenant"),
        pytest.param(token("https://evil.example/hs"), "no key", id="kid-is-a-url"),
        pytest.param(token("globex/hs"), "no key", id="other-tenant"),
        pytest.param(token(key="x" * 40), "signature", id="wrong-secret"),
        pytest.param(unsigned(), "alg", id="alg-none"),
        pytest.param(hs_with_public_key(), "alg", id="rs-hs-confusion"),
        pytest.param(token("acme/es", private_pem(RSA_KEY), "RS256"), "alg", id="other-algorithm"),
        pytest.param(token(aud="other"), "audience", id="wrong-audience"),
        pytest.param(token(aud=None), "aud", id="no-audience"),
        pytest.param(token(exp=NOW_S - 100), "expired", id="expired"),
        pytest.param(token(exp=None), "exp", id="no-expiry"),
        pytest.param(token(exp=float("inf")), "integer", id="endless"),
        pytest.param(token(exp=str(NOW_S + 600)), "numbers", id="expiry-is-text"),
        pytest.param(token("\ud800/hs"), "kid", id="kid-is-no-text"),
        pytest.param(token(iat=None), "iat", id="no-issue-time"),
        pytest.param(token(sub=None), "sub", id="no-device"),
        pytest.param(token(sub=""), "sub", id="empty-device"),
        pytest.param(token(exp=NOW_S + 7200), "3600", id="lives-too-long"),
        pytest.param(token(iat=NOW_S + 600, exp=NOW_S + 900), "yet valid", id="from-the-future"),
        pytest.param(token(nbf=NOW_S + 600), "yet valid", id="not-yet"),
        pytest.param(
            token(f"globex/{OWN_KEY_ID}", own_secret(MASTER_KEY, "acme")), "signature",
            id="minted-for-another-tenant",
        ),
    ],
)  # fmt: skip
def test_bad_tokens_are_refused(text: str, why: str) -> None:
    """RFC 8725's attacks, and honest mistakes, each with its reason."""
    with pytest.raises(TokenError) as caught:
        asyncio.run(VERIFIER.verify(text))
    assert why in str(caught.value)


def test_minted_tokens_outlive_a_rotation_of_the_master_key() -> None:
    """The first master key signs, every one verifies; a token of none of them is refused."""
    old, new, gone = b"o" * 32, b"n" * 32, b"g" * 32
    text = TokenVerifier(find_key, [old], 3600).mint("acme", "d1", 600, NOW_S * 1000)
    rotated = TokenVerifier(find_key, [new, old], 3600)
    assert "d1" == asyncio.run(rotated.verify(text)).device_id
    fresh = rotated.mint("acme", "d1", 600, NOW_S * 1000)
    for keys, one in (([old], fresh), ([new, gone], text)):
        with pytest.raises(TokenError, match="signature"):
            asyncio.run(TokenVerifier(find_key, keys, 3600).verify(one))
    expired = rotated.mint("acme", "d1", -100, NOW_S * 1000)
    with pytest.raises(TokenError, match="expired"):
        asyncio.run(TokenVerifier(find_key, [old, new], 3600).verify(expired))


@pytest.mark.parametrize(
    ("key", "pointer"),
    [
        (JwtKey("HS256", secret="short"), "/secret"),
        (JwtKey("HS256", secret=SECRET, public_key=pem(EC_KEY)), "/public_key"),
        (JwtKey("ES256", secret=SECRET), "/secret"),
        (JwtKey("ES256", public_key="no pem"), "/public_key"),
        (JwtKey("ES256", public_key=pem(RSA_KEY)), "/public_key"),
        (JwtKey("ES256", public_key=pem(ec.generate_private_key(ec.SECP384R1()))), "/public_key"),
        (JwtKey("RS256", public_key=pem(EC_KEY)), "/public_key"),
        (JwtKey("RS256", public_key=private_pem(RSA_KEY).decode()), "/public_key"),
    ],
)
def test_wrong_verification_keys_are_refused(key: JwtKey, pointer: str) -> None:
    """The material must fit the algorithm when it is registered, not when a phone calls."""
    with pytest.raises(InvalidJwtKey) as caught:
        check_jwt_key(key)
    assert pointer == caught.value.pointer


# --- keys ---------------------------------------------------------------------------------


class CountingStore(KeyStore):
    """A store that counts look-ups."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        super().__init__(client)
        self.look_ups = 0

    async def get(self, kid: str) -> KeyRecord | None:
        self.look_ups += 1
        return await super().get(kid)


def with_authenticator(
    url: str, work: Callable[[Authenticator, CountingStore], Awaitable[None]]
) -> None:
    async def run() -> None:
        client = redis.asyncio.Redis.from_url(url)
        store = CountingStore(client)
        try:
            await work(Authenticator(store, VERIFIER), store)
        finally:
            await client.aclose()

    asyncio.run(run())


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def test_a_key_is_looked_up_once(clean_redis_url: str) -> None:
    """Many requests at once with a new key ask Redis once, and later ones not at all."""

    async def work(door: Authenticator, store: CountingStore) -> None:
        made = await store.create("acme", ["read", "receiver:r1"], now_ms())
        found = await asyncio.gather(*(door.authenticate(made.text) for _ in range(50)))
        assert 1 == store.look_ups
        assert {Principal("acme", frozenset({"read", "receiver:r1"}), made.id)} == set(found)
        await door.authenticate(made.text)
        assert 1 == store.look_ups
        await door.write_used()
        assert (await store.list("acme"))[0].last_used_at > 0

    with_authenticator(clean_redis_url, work)


def test_refusals_are_cheap(clean_redis_url: str) -> None:
    """A typing error asks nobody; an unknown key asks once."""

    async def work(door: Authenticator, store: CountingStore) -> None:
        made = await store.create("acme", ["read"], now_ms())
        other = await store.create("acme", ["read"], now_ms())
        await store.revoke("acme", other.id, now_ms())
        store.look_ups = 0
        for text in ("", "x", made.text[:-1], made.text.replace("tgw", "abc"), "a" * 10_000):
            with pytest.raises(Problem):
                await door.authenticate(text)
        assert 0 == store.look_ups
        for _ in range(5):
            with pytest.raises(Problem):
                await door.authenticate(other.text)
        assert 1 == store.look_ups

    with_authenticator(clean_redis_url, work)


def test_a_stolen_kid_opens_nothing(clean_redis_url: str) -> None:
    """A well-formed key with another's kid fails the comparison with the stored hash."""

    async def work(door: Authenticator, store: CountingStore) -> None:
        from gateway.keys import ALPHABET, _checksum

        made = await store.create("acme", ["read"], now_ms())
        forged = f"tgw_{made.id}_{'a' * 32}{_checksum(made.id, 'a' * 32)}"
        assert set(ALPHABET) >= set("a")
        with pytest.raises(Problem):
            await door.authenticate(forged)
        assert 1 == store.look_ups

    with_authenticator(clean_redis_url, work)


def test_a_revoked_key_is_forgotten_everywhere(clean_redis_url: str) -> None:
    """Another process's revocation reaches this one by the version that it follows."""

    async def work(door: Authenticator, store: CountingStore) -> None:
        made = await store.create("acme", ["read"], now_ms())
        following = asyncio.create_task(door.follow())
        await door.authenticate(made.text)
        await store.revoke("acme", made.id, now_ms())
        for _ in range(100):
            await asyncio.sleep(0.05)
            try:
                await door.authenticate(made.text)
            except Problem:
                break
        else:
            pytest.fail("still let in after 5 s")
        following.cancel()

    with_authenticator(clean_redis_url, work)


def test_losing_redis_is_told_to_everyone_waiting() -> None:
    """A look-up that fails fails all who wait for it, and is not remembered."""

    class Broken(KeyStore):
        def __init__(self) -> None:
            self.calls = 0

        async def get(self, kid: str) -> KeyRecord | None:
            self.calls += 1
            await asyncio.sleep(0)
            raise redis.exceptions.ConnectionError("gone")

    async def work() -> None:
        from gateway.keys import new_key_text

        store = Broken()
        door = Authenticator(store, VERIFIER)
        text = new_key_text()
        answers = await asyncio.gather(
            *(door.authenticate(text) for _ in range(3)), return_exceptions=True
        )
        assert [redis.exceptions.ConnectionError] * 3 == [type(answer) for answer in answers]
        assert 1 == store.calls

    asyncio.run(work())


# --- what a principal may ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("granted", "asked", "expected"),
    [
        ({"manage"}, "manage", True),
        ({"manage"}, "read", True),
        ({"manage"}, "ingest", False),
        ({"read"}, "manage", False),
        ({"ingest"}, "read", False),
        ({"receiver:r1"}, "receiver", True),
        ({"receiver:r1"}, "ingest", False),
        (set(), "read", False),
    ],
)
def test_scopes(granted: set[str], asked: str, expected: bool) -> None:
    """`manage` includes `read`, and nothing else includes anything."""
    principal = Principal("acme", frozenset(granted), "k")
    assert expected == principal.allows(asked)
    if not expected:
        with pytest.raises(Problem, match=asked):
            principal.require(asked)


def test_tokens_and_receiver_keys_speak_for_themselves_only() -> None:
    """A phone cannot report for another phone, a receiver not for another receiver."""
    phone = Principal("acme", frozenset({"ingest"}), "jwt:k", "d1")
    phone.require_device("d1")
    with pytest.raises(Problem):
        phone.require_device("d2")
    receiver = Principal("acme", frozenset({"receiver:r1"}), "k")
    receiver.require_receiver("r1")
    with pytest.raises(Problem, match="receiver:r2"):
        receiver.require_receiver("r2")
    Principal("acme", frozenset({"ingest"}), "k").require_receiver("r2")


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "path_token", "takes_basic", "expected"),
    [
        ("Bearer abc", None, False, "abc"),
        ("bearer  abc ", None, False, "abc"),
        ("Bearer", None, False, None),
        ("abc", None, False, None),
        (None, None, True, None),
        (basic("user:tgw:x"), None, True, "tgw:x"),
        (basic("user:tgw"), None, False, None),
        ("Basic ???", None, True, None),
        (basic("user"), None, True, None),
        ("Bearer abc", "path", True, "path"),
    ],
)
def test_where_a_credential_may_stand(
    header: str | None, path_token: str | None, takes_basic: bool, expected: str | None
) -> None:
    """Bearer everywhere; Basic and the path only where an adapter takes them."""
    assert expected == credential_of(header, path_token, takes_basic=takes_basic)
