"""Pushes that waited, and what happened meanwhile: taken back, or no longer needed.

A push with ``cancel_on`` is looked at when it is due, against what its device did and what was told
of its person since (``triggers.guard.cancels`` judges). A push that falls back to a further channel
is not needed once a receipt says that an earlier one arrived.

One pipeline for the trails, one for the events, one for the rest; none if nothing is to be asked.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from gateway.document import Client
from gateway.receipts import receipts_key
from gateway.sharding import shard_of, shard_tag, subject_field
from triggers.guard import cancels
from triggers.model import Event, EventKind, Push

CLOCK_SLACK_MS = 60_000  # entry ids are by the clock of Redis, a push's instants by ours
MOVES = frozenset({"exit", "enter"})
Subject = tuple[str, str]  # tenant, and device or user

_event = msgspec.json.Decoder(Event).decode


class Cancellations:
    """Looks for what happened after pushes were decided."""

    def __init__(self, client: Client, shard_count: int) -> None:
        self._client: Any = client
        self._shard_count = shard_count

    async def canceled(self, pushes: Iterable[Push]) -> set[str]:
        """The ids of those that a later event takes back."""
        asked = [push for push in pushes if push.cancel_on is not None]
        moving = [push for push in asked if push.cancel_on in MOVES]
        told = [push for push in asked if push.cancel_on not in MOVES]
        moves = await self._moves(moving) if moving else {}
        news = await self._told(told) if told else {}
        later = [(push, moves[push.tenant, push.device_id]) for push in moving]
        later += [
            (push, [event for one in _owners(push) for event in news[push.tenant, one]])
            for push in told
        ]
        return {push.id for push, events in later if any(cancels(push, one) for one in events)}

    async def arrived(self, pushes: Sequence[Push]) -> set[str]:
        """The ids of those that a phone has acknowledged."""
        if not pushes:
            return set()
        pipe = self._client.pipeline(transaction=False)
        for push in pushes:
            shard = self._shard(push.tenant, push.device_id)
            pipe.zscore(receipts_key(push.tenant, push.device_id, shard), push.id)
        scores = await pipe.execute()
        return {push.id for push, at in zip(pushes, scores, strict=True) if at is not None}

    async def _moves(self, pushes: Sequence[Push]) -> dict[Subject, list[Event]]:
        """The events of these devices since their oldest push was decided."""
        since: dict[Subject, int] = {}
        for push in pushes:
            subject = (push.tenant, push.device_id)
            since[subject] = min(push.created_at, since.get(subject, push.created_at))
        pipe = self._client.pipeline(transaction=False)
        for tenant, device_id in since:
            pipe.lrange(f"{self._tag(tenant, device_id)}:trail:{tenant}/{device_id}", 0, -1)
        marks: list[tuple[Subject, str]] = []
        for (subject, at), trail in zip(since.items(), await pipe.execute(), strict=True):
            ids = (mark[1:].decode() for mark in trail if mark[:1] == b"e")
            earliest = at - CLOCK_SLACK_MS
            marks += [(subject, one) for one in ids if int(one.partition("-")[0]) >= earliest]
        pipe = self._client.pipeline(transaction=False)
        for (tenant, device_id), one in marks:
            pipe.xrange(f"{self._tag(tenant, device_id)}:events:{tenant}", one, one)
        found: dict[Subject, list[Event]] = {subject: [] for subject in since}
        for (subject, _), entries in zip(marks, await pipe.execute(), strict=True):
            found[subject] += [_event(fields[b"e"]) for _, fields in entries]
        return found

    async def _told(self, pushes: Sequence[Push]) -> dict[Subject, list[Event]]:
        """The custom events of these people since their oldest push's event."""
        since: dict[Subject, int] = {}
        for push in pushes:
            for owner in _owners(push):
                at = push.event.occurred_at
                since[push.tenant, owner] = min(at, since.get((push.tenant, owner), at))
        pipe = self._client.pipeline(transaction=False)
        for (tenant, owner), at in since.items():
            key = f"{self._tag(tenant, owner)}:recent:{tenant}/{owner}"
            pipe.zrangebyscore(key, at, "+inf", withscores=True)
        replies = await pipe.execute()
        return {
            (tenant, owner): [_custom(tenant, owner, member, int(at)) for member, at in members]
            for (tenant, owner), members in zip(since, replies, strict=True)
        }

    def _tag(self, tenant: str, subject_id: str) -> str:
        return shard_tag(self._shard(tenant, subject_id))

    def _shard(self, tenant: str, subject_id: str) -> int:
        return shard_of(subject_field(tenant, subject_id), self._shard_count)


def _owners(push: Push) -> tuple[str, ...]:
    """Under whose names custom events about this push's person are remembered."""
    return (push.device_id,) if push.user_id is None else (push.device_id, push.user_id)


def _custom(tenant: str, owner: str, member: bytes, at: int) -> Event:
    """A remembered custom event, as far as it is remembered: of this device, or of this user."""
    name, _, event_id = member.decode().rpartition("\n")
    return Event(event_id, EventKind.CUSTOM, tenant, owner, at, at, user_id=owner, name=name)
