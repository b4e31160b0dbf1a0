"""H3 cells in arrays: lookup, families, centres.

A point's cell is computed once, at a fine resolution; its coarser cells are the *ancestors* of
that cell, got by bit operations. An H3 parent is not exactly the union of its children, so the
ancestor is not always the cell that contains the point. Covers are therefore made of ancestors as
well: ``REACH[r]`` bounds how far a point can lie from the centre of its ancestor at resolution r
(1.0526 circumradii in the plane of the grid, stretched by the projection; measured at most 1.144
average edges over two million points, taken as 1.17).
"""

import h3
import h3ronpy  # type: ignore[import-untyped]
import numpy as np
from arro3.core import list_flatten, list_offsets
from h3ronpy.vector import (  # type: ignore[import-untyped]
    cells_to_coordinates,
    coordinates_to_cells,
)

from geo.model import F64, I64, U64, Bools

FINEST = 13  # cells of 4 m edge: no zone is smaller than 5 m
EDGE_M = np.array([h3.average_hexagon_edge_length(r, unit="m") for r in range(16)])
REACH_M = 1.17 * EDGE_M

ALL_COARSEST: U64 = np.array(sorted(h3.str_to_int(c) for c in h3.get_res0_cells()), dtype=np.uint64)
_PENTAGON_BASE = np.zeros(128, dtype=np.bool_)
_PENTAGON_BASE[[h3.get_base_cell_number(c) for c in h3.get_pentagons(0)]] = True
_RESOLUTION_BITS = np.uint64(15 << 52)


def cells_at(lat: F64, lon: F64, resolution: int) -> U64:
    """The cell of each point."""
    return np.asarray(coordinates_to_cells(lat, lon, resolution), dtype=np.uint64)


def ancestors(cells: U64, resolution: int) -> U64:
    """The ancestor of each cell at a resolution not finer than its own; keeps their order."""
    tail = np.uint64((1 << (3 * (15 - resolution))) - 1)
    out: U64 = (cells & ~_RESOLUTION_BITS) | (np.uint64(resolution << 52) | tail)
    return out


def children(cells: U64, resolution: int) -> tuple[I64, U64]:
    """All children, at ``resolution``, of cells one coarser: (index of the parent, child)."""
    shift = np.uint64(3 * (15 - resolution))
    clear = ~(_RESOLUTION_BITS | (np.uint64(7) << shift))
    base = (cells & clear) | np.uint64(resolution << 52)
    digits = np.arange(7, dtype=np.uint64) << shift
    family = (base[:, None] | digits).ravel()
    parent = np.repeat(np.arange(len(cells)), 7)
    real = np.ones(len(family), dtype=np.bool_)
    real[1::7] = ~_is_pentagon(cells, resolution - 1)  # a pentagon has no child in direction 1
    return parent[real], family[real]


def _is_pentagon(cells: U64, resolution: int) -> Bools:
    base = ((cells >> np.uint64(45)) & np.uint64(127)).astype(np.int64)
    digits = (cells & np.uint64((1 << 45) - 1)) >> np.uint64(3 * (15 - resolution))
    out: Bools = _PENTAGON_BASE[base] & (digits == 0)
    return out


def centres(cells: U64) -> tuple[F64, F64]:
    """Latitudes and longitudes of the cells' centres."""
    batch = cells_to_coordinates(cells)
    return (
        np.asarray(batch.column("lat"), dtype=np.float64),
        np.asarray(batch.column("lng"), dtype=np.float64),
    )


def disks(cells: U64, rings: int) -> tuple[I64, U64]:
    """All cells within ``rings`` steps of each cell: (index of the cell asked, cell)."""
    lists = h3ronpy.grid_disk(cells, rings, flatten=False)
    offsets = np.asarray(list_offsets(lists), dtype=np.int64)
    flat = np.asarray(list_flatten(lists), dtype=np.uint64)
    return np.repeat(np.arange(len(cells)), np.diff(offsets)), flat
