"""The in-app inbox on a real Redis."""

import asyncio
from collections.abc import Awaitable, Callable

from redis.asyncio import Redis

from gateway.inbox import CAP, Inboxes, InboxSender, Item, place_of
from senders.model import Delivered, Rejected, Rendered, Target

DAY_MS = 86_400_000


def run(url: str, body: Callable[[Inboxes], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Redis.from_url(url) as client:
            await body(Inboxes(client, 2))

    asyncio.run(main())


def item(number: int, expires_at: int = DAY_MS) -> Item:
    return Item(f"i{number}", number, expires_at, b"{}")


def test_items_are_listed_newest_first_in_pages(clean_redis_url: str) -> None:
    """Expired and archived items are not shown; an owner sees only their own."""

    async def body(inboxes: Inboxes) -> None:
        for number in range(5):
            await inboxes.put("acme", "u1", item(number))
        await inboxes.put("acme", "u1", item(9, expires_at=50))
        await inboxes.put("acme", "u2", item(7))
        await inboxes.mark("acme", "u1", ["i3"], "archived", now=60)
        first = await inboxes.items("acme", "u1", now=60, limit=2)
        assert ["i4", "i2"] == [one.id for one in first]
        after = await inboxes.items("acme", "u1", now=60, after=place_of(first[-1]))
        assert ["i1", "i0"] == [one.id for one in after]

    run(clean_redis_url, body)


def test_marking_is_counted_and_a_repeated_put_changes_nothing(clean_redis_url: str) -> None:
    """Read items stay read when the push is delivered again."""

    async def body(inboxes: Inboxes) -> None:
        await inboxes.put("acme", "u1", item(1))
        await inboxes.put("acme", "u1", item(2))
        assert 2 == await inboxes.unread("acme", "u1", now=5)
        assert 1 == await inboxes.mark("acme", "u1", ["i1", "unknown"], "read", now=5)
        assert 0 == await inboxes.mark("acme", "u1", ["i1"], "read", now=6)
        await inboxes.put("acme", "u1", item(1))
        assert 1 == await inboxes.unread("acme", "u1", now=5)
        await inboxes.forget("acme", "u1")
        assert [] == await inboxes.items("acme", "u1", now=5)

    run(clean_redis_url, body)


def test_an_inbox_is_bounded(clean_redis_url: str) -> None:
    """The oldest items make room."""

    async def body(inboxes: Inboxes) -> None:
        for number in range(CAP + 3):
            await inboxes.put("acme", "u1", item(number))
        found = await inboxes.items("acme", "u1", now=5, limit=CAP + 10)
        assert (CAP, f"i{CAP + 2}", "i3") == (len(found), found[0].id, found[-1].id)

    run(clean_redis_url, body)


def test_the_sender_puts_messages_and_refuses_what_is_too_large(clean_redis_url: str) -> None:
    """A message that no inbox takes is refused, not retried."""

    async def body(inboxes: Inboxes) -> None:
        sender = InboxSender(inboxes, "acme", lambda: 5)
        small = Rendered("p1", "title", "body", DAY_MS)
        assert Delivered("p1") == await sender.send(small, Target("inbox", "u1"))
        large = Rendered("p2", "t", "b", DAY_MS, overrides={"inbox": {"blob": "x" * 20_000}})
        assert isinstance(await sender.send(large, Target("inbox", "u1")), Rejected)
        assert ["p1"] == [one.id for one in await inboxes.items("acme", "u1", now=5)]

    run(clean_redis_url, body)
