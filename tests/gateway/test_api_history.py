"""What happened can be read back: by page, live, and in words."""

import asyncio
from collections.abc import Callable
from itertools import count, pairwise
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from gateway.delivery_log import DeliveryRecord
from gateway.history import Entries, History, Span
from gateway.live import Gap, Live, Message
from gateway.people import People
from gateway.sharding import shard_of, shard_tag, subject_field
from triggers.model import Check, Decision, Event, EventKind, Result

SHARDS = 3
NOW = 1_700_000_000_000
FAR = 253_402_300_799_999
NUMBERS = count(1)


def event(n: int, device_id: str = "d-1", **more: Any) -> Event:
    """The n-th event."""
    return Event(
        id=f"e-{n}",
        kind=EventKind.DWELL if n % 2 else EventKind.ENTER,
        tenant="acme",
        device_id=device_id,
        occurred_at=NOW + n,
        received_at=NOW + n + 7,
        zone_type="geofence",
        zone_id=f"z-{n % 3}",
        visit_id="v",
        lat=52.5,
        lon=13.4,
        accuracy_m=8.0,
        **more,
    )


async def append(client: Any, family: str, field: str, item: Any, at: int) -> None:
    """Append as the commit script does: into the stream, and into the trail of the device."""
    tag = shard_tag(shard_of(subject_field(item.tenant, item.device_id), SHARDS))
    key = f"{tag}:{family}:{item.tenant}"
    entry_id = await client.xadd(
        key, {field: msgspec.json.encode(item)}, id=f"{at}-{next(NUMBERS)}"
    )
    trail = f"{tag}:trail:{item.tenant}/{item.device_id}"
    await client.rpush(trail, field.encode() + entry_id)


