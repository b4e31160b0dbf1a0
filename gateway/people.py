"""Devices and users: their records, and what decisions and dispatch must know of them.

Model: a record is a versioned document (``gateway/document.py``) in the shard of its own id. The
device's record says whose it is (``user_id``); the set of a user's devices, the holders of push
addresses and of transmitters, and the list of devices with a limited location consent follow it.

Keys (a shard tag before each): ``devices``, ``users`` hash; ``devices:<tenant>:ids`` zset;
``owned:<tenant>/<user>`` set; ``limited`` hash; ``recent:<tenant>/<owner>`` zset.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import msgspec

from gateway.document import Client, Document, Documents, Expected, Place, VersionConflict
from gateway.holdings import Holdings, Thing, address, transmitter
from gateway.person import Consents, Device, User, stricter
from gateway.sharding import shard_of, shard_tag, subject_field
from senders.model import Target
from triggers.subject import Consents as SubjectConsents
from triggers.subject import Subject

Family = Literal["devices", "users"]
P = TypeVar("P", bound=User)

UPDATE_ROUNDS = 20
RECENT_LIFETIME_MS = 90 * 86_400_000
CHANNEL_OF = {
    "apns": "app_push",
    "fcm": "app_push",
    "webpush": "web_push",
    "whatsapp": "whatsapp",
    "sms": "sms",
    "email": "email",
    "webhook": "webhook",
    "inbox": "inbox",
}
# The inbox is ours and a webhook is the tenant's: both can be reached without an address.
ALWAYS = frozenset({"inbox", "webhook"})
ON_DEVICE = frozenset({"app_push", "web_push"})
NOBODY: Mapping[str, str] = {}
_NO_USER = User(id="")


class Stored(NamedTuple, Generic[P]):
    """A record with its version and instants."""

    person: P
    document: Document


class Party(NamedTuple):
    """Everybody that a push about a device may be addressed to."""

    device: Device
    user: User | None
    others: tuple[Device, ...]  # further devices of the user, loaded if the device itself has none


class People:
    """Records of all tenants. ``now`` is epoch ms and always an argument."""

    def __init__(self, client: Client, shard_count: int) -> None:
        self._documents = Documents(client)
        self._client: Any = client
        self._shard_count = shard_count
        self._holdings = Holdings(client, shard_count)
        self._decoders: dict[str, Any] = {
            "devices": msgspec.msgpack.Decoder(Device),
            "users": msgspec.msgpack.Decoder(User),
        }

    # --- one record ---------------------------------------------------------------------------

    async def device(self, tenant: str, device_id: str) -> Stored[Device] | None:
        """One device."""
        return await self._get("devices", tenant, device_id)

    async def user(self, tenant: str, user_id: str) -> Stored[User] | None:
        """One user."""
        return await self._get("users", tenant, user_id)

    async def put_device(
        self, tenant: str, device: Device, *, now: int, expected: Expected = None
    ) -> Stored[Device]:
        """Store a device, and move the addresses and transmitters it claims away from others.

        Raises:
            VersionConflict: it is not at the expected version.
        """
        before, stored = await self._put("devices", tenant, device, now, expected)
        await self._follow_device(tenant, before, device, now)
        return stored

    async def put_user(
        self, tenant: str, user: User, *, now: int, expected: Expected = None
    ) -> Stored[User]:
        """Store a user.

        Raises:
            VersionConflict: it is not at the expected version.
        """
        before, stored = await self._put("users", tenant, user, now, expected)
        if (before.consents if before else Consents()).location != user.consents.location:
            for device in await self.devices_of(tenant, user.id):
                await self._note_limit(tenant, device)
        return stored

    async def update_device(
        self, tenant: str, device_id: str, change: Callable[[Device], Device], *, now: int
    ) -> Stored[Device] | None:
        """Apply a change to the present record, again if another writer was faster; None for none.

        Raises:
            VersionConflict: other writers never stop.
        """
        return await self._update(self.device, self.put_device, tenant, device_id, change, now)

    async def update_user(
        self, tenant: str, user_id: str, change: Callable[[User], User], *, now: int
    ) -> Stored[User] | None:
        """As ``update_device``."""
        return await self._update(self.user, self.put_user, tenant, user_id, change, now)

    async def delete_device(self, tenant: str, device_id: str, *, now: int) -> Device | None:
        """Delete the record and what follows it; the device as it was, None if there was none."""
        stored = await self.device(tenant, device_id)
        await self._documents.delete(
            self.place("devices", tenant, device_id), [(device_id, None)], now
        )
        if stored is not None:
            await self._follow_device(tenant, stored.person, Device(id=device_id), now)
        return stored.person if stored else None

    async def delete_user(self, tenant: str, user_id: str, *, now: int) -> list[str]:
        """Delete the record and unlink its devices; their ids."""
        devices = await self.devices_of(tenant, user_id)
        for device in devices:
            await self.link(tenant, device.id, None, now=now)
        await self._documents.delete(self.place("users", tenant, user_id), [(user_id, None)], now)
        return [device.id for device in devices]

    async def link(self, tenant: str, device_id: str, user_id: str | None, *, now: int) -> bool:
        """Say whose a device is; False if there is no such device."""

        def change(device: Device) -> Device:
            return msgspec.structs.replace(device, user_id=user_id)

        return await self.update_device(tenant, device_id, change, now=now) is not None

    async def drop_target(
        self,
        tenant: str,
        family: Family,
        person_id: str,
        dead: Target,
        registered_before: int,
        *,
        now: int,
    ) -> bool:
        """Drop a dead address, unless it was registered at or after that instant (0: whenever)."""
        dropped = False

        def change(person: P) -> P:
            nonlocal dropped
            kept = tuple(t for t in person.targets if not _is_dead(t, dead, registered_before))
            dropped = len(kept) < len(person.targets)
            return msgspec.structs.replace(person, targets=kept)

        if family == "users":
            await self.update_user(tenant, person_id, change, now=now)
        else:
            await self.update_device(tenant, person_id, change, now=now)
        return dropped

    # --- many records -------------------------------------------------------------------------

    async def devices(self, tenant: str, ids: Sequence[str]) -> dict[str, Device]:
        """The records of these devices; one call a shard."""
        return await self._load("devices", tenant, ids)

    async def users(self, tenant: str, ids: Sequence[str]) -> dict[str, User]:
        """The records of these users; one call a shard."""
        return await self._load("users", tenant, ids)

    async def devices_of(self, tenant: str, user_id: str) -> list[Device]:
        """The devices of a user, in the order of their ids."""
        members = await self._client.smembers(self._owned(tenant, user_id))
        found = await self.devices(tenant, sorted(member.decode() for member in members))
        return [device for device in found.values() if device.user_id == user_id]

    async def page(
        self, family: Family, tenant: str, *, after: str = "", limit: int = 100
    ) -> tuple[list[Stored[Any]], str | None]:
        """Records shard by shard, in the order of ids within one; and where the next page starts.

        ``after`` is what the previous page gave.
        """
        shard_text, _, last = after.partition("/")
        items: list[Stored[Any]] = []
        decoder = self._decoders[family]
        for shard in range(int(shard_text or 0), self._shard_count):
            where = self._place(family, tenant, shard)
            found = await self._documents.page(where, last, limit + 1 - len(items))
            items += [Stored(decoder.decode(document.doc), document) for _, document in found]
            if len(items) > limit:
                final = items[limit - 1].person.id
                at = shard_of(subject_field(tenant, final), self._shard_count)
                return items[:limit], f"{at}/{final}"
            last = ""
        return items, None

    async def count(self, family: Family, tenant: str) -> int:
        """How many records a tenant has."""
        places = [self._place(family, tenant, shard) for shard in range(self._shard_count)]
        return sum([int(await self._client.zcard(place.ids)) for place in places])

    async def ids(self, family: Family, tenant: str) -> AsyncIterator[str]:
        """The ids of all records of a tenant."""
        for shard in range(self._shard_count):
            key = self._place(family, tenant, shard).ids
            async for member, _ in self._client.zscan_iter(key, count=1000):
                yield member.decode()

    async def parties(
        self, tenant: str, device_ids: Sequence[str], holders: Mapping[str, str] = NOBODY
    ) -> dict[str, Party]:
        """Devices with their users, and for a device that no push reaches the user's others.

        A device without a record is one without anything. ``holders`` names users by device who
        count in place of the recorded ones. Two calls a shard, whatever the number.
        """
        devices = await self.devices(tenant, device_ids)
        known = {one: devices.get(one) or _unknown(one) for one in device_ids}
        for one in holders.keys() & known.keys():
            known[one] = msgspec.structs.replace(known[one], user_id=holders[one])
        user_ids = {d.user_id for d in known.values() if d.user_id is not None}
        users = await self.users(tenant, list(user_ids))
        parties = {}
        for device_id, device in known.items():
            user = users.get(device.user_id) if device.user_id else None
            others: tuple[Device, ...] = ()
            if device.user_id and not channels_of(device.targets) & ON_DEVICE:
                siblings = await self.devices_of(tenant, device.user_id)
                others = tuple(one for one in siblings if one.id != device_id)
            parties[device_id] = Party(device, user, others)
        return parties

    async def subjects(
        self, tenant: str, device_ids: Sequence[str], holders: Mapping[str, str] = NOBODY
    ) -> dict[str, Subject]:
        """What decisions know of the people behind these devices, their recent events included."""
        parties = await self.parties(tenant, device_ids, holders)
        histories = await self._histories(tenant, list(parties.values()))
        return {
            device_id: _subject(party, events, visits)
            for (device_id, party), (events, visits) in zip(parties.items(), histories, strict=True)
        }

    # --- what follows the records -------------------------------------------------------------

    async def carriers(self, tenant: str, beacon_keys: Sequence[str]) -> dict[str, str]:
        """The devices that carry these transmitters, by beacon key."""
        things = [transmitter(tenant, key) for key in beacon_keys]
        holders = await self._holdings.holders(things)
        return {key: one for key, one in zip(beacon_keys, holders, strict=True) if one}

    async def limits(self, tenant: str, device_ids: Sequence[str]) -> dict[str, str]:
        """Which of these may be located only coarsely (``coarse``) or not at all (``off``)."""
        found: dict[str, str] = {}
        for shard, ids in self._by_shard(tenant, device_ids).items():
            fields = [subject_field(tenant, one) for one in ids]
            values = await self._client.hmget(f"{shard_tag(shard)}:limited", fields)
            found |= {one: v.decode() for one, v in zip(ids, values, strict=True) if v}
        return found

    async def is_anybody_limited(self) -> bool:
        """Whether any device of any tenant may not be located precisely."""
        pipe = self._client.pipeline(transaction=False)
        for shard in range(self._shard_count):
            pipe.exists(f"{shard_tag(shard)}:limited")
        return any(await pipe.execute())

    def place(self, family: Family, tenant: str, person_id: str) -> Place:
        """Where a record lives."""
        return self._place(family, tenant, self.shard(tenant, person_id))

    def shard(self, tenant: str, person_id: str) -> int:
        """The shard of a device or user."""
        return shard_of(subject_field(tenant, person_id), self._shard_count)

    # --- private ------------------------------------------------------------------------------

    async def _get(self, family: Family, tenant: str, person_id: str) -> Stored[Any] | None:
        (document,) = await self._documents.get(self.place(family, tenant, person_id), [person_id])
        return Stored(self._decoders[family].decode(document.doc), document) if document else None

    async def _put(
        self, family: Family, tenant: str, person: P, now: int, expected: Expected
    ) -> tuple[P | None, Stored[P]]:
        """Write by compare-and-set against what was read, so that indexes follow step by step."""
        doc = msgspec.msgpack.encode(person)
        place = self.place(family, tenant, person.id)
        version = 0
        for _ in range(UPDATE_ROUNDS):
            before = await self._get(family, tenant, person.id)
            version = before.document.version if before else 0
            _check_expected(person.id, expected, version)
            found: Expected = version or "absent"
            (result,) = await self._documents.put(place, [(person.id, found, doc)], now)
            if not isinstance(result, VersionConflict):
                return (before.person if before else None), Stored(person, result)
        raise VersionConflict(person.id, version)

    async def _update(
        self,
        get: Callable[[str, str], Awaitable[Stored[P] | None]],
        put: Callable[..., Awaitable[Stored[P]]],
        tenant: str,
        person_id: str,
        change: Callable[[P], P],
        now: int,
    ) -> Stored[P] | None:
        for _ in range(UPDATE_ROUNDS):
            stored = await get(tenant, person_id)
            if stored is None:
                return None
            changed = change(stored.person)
            if changed == stored.person:
                return stored
            try:
                return await put(tenant, changed, now=now, expected=stored.document.version)
            except VersionConflict:
                continue
        raise VersionConflict(person_id, 0)

    async def _load(self, family: Family, tenant: str, ids: Sequence[str]) -> dict[str, Any]:
        by_shard = self._by_shard(tenant, ids)
        decoder = self._decoders[family]

        async def load(shard: int, listed: list[str]) -> list[Document | None]:
            return await self._documents.get(self._place(family, tenant, shard), listed)

        loaded = await asyncio.gather(*(load(*item) for item in by_shard.items()))
        return {
            one: decoder.decode(document.doc)
            for listed, documents in zip(by_shard.values(), loaded, strict=True)
            for one, document in zip(listed, documents, strict=True)
            if document is not None
        }

    async def _follow_device(
        self, tenant: str, before: Device | None, after: Device, now: int
    ) -> None:
        """Bring the indexes from one record to the next."""
        before = before or Device(id=after.id)
        if before.user_id != after.user_id:
            if before.user_id is not None:
                await self._client.srem(self._owned(tenant, before.user_id), after.id)
            if after.user_id is not None:
                await self._client.sadd(self._owned(tenant, after.user_id), after.id)
        old, new = _things(tenant, before), _things(tenant, after)
        await self._holdings.release(old.keys() - new.keys(), after.id)
        for thing, loser in (await self._holdings.claim(new.keys() - old.keys(), after.id)).items():
            await self._take_away(tenant, loser, new[thing], now)
        if before.user_id != after.user_id or before.consents != after.consents:
            await self._note_limit(tenant, after)

    async def _take_away(self, tenant: str, loser: str, held: Target | str, now: int) -> None:
        def change(device: Device) -> Device:
            return msgspec.structs.replace(
                device,
                targets=tuple(t for t in device.targets if _address(t) != _address(held)),
                transmitters=tuple(t for t in device.transmitters if t != held),
            )

        await self.update_device(tenant, loser, change, now=now)

    async def _note_limit(self, tenant: str, device: Device) -> None:
        user = await self.user(tenant, device.user_id) if device.user_id else None
        limit = stricter(device.consents, user.person.consents if user else Consents()).location
        key = f"{shard_tag(self.shard(tenant, device.id))}:limited"
        field = subject_field(tenant, device.id)
        if limit in ("coarse", "off"):
            await self._client.hset(key, field, limit)
        else:
            await self._client.hdel(key, field)

    async def _histories(
        self, tenant: str, parties: Sequence[Party]
    ) -> list[tuple[dict[str, tuple[int, ...]], dict[str, int]]]:
        """Recent custom events and visits of each; sent together, however many they are."""
        pipe = self._client.pipeline(transaction=False)
        for party in parties:
            device_id = party.device.id
            owner = party.device.user_id or device_id
            pipe.zrange(self.recent_key(tenant, owner), 0, -1, withscores=True)
            pipe.hgetall(f"{shard_tag(self.shard(tenant, device_id))}:visits:{tenant}/{device_id}")
        replies = await pipe.execute()
        histories = []
        for recent, visits in zip(replies[::2], replies[1::2], strict=True):
            events: dict[str, tuple[int, ...]] = {}
            for member, at in recent:
                name = member.partition(b"\n")[0].decode()
                events[name] = (*events.get(name, ()), int(at))
            histories.append((events, {zone.decode(): int(n) for zone, n in visits.items()}))
        return histories

    def _by_shard(self, tenant: str, ids: Iterable[str]) -> dict[int, list[str]]:
        by_shard: dict[int, list[str]] = {}
        for one in dict.fromkeys(ids):
            by_shard.setdefault(self.shard(tenant, one), []).append(one)
        return by_shard

    def _place(self, family: Family, tenant: str, shard: int) -> Place:
        tag = shard_tag(shard)
        return Place(
            tenant=tenant,
            kind=family,
            key=f"{tag}:{family}",
            ids=f"{tag}:{family}:{tenant}:ids",
            counter=f"{tag}:version",
            tenants=f"{tag}:{family}:tenants",
            prefix=f"{tenant}/",
        )

    def _owned(self, tenant: str, user_id: str) -> str:
        return f"{shard_tag(self.shard(tenant, user_id))}:owned:{tenant}/{user_id}"

    def recent_key(self, tenant: str, owner_id: str) -> str:
        """The zset of recent custom events of a user or device."""
        return f"{shard_tag(self.shard(tenant, owner_id))}:recent:{tenant}/{owner_id}"


def _unknown(device_id: str) -> Device:
    """A device without a record; ``~<user>`` stands for a user of whom no device was named."""
    return Device(id=device_id, user_id=device_id[1:] if device_id.startswith("~") else None)


def channels_of(targets: Iterable[Target]) -> frozenset[str]:
    """The channels that these targets can be reached on."""
    return frozenset(CHANNEL_OF[target.provider] for target in targets)


def subject_of(party: Party) -> Subject:
    """What dispatch must know of a person: no history, for nothing is decided any more."""
    return _subject(party, {}, {})


def _subject(party: Party, events: dict[str, tuple[int, ...]], visits: dict[str, int]) -> Subject:
    device, user = party.device, party.user or _NO_USER
    consents = stricter(device.consents, user.consents) if party.user else device.consents
    targets = [*device.targets, *user.targets, *(t for d in party.others for t in d.targets)]
    location = consents.location
    return Subject(
        device_id=device.id,
        user_id=device.user_id,
        attributes={**device.attributes, **user.attributes},
        tags=frozenset(device.tags) | frozenset(user.tags),
        timezone=device.timezone or user.timezone,
        locale=device.locale or user.locale,
        consents=SubjectConsents(consents.push, None if location is None else location != "off"),
        channels=channels_of(targets) | ALWAYS,
        events=events,
        visits=visits,
    )


def _things(tenant: str, device: Device) -> dict[Thing, Target | str]:
    things: dict[Thing, Target | str] = {address(tenant, t): t for t in device.targets}
    return things | {transmitter(tenant, key): key for key in device.transmitters}


def _address(held: Target | str) -> tuple[str, str] | None:
    return (held.provider, held.address) if isinstance(held, Target) else None


def _is_dead(target: Target, dead: Target, registered_before: int) -> bool:
    is_same = _address(target) == _address(dead)
    return is_same and (not registered_before or target.registered_at < registered_before)


def _check_expected(person_id: str, expected: Expected, version: int) -> None:
    is_as_expected = (
        expected is None
        or (expected == "absent" and not version)
        or (expected == "present" and version > 0)
        or expected == version
    )
    if not is_as_expected:
        raise VersionConflict(person_id, version)
