"""Which beacon zones a sighting is evidence for.

Two directions, one answer: a phone hears a zone's beacon, or a zone's receiver hears a transmitter
that a device carries.
"""

from collections.abc import Iterable
from typing import NamedTuple

from geo.beacons import prefixes


class Hearing(NamedTuple):
    """A receiver's place: the zone it stands for, and how its readings are to be corrected."""

    key: int
    rssi_offset_dbm: float


class Presence:
    """The beacon zones of one tenant, by beacon and by receiver."""

    def __init__(self) -> None:
        self._by_beacon: dict[str, set[int]] = {}
        self._by_receiver: dict[str, set[int]] = {}
        self._patterns: dict[int, tuple[str, ...]] = {}
        self._listed: dict[int, tuple[str, ...]] = {}
        self._receiver_zone: dict[str, int] = {}
        self._offset_dbm: dict[str, float] = {}
        self._interval_s: dict[str, float] = {}

    def put_zone(self, key: int, beacons: Iterable[str], receivers: Iterable[str]) -> None:
        """Add or replace a zone."""
        self.remove_zone(key)
        self._patterns[key] = tuple(beacons)
        self._listed[key] = tuple(receivers)
        for pattern in self._patterns[key]:
            self._by_beacon.setdefault(pattern, set()).add(key)
        for receiver_id in self._listed[key]:
            self._by_receiver.setdefault(receiver_id, set()).add(key)

    def remove_zone(self, key: int) -> None:
        """Forget a zone."""
        for pattern in self._patterns.pop(key, ()):
            self._by_beacon[pattern].discard(key)
        for receiver_id in self._listed.pop(key, ()):
            self._by_receiver[receiver_id].discard(key)

    def put_receiver(
        self, receiver_id: str, zone: int | None, offset_dbm: float, interval_s: float | None
    ) -> None:
        """Add or replace a receiver."""
        self.remove_receiver(receiver_id)
        if zone is not None:
            self._receiver_zone[receiver_id] = zone
        self._offset_dbm[receiver_id] = offset_dbm
        if interval_s is not None:
            self._interval_s[receiver_id] = interval_s

    def remove_receiver(self, receiver_id: str) -> None:
        """Forget a receiver."""
        self._receiver_zone.pop(receiver_id, None)
        self._offset_dbm.pop(receiver_id, None)
        self._interval_s.pop(receiver_id, None)

    def knows_receiver(self, receiver_id: str) -> bool:
        """Whether the receiver is configured, or some zone lists it."""
        return receiver_id in self._offset_dbm or bool(self._by_receiver.get(receiver_id))

    def zones_of_beacon(self, beacon_key: str) -> list[int]:
        """The zones that contain this beacon, by its whole key or by a prefix of its parts."""
        found: set[int] = set()
        for pattern in prefixes(beacon_key):
            found |= self._by_beacon.get(pattern, set())
        return sorted(found)

    def zones_of_receiver(self, receiver_id: str) -> list[Hearing]:
        """The zones that this receiver is evidence for."""
        keys = set(self._by_receiver.get(receiver_id, set()))
        zone = self._receiver_zone.get(receiver_id)
        if zone is not None:
            keys.add(zone)
        offset_dbm = self._offset_dbm.get(receiver_id, 0.0)
        return [Hearing(key, offset_dbm) for key in sorted(keys)]

    def longest_interval_s(self, key: int) -> float | None:
        """The longest report interval of the receivers of a zone."""
        receivers = set(self._listed.get(key, ()))
        receivers |= {one for one, zone in self._receiver_zone.items() if zone == key}
        intervals = [self._interval_s[one] for one in receivers if one in self._interval_s]
        return max(intervals, default=None)