def on_redis(url: str, body: Callable[[Any], Any]) -> Any:
    """Run ``body`` with a client."""

    async def main() -> Any:
        client = Redis.from_url(url)
        try:
            return await body(client)
        finally:
            await client.aclose()

    return asyncio.run(main())


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize("limit", [1, 7, 100])
def test_pages_give_everything_once_in_order(
    clean_redis_url: str, newest_first: bool, limit: int
) -> None:
    """Whatever the shards and the page size, every entry comes once, in the order of commits."""

    async def body(client: Any) -> None:
        for n in range(40):
            await append(client, "events", "e", event(n, f"d-{n % 7}"), NOW + n // 3)
        history = History(client, SHARDS)
        span = Span(0, FAR if not newest_first else NOW + 100, newest_first)
        found: list[str] = []
        after: str | None = ""
        while after is not None:
            page: Entries[bytes] = await history.page(
                "acme", "events", bytes, span=span, limit=limit, after=after
            )
            found += [entry_id for entry_id, _ in page.items]
            after = page.after
        assert 40 == len(found)
        times = [int(one.split("-")[0]) for one in found]
        assert sorted(times, reverse=newest_first) == times

    on_redis(clean_redis_url, body)


@pytest.fixture
def client(api_client: Callable[..., Any]) -> Any:
    from gateway.api import deliveries, events, explain

    return api_client(
        [*events.ROUTES, *deliveries.ROUTES, *explain.ROUTES],
        people=lambda redis: People(redis, SHARDS),
        history=lambda redis: History(redis, SHARDS),
    )


def test_events_over_http(client: Any, clean_redis_url: str) -> None:
    """Filters, order, pages; the event has the documented shape."""

    async def plant(redis: Any) -> None:
        for n in range(12):
            await append(redis, "events", "e", event(n, f"d-{n % 2}"), NOW + n)

    on_redis(clean_redis_url, plant)
    body = client.get("/v1/events?limit=5").json()
    assert [f"e-{n}" for n in (11, 10, 9, 8, 7)] == [item["id"] for item in body["items"]]
    rest = client.get("/v1/events", params={"limit": 50, "cursor": body["next_cursor"]}).json()
    assert ([f"e-{n}" for n in range(6, -1, -1)], None) == (
        [item["id"] for item in rest["items"]],
        rest["next_cursor"],
    )
    (first,) = client.get("/v1/events?order=asc&limit=1").json()["items"]
    assert first == {
        "id": "e-0",
        "kind": "enter",
        "device_id": "d-0",
        "zone": {"type": "geofence", "id": "z-0"},
        "visit_id": "v",
        "occurred_at": "2023-11-14T22:13:20.000Z",
        "received_at": "2023-11-14T22:13:20.007Z",
        "confidence": "high",
        "position": {"lat": 52.5, "lon": 13.4, "accuracy_m": 8.0},
        "user_id": None,
        "reason": None,
        "dwell_s": None,
        "evidence_age_s": None,
    }

    def ids(query: str) -> list[str]:
        return [item["id"] for item in client.get(f"/v1/events?{query}").json()["items"]]

    assert ["e-11", "e-9", "e-7"] == ids("device=d-1&limit=3")
    assert ["e-1", "e-3", "e-5"] == ids("device=d-1&limit=3&order=asc")
    assert ["e-9", "e-6", "e-3", "e-0"] == ids("zone=z-0")
    assert ["e-9", "e-3"] == ids("zone=z-0&kind=dwell")
    assert ["e-11", "e-10"] == ids(f"after={NOW + 10}")
    assert [] == ids("device=nobody")
    foreign = client.get("/v1/events", headers={"X-Tenant": "beta"}).json()
    assert {"items": [], "next_cursor": None} == foreign


@pytest.mark.parametrize(
    "query", ["kind=leave", "order=up", "after=noon", "limit=0", "cursor=%2B", "cursor=YQ"]
)
def test_a_bad_parameter_is_named(client: Any, query: str) -> None:
    """400 with the parameter's name."""
    reply = client.get(f"/v1/events?{query}")
    assert 400 == reply.status_code, reply.text
    assert f"query {query.partition('=')[0]}" == reply.json()["errors"][0]["pointer"]


def test_explaining(client: Any, clean_redis_url: str) -> None:
    """Each decision once, in words, with its checks and what came of the push."""
    base = {
        "tenant": "acme",
        "trigger_id": "lunch",
        "device_id": "d-1",
        "event_kind": EventKind.ENTER,
    }
    refused = Decision(
        id="p-2",
        event_id="e-2",
        result=Result.STALE,
        decided_at=NOW + 9,
        checks=(Check("max_age_s", ok=False, detail="300 s old, at most 120 s"),),
        **base,
    )
    accepted = Decision(
        id="p-1",
        event_id="e-1",
        result=Result.SENT,
        decided_at=NOW,
        pending=True,
        checks=(Check("schedule", ok=True, detail="open"),),
        **base,
    )
    final = Decision(
        id="p-1",
        event_id="e-1",
        result=Result.NO_CONSENT,
        decided_at=NOW + 5,
        checks=(Check("dispatch", ok=False, detail="push consent was withdrawn"),),
        **base,
    )
    record = DeliveryRecord("p-1", "d-1", "lunch", "e-1", "suppressed", NOW + 5, "marketing")

    async def plant(redis: Any) -> None:
        for at, one in enumerate((accepted, final, refused)):
            await append(redis, "decisions", "d", one, NOW + at * 5)
        tag = shard_tag(shard_of(subject_field("acme", "d-1"), SHARDS))
        await redis.xadd(
            f"{tag}:deliveries:acme", {"r": msgspec.json.encode(record)}, id=f"{NOW + 5}-1"
        )

    on_redis(clean_redis_url, plant)
    newest, older = client.get("/v1/explain?device=d-1").json()["items"]
    assert ("p-2", "stale") == (newest["push_id"], newest["result"])
    assert "300 s old" in newest["summary"]
    assert ("p-1", "no_consent") == (older["push_id"], older["result"])
    assert ["schedule", "dispatch"] == [check["name"] for check in older["checks"]]
    assert "suppressed" in older["story"][0]
    assert [] == client.get("/v1/explain?device=d-1&trigger=other").json()["items"]
    since = client.get("/v1/explain", params={"device": "d-1", "since": str(NOW + 8)}).json()
    assert ["p-2"] == [item["push_id"] for item in since["items"]]
    assert 400 == client.get("/v1/explain").status_code
    (step,) = client.get("/v1/deliveries?device=d-1").json()["items"]
    assert ("suppressed", "2023-11-14T22:13:20.005Z") == (step["state"], step["at"])
    assert [] == client.get("/v1/deliveries?state=sent").json()["items"]


async def listen(live: Live, place: str | None, wanted: int, cap: int = 100) -> list[Any]:
    """The first messages and gaps that a listener gets."""
    found: list[Any] = []
    async for message in live.listen("acme", place, 5.0, cap):
        if message is not None:
            found.append(message)
        if len(found) == wanted:
            break
    return found


def test_live_events_can_be_resumed(clean_redis_url: str) -> None:
    """Who comes back with a place gets what was missed, once, and then what is new."""

    async def body(client: Any) -> None:
        live = Live(History(client, SHARDS))
        first = asyncio.create_task(listen(live, None, 3))
        await asyncio.sleep(0.05)
        for n in range(3):
            await append(client, "events", "e", event(n, f"d-{n}"), NOW + n)
        heard = await first
        assert ["e-0", "e-1", "e-2"] == ids_of(heard)
        for n in range(3, 6):
            await append(client, "events", "e", event(n, f"d-{n}"), NOW + n)
        again = asyncio.create_task(listen(live, heard[0].place, 6))
        await asyncio.sleep(0.15)
        await append(client, "events", "e", event(6, "d-6"), NOW + 6)
        resumed = await again
        assert [f"e-{n}" for n in range(1, 7)] == ids_of(resumed)
        for earlier, later in pairwise(resumed):
            assert earlier.place != later.place

    on_redis(clean_redis_url, body)


@pytest.mark.parametrize("place", ["1-1,2-2", "nonsense", "1-1,1-1,1-1"])
def test_a_place_that_is_gone_is_a_gap(clean_redis_url: str, place: str) -> None:
    """A place that is unknown or no longer kept is told as a gap, never skipped in silence."""

    async def body(client: Any) -> None:
        for n in range(9):
            await append(client, "events", "e", event(n, f"d-{n}"), NOW + n)
        (gap,) = await listen(Live(History(client, SHARDS)), place, 1)
        assert isinstance(gap, Gap)
        assert gap.lost is None

    on_redis(clean_redis_url, body)


def test_a_slow_listener_loses_the_oldest_and_is_told(clean_redis_url: str) -> None:
    """A queue is bounded; what was lost is counted."""

    async def body(client: Any) -> None:
        live = Live(History(client, SHARDS))
        messages = live.listen("acme", None, 0.5, 5)
        assert await anext(messages) is None
        for n in range(20):
            await append(client, "events", "e", event(n), NOW + n)
        await asyncio.sleep(0.3)
        found = [await anext(messages) for _ in range(6)]
        assert [f"e-{n}" for n in range(15, 20)] == ids_of(found)
        assert Gap(found[-1].place, 15) == found[-1]
        await messages.aclose()
        assert {} == live._feeds

    on_redis(clean_redis_url, body)


def ids_of(messages: list[Any]) -> list[str]:
    """The ids of the events among the messages."""
    return [msgspec.json.decode(m.payload)["id"] for m in messages if isinstance(m, Message)]
