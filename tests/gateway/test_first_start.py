"""What is made at the first start, and what must fit at every later one."""

import asyncio
import base64
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from gateway.config import ConfigError, Settings
from gateway.data_dir import DataDirLock
from gateway.egress import network_policy
from gateway.installation import KEY, open_installation
from gateway.master_key import load_master_keys
from gateway.redis_client import open_redis

KEYS = [base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2)]


def with_redis(url: str, work: Callable[[redis.asyncio.Redis], Awaitable[None]]) -> None:
    async def run() -> None:
        client = open_redis(url)
        try:
            await work(client)
        finally:
            await client.aclose()

    asyncio.run(run())


def test_an_installation_keeps_its_shards(clean_redis_url: str) -> None:
    """Made once; another number of shards, or a newer format, is refused with what to set."""

    async def work(client: redis.asyncio.Redis) -> None:
        first, second = await asyncio.gather(
            open_installation(client, 4), open_installation(client, 4)
        )
        assert first == second
        with pytest.raises(ConfigError, match="Set shards to 4"):
            await open_installation(client, 8)
        await client.hset(KEY, "format", "2")
        with pytest.raises(ConfigError, match="newer gateway"):
            await open_installation(client, 4)

    with_redis(clean_redis_url, work)


def test_a_master_key_is_made_once(tmp_path: Path) -> None:
    """32 bytes, readable by nobody else, the same ever after."""
    settings = Settings(data_dir=tmp_path / "new")
    (first,) = load_master_keys(settings)
    assert [first] == load_master_keys(settings)
    path = tmp_path / "new" / "master.key"
    assert (32, 0o600) == (len(first), stat.S_IMODE(path.stat().st_mode))
    assert [path] == list(path.parent.iterdir())


def test_master_keys_may_be_given(tmp_path: Path) -> None:
    """By the environment or a file, several for rotation, the current one first."""
    expected = [bytes([1]) * 32, bytes([2]) * 32]
    assert expected == load_master_keys(Settings(master_key=tuple(KEYS)))
    path = tmp_path / "keys"
    path.write_text("\n".join(KEYS) + "\n", "ascii")
    path.chmod(0o600)
    assert expected == load_master_keys(Settings(master_key_file=str(path)))


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        (KEYS[0], 0o644, "chmod 600"),
        ("short", 0o600, "32 bytes"),
        ("", 0o600, "empty"),
        (None, 0o600, "cannot be read"),
    ],
)
def test_wrong_master_keys_are_refused(
    tmp_path: Path, text: str | None, mode: int, why: str
) -> None:
    """Nothing is sealed with a key that others know or that is no key."""
    path = tmp_path / "keys"
    if text is not None:
        path.write_text(text, "ascii")
        path.chmod(mode)
    with pytest.raises(ConfigError, match=why):
        load_master_keys(Settings(master_key_file=str(path)))


def test_a_data_directory_has_one_owner(tmp_path: Path) -> None:
    """The second is told who has it; after the first has gone, it is free."""
    with DataDirLock(tmp_path / "d"):
        with pytest.raises(ConfigError, match=r"in use by another gateway \(process \d+\)"):
            DataDirLock(tmp_path / "d", wait_s=0.05).__enter__()
        with DataDirLock(tmp_path / "other"):
            pass
    with DataDirLock(tmp_path / "d"):
        pass


@pytest.mark.parametrize(
    "url", ["http://x", "redis+sentinel://host", "redis+sentinel:///name", "localhost:6379"]
)
def test_wrong_redis_urls_are_refused(url: str) -> None:
    """The message names the forms that are known."""
    with pytest.raises(ConfigError, match="redis"):
        open_redis(url)


def test_sentinel_urls_name_hosts_and_primary() -> None:
    """Each host with its port, or the usual one."""
    client: Any = open_redis("redis+sentinel://me:pw@one:1,two/main")
    sentinels = client.connection_pool.sentinel_manager.sentinels
    found = [(s.connection_pool.connection_kwargs["host"],
              s.connection_pool.connection_kwargs["port"]) for s in sentinels]  # fmt: skip
    assert [("one", 1), ("two", 26379)] == found
    assert "main" == client.connection_pool.service_name
    assert "pw" == client.connection_pool.connection_kwargs["password"]


def test_private_hosts_are_names_or_networks() -> None:
    """Nothing private is reachable unless it is named."""
    policy = network_policy(
        Settings(allowed_private_hosts=("hooks.lan", "10.0.0.0/8", "192.168.1.7"))
    )
    assert frozenset({"hooks.lan"}) == policy.allow_hosts
    assert ("10.0.0.0/8", "192.168.1.7") == policy.allow_networks
    assert frozenset() == network_policy(Settings()).allow_hosts
