"""Pings as columns: times, unknowns, ids, and what is refused."""

import numpy as np
import pytest

from gateway.columns import PingColumns, to_columns
from gateway.wire import Ping, Refusal

NOW = 1_790_000_000_000


def columns_of(pings: list[Ping]) -> tuple[PingColumns, list[Refusal]]:
    return to_columns(pings, np.full(len(pings), NOW))


def ping(device_id: str = "p1", recorded_at: object = NOW, **fields: object) -> Ping:
    return Ping(device_id=device_id, lat=48.1, lon=11.5, recorded_at=recorded_at, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("device_id", ["a\x00b", "a\nb", "~user", "a\x1fb", "\x7f"])
def test_ids_that_cannot_be_are_refused_by_index(device_id: str) -> None:
    """Control characters, and the mark of users; the other pings stay."""
    columns, refusals = columns_of([ping("a"), ping(device_id), ping("b")])
    assert (["a", "b"], [1]) == (columns.device_ids, [r.index for r in refusals])
    assert [0, 2] == columns.position.tolist()
    assert "device_id" in refusals[0].detail


def test_a_bad_user_id_is_refused_too() -> None:
    """A user id goes into keys, like a device id."""
    _, refusals = columns_of([ping(user_id="u\n"), ping(user_id="ok")])
    assert [0] == [r.index for r in refusals]


def test_unknown_accuracy_is_nan() -> None:
    """Missing and zero both mean unknown."""
    columns, _ = columns_of([ping(accuracy_m=5.0), ping(), ping(accuracy_m=0)])
    assert [False, True, True] == np.isnan(columns.accuracy_m).tolist()


@pytest.mark.parametrize("recorded_at", [10**30, -(10**30), float(2**70), 5, NOW + 10**9])
def test_absurd_times_are_refused_not_crashed_on(recorded_at: object) -> None:
    """Any number is answered in words."""
    columns, refusals = columns_of([ping(), ping(recorded_at=recorded_at)])
    assert (1, [1]) == (len(columns.at), [r.index for r in refusals])


def test_a_ping_id_names_the_ping() -> None:
    """The same id is the same ping, even with another position; without ids position and time."""
    one, _ = columns_of([ping(ping_id="x"), ping("p1", NOW - 5, ping_id="x"), ping()])
    assert one.fingerprint[0] == one.fingerprint[1] != one.fingerprint[2]
