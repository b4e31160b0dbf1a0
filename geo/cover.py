"""H3 covers: which cells a zone, widened by its reach, can be met in.

A cover is true for *ancestor* cells (see ``geo.cells``): whichever fine cell a point within reach
of the zone has, one of that cell's ancestors is in the cover. A cell is *full* when every point
that has it as ancestor is inside the zone. Both follow from the signed distance at the cell's
centre and the reach of the cell, so every geometry is covered by the same few lines.

The resolution suits the size: cells whose edge is at least ``1 / SEED_RATIO`` of the bounding
radius, which gives about 12 cells for a compact zone. Zones that are not compact (long corridors,
scattered parts) are refined further while their cover stays within ``CELL_BUDGET``. The measured
curve behind both numbers is in docs/geofences.md.
"""

from typing import NamedTuple

import numpy as np

from geo.cells import ALL_COARSEST, EDGE_M, FINEST, REACH_M, cells_at, centres, children, disks
from geo.discs import Discs
from geo.measure import unit_vectors
from geo.model import F64, I64, U64, Bools
from geo.shapes import Shapes

SEED_RATIO = 2.0  # bounding radius, in cell edges, up to which a resolution is used
SEED_RINGS = 3  # enough for SEED_RATIO: 4 rings away is 6 circumradii, farther than 2.12 + 2.67
CELL_BUDGET = 32
VERTICES_A_CELL = 8
MOST_CELLS = 512
DEEPEST = 5  # levels below the seeds
COARSEST_SEED = 2  # coarser cells bend too much for rings; start from all 122 base cells there
ZONES_AT_ONCE = 20_000
DISTANCE_ERROR = 0.02  # slack for signed distances of far shapes


class Cover(NamedTuple):
    """Parallel arrays: the cell, the zone's slot, whether the cell lies wholly inside."""

    cell: U64
    slot: I64
    full: Bools


class Zones(NamedTuple):
    """What a cover needs of zones: discs, and the outline of those that are not circles."""

    discs: Discs
    shape: I64  # index into shapes, -1 for circles
    shapes: Shapes
    lat: F64  # of the disc's centre
    lon: F64


def cover(zones: Zones, seed_ratio: float = SEED_RATIO) -> list[Cover]:
    """Covers of all zones, in pieces; empty for no zones."""
    slots = np.arange(len(zones.shape))
    reach = zones.discs.radius_m + zones.discs.reach_m
    target = np.searchsorted(-EDGE_M[: FINEST + 1] * seed_ratio, -reach, side="right") - 1
    pieces = []
    for resolution in np.unique(target):
        group = slots[target == resolution]
        for start in range(0, len(group), ZONES_AT_ONCE):
            some = group[start : start + ZONES_AT_ONCE]
            pieces += _cover_some(zones, some, int(resolution))
    return pieces


def _cover_some(zones: Zones, slots: I64, target: int) -> list[Cover]:
    """Covers of zones that share a target resolution."""
    if target < COARSEST_SEED:
        resolution = 0
        slot = np.repeat(slots, len(ALL_COARSEST))
        cell = np.tile(ALL_COARSEST, len(slots))
    else:
        resolution = target
        which, cell = disks(cells_at(zones.lat[slots], zones.lon[slots], target), SEED_RINGS)
        slot = slots[which]
    pieces = []
    budget = _budget(zones)
    piece = _judge(zones, slot, cell, resolution)
    while len(piece.slot) and resolution < min(max(target, 0) + DEEPEST, FINEST):
        partial = np.flatnonzero(~piece.full)
        counts = np.bincount(piece.slot[partial], minlength=len(zones.shape))
        worth = counts[piece.slot[partial]] * 3 <= budget[piece.slot[partial]]
        split = partial[((zones.shape[piece.slot[partial]] >= 0) & worth) | (resolution < target)]
        kept = np.setdiff1d(np.arange(len(piece.slot)), split, assume_unique=True)
        pieces.append(Cover(piece.cell[kept], piece.slot[kept], piece.full[kept]))
        resolution += 1
        parent, cell = children(piece.cell[split], resolution)
        piece = _judge(zones, piece.slot[split][parent], cell, resolution)
    return [*pieces, piece]


def _budget(zones: Zones) -> I64:
    """Partial cells a zone may have: more where there are many vertices to save."""
    vertices = np.zeros(len(zones.shape), dtype=np.int64)
    shaped = zones.shape >= 0
    vertices[shaped] = zones.shapes.segment_counts()[zones.shape[shaped]]
    return np.minimum(CELL_BUDGET + vertices // VERTICES_A_CELL, MOST_CELLS)


def _judge(zones: Zones, slot: I64, cell: U64, resolution: int) -> Cover:
    """Keeps the cells that zones can be met in, and tells which are full."""
    lat, lon = centres(cell)
    beyond = REACH_M[resolution]
    distance = zones.discs.distance_m(slot, unit_vectors(lat, lon))
    kept = np.flatnonzero(distance <= zones.discs.reach_m[slot] + beyond)
    slot, cell, distance = slot[kept], cell[kept], distance[kept]
    shaped = np.flatnonzero(zones.shape[slot] >= 0)
    if len(shaped):
        exact = zones.shapes.signed_distance(
            zones.shape[slot[shaped]], lat[kept][shaped], lon[kept][shaped]
        )
        distance[shaped] = exact * (1 - DISTANCE_ERROR)
    kept = np.flatnonzero(distance <= zones.discs.reach_m[slot] + beyond)
    return Cover(cell[kept], slot[kept], distance[kept] <= -beyond)
