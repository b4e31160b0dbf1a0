"""Which zones a cell can meet: sorted arrays, one table a resolution."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from geo.cells import ancestors
from geo.cover import Cover
from geo.model import I32, I64, U64, Bools
from geo.shapes import expand

CELLS_AT_ONCE = 200_000


class CellTable(NamedTuple):
    """Entries of cell ``cell[i]`` are ``entry[first[i] : first[i + 1]]``."""

    resolution: int
    cell: U64  # ascending, distinct
    first: I64
    entry: I32  # the slot; its complement when the cell is full

    def find(self, cells: U64) -> tuple[I64, I32]:
        """All (index of the cell asked, entry). ``cells`` are ascending, as fine or finer."""
        wanted = ancestors(cells, self.resolution)
        at = np.searchsorted(self.cell, wanted)
        at[at == len(self.cell)] = 0
        hit = np.flatnonzero(self.cell[at] == wanted)
        first = self.first[at[hit]]
        which, entry = expand(first, self.first[at[hit] + 1] - first)
        return hit[which], self.entry[entry]

    def covers(self) -> Iterator[Cover]:
        """The entries again, in pieces (so that no step holds up other threads for long)."""
        for start in range(0, len(self.cell), CELLS_AT_ONCE):
            first = self.first[start : start + CELLS_AT_ONCE + 1]
            cell = np.repeat(self.cell[start : start + CELLS_AT_ONCE], np.diff(first))
            entry = self.entry[first[0] : first[-1]].astype(np.int64)
            full = entry < 0
            yield Cover(cell, np.where(full, ~entry, entry), full)


def tables(covers: list[Cover]) -> list[CellTable]:
    """One table a resolution in use, coarse to fine."""
    by_resolution: dict[int, list[Cover]] = {}
    for piece in covers:
        resolutions = (piece.cell >> np.uint64(52)) & np.uint64(15)
        for resolution in np.unique(resolutions):
            part = resolutions == resolution
            whole = bool(part.all())
            by_resolution.setdefault(int(resolution), []).append(
                piece if whole else Cover(piece.cell[part], piece.slot[part], piece.full[part])
            )
    return [_table(r, pieces) for r, pieces in sorted(by_resolution.items())]


def _table(resolution: int, pieces: list[Cover]) -> CellTable:
    cell = np.concatenate([piece.cell for piece in pieces])
    slot = np.concatenate([piece.slot for piece in pieces]).astype(np.int32)
    full: Bools = np.concatenate([piece.full for piece in pieces])
    order = np.argsort(cell, kind="stable")
    cell = cell[order]
    first = np.flatnonzero(np.concatenate(([True], cell[1:] != cell[:-1])))
    entry = np.where(full, ~slot, slot)[order]
    return CellTable(resolution, cell[first], np.append(first, len(cell)).astype(np.int64), entry)
