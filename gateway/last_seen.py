"""When devices were last heard of, by the records of the state machine."""

from collections.abc import Sequence
from typing import Any

from gateway.document import Client
from gateway.people import People
from gateway.sharding import shard_tag, subject_field
from gateway.times import rfc3339
from triggers.state import seen_at


async def last_seen(
    client: Client, people: People, tenant: str, device_ids: Sequence[str]
) -> dict[str, str]:
    """The event time (RFC 3339) of the latest evidence of each device that has any.

    One round trip, whatever the number; nothing is written for it when pings come.
    """
    pipe: Any = client.pipeline(transaction=False)
    for one in device_ids:
        tag = shard_tag(people.shard(tenant, one))
        pipe.hget(f"{tag}:state", subject_field(tenant, one))
    records = await pipe.execute() if device_ids else []
    found = zip(device_ids, records, strict=True)
    seen = {one: seen_at(record) for one, record in found if record}
    return {one: rfc3339(at) for one, at in seen.items() if at > 0}
