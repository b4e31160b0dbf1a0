"""Fixtures shared by all packages: a real, private Redis."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_py

from gateway.private_redis import PrivateRedis


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """URL of a private Redis that lives as long as the test session."""
    with tempfile.TemporaryDirectory(prefix="gw-redis-") as folder:
        server = PrivateRedis(Path(folder), durability="everysec")
        yield server.start()
        server.stop()


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis_py.Redis]:
    """A synchronous client on an empty database (scripts and streams included)."""
    client = redis_py.Redis.from_url(redis_url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def clean_redis_url(redis_url: str) -> str:
    """The URL of the session's Redis, emptied for this test."""
    client = redis_py.Redis.from_url(redis_url)
    client.flushall()
    client.close()
    return redis_url
