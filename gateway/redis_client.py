"""Connections to Redis: one place that knows URLs, timeouts and retries.

URLs: ``redis://``, ``rediss://``, ``unix://``, ``redis+sentinel://[user:password@]host:port,host:port/name``
and ``redis+cluster://host:port``. Answers are bytes.
"""

from typing import cast
from urllib.parse import urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ExponentialWithJitterBackoff

from gateway.config import ConfigError

SENTINEL_PORT = 26379


def open_redis(url: str, timeout_s: float = 10.0, max_connections: int = 256) -> Redis:
    """A client for the URL; nothing is connected yet.

    A lost connection is retried twice within about 0.2 s, then the error is the caller's: an answer
    503 in time is worth more to a phone than a late one.

    Raises:
        ConfigError: the URL has no known form.
    """
    scheme = urlsplit(url).scheme
    if scheme == "redis+sentinel":
        return _open_sentinel(url, timeout_s, max_connections)
    if scheme == "redis+cluster":
        cluster = RedisCluster.from_url(
            url.replace("redis+cluster", "redis", 1),
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
        )
        # RedisCluster has the commands of Redis, but shares no type with it.
        return cast(Redis, cluster)
    if scheme not in ("redis", "rediss", "unix"):
        raise ConfigError(
            f"redis_url has the unknown scheme {scheme!r}. Use redis://, rediss:// or unix://."
        )
    return Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=min(timeout_s, 5.0),
        retry=_retry(),
        max_connections=max_connections,
        health_check_interval=30,
    )


def _open_sentinel(url: str, timeout_s: float, max_connections: int) -> Redis:
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    name = parts.path.strip("/")
    if not hosts or not name:
        raise ConfigError(
            "redis_url: write redis+sentinel://host:26379,host:26379/name-of-the-primary."
        )
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        [_host_and_port(host) for host in hosts.split(",")],
        socket_timeout=timeout_s,
    )
    return cast(
        Redis,
        sentinel.master_for(
            name,
            username=user or None,
            password=password or None,
            socket_timeout=timeout_s,
            retry=_retry(),
            max_connections=max_connections,
        ),
    )


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return (host, int(port)) if host and port.isdigit() else (text, SENTINEL_PORT)


def _retry() -> Retry:
    return Retry(ExponentialWithJitterBackoff(base=0.02, cap=0.1), 2)
