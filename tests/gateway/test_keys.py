"""API keys: form, storage, rotation, revocation."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import redis.asyncio
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.keys import (
    ALPHABET,
    KEYS_KEY,
    KeyRecord,
    KeyStore,
    check_tenant,
    digest_of,
    kid_of,
    new_key_text,
    parse_scopes,
)

NOW = 1_800_000_000_000


def with_store(url: str, work: Callable[[KeyStore], Awaitable[None]]) -> None:
    async def run() -> None:
        client = redis.asyncio.Redis.from_url(url)
        try:
            await work(KeyStore(client))
        finally:
            await client.aclose()

    asyncio.run(run())


def test_a_key_has_the_published_form() -> None:
    """Scanners can recognise it by prefix, length and alphabet."""
    text = new_key_text()
    prefix, kid, rest = text.split("_")
    assert ("tgw", 10, 38) == (prefix, len(kid), len(rest))
    assert set(kid + rest) <= set(ALPHABET)
    assert kid == kid_of(text)


@given(st.integers(4, 52), st.sampled_from(ALPHABET))
@hypothesis_settings(max_examples=200)
def test_a_typing_error_is_seen_without_asking(position: int, letter: str) -> None:
    """One wrong character never passes the checksum."""
    good = new_key_text()
    wrong = good[:position] + letter + good[position + 1 :]
    assert (kid_of(wrong) is None) == (wrong != good)


@given(st.text(max_size=80))
@hypothesis_settings(max_examples=100)
def test_anything_else_is_no_key(text: str) -> None:
    """Garbage is refused, whatever it is."""
    assert kid_of(text) is None


@pytest.mark.parametrize("tenant", ["", "A", "a/b", "-a", "a b", "a" * 64, "a.b", "{c}"])
def test_bad_tenant_names(tenant: str) -> None:
    """A tenant's name can stand in Redis keys and URLs."""
    with pytest.raises(ValueError, match="tenant"):
        check_tenant(tenant)


@pytest.mark.parametrize(
    "scopes", [[], [""], ["admin"], ["receiver:"], ["receiver:a b"], ["read,manage"]]
)
def test_bad_scopes(scopes: list[str]) -> None:
    """Only published scopes are given."""
    with pytest.raises(ValueError, match="scope"):
        parse_scopes(scopes)


def test_the_secret_is_not_stored(clean_redis_url: str) -> None:
    """Whoever reads Redis cannot call the API."""

    async def work(store: KeyStore) -> None:
        made = await store.create("acme", ["read"], NOW)
        client = redis.asyncio.Redis.from_url(clean_redis_url)
        stored = b"".join([key + value for key, value in (await client.hgetall(KEYS_KEY)).items()])
        await client.aclose()
        assert made.text.split("_")[2].encode() not in stored
        assert digest_of(made.text) == made.record.digest
        assert made.record == await store.get(made.id)

    with_store(clean_redis_url, work)


def test_listing_shows_only_the_tenants_own(clean_redis_url: str) -> None:
    """Keys of others are never listed, and revoking them is answered as for an unknown id."""

    async def work(store: KeyStore) -> None:
        mine = await store.create("acme", ["read"], NOW, "mine")
        other = await store.create("globex", ["read"], NOW)
        await store.note_used({mine.id: NOW + 5})
        assert [(mine.id, mine.record, NOW + 5)] == await store.list("acme")
        assert not await store.revoke("acme", other.id, NOW)
        assert (await store.get(other.id)) == other.record
        assert {"acme", "globex"} == await store.tenants()

    with_store(clean_redis_url, work)


def test_rotation_keeps_both_keys_for_a_while(clean_redis_url: str) -> None:
    """Clients can be changed over without a gap."""

    async def work(store: KeyStore) -> None:
        old = await store.create("acme", ["ingest", "receiver:r1"], NOW)
        new = await store.rotate("acme", old.id, NOW, overlap_s=60)
        assert new is not None
        stored = await store.get(old.id)
        assert stored is not None
        assert (True, False) == (stored.is_active(NOW + 59_999), stored.is_active(NOW + 60_000))
        assert old.record.scopes == new.record.scopes
        assert new.record.is_active(NOW + 10**12)
        assert await store.rotate("globex", new.id, NOW, 60) is None

    with_store(clean_redis_url, work)


def test_every_change_is_told(clean_redis_url: str) -> None:
    """Processes that remember keys learn of each change by the version."""

    async def work(store: KeyStore) -> None:
        versions = [await store.version()]
        made = await store.create("acme", ["read"], NOW)
        versions.append(await store.version())
        assert await store.revoke("acme", made.id, NOW)
        versions.append(await store.version())
        assert await store.revoke("acme", made.id, NOW)  # again: no change
        assert sorted(set(versions)) == versions
        assert versions[-1] == await store.version()
        await store.create("acme", ["read"], NOW)
        assert 1 == await store.revoke_all("acme", NOW)
        assert 0 == await store.revoke_all("acme", NOW)

    with_store(clean_redis_url, work)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (KeyRecord("t", b"", (), 0), True),
        (KeyRecord("t", b"", (), 0, expires_at=NOW + 1), True),
        (KeyRecord("t", b"", (), 0, expires_at=NOW), False),
        (KeyRecord("t", b"", (), 0, revoked_at=1), False),
    ],
)
def test_is_active(record: KeyRecord, expected: bool) -> None:
    """Revoked and expired keys open nothing."""
    assert expected == record.is_active(NOW)
