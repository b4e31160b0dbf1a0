"""One tenant's configuration in memory, in the form the engine needs: what is where, who listens.

Edits arrive as documents (``put_beacon_zone`` and its like) and cost the edit, not a rebuild. The
rules of a zone are made when first asked for, and anew after a trigger or the zone changed.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

import msgspec

from gateway.kinds import beacon, geofence, receiver
from gateway.presence import Presence
from geo.index import FenceIndex
from geo.measure import scale_m
from geo.model import Zone
from triggers.ids import zone_key
from triggers.listening import TriggerIndex
from triggers.machine import StepContext
from triggers.model import Policy, ZoneRule, ZoneType
from triggers.subject import ZoneFacts
from triggers.tenant import TenantRules, parse_tenant_rules
from triggers.trigger import LiveTrigger, live, parse_trigger

RECEIVER_INTERVALS = 3  # a zone heard by receivers is left after so many silent reports
SHORTEST_SILENCE_S = 30
NO_POLICY = Policy()
ZONE_TYPES: tuple[ZoneType, ...] = get_args(ZoneType)


class ZoneInfo(msgspec.Struct, gc=False, frozen=True):
    """What is kept of a zone besides its geometry."""

    key: int
    type: ZoneType
    id: str
    name: str = ""
    tags: frozenset[str] = frozenset()
    timezone: str | None = None
    policy: Policy = NO_POLICY
    scale_m: float = 0.0
    detect_cross: bool = False
    version: int = 0
    removed: bool = False


class ZoneRules(Mapping[int, ZoneRule]):
    """The rules of zones by key, made when first asked for."""

    def __init__(self, infos: Mapping[int, ZoneInfo], make: Callable[[ZoneInfo], ZoneRule]) -> None:
        self._infos = infos
        self._make = make
        self._made: dict[int, ZoneRule] = {}

    def __getitem__(self, key: int) -> ZoneRule:
        rule = self._made.get(key)
        if rule is None:
            rule = self._made[key] = self._make(self._infos[key])
        return rule

    def get(self, key: int, default: Any = None) -> Any:
        """The rule, or the default; asked for every zone of every ping, so without detours."""
        rule = self._made.get(key)
        if rule is not None:
            return rule
        return self[key] if key in self._infos else default

    def __iter__(self) -> Iterator[int]:
        return iter(self._infos)

    def __len__(self) -> int:
        return len(self._infos)

    def forget(self, key: int | None = None) -> None:
        """Make this rule (None: every rule) anew when asked again."""
        if key is None:
            self._made.clear()
        else:
            self._made.pop(key, None)


class TenantView:
    """See the module. Not thread-safe: one event loop reads and edits it."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.rules = TenantRules()
        self.index = FenceIndex.build(())
        self.infos: dict[int, ZoneInfo] = {}
        self.zones = ZoneRules(self.infos, self._rule)
        self.presence = Presence()
        self.listening = TriggerIndex(())
        self._triggers: dict[str, LiveTrigger] = {}
        self._reaches: dict[int, float] = {}  # zones with approach rings: the widest
        self._crossed: set[int] = set()

    @property
    def detects_cross(self) -> bool:
        """Whether some zone reports paths that pass through it."""
        return bool(self._crossed)

    def context(self, device_id: str, user_id: str | None = None) -> StepContext:
        """What the state machine must know besides the zones."""
        rules = self.rules
        return StepContext(self.tenant, device_id, user_id, rules.allow_mock, rules.policy)

    def facts(self, zone_type: ZoneType | None, zone_id: str | None) -> ZoneFacts | None:
        """What decisions and messages may know of a zone; None outside any."""
        if zone_type is None or zone_id is None:
            return None
        info = self.infos.get(zone_key(self.tenant, zone_type, zone_id))
        if info is None:
            return ZoneFacts(id=zone_id, type=zone_type)
        return ZoneFacts(info.id, info.type, info.tags, info.timezone, info.name)

    def tags_of(self, zone_id: str) -> frozenset[str]:
        """The tags of the zones with this id."""
        keys = (zone_key(self.tenant, kind, zone_id) for kind in ZONE_TYPES)
        infos = (self.infos.get(key) for key in keys)
        return frozenset[str]().union(*(info.tags for info in infos if info is not None))

    # --- edits ------------------------------------------------------------------------------

    def geofence(self, stored: bytes, version: int) -> Zone:
        """Note a geofence, and give what the index must hold of it."""
        fence = geofence.read(stored)
        known = fence.known
        key = zone_key(self.tenant, "geofence", fence.id)
        self._note(
            ZoneInfo(
                key,
                "geofence",
                fence.id,
                known.name or "",
                frozenset(known.tags),
                known.timezone,
                known.policy or NO_POLICY,
                scale_m(fence.geometry),
                known.detect_cross,
                version,
            )
        )
        return Zone(key, fence.geometry, self._reach(key), key in self._crossed)

    def put_beacon_zone(self, stored: bytes, version: int) -> None:
        """Add or replace a beacon zone."""
        zone = beacon.read(stored)
        key = zone_key(self.tenant, "beacon", zone.id)
        self.presence.put_zone(key, zone.beacons, zone.receivers)
        self._note(
            ZoneInfo(
                key,
                "beacon",
                zone.id,
                zone.name or "",
                frozenset(zone.tags),
                zone.timezone,
                zone.policy or NO_POLICY,
                version=version,
            )
        )

    def remove_zone(self, zone_type: ZoneType, zone_id: str) -> None:
        """Take a zone out; its open visits end with reason ``zone_removed``."""
        key = zone_key(self.tenant, zone_type, zone_id)
        if zone_type == "geofence":
            self.index.remove(key)
        else:
            self.presence.remove_zone(key)
        self._reaches.pop(key, None)
        self._crossed.discard(key)
        self.remember_removed(zone_type, zone_id)

    def remember_removed(self, zone_type: ZoneType, zone_id: str) -> None:
        """Keep the name of a zone that is gone, for the visits that have not ended yet."""
        key = zone_key(self.tenant, zone_type, zone_id)
        self.infos[key] = ZoneInfo(key, zone_type, zone_id, removed=True)
        self.zones.forget(key)

    def knows(self, zone_type: ZoneType, zone_id: str) -> bool:
        """Whether there is such a zone now."""
        info = self.infos.get(zone_key(self.tenant, zone_type, zone_id))
        return info is not None and not info.removed

    def put_rules(self, stored: bytes) -> None:
        """Replace the tenant's settings."""
        self.rules = parse_tenant_rules(msgspec.json.decode(stored))
        self.zones.forget()

    def put_receiver(self, stored: bytes) -> None:
        """Add or replace a receiver."""
        one = receiver.read(stored)
        zone = None if one.zone is None else zone_key(self.tenant, "beacon", one.zone)
        self.presence.put_receiver(one.id, zone, one.rssi_offset_dbm, one.report_interval_s)
        self.zones.forget()

    def remove_receiver(self, receiver_id: str) -> None:
        """Take a receiver out."""
        self.presence.remove_receiver(receiver_id)
        self.zones.forget()

    def put_trigger(self, stored: bytes, version: int) -> None:
        """Add or replace a trigger; ``listen`` makes it effective."""
        trigger = parse_trigger(msgspec.json.decode(stored))
        self._triggers[trigger.id] = live(trigger, version)

    def remove_trigger(self, trigger_id: str) -> None:
        """Take a trigger out; ``listen`` makes it effective."""
        self._triggers.pop(trigger_id, None)

    def listen(self) -> list[str]:
        """Make edits of triggers effective; the ids of the geofences to be put anew.

        Those are the ones whose approach rings or crossings some trigger began or ceased to want.
        """
        self.listening = TriggerIndex(self._triggers.values())
        self.zones.forget()
        return [
            info.id
            for info in self.infos.values()
            if info.type == "geofence" and not info.removed and self._watch(info)
        ]

    def rehearsal(self, trigger: LiveTrigger) -> tuple["TenantView", list[str]]:
        """A copy in which this trigger takes part, untouched by later edits; it records nothing.

        With it come the ids of the geofences to be put anew: ``listen`` of the copy.
        """
        twin = TenantView(self.tenant)
        twin.rules = msgspec.structs.replace(self.rules, recording=False)
        twin.index = self.index.fork()
        twin.infos.update(self.infos)
        twin.presence = self.presence
        twin._triggers = self._triggers | {trigger.trigger.id: trigger}
        twin._reaches, twin._crossed = dict(self._reaches), set(self._crossed)
        known = self._triggers.get(trigger.trigger.id)
        if known is not None and known.trigger.on == trigger.trigger.on:
            twin.listening = TriggerIndex(twin._triggers.values())
            return twin, []
        return twin, twin.listen()

    def trigger(self, trigger_id: str) -> LiveTrigger | None:
        """A trigger as it was put."""
        return self._triggers.get(trigger_id)

    # --- private ----------------------------------------------------------------------------

    def _note(self, info: ZoneInfo) -> None:
        self.infos[info.key] = info
        self.zones.forget(info.key)
        self._watch(info)

    def _reach(self, key: int) -> float:
        return self._reaches.get(key, 0.0)

    def _watch(self, info: ZoneInfo) -> bool:
        """Note how far around a zone pings matter; whether that changed."""
        wants = self.listening.thresholds(info.id, info.tags, info.type)
        reach_m = float(wants.approach_m[-1]) if wants.approach_m else 0.0
        crosses = info.detect_cross or wants.cross
        if (self._reach(info.key), info.key in self._crossed) == (reach_m, crosses):
            return False
        self._reaches.pop(info.key, None)
        self._crossed.discard(info.key)
        if reach_m:
            self._reaches[info.key] = reach_m
        if crosses:
            self._crossed.add(info.key)
        return True

    def _rule(self, info: ZoneInfo) -> ZoneRule:
        wants = self.listening.thresholds(info.id, info.tags, info.type)
        return ZoneRule(
            key=info.key,
            type=info.type,
            id=info.id,
            scale_m=info.scale_m,
            policy=self._policy(info),
            dwell_s=wants.dwell_s,
            approach_m=wants.approach_m,
            detect_cross=info.key in self._crossed,
            version=info.version,
            removed=info.removed,
        )

    def _policy(self, info: ZoneInfo) -> Policy:
        """The zone's policy; a zone heard by slow receivers is not left between two reports."""
        policy = info.policy
        interval_s = self.presence.longest_interval_s(info.key) if info.type == "beacon" else None
        if interval_s is None or policy.silence_exit_s is not None:
            return policy
        silence_s = max(SHORTEST_SILENCE_S, round(RECEIVER_INTERVALS * interval_s))
        return msgspec.structs.replace(policy, silence_exit_s=silence_s)
