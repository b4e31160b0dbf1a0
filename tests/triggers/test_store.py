"""One contract, two stores."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis

from triggers.model import Result, Spend
from triggers.redis_store import RedisStore
from triggers.store import (
    Committed,
    DeviceCommit,
    MemoryStore,
    PushCommit,
    QuietCommit,
    ShardCommit,
    Store,
    StoreUnavailableError,
    Told,
)

NOW = 1_790_000_000_000
NONE = QuietCommit([], [], [])
Body = Callable[[Store], Awaitable[None]]


@pytest.fixture(params=["memory", "redis"])
def on_store(request: pytest.FixtureRequest, clean_redis_url: str) -> Callable[[Body], None]:
    """Runs a test body against one kind of store."""

    def run(body: Body) -> None:
        async def main() -> None:
            if request.param == "memory":
                await body(MemoryStore())
                return
            client = Redis.from_url(clean_redis_url)
            try:
                await body(RedisStore(client))
            finally:
                await client.aclose()

        asyncio.run(main())

    return run


def push(push_id: str, *spends: Spend, not_before: int = 0) -> PushCommit:
    return PushCommit(
        id=push_id,
        spends=spends,
        accepted=b'{"result":"sent"}',
        refusals={spend.refused: spend.refused.value.encode() for spend in spends},
        lane="marketing",
        tenant="acme",
        payload=b"\x00\xffpayload",
        not_before=not_before,
    )


async def commit(
    store: Store, shard: int, quiet: QuietCommit, devices: list[DeviceCommit], now: int
) -> Committed:
    (done,) = await store.commit([ShardCommit(shard, quiet, devices)], now)
    return done


async def read(store: Store, shard: int, fields: list[bytes]) -> list[bytes | None]:
    (records,) = await store.read([(shard, fields)])
    return records


def device(name: str, old: bytes | None, new: bytes, **effects: object) -> DeviceCommit:
    return DeviceCommit(f"acme/{name}".encode(), old, new, tenant="acme", **effects)  # type: ignore[arg-type]


def test_a_record_is_written_only_over_the_bytes_that_were_read(on_store) -> None:
    """Compare-and-set: a stale writer changes nothing and is told so."""

    async def body(store: Store) -> None:
        fields = [f"acme/d{i}".encode() for i in range(1203)]
        first = [b"\x01\x00\n" + bytes([i % 256]) * 57 for i in range(1203)]
        done = await commit(store, 0, QuietCommit(fields, [None] * 1203, first), [], NOW)
        assert ([], []) == (list(done.quiet_conflicts), list(done.conflicts))
        assert first == await read(store, 0, fields)
        stale = await commit(
            store,
            0,
            QuietCommit(fields[700:703], [first[700], None, first[702]], [b"x", b"y", b"z"]),
            [],
            NOW,
        )
        assert [1] == list(stale.quiet_conflicts)
        assert [b"x", first[701], b"z"] == await read(store, 0, fields[700:703])

    on_store(body)


def test_effects_of_a_conflicting_device_do_not_happen(on_store) -> None:
    """There is never an outbox entry without its state, nor the reverse."""

    async def body(store: Store) -> None:
        await commit(store, 0, NONE, [device("a", None, b"1")], NOW)
        done = await commit(
            store,
            0,
            NONE,
            [
                device("a", b"other", b"2", due_at=NOW, pushes=(push("p1"),), events=(b"{}",)),
                device("b", None, b"1", due_at=NOW, pushes=(push("p2"),), events=(b"{}",)),
            ],
            NOW,
        )
        assert [0] == list(done.conflicts)
        assert [b"1", b"1"] == await read(store, 0, [b"acme/a", b"acme/b"])
        assert [(b"acme/b", b"1", NOW)] == await store.due(0, NOW, 10, 1000)

    on_store(body)


def test_a_cooldown_lets_one_push_through(on_store) -> None:
    """Pushes share the budget over commits; a repeat of the first does not pay twice."""

    async def body(store: Store) -> None:
        cooldown = Spend(
            "{s:00}:spend:acme:lunch-offer-for-user-u1-and-a-long-name", 1, 60_000, Result.COOLDOWN
        )
        done = await commit(
            store,
            0,
            NONE,
            [device("a", None, b"1", pushes=(push("p1", cooldown), push("p2", cooldown)))],
            NOW,
        )
        assert {"p2": Result.COOLDOWN} == done.refused
        again = await commit(
            store,
            0,
            NONE,
            [device("b", None, b"1", pushes=(push("p3", cooldown), push("p1", cooldown)))],
            NOW,
        )
        assert {"p3": Result.COOLDOWN} == again.refused

    on_store(body)


@pytest.mark.parametrize("limit", [3, 1500], ids=["listed", "counted"])
def test_a_limit_counts_pushes_and_refuses_all_or_nothing(on_store, limit: int) -> None:
    """A push refused by its second budget leaves its first budget untouched."""

    async def body(store: Store) -> None:
        total = Spend("{s:00}:spend:acme:total", limit, 0, Result.LIMIT_REACHED)
        once = Spend("{s:00}:spend:acme:once", 1, 0, Result.COOLDOWN)
        assert await store.reserve("p0", [total, once], NOW) is None
        for n in range(5):
            assert Result.COOLDOWN == await store.reserve(f"q{n}", [total, once], NOW)
        for n in range(1, limit):
            assert await store.reserve(f"p{n}", [total], NOW) is None
        assert Result.LIMIT_REACHED == await store.reserve("late", [total], NOW)

    on_store(body)


def test_an_edited_limit_is_another_budget(on_store) -> None:
    """A tenant may raise a limit over any bound; nothing breaks."""

    async def body(store: Store) -> None:
        for limit in (1, 2, 5000, 1000, 1):
            spend = Spend("{s:00}:spend:acme:edited", limit, 0, Result.LIMIT_REACHED)
            await store.reserve(f"p{limit}", [spend], NOW)

    on_store(body)


def test_a_rolling_limit_frees_itself(on_store) -> None:
    """After the window the budget is whole again."""

    async def body(store: Store) -> None:
        cap = Spend("{s:00}:spend:acme:cap", 2, 1000, Result.FREQUENCY_CAP)
        assert [None, None, Result.FREQUENCY_CAP] == [
            await store.reserve(f"p{n}", [cap], NOW) for n in range(3)
        ]
        assert await store.reserve("p0", [cap], NOW) is None
        assert await store.reserve("p4", [cap], NOW + 1001) is None

    on_store(body)


def test_timers_are_claimed_once_until_the_lease_ends(on_store) -> None:
    """Two workers cannot hold one timer; a crashed worker's timer comes back."""

    async def body(store: Store) -> None:
        await commit(
            store,
            0,
            NONE,
            [device("a", None, b"1", due_at=NOW - 5), device("b", None, b"2", due_at=NOW + 5)],
            NOW,
        )
        if isinstance(store, RedisStore):
            assert [0] == await store.with_due([0, 1], NOW)
        assert [(b"acme/a", b"1", NOW - 5)] == await store.due(0, NOW, 10, 5000)
        assert [] == await store.due(0, NOW, 10, 5000)
        again = [(b"acme/b", b"2", NOW + 5), (b"acme/a", b"1", NOW + 5000)]
        assert again == await store.due(0, NOW + 5000, 10, 5000)
        await commit(store, 0, NONE, [device("a", b"1", b"3", due_at=0)], NOW)
        assert [] == await store.due(0, NOW + 6000, 10, 5000)

    on_store(body)


