"""The outbox on a real Redis: an entry is in exactly one place, and is never lost."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from senders.model import Lane
from senders.outbox import Outbox, Room
from senders.settlement import Bury, Claimed, Delay, Done, Requeue, Settlement

TAGS = ["{s:00}", "{s:01}"]
PLENTY = Room(1000, 1000)
NOW = 1_800_000_000_000


def with_outbox(url: str, body: Callable[[Outbox, Any], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Redis.from_url(url) as client:
            await body(Outbox(client, TAGS, "one"), client)

    asyncio.run(main())


def names(claimed: list[Claimed]) -> list[str]:
    return [entry.payload.decode() for entry in claimed]


def test_what_is_enqueued_is_claimed_once_and_gone_when_done(clean_redis_url: str) -> None:
    """A new entry goes to one claim; done, its stream is empty and leaves the active set."""

    async def body(outbox: Outbox, client: Any) -> None:
        await outbox.enqueue(0, "marketing", "acme", [b"a", b"b"])
        await outbox.enqueue(1, "marketing", "acme", [b"c"])
        claimed = await outbox.claim(PLENTY)
        assert ["a", "b", "c"] == sorted(names(claimed))
        assert [] == await outbox.claim(PLENTY)
        assert 3 == await outbox.settle([Done(entry) for entry in claimed])
        assert [] == await outbox.claim(PLENTY)
        assert [] == await outbox.streams()
        assert 0 == await client.xlen("{s:00}:outbox:marketing:acme")

    with_outbox(clean_redis_url, body)


def test_an_entry_written_by_the_commit_script_is_claimed(clean_redis_url: str) -> None:
    """The contract with the commit: stream field ``p``, active member ``<lane>:<tenant>``."""

    async def body(outbox: Outbox, client: Any) -> None:
        await client.xadd("{s:01}:outbox:transactional:a:b", {"p": b"x"})
        await client.sadd("{s:01}:active", "transactional:a:b")
        (entry,) = await outbox.claim(PLENTY)
        assert (1, "transactional", "a:b", b"x", 1) == (*entry[:3], *entry[4:])

    with_outbox(clean_redis_url, body)


def test_transactional_entries_come_first_and_have_their_own_room(clean_redis_url: str) -> None:
    """Room is kept by lane, and a claim's transactional entries stand before its marketing ones."""

    async def body(outbox: Outbox, _: Any) -> None:
        await outbox.enqueue(0, "marketing", "acme", [b"m"] * 20)
        await outbox.enqueue(0, "transactional", "acme", [b"t"] * 2)
        await outbox.enqueue(1, "transactional", "acme", [b"t"] * 2)
        assert ["t"] * 4 + ["m"] * 3 == names(await outbox.claim(Room(50, 6)))
        assert [] == names(await outbox.claim(Room(50, 0)))

    with_outbox(clean_redis_url, body)


SETTLEMENTS: list[tuple[Callable[[Claimed], Settlement], dict[str, int]]] = [
    (Done, {"stream": 0, "delayed": 0, "dead": 0}),
    (lambda entry: Delay(entry, "p1", NOW, b"later"), {"stream": 0, "delayed": 1, "dead": 0}),
    (lambda entry: Requeue(entry, (b"x", b"y")), {"stream": 2, "delayed": 0, "dead": 0}),
    (lambda entry: Bury(entry, "too large"), {"stream": 0, "delayed": 0, "dead": 1}),
]


@pytest.mark.parametrize(("settlement", "expected"), SETTLEMENTS)
def test_settling_moves_an_entry_to_its_one_next_place(
    clean_redis_url: str, settlement: Callable[[Claimed], Settlement], expected: dict[str, int]
) -> None:
    """The entry is in exactly the place its settlement names; settling twice adds nothing."""

    async def body(outbox: Outbox, client: Any) -> None:
        await outbox.enqueue(0, "marketing", "acme", [b"a"])
        (entry,) = await outbox.claim(PLENTY)
        assert 1 == await outbox.settle([settlement(entry)])
        assert 0 == await outbox.settle([settlement(entry)])
        found = {
            "stream": await client.xlen("{s:00}:outbox:marketing:acme"),
            "delayed": await client.zcard("{s:00}:delayed"),
            "dead": await client.xlen("{s:00}:dead:acme"),
        }
        assert expected == found

    with_outbox(clean_redis_url, body)


