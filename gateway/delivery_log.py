"""How pushes ended, written down: delivery history and final decisions; dead addresses dropped.

Keys, in the shard of the device: ``deliveries:<tenant>`` stream, field ``r`` = JSON
``DeliveryRecord``; ``decisions:<tenant>`` stream, where a later decision of the same id replaces
the earlier, noted in the device's trail.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from importlib.resources import files
from struct import pack
from typing import Any

import msgspec

from gateway import metrics
from gateway.document import Client
from gateway.people import CHANNEL_OF, Family, Party, People
from gateway.person import User
from senders.model import Delivered, Target, Unregistered
from senders.pushes import Ready, Settled, Suppressed
from triggers.model import Check, Decision, EventKind, Push, Result
from triggers.redis_store import ShardKeys, run
from triggers.store import Retention

DELIVERIES_CAP = 200_000  # entries a shard and tenant
REASON_CHARS = 500
ARRIVED = "arrived"  # a fallback that nobody needs: not a decision against the push
SUPPRESSIONS = frozenset(result.value for result in Result)

_encode = msgspec.json.Encoder().encode
Told = tuple[Settled, Push]


class DeliveryRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step in the life of a push, as the delivery history shows it."""

    push_id: str
    device_id: str
    trigger_id: str
    event_id: str
    state: str  # an ending of senders/pushes.py
    at: int
    lane: str
    user_id: str | None = None
    variant: int = 0
    channel: str | None = None
    provider: str | None = None
    provider_id: str = ""
    attempt: int = 0
    reason: str = ""
    due_at: int | None = None


class DeliveryLog:
    """Writes a batch of endings, one script a shard."""

    def __init__(self, client: Client, people: People, retention: Retention | None = None) -> None:
        script = files("gateway") / "lua" / "delivery_log.lua"
        self._append: Any = client.register_script(script.read_text())
        self._people = people
        self._retention = retention or Retention()

    async def record(self, told: Sequence[Told], now: int) -> None:
        """Append the delivery records, and the decisions that are final now."""
        by_shard: defaultdict[int, list[Told]] = defaultdict(list)
        for one in told:
            by_shard[one[0].claimed.shard].append(one)
        await asyncio.gather(*(self._record(*item, now) for item in by_shard.items()))
        for settled, push in told:
            if settled.ending == "sent" and push.event.received_at:
                # Waiting that was asked for (a delay, quiet hours) is no latency.
                is_held = push.not_before > push.created_at
                since = push.not_before if is_held else push.event.received_at
                metrics.TRIGGER_LATENCY.observe(max(0, now - since) / 1000)

    async def drop_dead(self, told: Sequence[Told], now: int) -> None:
        """Drop the addresses that a provider called dead, wherever they are registered."""
        for settled, push in told:
            if isinstance(settled.prepared, Ready) and isinstance(settled.outcome, Unregistered):
                target = settled.prepared.target
                parties = await self._people.parties(push.tenant, [push.device_id])
                holder = _holder(parties[push.device_id], target)
                if holder is not None:
                    before = settled.outcome.since or now
                    await self._people.drop_target(push.tenant, *holder, target, before, now=now)

    async def _record(self, shard: int, told: Sequence[Told], now: int) -> None:
        names, keys = ShardKeys(shard), dict[str, int]()
        deliveries: defaultdict[str, list[bytes]] = defaultdict(list)
        decisions: defaultdict[str, list[bytes]] = defaultdict(list)
        trails: defaultdict[str, list[int]] = defaultdict(list)

        def number(key: str) -> int:
            return keys.setdefault(key, len(keys) + 1)

        for settled, push in told:
            deliveries[push.tenant].append(_encode(record_of(settled, push, now)))
            decision = decision_of(settled, push, now)
            if decision is not None:
                decisions[push.tenant].append(_encode(decision))
                trail = names.trail(f"{push.tenant}/{_home(push)}")
                trails[push.tenant].append(number(trail))
        args: list[Any] = [self._retention.trail_cap, self._retention.trail_lifetime_ms]
        for tenant, records in deliveries.items():
            stream = number(f"{names.tag}:deliveries:{tenant}")
            args += [stream, "r", DELIVERIES_CAP, run(records), b""]
        for tenant, records in decisions.items():
            numbers = pack(f"<{len(records)}I", *trails[tenant])
            stream, cap = number(names.decisions(tenant)), self._retention.decisions_cap
            args += [stream, "d", cap, run(records), numbers]
        await self._append(keys=list(keys), args=args)


def record_of(settled: Settled, push: Push, now: int) -> DeliveryRecord:
    """The step that an ending is."""
    ready = settled.prepared if isinstance(settled.prepared, Ready) else None
    outcome = settled.outcome
    return DeliveryRecord(
        push_id=push.id,
        device_id=push.device_id,
        trigger_id=push.trigger_id,
        event_id=push.event.id,
        state=settled.ending,
        at=now,
        lane=push.lane,
        user_id=push.user_id,
        variant=push.variant,
        channel=CHANNEL_OF[ready.target.provider] if ready else None,
        provider=ready.target.provider if ready else None,
        provider_id=outcome.provider_id if isinstance(outcome, Delivered) else "",
        attempt=push.attempt + 1 if outcome is not None else push.attempt,
        reason=settled.reason[:REASON_CHARS],
        due_at=settled.due_at,
    )


def decision_of(settled: Settled, push: Push, now: int) -> Decision | None:
    """The decision as it stands now, if the ending is final."""
    result = _result(settled)
    if result is None:
        return None
    detail = settled.reason
    if isinstance(settled.prepared, Suppressed) and settled.prepared.detail:
        detail = settled.prepared.detail
    elif isinstance(settled.prepared, Ready):
        detail = f"{settled.prepared.target.provider}: {settled.reason or settled.ending}"
    return Decision(
        id=push.id,
        tenant=push.tenant,
        trigger_id=push.trigger_id,
        event_id=push.event.id,
        device_id=push.device_id,
        result=result,
        decided_at=now,
        checks=(Check("dispatch", ok=result is Result.SENT, detail=detail[:REASON_CHARS]),),
        user_id=push.user_id,
        zone_id=push.event.zone_id,
        event_kind=push.event.kind,
        variant=push.variant,
    )


def _result(settled: Settled) -> Result | None:
    """The result of the decision, None where it is still open."""
    match settled.ending:
        case "sent" | "unknown":
            return Result.SENT
        case "suppressed" if settled.reason != ARRIVED:
            is_known = settled.reason in SUPPRESSIONS
            return Result(settled.reason) if is_known else Result.CANCELED
        case "undeliverable":
            return Result.NO_TARGET
        case "dead":
            return Result.EXPIRED if settled.reason.startswith("expired") else Result.SENT
    return None


def _home(push: Push) -> str:
    """In whose trail the push was decided: custom events stand with the user, if there is one."""
    is_custom = push.event.kind is EventKind.CUSTOM
    return (push.event.user_id if is_custom else None) or push.device_id


def _holder(party: Party, target: Target) -> tuple[Family, str] | None:
    """Who has this address registered."""
    people: list[tuple[Family, User]] = [("devices", one) for one in (party.device, *party.others)]
    if party.user is not None:
        people.append(("users", party.user))
    for family, person in people:
        if any(
            (t.provider, t.address) == (target.provider, target.address) for t in person.targets
        ):
            return family, person.id
    return None
