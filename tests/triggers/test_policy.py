"""Presets and precedence: zone, then tenant, then preset."""

from math import inf, log10
from typing import Any

import pytest

from triggers.model import Policy
from triggers.policy import LIMITS, InvalidPolicy, check_policy, resolve


def rules(
    policy: dict[str, Any],
    tenant: dict[str, Any] | None = None,
    scale_m: float = 50.0,
    kind: Any = "geofence",
) -> dict[str, Any]:
    default = None if tenant is None else Policy(**tenant)
    return resolve(Policy(**policy), default, scale_m, kind)._asdict()


ROBUST = {
    "max_accuracy_m": 100.0,
    "confirm_window_ms": 300_000,
    "enter_confirmations": 2,
    "exit_confirmations": 2,
    "exit_buffer_m": 20.0,
    "exit_accuracy_cap_m": 50.0,
    "coarse_m": 1000.0,
    "assumed_accuracy_m": 30.0,
    "max_evidence_age_ms": 1_800_000,
    "silence_ms": 0,
    "initial_silent": False,
    "allow_mock": False,
    "enter_rssi_dbm": -inf,
    "exit_rssi_dbm": -inf,
    "enter_over_dbm": -inf,
    "exit_over_dbm": -inf,
}
IMMEDIATE = ROBUST | {
    "max_accuracy_m": inf,
    "enter_confirmations": 1,
    "exit_confirmations": 1,
    "exit_buffer_m": 0.0,
    "exit_accuracy_cap_m": 0.0,
    "coarse_m": inf,
}


@pytest.mark.parametrize(
    ("policy", "tenant", "expected"),
    [
        ({}, None, ROBUST),
        ({"preset": "robust"}, None, ROBUST),
        ({"preset": "immediate"}, None, IMMEDIATE),
        ({}, {"preset": "immediate"}, IMMEDIATE),
        ({"preset": "robust"}, {"preset": "immediate"}, ROBUST),
        ({"preset": "immediate"}, {"exit_confirmations": 3}, IMMEDIATE),
        ({}, {"exit_confirmations": 3}, ROBUST | {"exit_confirmations": 3}),
        ({"exit_confirmations": 4}, {"exit_confirmations": 3}, ROBUST | {"exit_confirmations": 4}),
        ({"exit_buffer_m": 0}, {"exit_buffer_m": 5}, ROBUST | {"exit_buffer_m": 0}),
        ({"preset": "immediate"}, {"silence_exit_s": 60}, IMMEDIATE | {"silence_ms": 60_000}),
        ({"silence_exit_s": 0}, {"silence_exit_s": 60}, ROBUST),
        ({"max_accuracy_m": 40}, None, ROBUST | {"max_accuracy_m": 40}),
        ({"confirm_window_s": 60}, None, ROBUST | {"confirm_window_ms": 60_000}),
        ({"assumed_accuracy_m": 5}, None, ROBUST | {"assumed_accuracy_m": 5}),
        ({"max_evidence_age_s": 60}, None, ROBUST | {"max_evidence_age_ms": 60_000}),
        ({"initial": "silent"}, None, ROBUST | {"initial_silent": True}),
        ({"initial": "enter"}, {"initial": "silent"}, ROBUST),
        ({"allow_mock": True}, None, ROBUST | {"allow_mock": True}),
        ({"allow_mock": False}, {"allow_mock": True}, ROBUST),
        ({"enter_rssi_dbm": -60}, None, ROBUST | {"enter_rssi_dbm": -60, "exit_rssi_dbm": -65}),
    ],
)
def test_precedence(
    policy: dict[str, Any], tenant: dict[str, Any] | None, expected: dict[str, Any]
) -> None:
    """A zone's field beats the tenant's, which beats the preset; a named preset is meant whole."""
    assert expected == rules(policy, tenant)


@pytest.mark.parametrize(
    ("scale_m", "max_accuracy_m", "exit_buffer_m"),
    [(12.0, 100.0, 20.0), (200.0, 200.0, 20.0), (1000.0, 1000.0, 100.0)],
)
def test_scale(scale_m: float, max_accuracy_m: float, exit_buffer_m: float) -> None:
    """Large zones take worse fixes and want more clearance; small ones keep the floor."""
    found = rules({}, scale_m=scale_m)
    assert (max_accuracy_m, exit_buffer_m) == (found["max_accuracy_m"], found["exit_buffer_m"])


def test_beacon_defaults() -> None:
    """Beacon zones always end by silence, and confirm within seconds."""
    found = rules({}, {"confirm_window_s": 600}, 0.0, "beacon")
    assert (30_000, 10_000) == (found["silence_ms"], found["confirm_window_ms"])
    assert 30_000 == rules({"silence_exit_s": 0}, None, 0.0, "beacon")["silence_ms"]
    assert 90_000 == rules({"silence_exit_s": 90}, None, 0.0, "beacon")["silence_ms"]


@pytest.mark.parametrize(("proximity", "metres"), [("immediate", 0.5), ("near", 3.0)])
def test_proximity_is_a_threshold(proximity: str, metres: float) -> None:
    """A class is an RSSI relative to the power at 1 m, with 5 dB of hysteresis."""
    found = rules({"proximity": proximity}, None, 0.0, "beacon")
    assert -27 * log10(metres) == found["enter_over_dbm"]
    assert pytest.approx(5) == found["enter_over_dbm"] - found["exit_over_dbm"]


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_limits(name: str) -> None:
    """Every number has bounds, which are themselves allowed; the error names field and bounds."""
    lowest, highest, _ = LIMITS[name]
    beside = {"enter_rssi_dbm": 20} if name == "exit_rssi_dbm" else {}
    for value in (lowest, highest):
        check_policy(Policy(**(beside | {name: value})))
    for value in (lowest - 1, highest + 1, float("nan"), inf):
        with pytest.raises(InvalidPolicy, match=f"/policy/{name}: .* is not within"):
            check_policy(Policy(**{name: value}))


@pytest.mark.parametrize(
    ("policy", "complaint"),
    [
        ({"enter_rssi_dbm": -70, "exit_rssi_dbm": -60}, "stronger than enter_rssi_dbm"),
        ({"exit_rssi_dbm": -60}, "needs enter_rssi_dbm"),
    ],
)
def test_thresholds_that_contradict(policy: dict[str, Any], complaint: str) -> None:
    """Hysteresis upside down would flap for ever, so it is refused."""
    with pytest.raises(InvalidPolicy, match=complaint):
        check_policy(Policy(**policy))