def test_a_large_mixed_batch_is_settled_in_one_go(clean_redis_url: str) -> None:
    """Thousands of entries of many tenants settle at once, beyond what Lua unpacks in one call."""

    async def body(outbox: Outbox, _: Any) -> None:
        await outbox.enqueue(0, "marketing", "big", [b"a"] * 9000)
        await outbox.enqueue(0, "transactional", "small", [b"b"] * 5)
        claimed = []
        while part := await outbox.claim(Room(10_000, 10_000)):
            claimed += part
        assert 9005 == len(claimed)
        settlements: list[Settlement] = [Done(entry) for entry in claimed[:-2]]
        settlements += [Delay(claimed[-2], "late", NOW, b"a"), Bury(claimed[-1], "bad")]
        assert 9005 == await outbox.settle(settlements)
        assert [] == await outbox.claim(PLENTY)

    with_outbox(clean_redis_url, body)


def test_delayed_entries_come_back_when_due(clean_redis_url: str) -> None:
    """Nothing moves before its time; due entries return to their own stream with their payload."""

    async def body(outbox: Outbox, client: Any) -> None:
        payload = b"line\nwith \x00 bytes"
        await outbox.delay(0, "marketing", "acme", push_id="p1", due_at=NOW + 10, payload=payload)
        await outbox.delay(0, "transactional", "a:b", push_id="p2", due_at=NOW, payload=b"t")
        assert [NOW, None] == await outbox.next_due_at()
        assert 0 == await outbox.move_due(0, NOW - 1)
        assert 1 == await outbox.move_due(0, NOW)
        assert 1 == await outbox.move_due(0, NOW + 10)
        assert [("a:b", b"t"), ("acme", payload)] == [
            (entry.tenant, entry.payload) for entry in await outbox.claim(PLENTY)
        ]
        assert 0 == await outbox.delayed_count()
        assert 0 == await client.hlen("{s:00}:delayed:body")

    with_outbox(clean_redis_url, body)


def test_a_canceled_push_never_becomes_due(clean_redis_url: str) -> None:
    """Cancel removes what waits and names it; what does not wait is not named."""

    async def body(outbox: Outbox, client: Any) -> None:
        await outbox.delay(1, "marketing", "acme", push_id="p1", due_at=NOW, payload=b"a")
        assert ["p1"] == await outbox.cancel(1, ["p1", "p2"])
        assert 0 == await outbox.move_due(1, NOW)
        assert 0 == await client.exists("{s:01}:delayed", "{s:01}:delayed:body")

    with_outbox(clean_redis_url, body)


def test_a_due_id_without_a_body_is_dropped(clean_redis_url: str) -> None:
    """A half-written foreign entry does not block the delayed set for ever."""

    async def body(outbox: Outbox, client: Any) -> None:
        await client.zadd("{s:00}:delayed", {"orphan": NOW})
        assert 0 == await outbox.move_due(0, NOW)
        assert 0 == await outbox.delayed_count()

    with_outbox(clean_redis_url, body)


def test_a_restarted_consumer_gets_its_own_entries_back(clean_redis_url: str) -> None:
    """What this name claimed and did not settle is handed out again, and only that."""

    async def body(outbox: Outbox, client: Any) -> None:
        await outbox.enqueue(0, "marketing", "acme", [b"a", b"b"])
        await outbox.claim(Room(0, 4))
        await outbox.enqueue(0, "marketing", "acme", [b"c"])
        again = Outbox(client, TAGS, "one")
        assert [(b"a", 2), (b"b", 2)] == [
            (entry.payload, entry.deliveries) for entry in await again.recover(10, own=True)
        ]
        assert [] == await Outbox(client, TAGS, "two").recover(10, own=True)

    with_outbox(clean_redis_url, body)


