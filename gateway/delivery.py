"""What dispatch needs of us: every push looked at once more, addressed and rendered.

    entry -> push -> trigger and people as they are now -> guard -> address -> render -> budgets

Budgets (caps of a person, and holds of another shard) are taken last, so that a push that cannot be
sent takes none; taking is idempotent by push id, so a retry takes none again.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from gateway.addressing import Addressed, address
from gateway.cancellations import Cancellations
from gateway.catalog import Catalog
from gateway.delivery_log import ARRIVED, DeliveryLog
from gateway.fallback import fallback_id
from gateway.links import PushLinks
from gateway.people import Party, People, subject_of
from gateway.sender_pool import SenderPool
from gateway.template_values import template_values
from senders.message import MessageTemplate, parse_message
from senders.model import InvalidMessage, Rendered, Target
from senders.pushes import (
    FollowUp,
    NoTarget,
    Prepared,
    Ready,
    Settled,
    Split,
    Suppressed,
    Unusable,
    Wait,
)
from senders.render import render
from senders.settlement import Claimed
from triggers import guard as guards
from triggers.budgets import SpendKey
from triggers.ids import part_id
from triggers.model import Push, Result, Spend
from triggers.store import Store
from triggers.subject import Subject, ZoneFacts
from triggers.trigger import Trigger

RESERVE_AT_ONCE = 16  # connections to Redis used side by side

_decode = msgspec.msgpack.Decoder(Push).decode
_encode = msgspec.msgpack.Encoder().encode


def revive(payload: bytes, now: int) -> bytes:
    """A dead letter's push, to be tried from the start; it lives as long again as it did."""
    push = _decode(payload)
    lifetime_ms = push.expires_at - push.created_at
    return _encode(
        msgspec.structs.replace(
            push,
            created_at=now,
            not_before=0,
            expires_at=now + lifetime_ms,
            attempt=0,
            channel=0,
            target="",
        )
    )


class _Case(NamedTuple):
    """A push and everything it is judged by."""

    push: Push
    trigger: Trigger | None
    version: int
    party: Party
    subject: Subject
    zone: ZoneFacts | None


class _Late(NamedTuple):
    """What happened since pushes were decided, by their ids."""

    canceled: set[str]
    arrived: set[str]


class _Draft(NamedTuple):
    """A push that is ready but for its budgets."""

    push_id: str
    ready: Ready
    spends: tuple[Spend, ...]


