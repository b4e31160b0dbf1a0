"""Which credential a target is sent with, and what becomes of changed ones."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from redis.asyncio import Redis

from gateway.inbox import Inboxes
from gateway.kinds import credential
from gateway.registry import Registry
from gateway.sender_pool import RELOAD_MS, SenderPool
from senders.model import Target
from senders.network import NetworkPolicy
from senders.token_cache import MemoryTokenCache
from senders.vault import Vault

PEM = (
    ec.generate_private_key(ec.SECP256R1())
    .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    .decode()
)
APNS = {"type": "apns", "team_id": "TEAM123456", "key_id": "KEY1234567", "private_key": PEM}
HOOK = {"type": "webhook", "secrets": ["whsec_" + "A" * 43 + "="], "url": "https://acme.example/in"}
TOKEN = "ab" * 32


class Pool:
    """A pool with a clock that stands still."""

    def __init__(self, client: Any) -> None:
        self.now = 1_000_000
        self.registry = Registry(client)
        self.vault = Vault([b"k" * 32])
        self.pool = SenderPool(
            self.registry,
            vault=self.vault,
            inboxes=Inboxes(client, 1),
            tokens=MemoryTokenCache(),
            policy=NetworkPolicy(),
            clock=lambda: self.now,
        )

    async def put(self, credential_id: str, document: dict[str, Any]) -> None:
        stored = credential.parse(self.vault, "acme", credential_id, document)
        doc = msgspec.json.encode(stored)
        await self.registry.put("acme", "credentials", credential_id, doc, now=1)

    async def gate(self, target: Target) -> str | None:
        self.now += RELOAD_MS
        await self.pool.load("acme")
        chosen = self.pool.find("acme", target)
        return chosen.gate.partition("@")[0] if chosen else None


def run(url: str, body: Callable[[Pool], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Redis.from_url(url) as client:
            pool = Pool(client)
            await body(pool)
            await pool.pool.close()

    asyncio.run(main())


APPLE: list[tuple[Target, str]] = [
    (Target("apns", TOKEN), "acme/apns"),
    (Target("apns", TOKEN, app="com.acme.shop"), "acme/shop"),
    (Target("apns", TOKEN, app="com.acme.other"), "acme/apns"),
    (Target("apns", TOKEN, app="com.acme.shop", environment="sandbox"), "acme/shop-dev"),
]


@pytest.mark.parametrize(("target", "expected"), APPLE)
def test_the_credential_of_the_targets_app_is_taken(
    clean_redis_url: str, target: Target, expected: str
) -> None:
    """By topic and environment; the plain credential serves what has none of its own."""

    async def body(pool: Pool) -> None:
        await pool.put("apns", APNS)
        await pool.put("shop", APNS | {"topic": "com.acme.shop"})
        await pool.put("shop-dev", APNS | {"topic": "com.acme.shop", "environment": "sandbox"})
        assert expected == await pool.gate(target)

    run(clean_redis_url, body)


def test_a_changed_credential_gets_a_new_sender_and_gate(clean_redis_url: str) -> None:
    """The version is in the gate's name; an unchanged credential keeps its sender."""

    async def body(pool: Pool) -> None:
        await pool.put("apns", APNS)
        await pool.gate(Target("apns", TOKEN))
        first = pool.pool.find("acme", Target("apns", TOKEN))
        await pool.gate(Target("apns", TOKEN))
        assert first == pool.pool.find("acme", Target("apns", TOKEN))
        await pool.put("apns", APNS | {"topic": "com.acme.shop"})
        await pool.gate(Target("apns", TOKEN))
        second = pool.pool.find("acme", Target("apns", TOKEN))
        assert first is not None
        assert second is not None
        assert first.gate != second.gate
        assert first.sender is not second.sender

    run(clean_redis_url, body)


def test_without_a_credential_there_is_no_sender(clean_redis_url: str) -> None:
    """The inbox alone needs none; another tenant's credential is not ours."""

    async def body(pool: Pool) -> None:
        await pool.put("hook", HOOK)
        assert await pool.gate(Target("apns", TOKEN)) is None
        assert "acme/inbox" == await pool.gate(Target("inbox", "u1"))
        assert "acme/hook" == await pool.gate(Target("webhook", ""))
        await pool.pool.load("other")
        assert pool.pool.find("other", Target("webhook", "")) is None

    run(clean_redis_url, body)


def test_a_deleted_credential_is_gone_within_a_second(clean_redis_url: str) -> None:
    """Until then it is not read again."""

    async def body(pool: Pool) -> None:
        await pool.put("apns", APNS)
        assert "acme/apns" == await pool.gate(Target("apns", TOKEN))
        await pool.registry.delete("acme", "credentials", "apns", now=2)
        await pool.pool.load("acme")
        assert pool.pool.find("acme", Target("apns", TOKEN)) is not None
        assert await pool.gate(Target("apns", TOKEN)) is None

    run(clean_redis_url, body)
