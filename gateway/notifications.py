"""Direct pushes: what the tenant's back end sends itself, without a trigger.

A direct push is decided here and now, and guarded, addressed and rendered at dispatch like any
other. It is committed once for its id; its decision names the trigger ``direct``.
"""

from typing import Any, NamedTuple

from gateway.effects import Decided
from gateway.engine import Engine
from gateway.sharding import USER_MARK, shard_of, subject_field
from gateway.tally import count_effects
from senders.model import Channel, Lane
from triggers.guard import DIRECT
from triggers.ids import event_id, push_id
from triggers.model import Check, Decision, Event, EventKind, Push, Result
from triggers.store import DeviceCommit, QuietCommit, ShardCommit
from triggers.trigger import ttl_s


class Direct(NamedTuple):
    """One direct push to a device, or to a user (``device_id`` is None)."""

    name: str  # what makes it this one: sent again under the same name, it goes once
    device_id: str | None
    user_id: str | None
    message: dict[str, Any]
    channels: tuple[Channel, ...]
    lane: Lane
    properties: dict[str, Any]


async def send_direct(
    engine: Engine, shard_count: int, tenant: str, direct: Direct, now: int
) -> tuple[str, bool]:
    """Commit a direct push; its id, and whether it was new.

    Raises:
        StoreUnavailableError: nothing is stored.
    """
    push = _push(tenant, direct, now)
    field = subject_field(tenant, direct.user_id or push.device_id)
    shard = shard_of(field, shard_count)
    decision = Decision(
        id=push.id,
        tenant=tenant,
        trigger_id=DIRECT,
        event_id=push.event.id,
        device_id=push.device_id,
        result=Result.SENT,
        decided_at=now,
        checks=(Check("direct", ok=True, detail="posted by the tenant's back end"),),
        user_id=direct.user_id,
        event_kind=EventKind.CUSTOM,
        pending=True,
        push=push,
    )
    commit = DeviceCommit(
        field=field,
        old=None,
        new=b"",
        tenant=tenant,
        pushes=(engine.effects.push_commit(decision, shard),),
        once=f"{tenant}:{push.id}",
    )
    quiet = QuietCommit([], [], [])
    (done,) = await engine.store.commit([ShardCommit(shard, quiet, [commit])], now)
    if done.conflicts:
        return push.id, False
    if count_effects([Decided(commit, (), (decision,))], done.refused):
        engine.effects.on_pushes()
    return push.id, True


def _push(tenant: str, direct: Direct, now: int) -> Push:
    device_id = direct.device_id or f"{USER_MARK}{direct.user_id}"
    event = Event(
        id=event_id(f"{tenant}:{DIRECT}:{direct.name}", EventKind.CUSTOM),
        kind=EventKind.CUSTOM,
        tenant=tenant,
        device_id=device_id,
        occurred_at=now,
        received_at=now,
        user_id=direct.user_id,
        name=DIRECT,
        properties=direct.properties or None,
    )
    return Push(
        id=push_id(DIRECT, event.id),
        tenant=tenant,
        device_id=device_id,
        trigger_id=DIRECT,
        trigger_version=0,
        variant=0,
        lane=direct.lane,
        event=event,
        created_at=now,
        expires_at=now + ttl_s(direct.message) * 1000,
        user_id=direct.user_id,
        message=direct.message,
        channels=direct.channels,
    )
