"""Dead letters on a real Redis: listed newest first, replayed once, purged."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis

from senders.dead_letters import DeadLetters, UnknownLetter
from senders.model import Lane
from senders.outbox import Outbox, Room
from senders.settlement import Bury, Claimed

TAGS = ["{s:00}", "{s:01}", "{s:02}"]


def run(url: str, body: Callable[[Outbox, DeadLetters], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Redis.from_url(url) as client:
            await body(Outbox(client, TAGS, "one"), DeadLetters(client, TAGS))

    asyncio.run(main())


async def bury(outbox: Outbox, count: int, lane: Lane = "marketing", tenant: str = "acme") -> None:
    for i in range(count):
        entry = Claimed(i % len(TAGS), lane, tenant, b"", f"p{i}".encode())
        await outbox.settle([Bury(entry, f"reason {i}")])


def test_pages_list_every_letter_once_newest_first(clean_redis_url: str) -> None:
    """Whatever the shard, and where several letters died in one millisecond."""

    async def body(outbox: Outbox, letters: DeadLetters) -> None:
        await bury(outbox, 20)
        await bury(outbox, 1, tenant="other")
        seen, after = [], None
        while page := await letters.page("acme", 3, after):
            seen += page
            after = page[-1].id
        assert {f"p{i}".encode() for i in range(20)} == {letter.payload for letter in seen}
        assert 20 == len(seen) == await letters.count("acme")
        assert sorted((letter.died_at for letter in seen), reverse=True) == [
            letter.died_at for letter in seen
        ]
        assert "reason 7" in {letter.reason for letter in seen}

    run(clean_redis_url, body)


def test_a_letter_is_replayed_once_with_a_revived_payload(clean_redis_url: str) -> None:
    """It returns to its own lane; a second replay of the same listing does nothing."""

    async def body(outbox: Outbox, letters: DeadLetters) -> None:
        await bury(outbox, 2)
        await bury(outbox, 1, "transactional")
        page = await letters.page("acme", 10)
        assert 3 == await letters.replay(page, lambda payload: payload + b"!")
        assert 0 == await letters.replay(page)
        claimed = await outbox.claim(Room(100, 100))
        assert [("marketing", b"p0!"), ("marketing", b"p1!"), ("transactional", b"p0!")] == sorted(
            (entry.lane, entry.payload) for entry in claimed
        )
        assert [] == await letters.page("acme", 10)

    run(clean_redis_url, body)


def test_letters_are_fetched_and_purged_by_id_or_all(clean_redis_url: str) -> None:
    """Unknown but well-formed ids are simply not there."""

    async def body(outbox: Outbox, letters: DeadLetters) -> None:
        await bury(outbox, 4)
        first, second, *_ = await letters.page("acme", 10)
        assert [first, second] == await letters.get("acme", [first.id, second.id, "0-1-1"])
        assert 1 == await letters.purge("acme", [first.id, "0-1-1"])
        assert 3 == await letters.purge("acme")
        assert 0 == await letters.count("acme")
        assert [] == await letters.get("acme", [])

    run(clean_redis_url, body)


@pytest.mark.parametrize("letter_id", ["", "x", "1-2", "9-1-1", "0-a-1", "0-1-1-1"])
def test_a_malformed_id_is_refused(clean_redis_url: str, letter_id: str) -> None:
    """The error names the id."""

    async def body(_: Outbox, letters: DeadLetters) -> None:
        with pytest.raises(UnknownLetter, match="is not the id of a dead letter"):
            await letters.get("acme", [letter_id])

    run(clean_redis_url, body)
