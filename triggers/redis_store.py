"""The store on Redis 6.2 or newer (or Valkey): one script a shard and commit.

Every key of a shard carries its tag ``{s:NN}``; ``docs/design.md`` lists them with types and
lifetimes. On a single Redis a commit may also name budgets of other shards; on a cluster the caller
leaves those to ``reserve`` (``is_cluster``).

Durability: with ``appendfsync always`` a reply means that the write is on disk. ``replicas`` > 0
asks WAITAOF (Redis 7.2) or WAIT for that many replicas after each commit and raises
``StoreUnavailableError`` when fewer answered.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from importlib.resources import files
from struct import pack
from typing import Any

import hiredis
import msgspec
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.commands.core import AsyncScript

from triggers.model import Result, Spend
from triggers.store import (
    PLAIN_COUNTER_FROM,
    Committed,
    DeviceCommit,
    PushCommit,
    QuietCommit,
    Retention,
    ShardCommit,
    StoreUnavailableError,
    Told,
)

VISITS_LIFETIME_MS = 400 * 86_400_000
ONCE_LIFETIME_MS = 7 * 86_400_000
TOLD_LIFETIME_MS = 90 * 86_400_000
TOLD_CAP = 200


def script_source(name: str) -> str:
    """The text of a script, with the shared ``spend`` function in place of its marker."""
    folder = files("triggers") / "lua"
    spend = (folder / "spend.lua").read_text()
    return (folder / f"{name}.lua").read_text().replace("-- SPEND", spend)


class ShardKeys:
    """The names of a shard's keys."""

    def __init__(self, shard: int) -> None:
        tag = f"{{s:{shard:02d}}}"
        self.tag = tag
        self.state = f"{tag}:state"
        self.timers = f"{tag}:timers"
        self.active = f"{tag}:active"
        self.delayed = f"{tag}:delayed"
        self.delayed_body = f"{tag}:delayed:body"

    def events(self, tenant: str) -> str:
        """Stream of a tenant's events."""
        return f"{self.tag}:events:{tenant}"

    def decisions(self, tenant: str) -> str:
        """Stream of a tenant's decisions."""
        return f"{self.tag}:decisions:{tenant}"

    def history(self, tenant: str) -> str:
        """Stream of raw pings, for tenants that record."""
        return f"{self.tag}:history:{tenant}"

    def trail(self, field: str) -> str:
        """List of a device's latest event and decision ids."""
        return f"{self.tag}:trail:{field}"

    def visits(self, field: str) -> str:
        """Hash of a device's visit counts by zone id."""
        return f"{self.tag}:visits:{field}"

    def recent(self, field: str) -> str:
        """Sorted set of a subject's latest custom events: name, newline, event id; by instant."""
        return f"{self.tag}:recent:{field}"

    def once(self, name: str) -> str:
        """Marks that something was committed, against repeats."""
        return f"{self.tag}:once:{name}"

    def outbox(self, lane: str, tenant: str) -> str:
        """Stream of pushes to send."""
        return f"{self.tag}:outbox:{lane}:{tenant}"


