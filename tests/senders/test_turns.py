"""Fairness of claims between tenants."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from senders.turns import Stream, Turns


def stream(tenant: str, shard: int = 0) -> Stream:
    return Stream(tenant, shard, "marketing")


TENANTS = st.sampled_from([f"t{i}" for i in range(20)])
STREAMS = st.builds(stream, TENANTS, st.integers(0, 3))


@settings(max_examples=100)
@given(
    streams=st.lists(STREAMS, unique=True, max_size=40),
    held=st.dictionaries(TENANTS, st.integers(1, 300)),
    room=st.integers(0, 2000),
    places=st.integers(0, 8000),
)
def test_a_deal_keeps_to_the_room_and_to_every_tenants_share(
    streams: list[Stream], held: dict[str, int], room: int, places: int
) -> None:
    """Counts are positive, fit the room, and leave every tenant within its share of all places."""
    dealt = Turns().deal(streams, held, room, places)
    assert all(count > 0 for count in dealt.values())
    assert sum(dealt.values()) <= room
    tenants = {one.tenant for one in streams} | held.keys()
    share = max(1, places // (len(tenants) + 1))
    given_to = Counter[str]()
    for one, count in dealt.items():
        given_to[one.tenant] += count
    assert all(held.get(tenant, 0) + count <= share for tenant, count in given_to.items())


def test_a_lone_tenant_leaves_room_for_the_next() -> None:
    """One tenant fills half the places; a second one that comes then starts at once."""
    turns = Turns()
    assert {stream("a"): 50} == turns.deal([stream("a")], {}, 100, 100)
    assert {stream("b"): 25} == turns.deal([stream("a"), stream("b")], {"a": 50}, 50, 100)


def test_everyone_is_served_in_turn_when_room_is_short() -> None:
    """With room for a few tenants a round, all come before anyone comes again."""
    turns = Turns()
    streams = [stream(f"t{i:02}") for i in range(10)]
    served = [one for _ in range(4) for one in turns.deal(streams, {}, 5, 11)]
    assert streams + streams == served[:20]


def test_a_tenants_shards_share_alike() -> None:
    """A tenant's places are dealt over its shards, not all to the first."""
    streams = [stream("a", shard) for shard in range(4)]
    assert [100] * 4 == list(Turns().deal(streams, {}, 800, 800).values())
