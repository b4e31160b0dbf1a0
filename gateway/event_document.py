"""An event as the API, webhooks and exports show it."""

from typing import Any

from gateway.times import rfc3339
from triggers.model import Event

SPECIAL = ("within_m", "name", "properties")


def event_document(event: Event) -> dict[str, Any]:
    """The event in JSON: ``zone`` and ``position`` as objects, instants in RFC 3339.

    Members of every event are always there, null where they do not apply (no zone, no dwell, no
    position); those of some kinds only (``within_m``, ``name``, ``properties``, ``is_mock``) come
    with these kinds.
    """
    zone = None if event.zone_id is None else {"type": event.zone_type, "id": event.zone_id}
    position = None
    if event.lat is not None:
        position = {"lat": event.lat, "lon": event.lon, "accuracy_m": event.accuracy_m}
    document: dict[str, Any] = {
        "id": event.id,
        "kind": event.kind.value,
        "device_id": event.device_id,
        "user_id": event.user_id,
        "zone": zone,
        "visit_id": event.visit_id,
        "occurred_at": rfc3339(event.occurred_at),
        "received_at": rfc3339(event.received_at),
        "confidence": event.confidence,
        "reason": event.reason,
        "dwell_s": event.dwell_s,
        "evidence_age_s": event.evidence_age_s,
        "position": position,
    }
    for name in SPECIAL:
        value = getattr(event, name)
        if value is not None:
            document[name] = value
    if event.is_mock:
        document["is_mock"] = True
    return document