def test_a_dead_consumers_entries_are_taken_over_once(clean_redis_url: str) -> None:
    """Idle entries go to one taker, with their delivery count; fresh ones stay with their owner."""

    async def body(outbox: Outbox, client: Any) -> None:
        await outbox.enqueue(0, "marketing", "acme", [b"a", b"b", b"c"])
        await outbox.claim(PLENTY)
        taker = Outbox(client, TAGS, "two", takeover_ms=1000)
        assert [] == await taker.recover(10)
        stream = "{s:00}:outbox:marketing:acme"
        pending = await client.xpending_range(stream, "senders", "-", "+", 2)
        ids = [row["message_id"] for row in pending]
        await client.xclaim(stream, "senders", "one", 0, ids, idle=5000, justid=True)
        assert [(b"a", 2), (b"b", 2)] == [
            (entry.payload, entry.deliveries) for entry in await taker.recover(10)
        ]
        assert [] == await taker.recover(10)

    with_outbox(clean_redis_url, body)


def test_refreshed_entries_are_not_taken_over(clean_redis_url: str) -> None:
    """Refreshing resets the idle time and neither delivers again nor brings settled ones back."""

    async def body(outbox: Outbox, client: Any) -> None:
        await outbox.enqueue(0, "marketing", "acme", [b"a", b"b"])
        claimed = await outbox.claim(PLENTY)
        await outbox.settle([Done(claimed[1])])
        stream = "{s:00}:outbox:marketing:acme"
        ids = [claimed[0].entry_id]
        await client.xclaim(stream, "senders", "one", 0, ids, idle=5000, justid=True)
        await outbox.refresh(claimed)
        assert [] == await Outbox(client, TAGS, "two", takeover_ms=1000).recover(10)
        (row,) = await client.xpending_range(stream, "senders", "-", "+", 9)
        assert (claimed[0].entry_id, 1) == (row["message_id"], row["times_delivered"])

    with_outbox(clean_redis_url, body)


def test_an_entry_deleted_by_hand_does_not_stay_pending(clean_redis_url: str) -> None:
    """A pending id whose entry is gone is forgotten by recovery instead of coming up for ever."""

    async def body(outbox: Outbox, client: Any) -> None:
        await outbox.enqueue(0, "marketing", "acme", [b"a", b"b"])
        claimed = await outbox.claim(PLENTY)
        stream = "{s:00}:outbox:marketing:acme"
        await client.xdel(stream, claimed[0].entry_id)
        assert [b"b"] == [entry.payload for entry in await outbox.recover(10, own=True)]
        assert 1 == (await client.xpending(stream, "senders"))["pending"]

    with_outbox(clean_redis_url, body)


def test_forgetting_consumers_keeps_those_that_own_entries(
    clean_redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent consumer is forgotten only when it owns nothing, and never oneself."""
    monkeypatch.setattr("senders.outbox.FORGET_CONSUMER_MS", 0)

    async def body(outbox: Outbox, client: Any) -> None:
        await outbox.enqueue(0, "marketing", "acme", [b"a", b"b", b"c"])
        idle, busy = Outbox(client, TAGS, "idle"), Outbox(client, TAGS, "busy")
        await idle.settle([Done(entry) for entry in await idle.claim(Room(0, 1))])
        await busy.claim(Room(0, 1))
        await outbox.claim(Room(0, 1))
        assert 1 == await outbox.forget_consumers()
        consumers = await client.xinfo_consumers("{s:00}:outbox:marketing:acme", "senders")
        assert [b"busy", b"one"] == sorted(row["name"] for row in consumers)

    with_outbox(clean_redis_url, body)


LANES: list[Lane] = ["transactional", "marketing"]


@pytest.mark.parametrize("lane", LANES)
def test_depth_tells_length_and_age(clean_redis_url: str, lane: Lane) -> None:
    """Depth counts what waits and what is claimed, and dates the oldest."""

    async def body(outbox: Outbox, client: Any) -> None:
        await client.xadd(f"{{s:00}}:outbox:{lane}:acme", {"p": b"x"}, id=f"{NOW}-0")
        await outbox.enqueue(0, lane, "acme", [b"b"])
        await outbox.claim(PLENTY)
        (depth,) = await outbox.depth()
        assert (lane, "acme", 2, NOW) == (*depth.stream[:0:-2], depth.stream.tenant, *depth[1:])

    with_outbox(clean_redis_url, body)
