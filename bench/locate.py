"""How fast points find their zones: three worlds, next to an R-tree and shapely's STRtree.

Run ``python -m bench.locate`` (``--full`` adds a million zones and the cover curve).
"""

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from rtree import index as rtree_index

from geo.cells import cells_at
from geo.cover import cover
from geo.index import FenceIndex
from geo.measure import EARTH_RADIUS_M, arc_m, unit_vectors
from geo.model import F64, Circle, Polygons, Zone
from geo.table import tables
from geo.tree import disc_boxes

BATCH = 50_000
Row = dict[str, Any]
CITIES = 60


def run(*, quick: bool = True) -> list[Row]:
    """Rows of name, value, unit, budget, met, ceiling, ratio (None where there is none)."""
    rng = np.random.default_rng(11)
    ceiling = cells_per_second(rng)
    rows = []
    sizes = (1_000, 10_000, 100_000) if quick else (1_000, 10_000, 100_000, 1_000_000)
    speeds = []
    for size in sizes:
        found = circles_rows(size, rng, ceiling)
        speeds.append(found[-1]["value"])
        rows += found
    growth = speeds[0] / speeds[-1]
    rows.append(row(f"locate growth 1k to {label(sizes[-1])} zones", growth, "x", most=3.0))
    rows += clustered_rows(rng, ceiling)
    rows += polygon_rows(2_000 if quick else 10_000, rng, ceiling)
    return rows


