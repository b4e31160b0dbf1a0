"""Provider tokens, shared: one APNs JWT a key, one OAuth token a service account.

Apple counts new provider tokens per team and refuses more than one in 20 minutes, so a token made
by one process is used by all. A token is refreshed ahead of its end by one process (a lock with a
lifetime) while the others go on with the one they have. Reads on the hot path are one dictionary
look-up.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from senders.model import Outcome
from senders.vault import CannotOpen, Vault

if TYPE_CHECKING:
    from redis.asyncio import Redis, RedisCluster

LOCK_MS = 20_000
_POLL_S = 0.05
_UNLOCK = (
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
)

Mint = Callable[[], Awaitable["Token"]]


class Token(msgspec.Struct, frozen=True, array_like=True):
    """A token and its times (epoch seconds)."""

    text: str
    issued_at_s: int
    refresh_at_s: int
    expires_at_s: int


class MintError(Exception):
    """No token could be made; ``outcome`` is what that means for the message."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(str(outcome))
        self.outcome = outcome


class TokenCache(Protocol):
    """Where senders find the current token of a name."""

    async def get(self, name: str, mint: Mint) -> Token:
        """The current token; made by ``mint`` if there is none. Errors of ``mint`` pass through."""
        ...

    async def renew(self, name: str, refused: Token, mint: Mint) -> Token:
        """A token other than ``refused``, which the provider does not take any longer."""
        ...


class MemoryTokenCache:
    """Tokens of one process; one ``mint`` at a time for each name."""

    def __init__(self, clock_s: Callable[[], float] = time.time) -> None:
        self._clock_s = clock_s
        self._tokens: dict[str, Token] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def get(self, name: str, mint: Mint) -> Token:
        """See ``TokenCache``."""
        token = self._tokens.get(name)
        if token is not None and self._is_fresh(token):
            return token
        lock = self._locks.setdefault(name, asyncio.Lock())
        if token is not None and lock.locked() and self._clock_s() < token.expires_at_s:
            return token  # somebody refreshes ahead of time; this one is still good
        async with lock:
            token = self._tokens.get(name)
            if token is None or not self._is_fresh(token):
                token = self._tokens[name] = await self._obtain(name, "", mint)
            return token

    async def renew(self, name: str, refused: Token, mint: Mint) -> Token:
        """See ``TokenCache``."""
        async with self._locks.setdefault(name, asyncio.Lock()):
            token = self._tokens.get(name)
            if token is None or token.text == refused.text:
                token = self._tokens[name] = await self._obtain(name, refused.text, mint)
            return token

    def _is_fresh(self, token: Token) -> bool:
        return self._clock_s() < token.refresh_at_s

    async def _obtain(self, name: str, refused: str, mint: Mint) -> Token:
        return await mint()


class RedisTokenCache(MemoryTokenCache):
    """Tokens of all processes, sealed in Redis; refreshed ahead of time by one of them."""

    def __init__(
        self,
        client: "Redis | RedisCluster",
        vault: Vault,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        """Share through ``client``, sealed by ``vault``."""
        super().__init__(clock_s)
        self._client: Any = client
        self._vault = vault

    async def _obtain(self, name: str, refused: str, mint: Mint) -> Token:
        """The shared token if it serves, else a new one, made by whoever holds the lock."""
        key, mark = token_key(name), secrets.token_hex(8)
        while True:
            is_owner = await self._client.set(f"{key}:lock", mark, nx=True, px=LOCK_MS)
            try:
                shared = await self._read(key)
                if shared is not None and shared.text != refused:
                    if self._is_fresh(shared):
                        return shared
                    if not is_owner and self._clock_s() < shared.expires_at_s:
                        return shared
                if is_owner:
                    token = await mint()
                    await self._write(key, token)
                    return token
            finally:
                if is_owner:
                    await self._client.eval(_UNLOCK, 1, f"{key}:lock", mark)
            await asyncio.sleep(_POLL_S)

    async def _read(self, key: str) -> Token | None:
        sealed = await self._client.get(key)
        if sealed is None:
            return None
        try:
            return msgspec.msgpack.decode(self._vault.open(sealed, key), type=Token)
        except (CannotOpen, msgspec.DecodeError):
            return None  # another master key: as good as none

    async def _write(self, key: str, token: Token) -> None:
        sealed = self._vault.seal(msgspec.msgpack.encode(token), key)
        lifetime_s = max(1, int(token.expires_at_s - self._clock_s()))
        await self._client.set(key, sealed, ex=lifetime_s)


def token_key(name: str) -> str:
    """The Redis key of a shared token (one slot with its lock)."""
    return f"{{c}}:token:{name}"