class RedisStore:
    """See the module. ``client`` must not decode responses."""

    def __init__(
        self,
        client: Redis | RedisCluster,
        retention: Retention | None = None,
        *,
        replicas: int = 0,
        replica_timeout_ms: int = 1000,
        history_cap: int = 1_000_000,
    ) -> None:
        self._client = client
        self._retention = retention or Retention()
        self._replicas = replicas
        self._replica_timeout_ms = replica_timeout_ms
        self._has_waitaof: bool | None = None
        self._history_cap = history_cap
        self._commit = client.register_script(script_source("commit"))
        self._due = client.register_script(script_source("due"))
        self._reserve = client.register_script(script_source("reserve"))
        self._keys: dict[int, ShardKeys] = {}

    @property
    def is_cluster(self) -> bool:
        """Whether a commit must not name keys of other shards."""
        return isinstance(self._client, RedisCluster)

    def keys(self, shard: int) -> ShardKeys:
        """The key names of a shard."""
        keys = self._keys.get(shard)
        if keys is None:
            keys = self._keys[shard] = ShardKeys(shard)
        return keys

    async def read(self, wanted: Sequence[tuple[int, Sequence[bytes]]]) -> list[list[bytes | None]]:
        """The records of fields by shard, in order; one round trip."""
        commands = [(b"HMGET", self.keys(s).state.encode(), *fields) for s, fields in wanted]
        if isinstance(self._client, RedisCluster):
            calls = [self._client.hmget(name, fields) for _, name, *fields in commands]
            found = await self._guarded(asyncio.gather(*calls))
        else:
            found = await self._guarded(self._exchange(self._client, commands))
        return list(found)

    async def commit(self, commits: Sequence[ShardCommit], now: int) -> list[Committed]:
        """Write the effects; see the contract in ``triggers.store``. One round trip."""
        calls = [
            _CommitCall(self.keys(shard), self._retention, self._history_cap, now, quiet, devices)
            for shard, quiet, devices in commits
        ]
        if isinstance(self._client, RedisCluster):
            scripts = [self._commit(keys=call.keys, args=call.args) for call in calls]
            replies = await self._guarded(asyncio.gather(*scripts))
        else:
            replies = await self._guarded(self._run_all(self._client, calls))
        return [_committed(reply) for reply in replies]

    async def with_due(self, shards: Sequence[int], now: int) -> list[int]:
        """Those of the shards that have a due timer: one round trip, so that waiting is cheap."""
        pipe: Any = self._client.pipeline(transaction=False)
        for shard in shards:
            pipe.zcount(self.keys(shard).timers, "-inf", now)
        counts = await pipe.execute()
        return [shard for shard, count in zip(shards, counts, strict=True) if count]

    async def due(
        self, shard: int, now: int, limit: int, lease_ms: int
    ) -> list[tuple[bytes, bytes, int]]:
        """Claim due timers until ``now + lease_ms``: (field, record, due at), earliest first."""
        keys = self.keys(shard)
        reply = await self._run(
            self._due, [keys.timers, keys.state], [now, min(limit, 4000), now + lease_ms]
        )
        return list(zip(reply[0], reply[1], map(int, reply[2]), strict=True))

    async def reserve(self, push_id: str, spends: Sequence[Spend], now: int) -> Result | None:
        """Take budgets at dispatch; they may lie on several shards of a cluster.

        On a cluster each shard's budgets are taken apart, in order; a refusal by a later shard
        leaves those of an earlier one taken (the safe direction, and again the same for this push).
        """
        groups: dict[str, list[Spend]] = {}
        for spend in spends:
            tag = spend.key.partition("}")[0] if self.is_cluster else ""
            groups.setdefault(tag, []).append(spend)
        for group in groups.values():
            budgets = msgspec.msgpack.encode(
                [[budget_key(s), s.limit, s.window_ms, s.refused.value] for s in group]
            )
            keys = [budget_key(s) for s in group]
            reply = await self._run(self._reserve, keys, [push_id, budgets, now])
            if reply:
                return Result(reply.decode())
        return None

    async def _run(self, script: AsyncScript, keys: list[str], args: list[Any]) -> Any:
        return await self._guarded(script(keys=keys, args=args))

    async def _guarded(self, call: Awaitable[Any]) -> Any:
        try:
            return await call
        except exceptions.RedisError as error:
            raise StoreUnavailableError(str(error)) from error

    async def _run_all(self, client: Redis, calls: Sequence["_CommitCall"]) -> list[Any]:
        sha = self._commit.sha
        commands = [(b"EVALSHA", sha, len(c.keys), *c.keys, *c.args) for c in calls]
        if self._replicas:
            # On the connection of the writes, for these alone are waited for.
            commands.append(await self._wait_command(client))
        try:
            replies = await self._exchange(client, commands)
        except exceptions.NoScriptError:
            # Redis was restarted; it knew none of the calls, so none of them happened.
            await client.script_load(self._commit.script)
            replies = await self._exchange(client, commands)
        if self._replicas:
            self._check_replicas(replies.pop())
        return replies

    async def _exchange(self, client: Redis, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The replies to these commands, sent together.

        redis-py packs each argument in Python; hiredis packs a thousand in the time of twenty.
        """
        pool = client.connection_pool
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            packed = b"".join([hiredis.pack_command(command) for command in commands])
            await connection.send_packed_command(packed)
            replies = [await _reply(connection) for _ in commands]
        except BaseException:
            # Replies may be left on the wire: this connection must not be used again.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    async def _wait_command(self, client: Any) -> tuple[Any, ...]:
        """WAITAOF where the server has it (7.2), else WAIT."""
        if self._has_waitaof is None:
            version = str((await client.info("server"))["redis_version"]).split(".")
            self._has_waitaof = (int(version[0]), int(version[1])) >= (7, 2)
        local = (1,) if self._has_waitaof else ()
        name = b"WAITAOF" if self._has_waitaof else b"WAIT"
        return (name, *local, self._replicas, self._replica_timeout_ms)

    def _check_replicas(self, reply: Any) -> None:
        local, replicas = reply if isinstance(reply, list) else (1, reply)
        if local < 1 or replicas < self._replicas:
            raise StoreUnavailableError(
                f"{replicas} of {self._replicas} replicas confirmed the write in "
                f"{self._replica_timeout_ms} ms"
            )


async def _reply(connection: Any) -> Any:
    """One reply; an error reply is a value, so that the replies behind it are read, too."""
    try:
        return await connection.read_response()
    except exceptions.ResponseError as error:
        return error


def _committed(reply: Sequence[Any]) -> Committed:
    quiet_conflicts, conflicts, ids, results = reply
    refused = {
        push_id.decode(): Result(result.decode())
        for push_id, result in zip(ids, results, strict=True)
    }
    return Committed(quiet_conflicts, conflicts, refused)


class _CommitCall:
    """Builds the keys and arguments of one call of ``commit.lua``."""

    def __init__(
        self,
        shard_keys: ShardKeys,
        retention: Retention,
        history_cap: int,
        now: int,
        quiet: QuietCommit,
        devices: Sequence[DeviceCommit],
    ) -> None:
        self._shard = shard_keys
        self._history_cap = history_cap
        self.keys: list[str] = [
            shard_keys.state,
            shard_keys.timers,
            shard_keys.active,
            shard_keys.delayed,
            shard_keys.delayed_body,
        ]
        self.args: list[Any] = [
            now,
            retention.events_cap,
            retention.decisions_cap,
            retention.trail_cap,
            retention.trail_lifetime_ms,
            run(quiet.fields),
            run(quiet.olds),
            run(quiet.news),
            len(quiet.fields),
            b"",
        ]
        if devices:
            # Their strings become further arguments while they are listed.
            listed = [self._device(device) for device in devices]
            self.args[9] = msgspec.msgpack.encode(listed)

    def _device(self, device: DeviceCommit) -> list[Any]:
        field = device.field.decode()
        events = self._key(self._shard.events(device.tenant))
        decisions = self._key(self._shard.decisions(device.tenant))
        trail = self._key(self._shard.trail(field))
        extras = []
        if device.history is not None:
            history = self._key(self._shard.history(device.tenant))
            extras.append([history, "h", self._argument(device.history), self._history_cap])
        visits = self._key(self._shard.visits(field)) if device.visits else ""
        return [
            field,
            self._argument(device.old or b""),
            0 if device.once is not None else self._argument(device.new),
            -1 if device.due_at is None else device.due_at,
            events,
            decisions,
            trail,
            [self._argument(event) for event in device.events],
            [self._argument(decision) for decision in device.decisions],
            [self._push(push) for push in device.pushes],
            [[visits, zone_id, VISITS_LIFETIME_MS] for zone_id in device.visits],
            extras,
            [self._key(self._shard.once(device.once)), ONCE_LIFETIME_MS] if device.once else "",
            self._told(field, device.told) if device.told else "",
        ]

    def _told(self, field: str, told: Told) -> list[Any]:
        key = self._key(self._shard.recent(field))
        return [key, f"{told.name}\n{told.event_id}", told.at, TOLD_CAP, TOLD_LIFETIME_MS]

    def _push(self, push: PushCommit) -> list[Any]:
        return [
            push.id,
            [
                [self._key(budget_key(s)), s.limit, s.window_ms, s.refused.value]
                for s in push.spends
            ],
            self._argument(push.accepted),
            {result.value: self._argument(text) for result, text in push.refusals.items()},
            self._key(self._shard.outbox(push.lane, push.tenant)),
            f"{push.lane}:{push.tenant}",
            self._argument(push.payload),
            push.not_before,
        ]

    def _key(self, key: str) -> str:
        self.keys.append(key)
        return key

    def _argument(self, value: bytes) -> int:
        self.args.append(value)
        return len(self.args)


def budget_key(spend: Spend) -> str:
    """The key of a budget; its form (see ``lua/spend.lua``) is in it, for a limit may be edited."""
    form = "one" if spend.limit == 1 else "few" if spend.limit <= PLAIN_COUNTER_FROM else "many"
    return f"{spend.key}:{form}"


def run(strings: Sequence[bytes | None]) -> bytes:
    """Strings in a row, each with its length before it (16 bits, little endian); None is empty."""
    present = [string or b"" for string in strings]
    lengths = set(map(len, present))
    if len(lengths) == 1:
        length = _LENGTHS[lengths.pop()]
        return length + length.join(present)
    return b"".join([_LENGTHS[len(string)] + string for string in present])


_LENGTHS = [pack("<H", length) for length in range(65_536)]
