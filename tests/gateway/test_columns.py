"""Pings as columns: times, unknowns, ids, and what is refused."""

import numpy as np
import pytest

from gateway.columns import join, to_columns
from gateway.wire import Ping

NOW = 1_790_000_000_000


def ping(device_id: str = "p1", recorded_at: object = NOW, **fields: object) -> Ping:
    return Ping(device_id=device_id, lat=48.1, lon=11.5, recorded_at=recorded_at, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("device_id", ["a\x00b", "a\nb", "~user", "a\x1fb", "\x7f"])
def test_ids_that_cannot_be_are_refused_by_index(device_id: str) -> None:
    """Control characters, and the mark of users; the other pings stay."""
    columns, refusals = to_columns([ping("a"), ping(device_id), ping("b")], [0, 3, 5], NOW)
    assert (["a", "b"], [3]) == (columns.device_ids, [r.index for r in refusals])
    assert "device_id" in refusals[0].detail


def test_a_bad_user_id_is_refused_too() -> None:
    """A user id goes into keys, like a device id."""
    _, refusals = to_columns([ping(user_id="u\n"), ping(user_id="ok")], [0, 1], NOW)
    assert [0] == [r.index for r in refusals]


def test_unknown_accuracy_is_nan() -> None:
    """Missing and zero both mean unknown."""
    columns, _ = to_columns([ping(accuracy_m=5.0), ping(), ping(accuracy_m=0)], [0, 1, 2], NOW)
    assert [False, True, True] == np.isnan(columns.accuracy_m).tolist()


@pytest.mark.parametrize("recorded_at", [10**30, -(10**30), float(2**70), 5, NOW + 10**9])
def test_absurd_times_are_refused_not_crashed_on(recorded_at: object) -> None:
    """Any number is answered in words."""
    columns, refusals = to_columns([ping(), ping(recorded_at=recorded_at)], [0, 1], NOW)
    assert (1, [1]) == (len(columns.at), [r.index for r in refusals])


def test_a_ping_id_names_the_ping() -> None:
    """The same id is the same ping, even with another position; without ids position and time."""
    one, _ = to_columns(
        [ping(ping_id="x"), ping("p1", NOW - 5, ping_id="x"), ping()], [0, 1, 2], NOW
    )
    assert one.fingerprint[0] == one.fingerprint[1] != one.fingerprint[2]


def test_joined_requests_are_their_pings_one_after_another() -> None:
    """A micro-batch loses nothing and mixes nothing."""
    parts = [to_columns([ping(f"d{n}", NOW - n, user_id=f"u{n}")], [0], NOW)[0] for n in range(3)]
    joined = join(parts)
    assert ["d0", "d1", "d2"] == joined.device_ids
    assert [NOW, NOW - 1, NOW - 2] == joined.at.tolist()
    assert {"d0": "u0", "d1": "u1", "d2": "u2"} == joined.user_ids
