"""Dead letters as people see them, and their way back."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from gateway.delivery import revive
from gateway.times import rfc3339
from senders.dead_letters import DeadLetter, DeadLetters
from triggers.model import Push

CHUNK = 500
_decode = msgspec.msgpack.Decoder(Push).decode


class Replayed(NamedTuple):
    """How many letters came back, and how many cannot be read and stay."""

    replayed: int
    unreadable: int


def letter_document(letter: DeadLetter) -> dict[str, Any]:
    """A letter as it is answered; ``push`` is null for an entry that is none."""
    push = _push_of(letter)
    return {
        "id": letter.id,
        "class": letter.lane,
        "reason": letter.reason,
        "died_at": rfc3339(letter.died_at),
        "push": push and _push_document(push),
    }


async def replay_letters(dead: DeadLetters, letters: Sequence[DeadLetter], now: int) -> Replayed:
    """Send these letters again from the start, each once; they live as long again as they did."""
    readable = [letter for letter in letters if _push_of(letter) is not None]
    count = await dead.replay(readable, lambda payload: revive(payload, now))
    return Replayed(count, len(letters) - len(readable))


async def replay_all(dead: DeadLetters, tenant: str, now: int) -> Replayed:
    """Send all letters again that are dead now; those that die anew stay dead."""
    replayed, unreadable, after = 0, 0, None
    while letters := await dead.page(tenant, CHUNK, after):
        done = await replay_letters(dead, letters, now)
        replayed, unreadable = replayed + done.replayed, unreadable + done.unreadable
        after = letters[-1].id
    return Replayed(replayed, unreadable)


def _push_of(letter: DeadLetter) -> Push | None:
    try:
        return _decode(letter.payload)
    except msgspec.DecodeError:
        return None


def _push_document(push: Push) -> dict[str, Any]:
    return {
        "id": push.id,
        "trigger_id": push.trigger_id,
        "device_id": push.device_id,
        "user_id": push.user_id,
        "event_id": push.event.id,
        "event_kind": push.event.kind,
        "zone_id": push.event.zone_id,
        "variant": push.variant,
        "attempt": push.attempt,
        "created_at": rfc3339(push.created_at),
        "expires_at": rfc3339(push.expires_at),
    }
