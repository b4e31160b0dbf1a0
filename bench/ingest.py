"""Pings over HTTP: the profiles, the knee, and what a quiet device costs in Redis."""

from pathlib import Path
from typing import Any, NamedTuple

from bench.bare import RECORD_BYTES, SHARDS, bare_handler, plain_redis
from bench.budgets import Found, Row
from bench.generator import Seen, Setup
from bench.load import Knee, Load, find_knee
from bench.machine import cpu_s
from bench.rig import Rig
from bench.traffic import Format
from bench.worlds import WORLDS

WARM_UP_S = 20.0
WARM_UP_LAPS = 2  # from the third lap on, as many devices leave as enter
KNEE_SHARE = 0.7  # of the knee: the rate at which latency is promised
QUIET_DEVICES = 40_000
RECORD = bytes(RECORD_BYTES)


class Profile(NamedTuple):
    """One kind of load."""

    name: str
    world: str
    size: int
    devices: int
    format: Format = "json"
    durability: str = "fsync"
    connections: int = 32
    needs_full: bool = False


PROFILES = (
    Profile("city-100", "city", 100, 50_000),
    Profile("city-1", "city", 1, 10_000, connections=128),
    Profile("city-10", "city", 10, 20_000, connections=64),
    Profile("city-1000", "city", 1000, 50_000, connections=8),
    Profile("city-100-msgpack", "city", 100, 50_000, format="msgpack"),
    Profile("city-100-everysec", "city", 100, 50_000, durability="everysec"),
    Profile("overlap-100", "overlap", 100, 2_000),
    Profile("store-100", "store", 100, 2_000),
    Profile("million-100", "million", 100, 50_000, needs_full=True),
)
PROFILE_NAMES = tuple(profile.name for profile in PROFILES)


class Measured(NamedTuple):
    """A profile and what came of it."""

    profile: Profile
    knee: Knee
    paced: Seen  # at 70 % of the knee
    events: int  # during the closed loop
    gateway_us: float  # processor time a ping in the closed loop
    redis_us: float


def chosen_profiles(names: tuple[str, ...], *, full: bool) -> list[Profile]:
    """The profiles asked for; all that this run can afford if none is.

    Raises:
        ValueError: a name is not that of a profile.
    """
    unknown = sorted(set(names) - set(PROFILE_NAMES))
    if unknown:
        raise ValueError(
            f"no profile is named {unknown[0]!r}; there are {', '.join(PROFILE_NAMES)}"
        )
    if names:
        return [profile for profile in PROFILES if profile.name in names]
    return [profile for profile in PROFILES if full or not profile.needs_full]


def prepare_world(rig: Rig, name: str) -> None:
    """Import the world's geofences once."""
    if name not in rig.keys:
        rig.key(name)
        world = WORLDS[name](1_000)
        if len(world.radius_m):
            rig.import_zones(name, world.features())


def measure(rig: Rig, profile: Profile, seconds: float, *, search: bool) -> Measured:
    """Warm up, find the knee (or take the closed loop's rate for it), then pace at 70 % of it."""
    prepare_world(rig, profile.world)
    setup = Setup(
        rig.port,
        rig.key(profile.world),
        profile.world,
        profile.devices,
        profile.size,
        profile.format,
        profile.connections,
    )
    rig.set_durability(profile.durability)
    try:
        with Load(setup) as load:
            for _ in range(WARM_UP_LAPS):
                load.lap(WARM_UP_S)
            watch = Watch(rig)
            most = load.fire(seconds)
            events, gateway_us, redis_us = watch.spent(most)
            knee = Knee(most.answered / most.seconds, most, most, is_sustained=False)
            if search:
                knee = find_knee(lambda s, rate: load.fire(s, rate) if rate else most, seconds)
            paced = load.fire(seconds, KNEE_SHARE * knee.rate)
    finally:
        rig.set_durability("fsync")
    return Measured(profile, knee, paced, events, gateway_us, redis_us)


