"""The registry keeps documents with versions, tells every change once, and never loses a write."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.document import VersionConflict
from gateway.registry import Change, ChangesLost, Registry

NOW = 1_700_000_000_000


def in_registry(url: str, body: Callable[[Registry, Any], Awaitable[Any]]) -> Any:
    """Run ``body`` with a registry on the Redis at ``url``."""

    async def main() -> Any:
        client = Redis.from_url(url)
        try:
            return await body(Registry(client), client)
        finally:
            await client.aclose()

    return asyncio.run(main())


def test_a_document_comes_back_as_it_was_put(clean_redis_url: str) -> None:
    """What is put is read back with its version and instants."""

    async def body(registry: Registry, _: Any) -> None:
        put = await registry.put("acme", "geofences", "a", b"{}", now=NOW)
        assert put == await registry.get("acme", "geofences", "a")
        assert (b"{}", NOW, NOW) == (put.doc, put.created_at, put.updated_at)
        again = await registry.put("acme", "geofences", "a", b"{1}", now=NOW + 5)
        assert (NOW, NOW + 5) == (again.created_at, again.updated_at)
        assert again.version > put.version
        assert await registry.get("other", "geofences", "a") is None

    in_registry(clean_redis_url, body)


def test_equal_bytes_change_nothing(clean_redis_url: str) -> None:
    """The same document again keeps version and instants and is no change."""

    async def body(registry: Registry, _: Any) -> None:
        put = await registry.put("acme", "triggers", "t", b"{}", now=NOW)
        last = await registry.last_change_id()
        assert put == await registry.put("acme", "triggers", "t", b"{}", now=NOW + 9)
        assert [] == await registry.changes(last)

    in_registry(clean_redis_url, body)


@pytest.mark.parametrize(
    ("is_stored", "expected", "is_written"),
    [
        (False, None, True),
        (False, "absent", True),
        (False, "present", False),
        (False, 7, False),
        (True, None, True),
        (True, "absent", False),
        (True, "present", True),
        (True, 1, True),
        (True, 2, False),
    ],
)
def test_a_write_states_what_it_expects(
    clean_redis_url: str, is_stored: bool, expected: Any, is_written: bool
) -> None:
    """A write happens if and only if its expectation holds; else it says what is stored."""

    async def body(registry: Registry, _: Any) -> None:
        if is_stored:
            await registry.put("acme", "beacons", "b", b"old", now=NOW)
        write = registry.put("acme", "beacons", "b", b"new", now=NOW, expected=expected)
        if is_written:
            assert b"new" == (await write).doc
        else:
            with pytest.raises(VersionConflict) as conflict:
                await write
            assert (1 if is_stored else 0) == conflict.value.version

    in_registry(clean_redis_url, body)


def test_of_racing_writes_from_one_version_exactly_one_wins(clean_redis_url: str) -> None:
    """Compare-and-set holds under concurrency."""

    async def body(registry: Registry, _: Any) -> None:
        first = await registry.put("acme", "triggers", "t", b"0", now=NOW)
        writes = [
            registry.put(
                "acme", "triggers", "t", str(n + 1).encode(), now=NOW, expected=first.version
            )
            for n in range(20)
        ]
        results = await asyncio.gather(*writes, return_exceptions=True)
        assert 19 == sum(isinstance(result, VersionConflict) for result in results)

    in_registry(clean_redis_url, body)


def test_a_version_is_never_used_twice(clean_redis_url: str) -> None:
    """Deleting and making anew gives a higher version."""

    async def body(registry: Registry, _: Any) -> None:
        first = await registry.put("acme", "beacons", "b", b"x", now=NOW)
        assert await registry.delete("acme", "beacons", "b", now=NOW)
        second = await registry.put("acme", "beacons", "b", b"x", now=NOW)
        assert second.version > first.version

    in_registry(clean_redis_url, body)


def test_deleting(clean_redis_url: str) -> None:
    """A deleted document is gone, a deleted zone stays known until it is forgotten or made anew."""

    async def body(registry: Registry, _: Any) -> None:
        for one in ("a", "b"):
            await registry.put("acme", "geofences", one, b"x", now=NOW)
        with pytest.raises(VersionConflict):
            await registry.delete("acme", "geofences", "a", now=NOW, expected=99)
        assert [True, True, False] == await registry.delete_many(
            "acme", "geofences", ["a", "b", "c"], now=NOW
        )
        assert not await registry.delete("acme", "geofences", "a", now=NOW)
        assert await registry.get("acme", "geofences", "a") is None
        assert {"a": NOW, "b": NOW} == await registry.removed("acme", "geofences")
        await registry.put("acme", "geofences", "a", b"x", now=NOW)
        assert {"b": NOW} == await registry.removed("acme", "geofences")
        assert 1 == await registry.forget_removed(NOW + 1)
        assert {} == await registry.removed("acme", "geofences")
        assert {} == await registry.removed("acme", "triggers")

    in_registry(clean_redis_url, body)


def test_pages_are_in_order_and_complete(clean_redis_url: str) -> None:
    """Walking the pages gives every document once, in order, with and without a filter."""
    ids = sorted((f"store-{n}" for n in range(1203)), key=str.encode)

    async def walk(registry: Registry, keep: Any) -> list[str]:
        found, after = [], ""
        while True:
            page = await registry.page("acme", "geofences", after=after, limit=100, keep=keep)
            found += [one for one, _ in page.items]
            if page.after is None:
                return found
            after = page.after

    async def body(registry: Registry, _: Any) -> None:
        items = [(one, None, one.encode()) for one in reversed(ids)]
        await registry.put_many("acme", "geofences", items, now=NOW)
        assert len(ids) == await registry.count("acme", "geofences")
        assert ids == await walk(registry, None)
        ending = [one for one in ids if one.endswith("7")]
        assert ending == await walk(registry, lambda d: d.doc.endswith(b"7"))
        scanned = [stored.id async for chunk in registry.scan("geofences") for stored in chunk]
        assert ids == sorted(set(scanned), key=str.encode)

    in_registry(clean_redis_url, body)


def test_a_follower_sees_every_change(clean_redis_url: str) -> None:
    """Changes come in order, of all tenants and kinds, with the version and whether deleted."""

    async def body(registry: Registry, _: Any) -> None:
        after = await registry.last_change_id()
        await registry.put_many(
            "acme", "geofences", [("a", None, b"1"), ("b", None, b"2")], now=NOW
        )
        await registry.put("beta", "triggers", "t x", b"3", now=NOW)
        await registry.delete("acme", "geofences", "a", now=NOW)
        changes = await registry.changes(after)
        assert [
            ("acme", "geofences", "a", 1, False),
            ("acme", "geofences", "b", 2, False),
            ("beta", "triggers", "t x", 3, False),
            ("acme", "geofences", "a", 4, True),
        ] == [change[1:] for change in changes]
        assert isinstance(changes[0], Change)
        assert [] == await registry.changes(changes[-1].id, block_ms=1)
        last = await registry.last_change_id()
        assert last == changes[-1].id

    in_registry(clean_redis_url, body)


def test_a_follower_that_fell_behind_is_told(clean_redis_url: str) -> None:
    """Trimmed changes are noticed, never skipped in silence."""

    async def body(registry: Registry, client: Any) -> None:
        for n in range(5):
            await registry.put("acme", "triggers", "t", str(n).encode(), now=NOW)
        await client.xtrim("{c}:changes", maxlen=2, approximate=False)
        with pytest.raises(ChangesLost):
            await registry.changes("0-0")

    in_registry(clean_redis_url, body)


def test_tenants_are_apart(clean_redis_url: str) -> None:
    """The same id of two tenants is two documents."""

    async def body(registry: Registry, _: Any) -> None:
        await registry.put("acme", "geofences", "a", b"1", now=NOW)
        await registry.put("beta", "geofences", "a", b"2", now=NOW)
        assert await registry.delete("beta", "geofences", "a", now=NOW)
        assert await registry.get("acme", "geofences", "a") is not None
        assert ["acme", "beta"] == await registry.tenants_of("geofences")

    in_registry(clean_redis_url, body)
