"""Which shard of Redis holds what.

All state of a device lives under one tag ``{s:NN}``, so that one script commits it atomically, on
Redis Cluster too. The shard is a stable hash of tenant and id; the number of shards is fixed at the
first start of an installation (it is stored in Redis, and a different setting is refused).
"""

from zlib import crc32

CONFIG_TAG = "{c}"
USER_MARK = "~"  # before a user's id: stands for a device where none was named
_MARKED = b"/" + USER_MARK.encode()


def shard_tag(shard: int) -> str:
    """The key tag of a shard, e.g. ``{s:03}``."""
    return f"{{s:{shard:02d}}}"


def subject_field(tenant: str, subject_id: str) -> bytes:
    """The name of a device or user inside its shard: ``tenant/id``. Tenants contain no slash."""
    return f"{tenant}/{subject_id}".encode()


def shard_of(field: bytes, shard_count: int) -> int:
    """The shard of a ``tenant/id`` field: CRC-32 modulo the shard count.

    What stands for a user lives where the user does.
    """
    return crc32(field.replace(_MARKED, b"/", 1)) % shard_count
