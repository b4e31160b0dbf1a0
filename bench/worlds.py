"""The worlds of the benchmark: where the geofences are, and how the devices move among them.

A device moves through ``LAPS`` places and begins again; each place differs from the one before by
a walk, so that no fix looks impossible at any rate of pings.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

LAPS = 4
METRES_PER_DEGREE = 111_195.0
WALKERS = 0.02  # of the devices: they enter once and leave once in four pings
DWELLERS = 0.02  # of the devices: inside a zone all the time
OFFER_EVERY = 2  # each n-th geofence has the tag that the trigger listens to
OFFER = "offer"


class World(NamedTuple):
    """Circles, and the places of each device by lap."""

    name: str
    zone_lat: F64
    zone_lon: F64
    radius_m: F64
    lat: F64  # (LAPS, devices)
    lon: F64
    offered: tuple[int, ...]  # devices that come to zones with an offer

    @property
    def device_ids(self) -> list[str]:
        """The names of the devices; other ones in a world of another size, as their places are."""
        count = self.lat.shape[1]
        return [f"{number:06d}.{count:x}" for number in range(count)]

    def features(self) -> Iterator[bytes]:
        """The geofences as GeoJSON text, one a line."""
        circles = zip(
            self.zone_lat.tolist(), self.zone_lon.tolist(), self.radius_m.tolist(), strict=True
        )
        for number, (lat, lon, radius_m) in enumerate(circles):
            yield msgspec.json.encode(feature(number, lat, lon, radius_m)) + b"\n"


def feature(number: int, lat: float, lon: float, radius_m: float) -> dict[str, Any]:
    """One geofence as the API takes it."""
    tags = ["store", OFFER] if number % OFFER_EVERY == 0 else ["store"]
    return {
        "type": "Feature",
        "id": f"zone-{number}",
        "geometry": {"type": "Point", "coordinates": [round(lon, 6), round(lat, 6)]},
        "properties": {"radius_m": round(radius_m, 1), "name": f"Store {number}", "tags": tags},
    }


def city(devices: int, zones: int = 10_000, name: str = "city") -> World:
    """Retail: shops of 50 to 150 m over a region; 1 % of the pings cause an event.

    Two in a hundred devices walk into a shop and out again (two events in four pings), two stay in
    one, the others are on their way somewhere.
    """
    rng = np.random.default_rng(21)
    half = 1.5 * (zones / 10_000) ** 0.5  # degrees; the same density whatever the number
    zone_lat, zone_lon = rng.uniform(0, 2 * half, (2, zones)) - half
    zone_lat, zone_lon = zone_lat + 30.0, zone_lon * 1.4
    radius_m = rng.uniform(50, 150, zones)
    lat = np.tile(rng.uniform(-half, half, devices) + 30.0, (LAPS, 1))
    lon = np.tile(rng.uniform(-half, half, devices) * 1.4, (LAPS, 1))
    chosen = rng.permutation(devices)
    walkers = chosen[: int(devices * WALKERS)]
    dwellers = chosen[len(walkers) : len(walkers) + int(devices * DWELLERS)]
    visited = rng.integers(0, zones, len(walkers) + len(dwellers))
    edge_m = np.array([-20.0, -22.0, 35.0, 38.0])  # in, in, out, out; of the edge
    phase = rng.integers(0, LAPS, len(walkers))  # so that each lap has as many events
    for lap in range(LAPS):
        for who, where, from_edge_m in (
            (walkers, visited[: len(walkers)], edge_m[(lap + phase) % LAPS]),
            (dwellers, visited[len(walkers) :], -25.0 - lap),
        ):
            north_m = radius_m[where] + from_edge_m
            lat[lap, who] = zone_lat[where] + north_m / METRES_PER_DEGREE
            lon[lap, who] = zone_lon[where]
    is_offered = visited[: len(walkers)] % OFFER_EVERY == 0
    return World(name, zone_lat, zone_lon, radius_m, lat, lon, tuple(walkers[is_offered].tolist()))


def million(devices: int) -> World:
    """Retail with a million geofences."""
    return city(devices, 1_000_000, "million")


def overlap(devices: int) -> World:
    """23,000 circles of 5 km on 60 cities; every device is inside some of them and walks."""
    rng = np.random.default_rng(22)
    centre = np.column_stack((rng.uniform(28, 48, 60), rng.uniform(-120, -75, 60)))
    weight = 1 / np.arange(1, 61)

    def scattered(count: int) -> F64:
        home = centre[rng.choice(60, count, p=weight / weight.sum())]
        return np.asarray(home + rng.normal(0, 0.25, (count, 2)))

    zones, people = scattered(23_000), scattered(devices)
    lat, lon = walk(rng, people[:, 0], people[:, 1], 30.0)
    radius_m = np.full(len(zones), 5_000.0)
    return World("overlap", zones[:, 0], zones[:, 1], radius_m, lat, lon, ())


def store(devices: int) -> World:
    """A crowd in one mall: every device is inside the mall, a wing and often a shop."""
    rng = np.random.default_rng(23)
    radius_m = np.concatenate(([500.0], np.full(6, 150.0), np.full(60, 25.0)))
    zone_lat = 48.137 + rng.normal(0, 60, len(radius_m)) / METRES_PER_DEGREE
    zone_lon = 11.575 + rng.normal(0, 60, len(radius_m)) / METRES_PER_DEGREE
    start = rng.normal(0, 60, (2, devices)) / METRES_PER_DEGREE
    lat, lon = walk(rng, 48.137 + start[0], 11.575 + start[1], 3.0)
    return World("store", zone_lat, zone_lon, radius_m, lat, lon, ())


def quiet(devices: int) -> World:
    """No geofence at all."""
    rng = np.random.default_rng(24)
    lat, lon = np.tile(rng.uniform(-60, 60, (2, 1, devices)), (1, LAPS, 1))
    none = np.empty(0)
    return World("quiet", none, none, none, lat, lon, ())


def walk(rng: np.random.Generator, lat: F64, lon: F64, step_m: float) -> tuple[F64, F64]:
    """The places of all laps around a start."""
    steps = rng.normal(0, step_m, (2, LAPS, len(lat))) / METRES_PER_DEGREE
    return lat + steps[0], lon + steps[1] / np.cos(np.radians(lat))


WORLDS: dict[str, Callable[[int], World]] = {
    "city": city,
    "overlap": overlap,
    "store": store,
    "quiet": quiet,
    "million": million,
}
