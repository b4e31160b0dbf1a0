"""What a message's template can name: ``user``, ``device``, ``event``, ``zone``, ``push``. Pure.

Attributes stand beside the fixed names (``user.first_name``); a fixed name wins. Without a user the
device's attributes answer for both.
"""

from typing import Any

import msgspec

from gateway.people import Party
from gateway.person import User
from triggers.model import Event, Push
from triggers.subject import ZoneFacts


def template_values(push: Push, party: Party, zone: ZoneFacts | None) -> dict[str, Any]:
    """Plain data for one push."""
    device, user = party.device, party.user
    shared = device.attributes | (user.attributes if user else {})
    return {
        "user": {**shared, **_person(user or device)},
        "device": {**device.attributes, **_person(device)},
        "event": _event(push.event),
        "zone": _zone(zone),
        "push": {"id": push.id, "trigger_id": push.trigger_id, "variant": push.variant},
    }


def _person(person: User) -> dict[str, Any]:
    return {
        "id": person.id,
        "tags": list(person.tags),
        "timezone": person.timezone,
        "locale": person.locale,
    }


def _event(event: Event) -> dict[str, Any]:
    given = event.properties or {}
    return {
        "id": event.id,
        "kind": str(event.kind),
        "name": event.name,
        "occurred_at": event.occurred_at,
        "dwell_s": event.dwell_s,
        "within_m": event.within_m,
        "confidence": event.confidence,
        "properties": {
            name: msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value
            for name, value in given.items()
        },
    }


def _zone(zone: ZoneFacts | None) -> dict[str, Any]:
    if zone is None:
        return {}
    return {
        **zone.properties,
        "id": zone.id,
        "type": zone.type,
        "name": zone.name or zone.id,
        "tags": sorted(zone.tags),
        "timezone": zone.timezone,
    }