class Delivery:
    """The application's side of dispatch (``senders.pushes.Pushes``)."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        people: People,
        store: Store,
        senders: SenderPool,
        log: DeliveryLog,
        cancellations: Cancellations,
        spend_key: Callable[[str], SpendKey],
        link_key: bytes,
        base_url: str,
        clock: Callable[[], int],
    ) -> None:
        self._catalog = catalog
        self._people = people
        self._store = store
        self._senders = senders
        self._log = log
        self._cancellations = cancellations
        self._spend_key = spend_key
        self._link_key = link_key
        self._base_url = base_url
        self._clock = clock
        self._templates: dict[tuple[str, str, int, int], MessageTemplate] = {}

    async def prepare(self, batch: Sequence[Claimed]) -> Sequence[Prepared]:
        """One answer for each entry."""
        pushes = [_read(entry.payload) for entry in batch]
        known = [push for push in pushes if push is not None]
        parties = await self._parties(known)
        late = await self._late(known)
        drafts = [
            self._draft(self._case(push, parties[push.tenant, push.device_id]), late)
            if push is not None
            else Unusable("the entry is not a push")
            for push in pushes
        ]
        return await self._take_budgets(drafts)

    def again(self, payload: bytes, attempt: int) -> bytes:
        """The same push, with so many attempts counted."""
        return _encode(msgspec.structs.replace(_decode(payload), attempt=attempt))

    def advance(self, payload: bytes, reason: str) -> bytes | None:
        """The same push on its next channel."""
        push = _decode(payload)
        trigger, _ = self._trigger(push)
        place = push.channel + 1
        if trigger is None or place >= len(trigger.channels):
            return None
        return _encode(msgspec.structs.replace(push, channel=place, attempt=0, target=""))

    async def settled(self, batch: Sequence[Settled]) -> None:
        """Record endings, and drop the addresses that providers called dead."""
        now = self._clock()
        told = [(one, push) for one in batch if (push := _read(one.claimed.payload)) is not None]
        await self._log.record(told, now)
        await self._log.drop_dead(told, now)

    # --- private ------------------------------------------------------------------------------

    async def _parties(self, pushes: Iterable[Push]) -> dict[tuple[str, str], Party]:
        ids: dict[str, set[str]] = {}
        for push in pushes:
            ids.setdefault(push.tenant, set()).add(push.device_id)

        async def load(tenant: str) -> dict[str, Party]:
            await self._senders.load(tenant)
            return await self._people.parties(tenant, sorted(ids[tenant]))

        loaded = await asyncio.gather(*map(load, ids))
        return {
            (tenant, device_id): party
            for tenant, parties in zip(ids, loaded, strict=True)
            for device_id, party in parties.items()
        }

    async def _late(self, pushes: Sequence[Push]) -> _Late:
        fallen_back = [push for push in pushes if push.channel and self._waits_for_receipts(push)]
        return _Late(
            await self._cancellations.canceled(pushes),
            await self._cancellations.arrived(fallen_back),
        )

    def _waits_for_receipts(self, push: Push) -> bool:
        trigger, _ = self._trigger(push)
        return trigger is not None and bool(trigger.fallback_after_s)

    def _case(self, push: Push, party: Party) -> _Case:
        trigger, version = self._trigger(push)
        zone = self._catalog.view(push.tenant).facts(push.event.zone_type, push.event.zone_id)
        return _Case(push, trigger, version, party, subject_of(party), zone)

    def _trigger(self, push: Push) -> tuple[Trigger | None, int]:
        if push.message is not None:
            return guards.direct_trigger(push), 0
        found = self._catalog.view(push.tenant).listening.get(push.trigger_id)
        return (found.trigger, found.version) if found else (None, 0)

    def _draft(self, case: _Case, late: _Late) -> _Draft | Prepared:
        push = case.push
        if push.id in late.arrived:
            return Suppressed(ARRIVED, "a receipt came from an earlier channel")
        view = self._catalog.view(push.tenant)
        guarded = guards.guard(
            case.trigger,
            push,
            case.subject,
            zone=case.zone,
            now=self._clock(),
            tenant=view.rules,
            spend_key=self._spend_key(push.tenant),
            is_canceled=push.id in late.canceled,
        )
        match guarded:
            case guards.Suppress(result, detail):
                return Suppressed(result.value, detail)
            case guards.Wait(until):
                return Wait(_delayed_id(push), until, Result.QUIET_HOURS.value)
            case guards.Proceed(spends, channels):
                return self._address(case, spends, channels)

    def _address(
        self, case: _Case, spends: tuple[Spend, ...], channels: Sequence[str]
    ) -> _Draft | Prepared:
        push, trigger = case.push, case.trigger
        order = trigger.channels if trigger else ()
        found = address(order, channels, push.channel, case.party, push.target)
        if found is None:
            return Suppressed(Result.NO_TARGET.value, "no channel that is left has an address")
        if len(found.targets) > 1:
            return Split(tuple(_for_target(push, found, target) for target in found.targets))
        return self._render(case, spends, found, channels)

    def _render(
        self, case: _Case, spends: tuple[Spend, ...], found: Addressed, channels: Sequence[str]
    ) -> _Draft | Prepared:
        push, target = case.push, found.targets[0]
        chosen = self._senders.find(push.tenant, target)
        if chosen is None:
            return NoTarget(f"no {target.provider} credential")
        try:
            message = self._message(case)
        except InvalidMessage as error:
            return Unusable(f"the message cannot be rendered: {error}")
        ready = Ready(
            _delayed_id(push),
            message,
            target,
            chosen.sender,
            chosen.gate,
            push.attempt,
            chosen.limits,
            self._follow_up(case, found, channels),
        )
        return _Draft(push.id, ready, (*push.holds, *spends))

    def _message(self, case: _Case) -> Rendered:
        push = case.push
        links = PushLinks(self._base_url, self._link_key, push)
        return render(
            self._template(case),
            template_values(push, case.party, case.zone),
            push_id=push.id,
            expires_at=push.expires_at,
            lane=push.lane,
            locale=case.subject.locale or "",
            links=links,
        )

    def _template(self, case: _Case) -> MessageTemplate:
        push, trigger = case.push, case.trigger
        assert trigger is not None  # noqa: S101 - the guard suppresses pushes without a trigger
        variant = min(push.variant, len(trigger.variants) - 1)
        if push.message is not None:
            return parse_message(push.message)
        key = (push.tenant, trigger.id, case.version, variant)
        template = self._templates.get(key)
        if template is None:
            if len(self._templates) > 10_000:
                self._templates.clear()
            template = self._templates[key] = parse_message(trigger.variants[variant].message)
        return template

    def _follow_up(self, case: _Case, found: Addressed, channels: Sequence[str]) -> FollowUp | None:
        push, trigger = case.push, case.trigger
        if trigger is None or not trigger.fallback_after_s:
            return None
        due_at = self._clock() + trigger.fallback_after_s * 1000
        following = address(trigger.channels, channels, found.channel + 1, case.party)
        if following is None or due_at >= push.expires_at:
            return None
        then = msgspec.structs.replace(push, channel=following.channel, attempt=0, target="")
        return FollowUp(fallback_id(push.id), due_at, _encode(then))

    async def _take_budgets(self, drafts: Sequence[_Draft | Prepared]) -> list[Prepared]:
        turns = asyncio.Semaphore(RESERVE_AT_ONCE)

        async def take(draft: _Draft) -> Prepared:
            async with turns:
                refused = await self._store.reserve(draft.push_id, draft.spends, self._clock())
            return draft.ready if refused is None else Suppressed(refused.value, "at dispatch")

        costly = [d for d in drafts if isinstance(d, _Draft) and d.spends]
        taken = iter(await asyncio.gather(*map(take, costly)))
        prepared: list[Prepared] = []
        for draft in drafts:
            if not isinstance(draft, _Draft):
                prepared.append(draft)
            else:
                prepared.append(next(taken) if draft.spends else draft.ready)
        return prepared


def _read(payload: bytes) -> Push | None:
    try:
        return _decode(payload)
    except msgspec.DecodeError:
        return None


def _for_target(push: Push, found: Addressed, target: Target) -> bytes:
    return _encode(msgspec.structs.replace(push, channel=found.channel, target=target.address))


def _delayed_id(push: Push) -> str:
    """The name of a push in the delayed set: one of several parts has its own."""
    return part_id(push.id, push.target) if push.target else push.id