def test_shards_are_committed_together_and_answered_apart(on_store) -> None:
    """One call for many shards: a conflict in one leaves the others alone."""

    async def body(store: Store) -> None:
        commits = [
            ShardCommit(s, QuietCommit([b"acme/%d" % s], [None], [b"1"]), []) for s in (0, 3)
        ]
        await store.commit(commits, NOW)
        stale = QuietCommit([b"acme/0"], [None], [b"2"])
        fresh = QuietCommit([b"acme/3"], [b"1"], [b"2"])
        done = await store.commit([ShardCommit(0, stale, []), ShardCommit(3, fresh, [])], NOW)
        assert [[0], []] == [list(one.quiet_conflicts) for one in done]
        assert [[b"1"], [b"2", None]] == await store.read(
            [(0, [b"acme/0"]), (3, [b"acme/3", b"x"])]
        )

    on_store(body)


def test_a_restarted_redis_is_taught_the_script_again(clean_redis_url: str) -> None:
    """Scripts are lost with a restart; the next commit works all the same."""

    async def main() -> None:
        client = Redis.from_url(clean_redis_url)
        store = RedisStore(client)
        await commit(store, 0, NONE, [device("a", None, b"1")], NOW)
        await client.script_flush()
        await commit(store, 0, NONE, [device("a", b"1", b"2")], NOW)
        assert [b"2"] == await read(store, 0, [b"acme/a"])
        await client.aclose()

    asyncio.run(main())


