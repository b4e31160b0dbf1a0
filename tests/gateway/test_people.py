"""Devices and users are kept whole: links, addresses, transmitters, consents follow the record."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.document import VersionConflict
from gateway.people import People
from gateway.person import Consents, Device, User
from senders.model import Target

NOW = 1_700_000_000_000
SHARDS = 3
TOKEN = Target("apns", "ab" * 32, registered_at=NOW)
OTHER = Target("fcm", "token-2", registered_at=NOW)
BEACON = "ibeacon:e2c56db5-dffb-48d2-b060-d0f5a71096e0:1:3"


def with_people(url: str, body: Callable[[People, Any], Awaitable[Any]]) -> Any:
    """Run ``body`` with people on the Redis at ``url``."""

    async def main() -> Any:
        client = Redis.from_url(url)
        try:
            return await body(People(client, SHARDS), client)
        finally:
            await client.aclose()

    return asyncio.run(main())


def test_records_come_back(clean_redis_url: str) -> None:
    """What is put is read back, alone and by page, by tenant."""

    async def body(people: People, _: Any) -> None:
        device = Device(
            id="d-1",
            user_id="u-1",
            targets=(TOKEN,),
            attributes={"tier": "gold", "n": 1},
            tags=("a",),
            timezone="Europe/Berlin",
            locale="de",
            transmitters=(BEACON,),
            consents=Consents(push=True, location="precise"),
        )
        await people.put_device("acme", device, now=NOW)
        await people.put_user("acme", User(id="u-1", attributes={"name": "Kim"}), now=NOW)
        stored = await people.device("acme", "d-1")
        assert stored is not None
        assert device == stored.person
        assert await people.device("beta", "d-1") is None
        assert [device] == await people.devices_of("acme", "u-1")
        assert {"d-1": device} == await people.devices("acme", ["d-1", "d-2"])

    with_people(clean_redis_url, body)


def test_pages_are_complete(clean_redis_url: str) -> None:
    """Walking the pages gives every record once, whatever the page size."""
    ids = {f"d-{n}" for n in range(57)}

    async def body(people: People, _: Any) -> None:
        for one in ids:
            await people.put_device("acme", Device(id=one), now=NOW)
        await people.put_device("beta", Device(id="x"), now=NOW)
        for limit in (1, 7, 57, 100):
            found: list[str] = []
            after: str | None = ""
            while after is not None:
                items, after = await people.page("devices", "acme", after=after, limit=limit)
                assert len(items) <= limit
                found += [item.person.id for item in items]
            assert (len(ids), ids) == (len(found), set(found))
        assert 57 == await people.count("devices", "acme")
        assert ids == {one async for one in people.ids("devices", "acme")}

    with_people(clean_redis_url, body)


def test_an_address_has_one_owner(clean_redis_url: str) -> None:
    """Who registers an address takes it from whoever had it; other things stay."""

    async def body(people: People, _: Any) -> None:
        await people.put_device("acme", Device(id="old", targets=(TOKEN, OTHER)), now=NOW)
        await people.put_device("beta", Device(id="old", targets=(TOKEN,)), now=NOW)
        await people.put_device("acme", Device(id="new", targets=(TOKEN,)), now=NOW + 1)
        found = await people.devices("acme", ["old", "new"])
        assert ((OTHER,), (TOKEN,)) == (found["old"].targets, found["new"].targets)
        foreign = await people.device("beta", "old")
        assert foreign is not None
        assert (TOKEN,) == foreign.person.targets

    with_people(clean_redis_url, body)


def test_racing_registrations_leave_one_owner(clean_redis_url: str) -> None:
    """Twenty devices that register one address at once: exactly one has it in the end."""

    async def body(people: People, _: Any) -> None:
        devices = [Device(id=f"d-{n}", targets=(TOKEN,)) for n in range(20)]
        await asyncio.gather(*(people.put_device("acme", d, now=NOW) for d in devices))
        found = await people.devices("acme", [d.id for d in devices])
        assert 1 == sum(bool(device.targets) for device in found.values())

    with_people(clean_redis_url, body)


def test_transmitters_lead_to_their_carrier(clean_redis_url: str) -> None:
    """A transmitter leads to the device that carries it, and moves with it."""

    async def body(people: People, _: Any) -> None:
        await people.put_device("acme", Device(id="tag", transmitters=(BEACON,)), now=NOW)
        assert {BEACON: "tag"} == await people.carriers("acme", [BEACON, "mac:x"])
        await people.put_device("acme", Device(id="new", transmitters=(BEACON,)), now=NOW)
        assert {BEACON: "new"} == await people.carriers("acme", [BEACON])
        old = await people.device("acme", "tag")
        assert old is not None
        assert () == old.person.transmitters
        assert {} == await people.carriers("beta", [BEACON])
        await people.delete_device("acme", "new", now=NOW)
        assert {} == await people.carriers("acme", [BEACON])

    with_people(clean_redis_url, body)


@pytest.mark.parametrize(
    ("registered_before", "is_dropped"), [(0, True), (NOW + 1, True), (NOW, False), (1, False)]
)
def test_a_dead_address_is_dropped_unless_registered_since(
    clean_redis_url: str, registered_before: int, is_dropped: bool
) -> None:
    """The provider's instant protects an address that was registered again after it."""

    async def body(people: People, _: Any) -> None:
        await people.put_device("acme", Device(id="d", targets=(TOKEN, OTHER)), now=NOW)
        dead = Target("apns", TOKEN.address)
        dropped = await people.drop_target("acme", "devices", "d", dead, registered_before, now=NOW)
        stored = await people.device("acme", "d")
        assert stored is not None
        assert is_dropped == dropped
        assert ((OTHER,) if is_dropped else (TOKEN, OTHER)) == stored.person.targets
        assert not await people.drop_target("acme", "devices", "none", dead, 0, now=NOW)

    with_people(clean_redis_url, body)


