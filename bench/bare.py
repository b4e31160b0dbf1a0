"""What the parts can do without the gateway: the ceilings of the same run."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import hiredis
import numpy as np
import redis
from litestar import Litestar, Request, Response, post

from bench.generator import Seen, Setup
from bench.load import Load
from bench.rig import served

SERVER = """
import sys
from granian.constants import HTTPModes, Interfaces, Loops
from granian.server.mp import MPServer
MPServer("bench.bare:handler", address="127.0.0.1", port=int(sys.argv[1]),
    interface=Interfaces.ASGI, http=HTTPModes.auto, loop=Loops.uvloop, websockets=False,
    backlog=4096, backpressure=2048, log_enabled=False).serve()
"""
ANSWER = b'{"accepted":1,"duplicates":0,"late":0,"rejected":[]}'
RECORD_BYTES = 60
SHARDS = 4


class Bare(NamedTuple):
    """A bare handler under the gateway's own server, one process."""

    litestar_per_s: float
    litestar: Seen  # at the rate asked for


@post("/v1/pings", status_code=202)
async def take(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Reads the body and answers."""
    await request.body()
    return Response(ANSWER, status_code=202, media_type="application/json")


handler = Litestar([take], openapi_config=None)


def bare_handler(folder: Path, connections: int, seconds: float, rate: float) -> Bare:
    """One-ping requests that nobody looks at: the most there is, and latency at ``rate``."""
    with served(SERVER, folder, "bare-handler") as port:
        setup = Setup(port, "none", "quiet", 1_000, size=1, connections=connections)
        with Load(setup) as load:
            load.lap()
            seen = load.fire(seconds)
            paced = load.fire(seconds, rate)
    return Bare(seen.answered / seen.seconds, paced)


def plain_redis(client: redis.Redis, seconds: float, batch: int = 1_000) -> float:
    """Pings a second of one client that reads and writes their records, and does nothing else.

    The same bytes as the gateway's (60 bytes under a name of 17), on the same server with the same
    durability; batches go to four hashes in turn.
    """
    rng = np.random.default_rng(3)
    keys = [b"bench:plain:%d" % shard for shard in range(SHARDS)]
    fields = [b"bench/city-%06d" % number for number in range(batch * SHARDS)]
    records = [rng.bytes(RECORD_BYTES) for _ in fields]
    commands: list[tuple[Any, Any]] = []
    for shard, key in enumerate(keys):
        mine = slice(shard * batch, (shard + 1) * batch)
        pairs = [part for pair in zip(fields[mine], records[mine], strict=True) for part in pair]
        commands.append(((b"HMGET", key, *fields[mine]), (b"HSET", key, *pairs)))
    pool: Any = client.connection_pool
    connection = pool.get_connection()
    rounds, started = 0, time.perf_counter()
    try:
        while time.perf_counter() - started < seconds:
            for command in commands[rounds % SHARDS]:
                connection.send_packed_command([hiredis.pack_command(command)])
                connection.read_response()
            rounds += 1
        return rounds * batch / (time.perf_counter() - started)
    finally:
        pool.release(connection)
        client.delete(*keys)
