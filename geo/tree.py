"""R-tree over boxes in degrees that knows about the antimeridian."""

import numpy as np
from rtree import index

from geo.measure import EARTH_RADIUS_M
from geo.model import F64, I64
from geo.shapes import Shapes, expand


class BoxTree:
    """Ids by box; boxes are rows of (west, south, east, north), east at least west."""

    def __init__(self, ids: I64, boxes: F64) -> None:
        which, pieces = _folded(boxes)
        self._tree: index.Index | None = None
        if len(which):
            mins, maxs = np.ascontiguousarray(pieces[:, :2]), np.ascontiguousarray(pieces[:, 2:])
            self._tree = index.Index((ids[which].astype(np.int64), mins, maxs), properties=_shape())

    def find(self, boxes: F64) -> tuple[I64, I64]:
        """All (index of the box asked, id) that touch, each once, ascending."""
        if self._tree is None or not len(boxes):
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        which, pieces = _folded(boxes)
        ids, counts = self._tree.intersection_v(pieces[:, :2], pieces[:, 2:])  # type: ignore[no-untyped-call]
        asked = np.repeat(which, counts.astype(np.int64))
        pairs = np.unique(np.column_stack((asked, ids.astype(np.int64))), axis=0)
        return pairs[:, 0], pairs[:, 1]


def _shape() -> index.Property:
    return index.Property(leaf_capacity=64, index_capacity=64, fill_factor=0.9)


def _folded(boxes: F64) -> tuple[I64, F64]:
    """Boxes cut at ±180: (index of the box, piece within [-180, 180])."""
    west = boxes[:, 0] - 360.0 * np.floor((boxes[:, 0] + 180.0) / 360.0)
    east = west + np.minimum(boxes[:, 2] - boxes[:, 0], 360.0)
    first = np.column_stack((west, boxes[:, 1], np.minimum(east, 180.0), boxes[:, 3]))
    over = np.flatnonzero(east >= 180.0)
    rest = np.full((len(over), 4), -180.0)
    rest[:, 1], rest[:, 2], rest[:, 3] = boxes[over, 1], east[over] - 360.0, boxes[over, 3]
    which = np.concatenate((np.arange(len(boxes)), over))
    return which, np.vstack((first, rest))


def disc_boxes(lat: F64, lon: F64, radius_m: F64) -> F64:
    """The boxes around discs; all longitudes when a pole is inside."""
    angle = np.minimum(np.asarray(radius_m) / EARTH_RADIUS_M * (1 + 1e-9) + 1e-12, np.pi)
    south, north = lat - np.degrees(angle), lat + np.degrees(angle)
    ratio = np.sin(np.minimum(angle, np.pi / 2)) / np.maximum(np.cos(np.radians(lat)), 1e-12)
    polar = (south <= -90.0) | (north >= 90.0) | (ratio >= 1.0)
    half = np.where(polar, 180.0, np.degrees(np.arcsin(np.minimum(ratio, 1.0))))
    return np.column_stack(
        (lon - half, np.maximum(south, -90.0), lon + half, np.minimum(north, 90.0))
    )


def shape_boxes(shapes: Shapes, which: I64) -> F64:
    """The boxes around outlines, their buffer included."""
    first = shapes.first_block[which]
    counts = shapes.first_block[which + 1] - first
    _, block = expand(first, counts)
    starts = np.cumsum(counts) - counts
    south = np.minimum.reduceat(shapes.south[block], starts)
    north = np.maximum.reduceat(shapes.north[block], starts)
    west = np.minimum.reduceat(shapes.west[block], starts)
    east = np.maximum.reduceat(shapes.east[block], starts)
    low = disc_boxes(south, west, shapes.buffer_m[which])
    high = disc_boxes(north, east, shapes.buffer_m[which])
    widened = np.maximum(west - low[:, 0], high[:, 2] - east)
    return np.column_stack((west - widened, low[:, 1], east + widened, high[:, 3]))