def test_concurrent_changes_are_all_kept(clean_redis_url: str) -> None:
    """Changes of one record by several writers do not undo one another."""

    async def body(people: People, _: Any) -> None:
        await people.put_device("acme", Device(id="d"), now=NOW)

        async def add(tag: str) -> None:
            def change(device: Device) -> Device:
                return Device(id="d", tags=(*device.tags, tag))

            await people.update_device("acme", "d", change, now=NOW)

        await asyncio.gather(*(add(f"t{n}") for n in range(8)))
        stored = await people.device("acme", "d")
        assert stored is not None
        assert {f"t{n}" for n in range(8)} == set(stored.person.tags)

    with_people(clean_redis_url, body)


def test_a_write_states_what_it_expects(clean_redis_url: str) -> None:
    """Compare-and-set by version, absence and presence."""

    async def body(people: People, _: Any) -> None:
        first = await people.put_device("acme", Device(id="d"), now=NOW, expected="absent")
        changed = Device(id="d", tags=("x",))
        for wrong in ("absent", first.document.version + 1):
            with pytest.raises(VersionConflict):
                await people.put_device("acme", changed, now=NOW, expected=wrong)
        await people.put_device("acme", changed, now=NOW, expected=first.document.version)
        with pytest.raises(VersionConflict):
            await people.put_device("acme", Device(id="e"), now=NOW, expected="present")

    with_people(clean_redis_url, body)


def test_location_limits_follow_the_stricter_consent(clean_redis_url: str) -> None:
    """A device is limited by its own and by its user's consent, wherever it changes."""

    async def body(people: People, _: Any) -> None:
        await people.put_device("acme", Device(id="d", user_id="u"), now=NOW)
        await people.put_device(
            "acme", Device(id="e", consents=Consents(location="coarse")), now=NOW
        )
        ids = ["d", "e", "f"]
        assert {"e": "coarse"} == await people.limits("acme", ids)
        await people.put_user("acme", User(id="u", consents=Consents(location="off")), now=NOW)
        assert {"d": "off", "e": "coarse"} == await people.limits("acme", ids)
        await people.link("acme", "e", "u", now=NOW)
        assert {"d": "off", "e": "off"} == await people.limits("acme", ids)
        await people.link("acme", "d", None, now=NOW)
        await people.delete_device("acme", "e", now=NOW)
        assert {} == await people.limits("acme", ids)

    with_people(clean_redis_url, body)


def test_subjects(clean_redis_url: str) -> None:
    """A decision sees device and user as one person, with recent events and visits."""

    async def body(people: People, client: Any) -> None:
        device = Device(
            id="d",
            user_id="u",
            targets=(TOKEN,),
            attributes={"tier": "silver", "os": "ios"},
            tags=("beta",),
            consents=Consents(push=True),
        )
        user = User(
            id="u",
            attributes={"tier": "gold"},
            tags=("vip",),
            timezone="Europe/Madrid",
            consents=Consents(location="coarse"),
        )
        await people.put_device("acme", device, now=NOW)
        await people.put_user("acme", user, now=NOW)
        await people.put_device("acme", Device(id="tag", user_id="u"), now=NOW)
        for event_id, at in (("1", NOW), ("2", NOW + 5), ("1", NOW)):
            key = people.recent_key("acme", "u")
            await client.zadd(key, {f"purchase\n{event_id}": at})
        shard = people.shard("acme", "d")
        await client.hset(f"{{s:{shard:02d}}}:visits:acme/d", "store-12", 3)
        subjects = await people.subjects("acme", ["d", "tag", "unknown"])
        subject = subjects["d"]
        assert {"tier": "gold", "os": "ios"} == subject.attributes
        assert {"beta", "vip"} == subject.tags
        assert "Europe/Madrid" == subject.timezone
        assert (True, True) == subject.consents
        assert {"app_push", "inbox", "webhook"} == subject.channels
        assert {"purchase": (NOW, NOW + 5)} == subject.events
        assert {"store-12": 3} == subject.visits
        assert "app_push" in subjects["tag"].channels
        assert (None, {"inbox", "webhook"}) == (
            subjects["unknown"].user_id,
            subjects["unknown"].channels,
        )

    with_people(clean_redis_url, body)


def test_a_refused_push_consent_wins(clean_redis_url: str) -> None:
    """No at the device or at the user is no."""

    async def body(people: People, _: Any) -> None:
        for mine, theirs, both in (
            (None, None, None),
            (True, None, True),
            (True, True, True),
            (False, True, False),
            (True, False, False),
        ):
            device = Device(id="d", user_id="u", consents=Consents(push=mine))
            await people.put_device("acme", device, now=NOW)
            await people.put_user("acme", User(id="u", consents=Consents(push=theirs)), now=NOW)
            subject = (await people.subjects("acme", ["d"]))["d"]
            assert both == subject.consents.push

    with_people(clean_redis_url, body)


def test_deleting_a_user_unlinks_the_devices(clean_redis_url: str) -> None:
    """The devices stay, without their user."""

    async def body(people: People, _: Any) -> None:
        for one in ("a", "b"):
            await people.put_device("acme", Device(id=one, user_id="u"), now=NOW)
        await people.put_user("acme", User(id="u"), now=NOW)
        assert ["a", "b"] == await people.delete_user("acme", "u", now=NOW)
        assert await people.user("acme", "u") is None
        assert [None, None] == [
            d.user_id for d in (await people.devices("acme", ["a", "b"])).values()
        ]
        assert [] == await people.devices_of("acme", "u")

    with_people(clean_redis_url, body)
