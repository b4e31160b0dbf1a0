"""Whoever is forgotten leaves no trace in any key, and nobody else loses anything."""

import asyncio
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from gateway.consents import ConsentLog
from gateway.forget import Eraser, Trace
from gateway.people import People
from gateway.person import Consents, Device, User
from gateway.sharding import shard_tag
from senders.model import Target

NOW = 1_700_000_000_000
SHARDS = 2
CANARY = "canary-7f3a"


async def plant(client: Any, people: People, tenant: str, device_id: str, user_id: str) -> None:
    """Leave traces of a device and its user in every key family."""
    tag, field = shard_tag(people.shard(tenant, device_id)), f"{tenant}/{device_id}"
    device = Device(
        id=device_id,
        user_id=user_id,
        targets=(Target("fcm", f"token-{tenant}-{device_id}", registered_at=NOW),),
        transmitters=(f"mac:{tenant}:{device_id}",),
        consents=Consents(location="coarse"),
    )
    await people.put_device(tenant, device, now=NOW)
    await people.put_user(tenant, User(id=user_id, attributes={"of": tenant}), now=NOW)
    for owner in (user_id, device_id):
        await client.zadd(people.recent_key(tenant, owner), {"purchase\ne1": NOW})
    await client.rpush(
        f"{shard_tag(people.shard(tenant, user_id))}:trail:{tenant}/~{user_id}", "d1"
    )
    log = ConsentLog(client, SHARDS)
    await log.record(tenant, "devices", device_id, Consents(push=True), source="x", now=NOW)
    await log.record(tenant, "users", user_id, Consents(push=True), source="x", now=NOW)
    words = {"device_id": device_id, "user_id": user_id}
    await client.hset(f"{tag}:state", field, b"record")
    await client.zadd(f"{tag}:timers", {field: NOW})
    await client.rpush(f"{tag}:trail:{field}", "e1-1")
    await client.hset(f"{tag}:visits:{field}", "store", 1)
    await client.set(f"{tag}:spend:{tenant}:cooldown:trigger:t:user:{user_id}:one", "p")
    await client.set(f"{tag}:spend:{tenant}:cooldown:trigger:t:device:{device_id}:few", "p")
    json, pack = msgspec.json.encode, msgspec.msgpack.encode
    await client.xadd(f"{tag}:events:{tenant}", {"e": json(words)})
    await client.xadd(f"{tag}:decisions:{tenant}", {"d": json(words)})
    await client.xadd(f"{tag}:deliveries:{tenant}", {"d": json(words)})
    await client.xadd(f"{tag}:dead:{tenant}", {"p": pack({"event": words, **words})})
    await client.xadd(f"{tag}:history:{tenant}", {"h": pack([device_id, [[1, 2]]])})
    await client.xadd(f"{tag}:outbox:marketing:{tenant}", {"p": pack({"event": words, **words})})
    push_id = f"push-{tenant}-{hash(device_id)}"
    await client.zadd(f"{tag}:delayed", {push_id: NOW})
    body = b"marketing:" + tenant.encode() + b"\n" + pack(words)
    await client.hset(f"{tag}:delayed:body", push_id, body)


async def everything(client: Any) -> bytes:
    """Every key with its value, as bytes."""
    readers = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"set": client.smembers,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"list": lambda key: client.lrange(key, 0, -1),
        b"stream": client.xrange,
    }
    seen = b""
    async for key in client.scan_iter():
        seen += key + repr(await readers[await client.type(key)](key)).encode()
    return seen


@pytest.mark.parametrize("who", ["device", "user"])
def test_the_forgotten_leave_no_trace(clean_redis_url: str, who: str) -> None:
    """After forgetting, no key and no value of the whole Redis holds the id."""

    async def body() -> None:
        client = Redis.from_url(clean_redis_url)
        people = People(client, SHARDS)
        eraser = Eraser(client, people, SHARDS)
        device_id, user_id = (CANARY, "kim") if who == "device" else ("d-1", CANARY)
        await plant(client, people, "acme", device_id, user_id)
        await plant(client, people, "acme", "bystander", "other")
        await plant(client, people, "beta", "near", "by")
        bystanders = await people.devices("acme", ["bystander"])
        forget = eraser.forget_device if who == "device" else eraser.forget_user
        assert await forget("acme", CANARY, now=NOW) > 8
        seen = await everything(client)
        assert CANARY.encode() not in seen
        assert bystanders == await people.devices("acme", ["bystander"])
        assert 0 == await forget("acme", CANARY, now=NOW)
        for shard in range(SHARDS):
            assert await client.xlen(f"{shard_tag(shard)}:events:acme") <= 1
        assert b"bystander" in seen
        await client.aclose()

    asyncio.run(body())


def test_an_id_of_another_tenant_is_left_alone(clean_redis_url: str) -> None:
    """The same ids at another tenant keep everything."""

    async def body() -> None:
        client = Redis.from_url(clean_redis_url)
        people = People(client, SHARDS)
        await plant(client, people, "beta", CANARY, "kim")
        before = await everything(client)
        eraser = Eraser(client, people, SHARDS)
        assert 0 == await eraser.forget_device("acme", CANARY, now=NOW)
        assert 0 == await eraser.forget_user("acme", "kim", now=NOW)
        assert before == await everything(client)
        await client.aclose()

    asyncio.run(body())


@pytest.mark.parametrize(
    ("value", "is_traced"),
    [
        (b'{"device_id": "a"}', True),
        (b'{"device_id": "\\u0061"}', True),
        (b'{"push": {"event": {"device_id": "a"}}}', True),
        (b'{"device_id": "ab"}', False),
        (b'{"zone_id": "a", "device_id": "b"}', False),
        (b'["a", []]', True),
        (b'["b", ["a"]]', False),
        (b"\xff\xfea", False),
        (b"a", False),
    ],
)
def test_a_trace_is_an_id_in_its_place(value: bytes, is_traced: bool) -> None:
    """Only an id that stands where ids stand is a trace."""
    assert is_traced == Trace(device_id="a").is_in([value])
