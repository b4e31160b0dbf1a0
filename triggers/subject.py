"""What a decision knows of the person and of the place."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from triggers.model import ZoneType


class Consents(NamedTuple):
    """What the person allowed. None: never asked, or not told."""

    push: bool | None = None
    location: bool | None = None


class Subject(msgspec.Struct, frozen=True):
    """The person, or the device as long as nobody is known to hold it.

    ``channels`` are the channels that have somewhere to send to. ``events`` are the instants of
    recent custom events by name. ``visits`` counts visits by zone id, ``tag_visits`` by zone tag,
    as stored: a visit that the events at hand begin is not in them yet (``decide`` adds it).
    """

    device_id: str
    user_id: str | None = None
    attributes: Mapping[str, Any] = {}
    tags: frozenset[str] = frozenset()
    timezone: str | None = None
    locale: str | None = None
    consents: Consents = Consents()
    channels: frozenset[str] = frozenset()
    events: Mapping[str, tuple[int, ...]] = {}
    visits: Mapping[str, int] = {}
    tag_visits: Mapping[str, int] = {}

    @property
    def owner(self) -> str:
        """Whose budgets are spent: the user, or the device if there is none."""
        return f"user:{self.user_id}" if self.user_id else f"device:{self.device_id}"


class ZoneFacts(msgspec.Struct, frozen=True):
    """What a decision and a message may know of a zone."""

    id: str
    type: ZoneType = "geofence"
    tags: frozenset[str] = frozenset()
    timezone: str | None = None
    name: str = ""
    properties: Mapping[str, Any] = {}
