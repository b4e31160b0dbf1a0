"""A device whose distance to its zones is told directly: geometry is not under test here."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from triggers.ids import zone_key
from triggers.machine import StepContext, advance, hear, step
from triggers.model import (
    Event,
    Fix,
    Heard,
    Policy,
    Stepped,
    Verdict,
    ZoneCrossing,
    ZoneFix,
    ZoneRule,
)

START = 1_760_000_000_000  # epoch ms; seconds in tests count from here
METRES_PER_DEGREE = 111_195.0


class Device:
    """One device, its record, and all that was reported of it; instants in seconds after START."""

    def __init__(self, *rules: ZoneRule, **context: Any) -> None:
        self.rules = {rule.key: rule for rule in rules}
        self.ctx = StepContext("acme", "phone-1", **context)
        self.record: bytes | None = None
        self.events: list[Event] = []
        self.verdicts: list[Verdict] = []
        self.due_s: float | None = None

    def fix(self, at_s: float, distances: float | Mapping[str, float], **fields: Any) -> Fix:
        """A ping at signed distances (by zone id; a number: to every geofence)."""
        geofences = [r for r in self.rules.values() if r.type == "geofence"]
        if not isinstance(distances, Mapping):
            distances = {r.id: distances for r in geofences}
        at = START + round(at_s * 1000)
        north_m = fields.pop("north_m", 0.0)
        crossed = fields.pop("crossed", {})
        by_id = {r.id: r.key for r in geofences}
        zones = tuple(ZoneFix(by_id[i], d) for i, d in distances.items() if i in by_id)
        values: dict[str, Any] = {
            "received_at": at + 500,
            "lat": 53.0 + north_m / METRES_PER_DEGREE,
            "lon": 8.0,
            "accuracy_m": 10.0,
            "fingerprint": at % 2**32 or 1,
            "zones": zones,
            "crossings": tuple(ZoneCrossing(by_id[i], f) for i, f in crossed.items()),
        }
        return Fix(at, **(values | fields))

    def ping(
        self, at_s: float, distances: float | Mapping[str, float] = 1e5, **fields: Any
    ) -> list[tuple[str, float]]:
        """Apply a ping; what it reported, as (kind, occurred after START in s)."""
        return self._take(
            step(self.record, self.fix(at_s, distances, **fields), self.rules, self.ctx)
        )

    def hear(
        self, at_s: float, rssi_dbm: float, zone: str = "door", **fields: Any
    ) -> list[tuple[str, float]]:
        """Apply a sighting."""
        at = START + round(at_s * 1000)
        key = zone_key("acme", "beacon", zone)
        values: dict[str, Any] = {"received_at": at + 500, "key": key, "rssi_dbm": rssi_dbm}
        return self._take(hear(self.record, Heard(at, **(values | fields)), self.rules, self.ctx))

    def advance(self, at_s: float) -> list[tuple[str, float]]:
        """Let time pass up to this instant."""
        now = START + round(at_s * 1000)
        return self._take(advance(self.record, now, self.rules, self.ctx))

    def edit(self, zone_id: str, **fields: Any) -> None:
        """Change a zone's rule; ``gone=True`` takes it away altogether."""
        for key, rule in list(self.rules.items()):
            if rule.id == zone_id and fields.pop("gone", False):
                del self.rules[key]
            elif rule.id == zone_id:
                values = {f: getattr(rule, f) for f in rule.__struct_fields__}
                self.rules[key] = ZoneRule(**(values | fields))

    def _take(self, stepped: Stepped) -> list[tuple[str, float]]:
        self.record = stepped.record
        self.events += stepped.events
        self.verdicts.append(stepped.verdict)
        self.due_s = None if stepped.due_at is None else (stepped.due_at - START) / 1000
        return [(e.kind.value, (e.occurred_at - START) / 1000) for e in stepped.events]


def zone_rule(zone_id: str = "shop", **fields: Any) -> ZoneRule:
    """A geofence of 100 m radius, or what the fields say; policy fields may stand among them."""
    policy = {k: fields.pop(k) for k in list(fields) if k in Policy.__struct_fields__}
    zone_type = fields.pop("type", "geofence")
    values: dict[str, Any] = {"scale_m": 100.0 if zone_type == "geofence" else 0.0}
    key = zone_key("acme", zone_type, zone_id)
    return ZoneRule(key, zone_type, zone_id, policy=Policy(**policy), **(values | fields))


@pytest.fixture(scope="session")
def new_device() -> Callable[..., Device]:
    """``new_device(*rules, **context)``: a device that was never heard of."""
    return Device


@pytest.fixture(scope="session")
def new_rule() -> Callable[..., ZoneRule]:
    """``new_rule(id, **fields)``: a zone's rule."""
    return zone_rule
