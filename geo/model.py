"""Geometries and zones, as frozen values.

Positions inside geometries are ``(lon, lat)`` in degrees, as GeoJSON writes them; functions take
``lat, lon``. Edges are straight in lon/lat (RFC 7946 section 3.1.1); circles are geodesic on the
mean sphere. Longitudes may run past 180 (up to 360 either way) so that a ring or line can cross
the antimeridian without a jump.
"""

from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
Bools = NDArray[np.bool_]

Position = tuple[float, float]  # lon, lat
Ring = tuple[Position, ...]  # closed: first == last

MIN_RADIUS_M = 5.0
MAX_RADIUS_M = 200_000.0
MAX_VERTICES = 100_000
MAX_CELLS = 10_000


class GeometryError(ValueError):
    """A geometry that cannot be: which value (JSON pointer), and why."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer}: {detail}")
        self.pointer = pointer
        self.detail = detail


class Circle(msgspec.Struct, frozen=True, tag="circle"):
    """All points within ``radius_m`` (5 m to 200 km) of a centre."""

    lat: float
    lon: float
    radius_m: float


class Polygons(msgspec.Struct, frozen=True, tag="polygons"):
    """Polygons: each an exterior ring (counter-clockwise) and its holes (clockwise)."""

    polygons: tuple[tuple[Ring, ...], ...]


class Corridor(msgspec.Struct, frozen=True, tag="corridor"):
    """All points within ``buffer_m`` of a line."""

    line: tuple[Position, ...]
    buffer_m: float


class Cells(msgspec.Struct, frozen=True, tag="cells"):
    """The union of H3 cells (ascending, no repeats)."""

    cells: tuple[int, ...]


Geometry = Circle | Polygons | Corridor | Cells


class Zone(msgspec.Struct, frozen=True):
    """A geometry under a key.

    ``reach_m`` widens what ``FenceIndex.locate`` reports: every point with a signed distance to
    the edge of at most ``reach_m``. ``detect_cross`` lets ``FenceIndex.crossings`` report it.
    """

    key: int  # unsigned 64 bits
    geometry: Geometry
    reach_m: float = 0.0
    detect_cross: bool = False


class Hits(NamedTuple):
    """What ``locate`` found: parallel arrays, sorted by point, then key."""

    point: I32  # index into the points asked
    key: U64
    distance_m: F64  # signed: negative inside


class Crossings(NamedTuple):
    """Zones that segments pass through: parallel arrays, sorted by segment, then key."""

    segment: I32  # index into the segments asked
    key: U64
    fraction: F64  # where along the segment the zone is entered; 0 when it starts inside


class Near(NamedTuple):
    """A zone near a point."""

    key: int
    distance_m: float  # signed distance to the edge


class Regions(NamedTuple):
    """The zones to watch from a point, nearest first.

    Within ``refresh_radius_m`` of the point no zone can be entered that is not in ``items``.
    """

    items: list[Near]
    refresh_radius_m: float
