"""The in-app inbox: messages that wait in the gateway until the app fetches them.

Model: an owner (a user, or a device that nobody is known to hold) has at most ``CAP`` items, newest
first. An item is the message as the app reads it, with a state. Expired items are not shown.

Keys, in the shard of the owner: ``inbox:<tenant>/<owner>`` zset item id -> created at;
``inbox:<tenant>/<owner>:items`` hash item id -> msgpack ``Item``.
"""

import asyncio
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any, Literal, NamedTuple

import msgspec

from gateway.document import Client
from gateway.sharding import shard_of, shard_tag, subject_field
from senders.inbox import inbox_item
from senders.model import (
    Delivered,
    InvalidMessage,
    Outcome,
    Rejected,
    Rendered,
    RetryAfter,
    Target,
)

CAP = 500
PUTS_AT_ONCE = 16  # each takes a connection to Redis
LIFETIME_MS = 90 * 86_400_000
State = Literal["new", "read", "archived"]


class Item(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message in an inbox. ``message`` is JSON, as ``senders/inbox.py`` makes it."""

    id: str
    created_at: int
    expires_at: int
    message: bytes
    state: State = "new"
    changed_at: int = 0


class Place(NamedTuple):
    """Where an item stands in the order of its inbox."""

    created_at: int
    id: str


def place_of(item: Item) -> Place:
    """The item's place."""
    return Place(item.created_at, item.id)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Item).decode


class Inboxes:
    """The inboxes of all tenants. ``now`` is epoch ms and always an argument."""

    def __init__(self, client: Client, shard_count: int) -> None:
        folder = files("gateway") / "lua"
        self._client: Any = client
        self._shard_count = shard_count
        self._turns = asyncio.Semaphore(PUTS_AT_ONCE)
        self._put: Any = client.register_script((folder / "inbox_put.lua").read_text())
        self._mark: Any = client.register_script((folder / "inbox_mark.lua").read_text())

    async def put(self, tenant: str, owner: str, item: Item) -> None:
        """Add an item; one that is there already stays as it is."""
        args = [item.id, item.created_at, _encode(item), CAP, LIFETIME_MS]
        async with self._turns:
            await self._put(keys=self._keys(tenant, owner), args=args)

    async def items(
        self, tenant: str, owner: str, *, now: int, limit: int = 50, after: Place | None = None
    ) -> list[Item]:
        """Items that have not expired and are not archived, newest first.

        ``after`` is the place of the last item seen.
        """
        order, stored = self._keys(tenant, owner)
        newest = "+inf" if after is None else after.created_at
        ids = await self._client.zrevrangebyscore(order, newest, "-inf")
        found = await self._client.hmget(stored, ids) if ids else []
        items = [_decode(one) for one in found if one is not None]
        listed = [i for i in items if i.expires_at > now and i.state != "archived"]
        return [i for i in listed if after is None or place_of(i) < after][:limit]

    async def unread(self, tenant: str, owner: str, *, now: int) -> int:
        """How many items nobody has read: the badge."""
        items = await self.items(tenant, owner, now=now, limit=CAP)
        return sum(item.state == "new" for item in items)

    async def mark(
        self, tenant: str, owner: str, ids: Sequence[str], state: State, *, now: int
    ) -> int:
        """Set the state of items; returns how many there were and changed."""
        _, stored = self._keys(tenant, owner)
        args: list[Any] = []
        found = await self._client.hmget(stored, ids) if ids else []
        for item_id, old in zip(ids, found, strict=True):
            if old is not None and (item := _decode(old)).state != state:
                new = msgspec.structs.replace(item, state=state, changed_at=now)
                args += [item_id, old, _encode(new)]
        return int(await self._mark(keys=[stored], args=args)) if args else 0

    async def forget(self, tenant: str, owner: str) -> None:
        """Delete everything of an owner."""
        await self._client.delete(*self._keys(tenant, owner))

    def _keys(self, tenant: str, owner: str) -> list[str]:
        field = subject_field(tenant, owner)
        key = f"{shard_tag(shard_of(field, self._shard_count))}:inbox:{field.decode()}"
        return [key, f"{key}:items"]


class InboxSender:
    """The inbox of one tenant as a sender: what is put is delivered."""

    def __init__(self, inboxes: Inboxes, tenant: str, clock: Callable[[], int]) -> None:
        self._inboxes = inboxes
        self._tenant = tenant
        self._clock = clock

    async def send(self, message: Rendered, target: Target) -> Outcome:
        """Put the message into the owner's inbox."""
        try:
            payload = inbox_item(message)
        except InvalidMessage as error:
            return Rejected(str(error))
        item = Item(message.id, self._clock(), message.expires_at, payload.body)
        try:
            await self._inboxes.put(self._tenant, target.address, item)
        except Exception as error:  # noqa: BLE001 - whatever Redis says; putting again is harmless
            return RetryAfter(f"{type(error).__name__}: {error}")
        return Delivered(message.id)

    async def close(self) -> None:
        """Nothing is held."""
