"""API keys: made, stored hashed, found by their public part.

Model: a key is ``tgw_<kid>_<secret><checksum>``. The prefix lets scanners recognise a leaked key,
the checksum (CRC-32 in base 62) lets us refuse a typing error without asking Redis, the kid names
the record, and of the secret (190 random bits) only its SHA-256 is stored: with that much entropy a
slow hash would protect nothing more. The key is shown once, when it is made.

Redis: hash ``{c}:keys`` kid -> msgpack ``KeyRecord``; hash ``{c}:keys:used`` kid -> epoch ms;
``{c}:keys:version`` counts changes, so that every process drops what it remembers.
"""

import hashlib
import re
import secrets
import string
import zlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast

import msgspec
from redis.asyncio import Redis

from gateway.sharding import CONFIG_TAG

KEYS_KEY = f"{CONFIG_TAG}:keys"
USED_KEY = f"{CONFIG_TAG}:keys:used"
VERSION_KEY = f"{CONFIG_TAG}:keys:version"

PREFIX = "tgw"
KID_LENGTH = 10
SECRET_LENGTH = 32
CHECKSUM_LENGTH = 6
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase

PLAIN_SCOPES = frozenset({"manage", "read", "ingest"})
_TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_RECEIVER_SCOPE = re.compile(r"receiver:[^\x00-\x1f\x7f,\s]{1,128}")
_KEY = re.compile(
    rf"{PREFIX}_([0-9A-Za-z]{{{KID_LENGTH}}})_([0-9A-Za-z]{{{SECRET_LENGTH}}})"
    rf"([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})"
)


class KeyRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is stored of a key."""

    tenant: str
    digest: bytes  # SHA-256 of the whole key
    scopes: tuple[str, ...]
    created_at: int
    name: str = ""
    expires_at: int = 0  # 0: never
    revoked_at: int = 0
    v: int = 1

    def is_active(self, now: int) -> bool:
        """Whether the key opens anything now."""
        return not self.revoked_at and not 0 < self.expires_at <= now


class StoredKey(NamedTuple):
    """A key's record with its name and last use (0: never used)."""

    id: str
    record: KeyRecord
    last_used_at: int


class MadeKey(NamedTuple):
    """A new key. ``text`` is never to be had again."""

    id: str
    text: str
    record: KeyRecord


def check_tenant(tenant: str) -> str:
    """The tenant's name, if it can be one.

    Raises:
        ValueError: it has other characters, or is too long.
    """
    if not _TENANT.fullmatch(tenant):
        raise ValueError(
            f"tenant {tenant!r} is no name: use 1 to 63 of a-z, 0-9, '-' and '_', and start with "
            "a letter or digit"
        )
    return tenant


def parse_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """The scopes in order, each once.

    Raises:
        ValueError: one is unknown, or there are none.
    """
    chosen = tuple(dict.fromkeys(scope.strip() for scope in scopes if scope.strip()))
    for scope in chosen:
        if scope not in PLAIN_SCOPES and not _RECEIVER_SCOPE.fullmatch(scope):
            raise ValueError(
                f"scope {scope!r} is unknown: use manage, read, ingest or receiver:<id>"
            )
    if not chosen:
        raise ValueError("a key needs at least one scope: manage, read, ingest or receiver:<id>")
    return chosen


def kid_of(text: str) -> str | None:
    """The kid of a well-formed key whose checksum is right; None for everything else."""
    match = _KEY.fullmatch(text)
    if match is None:
        return None
    kid, secret, checksum = match.groups()
    return kid if secrets.compare_digest(checksum, _checksum(kid, secret)) else None


def digest_of(text: str) -> bytes:
    """What is stored of a key instead of the key."""
    return hashlib.sha256(text.encode()).digest()


def new_key_text() -> str:
    """A new key from the system's random source."""
    kid = "".join(secrets.choice(ALPHABET) for _ in range(KID_LENGTH))
    secret = "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    return f"{PREFIX}_{kid}_{secret}{_checksum(kid, secret)}"


