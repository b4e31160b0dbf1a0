"""The vector path gives what the state machine gives, for devices in no zone."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.columns import fingerprints
from triggers import machine
from triggers.ids import fingerprint
from triggers.machine import StepContext
from triggers.model import Fix, Verdict
from triggers.quiet import ACCEPTED, DUPLICATE, LATE, Pings, judge
from triggers.state import HEADER_SIZE

CODES = {Verdict.ACCEPTED: ACCEPTED, Verdict.DUPLICATE: DUPLICATE, Verdict.LATE: LATE}
START = 1_790_000_000_000

places = st.tuples(st.floats(48.0, 48.01), st.floats(11.0, 11.01))
moves = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12), places), min_size=1, max_size=40)


@given(at=st.integers(-(2**50), 2**50), lat=st.floats(-90, 90), lon=st.floats(-180, 180))
def test_fingerprints_are_the_same_in_arrays(at: int, lat: float, lon: float) -> None:
    """One ping, one fingerprint, whichever path computes it."""
    expected = fingerprint(at, round(lat * 1e7), round(lon * 1e7))
    found = fingerprints(np.array([at]), np.array([lat]), np.array([lon]))
    assert expected == int(found[0])


@settings(max_examples=150, deadline=None)
@given(st.lists(moves, min_size=1, max_size=4))
def test_the_vector_path_is_the_state_machine(batches: list) -> None:
    """Batches with repeats, late pings and equal instants: same verdicts, same records."""
    records: list[bytes | None] = [None] * 3
    slow: list[bytes | None] = [None] * 3
    for batch in batches:
        device = np.array([d for d, _, _ in batch], np.int64)
        at = np.array([START + step * 60_000 for _, step, _ in batch], np.int64)
        lat = np.array([place[0] for _, _, place in batch])
        lon = np.array([place[1] for _, _, place in batch])
        prints = fingerprints(at, lat, lon)
        order = np.lexsort((prints, at, device))
        pings = Pings(device, at, lat, lon, prints).only(order)
        judged = judge(records, pings)
        for slot in range(3):
            mine = np.flatnonzero(pings.device == slot)
            fixes = [
                Fix(
                    int(pings.at[i]),
                    START,
                    float(pings.lat[i]),
                    float(pings.lon[i]),
                    fingerprint=int(pings.fingerprint[i]),
                )
                for i in mine
            ]
            if not fixes:
                continue
            record, events, verdicts, due_at = machine.run(
                slow[slot], fixes, {}, StepContext("t", "d")
            )
            assert ((), None) == (tuple(events), due_at)
            if judged.suspects[slot]:
                slow[slot] = records[slot] = record
                continue
            assert [CODES[v] for v in verdicts] == judged.verdicts[mine].tolist()
            if judged.changed[slot]:
                assert record == judged.records[slot].tobytes()
                records[slot] = record
            slow[slot] = records[slot]


def test_a_jump_is_left_to_the_state_machine() -> None:
    """Implausible speed is a suspect, not a verdict."""
    pings = Pings(
        np.array([0, 0]),
        np.array([START, START + 1000]),
        np.array([48.0, 49.0]),
        np.array([11.0, 11.0]),
        np.array([1, 2], np.uint32),
    )
    assert [True] == judge([None], pings).suspects.tolist()


def test_a_longer_record_is_read_by_its_header() -> None:
    """Devices with entries do not disturb the arrays of the others."""
    pings = Pings(
        np.array([0, 1]),
        np.array([START, START]),
        np.array([48.0, 48.0]),
        np.array([11.0, 11.0]),
        np.array([1, 2], np.uint32),
    )
    first = judge([None, None], pings).records
    longer = first[0].tobytes() + b"x" * 56
    assert [DUPLICATE, DUPLICATE] == judge([longer, first[1].tobytes()], pings).verdicts.tolist()
    assert HEADER_SIZE == first.shape[1]
