"""How evidence is judged: presets, and what a zone's and a tenant's settings make of them.

A field is taken from the zone's policy, else from the tenant's, else from the preset. A zone that
names a preset means all of it: the tenant's settings then fill only what no preset speaks of.
"""

from functools import lru_cache
from math import inf, isfinite, log10
from typing import Any, NamedTuple

from triggers.model import Policy, TriggerError, ZoneType

ASSUMED_ACCURACY_M = 30.0
MAX_EVIDENCE_AGE_S = 1800
BEACON_SILENCE_EXIT_S = 30
BEACON_CONFIRM_WINDOW_S = 10
BEACON_HYSTERESIS_DB = 5.0
COARSE_M = 1000.0  # a worse fix (a cell tower, a city) must be outside by all of its accuracy
PATH_LOSS = 2.7  # exponent of indoor log-distance loss; turns proximity classes into RSSI
PROXIMITY_M = {"immediate": 0.5, "near": 3.0}  # "far" is any distance at which it is heard


class Preset(NamedTuple):
    """One way to judge; None is worked out from the zone's scale."""

    max_accuracy_m: float | None
    confirm_window_s: int
    enter_confirmations: int
    exit_confirmations: int
    exit_buffer_m: float | None
    exit_accuracy_cap_m: float
    coarse_m: float


PRESETS: dict[str, Preset] = {
    "robust": Preset(None, 300, 2, 2, None, 50.0, COARSE_M),
    "immediate": Preset(inf, 300, 1, 1, 0.0, 0.0, inf),
}


class Rules(NamedTuple):
    """A policy with every question answered. ``silence_ms`` 0: no exit by silence."""

    max_accuracy_m: float
    confirm_window_ms: int
    enter_confirmations: int
    exit_confirmations: int
    exit_buffer_m: float
    exit_accuracy_cap_m: float
    coarse_m: float
    assumed_accuracy_m: float
    max_evidence_age_ms: int
    silence_ms: int
    initial_silent: bool
    allow_mock: bool
    enter_rssi_dbm: float
    exit_rssi_dbm: float
    enter_over_dbm: float  # over the measured power at 1 m
    exit_over_dbm: float


class InvalidPolicy(TriggerError):
    """A policy that cannot be: which field (JSON pointer), and why."""

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(f"{pointer}: {detail}")
        self.pointer = pointer
        self.detail = detail


@lru_cache(maxsize=65_536)
def resolve(
    policy: Policy, tenant_default: Policy | None, scale_m: float, zone_type: ZoneType
) -> Rules:
    """The rules of a zone.

    Args:
        policy: of the zone.
        tenant_default: of the tenant, or None.
        scale_m: radius of a circle, else 2 * area / perimeter; 0 for beacon zones.
        zone_type: beacon zones differ in their defaults (silence, confirmation window).
    """
    default = tenant_default or Policy()
    is_beacon = zone_type == "beacon"
    preset = PRESETS[policy.preset or default.preset or "robust"]

    def preset_field(name: str) -> Any:
        value = getattr(policy, name)
        if value is None and policy.preset is None:
            value = getattr(default, name)
        return getattr(preset, name) if value is None else value

    def own_field(name: str, otherwise: Any) -> Any:
        value = getattr(policy, name)
        value = getattr(default, name) if value is None else value
        return otherwise if value is None else value

    max_accuracy_m = preset_field("max_accuracy_m")
    exit_buffer_m = preset_field("exit_buffer_m")
    silence_s = own_field("silence_exit_s", BEACON_SILENCE_EXIT_S if is_beacon else 0)
    window_s = preset_field("confirm_window_s")
    if is_beacon and policy.confirm_window_s is None:
        window_s = BEACON_CONFIRM_WINDOW_S
    return Rules(
        max_accuracy_m=max(100.0, scale_m) if max_accuracy_m is None else max_accuracy_m,
        confirm_window_ms=window_s * 1000,
        enter_confirmations=preset_field("enter_confirmations"),
        exit_confirmations=preset_field("exit_confirmations"),
        exit_buffer_m=max(0.1 * scale_m, 20.0) if exit_buffer_m is None else exit_buffer_m,
        exit_accuracy_cap_m=preset_field("exit_accuracy_cap_m"),
        coarse_m=max(preset.coarse_m, scale_m),
        assumed_accuracy_m=own_field("assumed_accuracy_m", ASSUMED_ACCURACY_M),
        max_evidence_age_ms=own_field("max_evidence_age_s", MAX_EVIDENCE_AGE_S) * 1000,
        silence_ms=(silence_s or (BEACON_SILENCE_EXIT_S if is_beacon else 0)) * 1000,
        initial_silent=own_field("initial", "enter") == "silent",
        allow_mock=own_field("allow_mock", False),
        **_radio(policy, default),
    )


def _radio(policy: Policy, default: Policy) -> dict[str, float]:
    """RSSI thresholds: absolute ones, and those that follow from a proximity class."""
    source = policy
    if policy.enter_rssi_dbm is None and policy.proximity is None:
        source = default
    enter = -inf if source.enter_rssi_dbm is None else source.enter_rssi_dbm
    leave = enter - BEACON_HYSTERESIS_DB if source.exit_rssi_dbm is None else source.exit_rssi_dbm
    reach_m = PROXIMITY_M.get(source.proximity or "far")
    over = -inf if reach_m is None else -10 * PATH_LOSS * log10(reach_m)
    return {
        "enter_rssi_dbm": enter,
        "exit_rssi_dbm": leave,
        "enter_over_dbm": over,
        "exit_over_dbm": over - BEACON_HYSTERESIS_DB,
    }


# Field -> smallest, largest, and what the number is.
LIMITS: dict[str, tuple[float, float, str]] = {
    "max_accuracy_m": (1, 1e6, "metres"),
    "confirm_window_s": (1, 86_400, "seconds"),
    "enter_confirmations": (1, 20, "fixes"),
    "exit_confirmations": (1, 20, "fixes"),
    "exit_buffer_m": (0, 1e6, "metres"),
    "exit_accuracy_cap_m": (0, 1e6, "metres"),
    "assumed_accuracy_m": (0.1, 1e5, "metres"),
    "max_evidence_age_s": (0, 30 * 86_400, "seconds"),
    "silence_exit_s": (0, 30 * 86_400, "seconds (0: never)"),
    "enter_rssi_dbm": (-130, 20, "dBm"),
    "exit_rssi_dbm": (-130, 20, "dBm"),
}


def check_policy(policy: Policy, pointer: str = "/policy") -> None:
    """Refuse a policy that cannot work.

    Raises:
        InvalidPolicy: names the field, what was found, and what may stand there.
    """
    for name, (lowest, highest, unit) in LIMITS.items():
        value: float | None = getattr(policy, name)
        if value is not None and not (isfinite(value) and lowest <= value <= highest):
            raise InvalidPolicy(
                f"{pointer}/{name}", f"{value:g} is not within {lowest:g} to {highest:g} {unit}"
            )
    enter, leave = policy.enter_rssi_dbm, policy.exit_rssi_dbm
    if enter is not None and leave is not None and leave > enter:
        raise InvalidPolicy(
            f"{pointer}/exit_rssi_dbm",
            f"{leave:g} is stronger than enter_rssi_dbm {enter:g}; set it some 5 dB weaker",
        )
    if leave is not None and enter is None:
        raise InvalidPolicy(f"{pointer}/exit_rssi_dbm", "needs enter_rssi_dbm beside it")