def test_a_commit_waits_for_its_replicas(clean_redis_url: str) -> None:
    """Without enough replicas nothing is acknowledged, though the primary has it."""

    async def main() -> None:
        client = Redis.from_url(clean_redis_url)
        alone = RedisStore(client, replicas=1, replica_timeout_ms=100)
        with pytest.raises(StoreUnavailableError, match="0 of 1"):
            await commit(alone, 0, NONE, [device("a", None, b"1")], NOW)
        assert [b"1"] == await read(alone, 0, [b"acme/a"])
        await client.aclose()

    asyncio.run(main())


def test_something_that_may_happen_once_happens_once(on_store) -> None:
    """A custom event posted twice takes effect once, and needs no device record."""

    async def body(store: Store) -> None:
        told = Told("purchase", "order-7", NOW)
        first, second = [
            await commit(
                store, 0, NONE, [device("u", None, b"", once="acme:order-7", told=told)], NOW
            )
            for _ in range(2)
        ]
        assert ([], [0]) == (list(first.conflicts), list(second.conflicts))
        assert [None] == await read(store, 0, [b"acme/u"])

    on_store(body)


def test_what_a_commit_writes_in_redis(redis_client, clean_redis_url: str) -> None:
    """The key catalogue of docs/design.md: streams, trail, outbox, delayed, visits, history."""

    async def main() -> None:
        client = Redis.from_url(clean_redis_url)
        store = RedisStore(client)
        await commit(
            store,
            3,
            NONE,
            [
                device(
                    "a",
                    None,
                    b"\x01\xfe",
                    events=(b"event",),
                    decisions=(b"no",),
                    visits=("shop",),
                    told=Told("paid", "e1", 7),
                    history=b"\xff",
                    pushes=(push("p1"), push("p2", not_before=NOW + 1)),
                )
            ],
            NOW,
        )
        await client.aclose()

    asyncio.run(main())
    r = redis_client
    assert b"\x01\xfe" == r.hget("{s:03}:state", "acme/a")
    assert [{b"e": b"event"}] == [entry for _, entry in r.xrange("{s:03}:events:acme")]
    assert [b"no", b'{"result":"sent"}', b'{"result":"sent"}'] == [
        entry[b"d"] for _, entry in r.xrange("{s:03}:decisions:acme")
    ]
    assert [{b"p": b"\x00\xffpayload"}] == [e for _, e in r.xrange("{s:03}:outbox:marketing:acme")]
    assert {b"marketing:acme"} == r.smembers("{s:03}:active")
    assert b"marketing:acme\n\x00\xffpayload" == r.hget("{s:03}:delayed:body", "p2")
    assert NOW + 1 == r.zscore("{s:03}:delayed", "p2")
    assert {b"shop": b"1"} == r.hgetall("{s:03}:visits:acme/a")
    assert [(b"paid\ne1", 7)] == r.zrange("{s:03}:recent:acme/a", 0, -1, withscores=True)
    assert [{b"h": b"\xff"}] == [entry for _, entry in r.xrange("{s:03}:history:acme")]
    assert b"e" == r.lrange("{s:03}:trail:acme/a", 0, 0)[0][:1]