def circles_rows(size: int, rng: np.random.Generator, ceiling: float) -> list[Row]:
    """Random circles of 50 m to 1 km; every second point is near a zone."""
    lat, lon = rng.uniform(35, 60, size), rng.uniform(-10, 30, size)
    radius_m = np.exp(rng.uniform(np.log(50), np.log(1000), size))
    before, start = resident_bytes(), time.perf_counter()
    index = FenceIndex.build(circles(lat, lon, radius_m))
    seconds, used = time.perf_counter() - start, resident_bytes() - before
    near = rng.integers(0, size, BATCH // 2)
    lats, lons = pings(rng, lat[near], lon[near], (35, 60, -10, 30))
    name = f"{label(size)} circles"
    rows = []
    if size >= 100_000:
        rows.append(row(f"build {name}", seconds, "s", most=10.0 if size == 100_000 else 90.0))
        rows.append(row(f"memory {name}", used / size, "bytes a zone", most=1500.0))
    if size == 10_000:
        rows += peers(name, lat, lon, radius_m, lats, lons)
    least = 1_000_000.0 if size <= 10_000 else 400_000.0
    rows.append(located(f"locate in {name}", index, lats, lons, least, ceiling))
    return rows


def clustered_rows(rng: np.random.Generator, ceiling: float) -> list[Row]:
    """23,000 shops' circles of 5 km, clustered on cities; pings come from the same cities."""
    city = np.column_stack((rng.uniform(28, 48, CITIES), rng.uniform(-120, -75, CITIES)))
    weight = 1 / np.arange(1, CITIES + 1)

    def scattered(count: int) -> F64:
        home = city[rng.choice(CITIES, count, p=weight / weight.sum())]
        return home + rng.normal(0, 0.25, (count, 2))

    shops, people = scattered(23_000), scattered(BATCH)
    radius_m = np.full(len(shops), 5_000.0)
    index = FenceIndex.build(circles(shops[:, 0], shops[:, 1], radius_m))
    lat, lon = np.ascontiguousarray(people[:, 0]), np.ascontiguousarray(people[:, 1])
    hits = len(index.locate(lat, lon).point)
    name = "23k clustered 5 km circles"
    rows = [row(f"hits in {name}", hits / len(lat), "zones a point")]
    rows += peers(name, shops[:, 0], shops[:, 1], radius_m, lat, lon)
    found = located(f"locate in {name}", index, lat, lon, None, ceiling)
    rows.append(found)
    rows.append(row(f"hits found in {name}", found["value"] * hits / len(lat), "hits/s"))
    return rows


def polygon_rows(size: int, rng: np.random.Generator, ceiling: float) -> list[Row]:
    """Star-shaped outlines of 5 to 2,000 vertices, 200 m to 5 km across."""
    lat, lon = rng.uniform(45, 50, size), rng.uniform(5, 15, size)
    rings = [star(rng, y, x) for y, x in zip(lat.tolist(), lon.tolist(), strict=True)]
    start = time.perf_counter()
    index = FenceIndex.build(
        Zone(key, Polygons(((tuple(map(tuple, ring.tolist())),),)))
        for key, ring in enumerate(rings)
    )
    seconds = time.perf_counter() - start
    near = rng.integers(0, size, BATCH // 2)
    lats, lons = pings(rng, lat[near], lon[near], (45, 50, 5, 15))
    name = f"{label(size)} polygons"
    shapes = [shapely.Polygon(ring) for ring in rings]
    shapely.prepare(shapes)
    tree = shapely.STRtree(shapes)
    points = shapely.points(lons, lats)
    spent = best(lambda: tree.query(points, predicate="intersects"))
    return [
        row(f"build {name}", seconds, "s"),
        row(f"STRtree without distances, {name}", BATCH / spent, "points/s"),
        located(f"locate in {name}", index, lats, lons, None, ceiling),
    ]


def curve() -> list[Row]:
    """Cells a zone, memory and speed by the ratio of bounding radius to cell edge."""
    rng = np.random.default_rng(12)
    size = 20_000
    lat, lon = rng.uniform(45, 50, size), rng.uniform(5, 15, size)
    index = FenceIndex.build(circles(lat, lon, np.full(size, 1_000.0)))
    layer = index._layers[0]  # noqa: SLF001  the curve looks inside on purpose
    lats, lons = rng.uniform(45, 50, BATCH), rng.uniform(5, 15, BATCH)
    rows = []
    for ratio in (0.3, 0.8, 2.0):
        layer.cells = tables(cover(layer.zones, ratio))
        entries = sum(len(table.entry) for table in layer.cells) / size
        spent = best(lambda: index.locate(lats, lons))
        rows.append(row(f"ratio {ratio:g}: cells a zone", entries, "cells"))
        rows.append(row(f"ratio {ratio:g}: locate", BATCH / spent, "points/s"))
    return rows


def peers(name: str, lat: F64, lon: F64, radius_m: F64, lats: F64, lons: F64) -> list[Row]:
    """The same answers from boxes in shapely's STRtree and in rtree, then haversine."""
    boxes = disc_boxes(lat, lon, radius_m)
    centre, point = unit_vectors(lat, lon), unit_vectors(lats, lons)

    def judged(which: Any, zone: Any) -> Any:
        step = centre[zone] - point[which]
        distance_m = arc_m((step * step).sum(axis=1)) - radius_m[zone]
        return which[distance_m <= 0]

    tree = shapely.STRtree(shapely.box(*boxes.T))
    points = shapely.points(lons, lats)
    packed = best(lambda: judged(*tree.query(points)))
    plain = rtree_index.Index((np.arange(len(boxes)), boxes[:, :2].copy(), boxes[:, 2:].copy()))
    some = min(len(lats), 5_000)
    corner = np.column_stack((lons, lats))[:some]

    def by_rtree() -> Any:
        ids, counts = plain.intersection_v(corner, corner)  # type: ignore[no-untyped-call]
        return judged(np.repeat(np.arange(some), counts.astype(np.int64)), ids)

    return [
        row(f"STRtree, {name}", len(lats) / packed, "points/s"),
        row(f"rtree, {name}", some / best(by_rtree), "points/s"),
    ]


def located(
    name: str, index: FenceIndex, lat: F64, lon: F64, least: float | None, ceiling: float
) -> Row:
    """Points a second of ``locate`` in batches of 50,000 on one core."""
    speed = len(lat) / best(lambda: index.locate(lat, lon))
    return row(name, speed, "points/s", least=least, ceiling=ceiling)


def cells_per_second(rng: np.random.Generator) -> float:
    """The ceiling: nothing but the H3 cell of each point."""
    lat, lon = rng.uniform(35, 60, BATCH), rng.uniform(-10, 30, BATCH)
    return BATCH / best(lambda: cells_at(lat, lon, 10))


def circles(lat: F64, lon: F64, radius_m: F64) -> Iterable[Zone]:
    """Zones numbered from 0."""
    rows = zip(lat.tolist(), lon.tolist(), radius_m.tolist(), strict=True)
    return (Zone(key, Circle(*values)) for key, values in enumerate(rows))


def pings(
    rng: np.random.Generator, lat: F64, lon: F64, box: tuple[float, float, float, float]
) -> tuple[F64, F64]:
    """Half of them within some hundred metres of the places given, half anywhere in the box."""
    south, north, west, east = box
    count = len(lat)
    return (
        np.concatenate((lat + rng.normal(0, 0.005, count), rng.uniform(south, north, count))),
        np.concatenate((lon + rng.normal(0, 0.005, count), rng.uniform(west, east, count))),
    )


def star(rng: np.random.Generator, lat: float, lon: float) -> F64:
    """A closed star-shaped ring."""
    count = int(np.exp(rng.uniform(np.log(5), np.log(2000))))
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    size_m = np.exp(rng.uniform(np.log(200), np.log(5000))) * rng.uniform(0.7, 1.0, count)
    size = np.degrees(size_m / EARTH_RADIUS_M)
    ring = np.column_stack(
        (lon + size * np.cos(angle) / np.cos(np.radians(lat)), lat + size * np.sin(angle))
    )
    return np.vstack((ring, ring[:1]))


def best(work: Callable[[], object], runs: int = 5) -> float:
    """The least seconds of some runs."""
    spent = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return min(spent)


def row(
    name: str,
    value: float,
    unit: str,
    *,
    least: float | None = None,
    most: float | None = None,
    ceiling: float | None = None,
) -> Row:
    """One line of the report; ``least`` and ``most`` are budgets."""
    budget = least if least is not None else most
    met = None
    if budget is not None:
        met = value >= budget if least is not None else value <= budget
    ratio = value / ceiling if ceiling else None
    return {
        "name": name,
        "value": round(value, 3),
        "unit": unit,
        "budget": budget,
        "met": met,
        "ceiling": ceiling and round(ceiling),
        "ratio": ratio and round(ratio, 3),
    }


def label(count: int) -> str:
    """10k, 1M."""
    return f"{count // 10**6}M" if count >= 10**6 else f"{count // 1000}k"


def resident_bytes() -> int:
    """Memory of this process; 0 where /proc is missing."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if path.exists() else 0


def main(arguments: list[str]) -> None:
    """Prints a table, or JSON with ``--json``."""
    full = "--full" in arguments
    rows = run(quick=not full) + (curve() if full else [])
    if "--json" in arguments:
        print(json.dumps(rows, indent=1))
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for item in rows:
        budget = "" if item["met"] is None else ("  met" if item["met"] else "  MISSED")
        print(f"{item['name']:48} {item['value']:>14,.1f} {item['unit']}{budget}")


if __name__ == "__main__":
    main(sys.argv[1:])