class Watch:
    """What the gateway and Redis spend between two instants."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._before = self._now()

    def spent(self, seen: Seen) -> tuple[int, float, float]:
        """Events, and microseconds of processor time a ping in the gateway and in Redis."""
        events, gateway_s, redis_s = (
            now - before for now, before in zip(self._now(), self._before, strict=True)
        )
        pings = max(seen.pings, 1)
        return round(events), gateway_s / pings * 1e6, redis_s / pings * 1e6

    def _now(self) -> tuple[float, float, float]:
        rig = self._rig
        return (
            rig.counter("gateway_events_total"),
            sum(map(cpu_s, rig.serving_pids)),
            cpu_s(rig.redis_pid),
        )


def batched(rig: Rig, measured: Measured, seconds: float) -> Found:
    """The budget of pings in batches of 100, and plain Redis beside it."""
    seen = measured.knee.seen
    ceiling = plain_redis(rig.redis, min(seconds, 3.0))
    return Found(seen.pings / seen.seconds, ceiling, _note(measured))


def one_by_one(measured: Measured, folder: Path, seconds: float) -> dict[str, Found]:
    """The two budgets of one-ping requests, and the bare handlers beside them."""
    paced_rate = KNEE_SHARE * measured.knee.rate
    bare = bare_handler(folder, measured.profile.connections, min(seconds, 3.0), paced_rate)
    seen = measured.knee.seen
    return {
        "one_ping_requests": Found(
            seen.answered / seen.seconds, bare.litestar_per_s, _note(measured)
        ),
        "one_ping_p99": Found(measured.paced.p99_ms, bare.litestar.p99_ms),
    }


def _note(measured: Measured) -> str:
    knee = measured.knee
    said = (
        f"closed loop {knee.most.answered / knee.most.seconds:,.0f} requests/s; "
        f"generator at {knee.most.cpu:.0%} of a core"
    )
    if not knee.is_sustained:
        said += "; no rate that was tried was sustained, this is what came through"
    return said


def quiet_device(rig: Rig) -> Found:
    """Bytes that Redis uses more for each device that pings from nowhere in particular."""
    prepare_world(rig, "quiet")
    setup = Setup(rig.port, rig.key("quiet"), "quiet", QUIET_DEVICES, 100, connections=8)
    with Load(setup) as load:
        before = used_bytes(rig)
        load.lap()
    value = (used_bytes(rig) - before) / QUIET_DEVICES
    name_bytes = len(f"quiet/{WORLDS['quiet'](QUIET_DEVICES).device_ids[0]}")
    return Found(value, plain_hash_bytes(rig), f"names (tenant/device) of {name_bytes} bytes")


def plain_hash_bytes(rig: Rig) -> float:
    """Bytes an entry of the same names and sizes in four hashes that do nothing else."""
    before = used_bytes(rig)
    keys = [f"bench:hash:{number}" for number in range(SHARDS)]
    fields = [f"quiet/{device_id}" for device_id in WORLDS["quiet"](QUIET_DEVICES).device_ids]
    for shard, key in enumerate(keys):
        names = fields[shard::SHARDS]
        for start in range(0, len(names), 1000):
            rig.redis.hset(key, mapping=dict.fromkeys(names[start : start + 1000], RECORD))
    used = used_bytes(rig) - before
    rig.redis.delete(*keys)
    return used / QUIET_DEVICES


def used_bytes(rig: Rig) -> int:
    """Memory that Redis uses for data: without the buffers of clients and of the log."""
    info: dict[str, Any] = rig.redis.info("memory")
    overhead = int(info["mem_clients_normal"]) + int(info["mem_aof_buffer"])
    return int(info["used_memory"]) - overhead


def _trouble(most: Seen, paced: Seen) -> str:
    """Why the figures of a profile are not what they seem; empty if they are."""
    said = []
    if most.error or paced.error:
        bad = most.refused + most.failed + paced.refused + paced.failed
        said.append(f"{bad} requests not answered 202, the first: {most.error or paced.error}")
    if most.is_saturated or paced.is_saturated:
        said.append("the load generator itself was the limit")
    return "; ".join(said)


def row_of(measured: Measured) -> Row:
    """A profile as a row of the report."""
    profile, knee, paced = measured.profile, measured.knee, measured.paced
    most = knee.most
    return {
        "profile": profile.name,
        "pings_a_request": profile.size,
        "format": profile.format,
        "durability": profile.durability,
        "closed_loop_pings_per_s": round(most.pings / most.seconds),
        "events_per_s": round(measured.events / most.seconds),
        "gateway_us_a_ping": round(measured.gateway_us, 1),
        "redis_us_a_ping": round(measured.redis_us, 1),
        "knee_pings_per_s": round(knee.rate * profile.size) if knee.is_sustained else None,
        "paced_pings_per_s": round(paced.pings / paced.seconds),
        "p50_ms": round(paced.p50_ms, 1),
        "p99_ms": round(paced.p99_ms, 1),
        "refused": most.refused + paced.refused,
        "failed": most.failed + paced.failed,
        "generator_cpu": round(max(most.cpu, paced.cpu), 2),
        "generator_lag_p99_ms": round(paced.lag_p99_ms, 1),
        "note": _trouble(most, paced),
    }
