"""What a ping says about a zone: inside, outside or unsure, and how much company that needs.

The rules are those of geofences that hold up in the field: which side of the edge a fix is on
decides arrival (a margin would make a 24 m deep shop unreachable), clearance decides departure (or
jitter would end visits), and a fix is never believed for being confident alone (phones report 2 m
accuracy 200 m off), so departures need two.
"""

from enum import IntEnum
from math import asin, cos, pi, radians, sin, sqrt

from triggers.model import Fix
from triggers.policy import Rules
from triggers.state import NEVER, DeviceState, Entry
from triggers.transitions import Signal
from triggers.visits import EXITING, INSIDE, OUTSIDE, Confidence

IMPOSSIBLE_SPEED_MPS = 350.0
SHORTEST_INTERVAL_S = 1.0  # an implied speed over less time is jitter
EARTH_RADIUS_M = 6_371_008.8
MAX_COUNT = 255

VISITING = (INSIDE, EXITING)  # phases in which a visit is open
IN, LEAN_IN, OUT, LEAN_OUT = (int(s) for s in list(Signal)[:4])


class Sign(IntEnum):
    """On which side of a zone's edge a fix stands, as far as it can be trusted."""

    INSIDE = 0
    OUTSIDE = 1
    UNSURE = 2


def accuracy_of(rules: Rules, accuracy_m: float | None) -> float:
    """The accuracy to count with; phones say unknown by none, zero, negative or NaN."""
    if accuracy_m is not None and accuracy_m > 0:
        return accuracy_m
    return rules.assumed_accuracy_m


def judge(rules: Rules, distance_m: float, accuracy_m: float) -> Sign:
    """The side of the edge that a fix is on.

    Args:
        rules: of the zone.
        distance_m: signed distance to the edge, negative inside; NaN says nothing.
        accuracy_m: radius of the fix's uncertainty.
    """
    if distance_m <= 0:
        return Sign.INSIDE if accuracy_m <= rules.max_accuracy_m else Sign.UNSURE
    clearance_m = distance_m - rules.exit_buffer_m
    if clearance_m > min(accuracy_m, rules.exit_accuracy_cap_m) and (
        accuracy_m < rules.coarse_m or clearance_m > accuracy_m
    ):
        return Sign.OUTSIDE
    return Sign.UNSURE


def weigh(
    entry: Entry, rules: Rules, sign: Sign, *, at: int, distance_m: float, accuracy_m: float
) -> tuple[int, str, Confidence]:
    """The signal of a fix, given what came before it; counts it in the entry.

    Returns:
        The signal, the reason an event would name (``fix``: this one alone, ``confirmed``:
        several), and the event's confidence.
    """
    if sign is Sign.INSIDE:
        is_clear = -distance_m >= accuracy_m
        signal = arriving(entry, rules, at, is_deep=is_clear)
        needed = rules.enter_confirmations
    else:
        is_clear = distance_m - rules.exit_buffer_m > accuracy_m
        signal = _outside(entry, rules, at)
        needed = rules.exit_confirmations
    confidence: Confidence = "high" if is_clear else "medium" if needed > 1 else "low"
    return signal, "confirmed" if entry.streak > 1 else "fix", confidence


def arriving(entry: Entry, rules: Rules, at: int, *, is_deep: bool) -> int:
    """The signal of evidence of being inside; counts it in the entry.

    Args:
        entry: of the zone; its run of confirmations begins anew where the window has passed.
        rules: of the zone.
        at: event time of the evidence.
        is_deep: it needs no company.
    """
    if entry.phase in VISITING:
        return IN
    if entry.phase == OUTSIDE:
        entry.since_at, entry.pending_at = at, 0
        entry.tally = entry.streak = entry.dwelled_s = 0
    elif at - entry.since_at > rules.confirm_window_ms:
        entry.since_at, entry.tally = at, 0
    return IN if _count(entry, 1 if is_deep else rules.enter_confirmations) else LEAN_IN


def implied_speed_mps(state: DeviceState, fix: Fix) -> float:
    """The speed at which the device must have come from its last position; 0 if it has none."""
    if state.watermark_at == NEVER or fix.at <= state.watermark_at:
        return 0.0
    lat, lon = radians(state.lat_e7 / 1e7), radians(state.lon_e7 / 1e7)
    fix_lat = radians(fix.lat)
    half = sin((fix_lat - lat) / 2) ** 2
    half += cos(lat) * cos(fix_lat) * sin((radians(fix.lon) - lon) / 2) ** 2
    metres = 2 * EARTH_RADIUS_M * (asin(sqrt(half)) if half < 1 else pi / 2)
    return metres / max((fix.at - state.watermark_at) / 1000, SHORTEST_INTERVAL_S)


def _outside(entry: Entry, rules: Rules, at: int) -> int:
    if entry.phase not in VISITING:
        return OUT
    if entry.phase == INSIDE or at - entry.pending_at > rules.confirm_window_ms:
        entry.pending_at, entry.tally = at, 0
    return OUT if _count(entry, rules.exit_confirmations) else LEAN_OUT


def _count(entry: Entry, needed: int) -> bool:
    """Count a fix; whether it confirms: enough in the window, or one more in a row than needed."""
    entry.tally = min(entry.tally + 1, MAX_COUNT)
    entry.streak = min(entry.streak + 1, MAX_COUNT)
    return entry.tally >= needed or entry.streak > needed