class KeyStore:
    """The API keys of all tenants. ``now`` is epoch milliseconds."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    async def create(
        self, tenant: str, scopes: Iterable[str], now: int, name: str = "", expires_at: int = 0
    ) -> MadeKey:
        """Make a key.

        Raises:
            ValueError: tenant or scopes are wrong, or it would be expired at once.
        """
        if 0 < expires_at <= now:
            raise ValueError("expires_at is in the past")
        text = new_key_text()
        kid = text.split("_")[1]
        record = KeyRecord(
            check_tenant(tenant), digest_of(text), parse_scopes(scopes), now, name, expires_at
        )
        await self._write({kid: record})
        return MadeKey(kid, text, record)

    async def get(self, kid: str) -> KeyRecord | None:
        """The record of a kid, active or not."""
        raw = cast(bytes | None, await self._client.hget(KEYS_KEY, kid))
        return msgspec.msgpack.decode(raw, type=KeyRecord) if raw else None

    async def list(self, tenant: str) -> list[StoredKey]:
        """The tenant's keys, oldest first, with revoked and expired ones."""
        found = await self._records()
        mine = {kid: record for kid, record in found.items() if record.tenant == tenant}
        used = await self._client.hmget(USED_KEY, list(mine)) if mine else []
        keys = [
            StoredKey(kid, record, int(at or 0))
            for (kid, record), at in zip(mine.items(), used, strict=True)
        ]
        return sorted(keys, key=lambda key: (key.record.created_at, key.id))

    async def rotate(self, tenant: str, kid: str, now: int, overlap_s: int) -> MadeKey | None:
        """A new key with the same rights; the old one works ``overlap_s`` longer.

        None if the tenant has no such active key.
        """
        old = await self.get(kid)
        if old is None or old.tenant != tenant or not old.is_active(now):
            return None
        made = await self.create(tenant, old.scopes, now, old.name, 0)
        ends_at = now + overlap_s * 1000
        if not 0 < old.expires_at <= ends_at:
            await self._write({kid: msgspec.structs.replace(old, expires_at=ends_at)})
        return made

    async def revoke(self, tenant: str, kid: str, now: int) -> bool:
        """End a key at once; False if the tenant has no such key."""
        record = await self.get(kid)
        if record is None or record.tenant != tenant:
            return False
        if not record.revoked_at:
            await self._write({kid: msgspec.structs.replace(record, revoked_at=now)})
        return True

    async def revoke_all(self, tenant: str, now: int) -> int:
        """End every key of a tenant; how many were still open."""
        open_keys = {
            kid: msgspec.structs.replace(record, revoked_at=now)
            for kid, record in (await self._records()).items()
            if record.tenant == tenant and not record.revoked_at
        }
        if open_keys:
            await self._write(open_keys)
        return len(open_keys)

    async def tenants(self) -> set[str]:
        """Every tenant that has or had a key."""
        return {record.tenant for record in (await self._records()).values()}

    async def version(self) -> int:
        """Changes with every change of any key."""
        return int(await self._client.get(VERSION_KEY) or 0)

    async def note_used(self, used_at: Mapping[str, int]) -> None:
        """Remember when keys were last used (in batches, not a request each)."""
        if used_at:
            await self._client.hset(USED_KEY, mapping={k: str(at) for k, at in used_at.items()})

    async def _records(self) -> dict[str, KeyRecord]:
        raw = cast(dict[bytes, bytes], await self._client.hgetall(KEYS_KEY))
        return {
            kid.decode(): msgspec.msgpack.decode(record, type=KeyRecord)
            for kid, record in raw.items()
        }

    async def _write(self, records: Mapping[str, KeyRecord]) -> None:
        pipe = self._client.pipeline(transaction=True)
        for kid, record in records.items():
            pipe.hset(KEYS_KEY, kid, msgspec.msgpack.encode(record))
        pipe.incr(VERSION_KEY)
        await pipe.execute()


def _checksum(kid: str, secret: str) -> str:
    number = zlib.crc32(f"{PREFIX}_{kid}_{secret}".encode())
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
