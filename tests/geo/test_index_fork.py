"""A fork of the index and the index it came from know nothing of each other's edits."""

import numpy as np

from geo.index import FRESH_ZONES, FenceIndex
from geo.model import Circle, Zone


def zone(key: int, lat: float = 48.0, reach_m: float = 0.0) -> Zone:
    return Zone(key, Circle(lat, 11.0, 100.0), reach_m)


def found(index: FenceIndex, lat: float = 48.0) -> list[int]:
    return index.locate(np.array([lat]), np.array([11.0])).key.tolist()


def test_edits_of_a_fork_and_of_its_origin_stay_apart() -> None:
    """Removed, moved and added zones on either side, in old and fresh layers."""
    index = FenceIndex.build([zone(1), zone(2), zone(3)])
    index.put(zone(4))
    fork = index.fork()
    fork.remove(1)
    fork.put(zone(2, lat=49.0))
    index.remove(4)
    index.put(zone(5))
    assert ([1, 2, 3, 5], [3, 4]) == (found(index), found(fork))
    assert ([], [2]) == (found(index, 49.0), found(fork, 49.0))
    assert (4, 3) == (len(index), len(fork))


def test_a_fork_outlives_merges_of_its_origin() -> None:
    """Compacting one side leaves the other as it was."""
    index = FenceIndex.build([zone(1)])
    fork = index.fork()
    for start in range(3):
        first = 10 + start * 2 * FRESH_ZONES
        index.put_many([zone(first + n, lat=10.0) for n in range(FRESH_ZONES + 1)])
    index.remove(1)
    index.merge()
    assert ([], [1]) == (found(index), found(fork))
