"""An event as the API, webhooks and exports show it."""

from typing import Any

from gateway.times import rfc3339
from triggers.model import Event

COMMON = ("visit_id", "reason", "dwell_s", "within_m", "evidence_age_s", "name", "properties")


def event_document(event: Event) -> dict[str, Any]:
    """The event in JSON: ``zone`` and ``position`` as objects, instants in RFC 3339.

    What an event does not have (no zone, no dwell, no position) is left out.
    """
    document: dict[str, Any] = {
        "id": event.id,
        "kind": event.kind.value,
        "device_id": event.device_id,
    }
    if event.user_id is not None:
        document["user_id"] = event.user_id
    if event.zone_id is not None:
        document["zone"] = {"type": event.zone_type, "id": event.zone_id}
    document["occurred_at"] = rfc3339(event.occurred_at)
    document["received_at"] = rfc3339(event.received_at)
    document["confidence"] = event.confidence
    for name in COMMON:
        value = getattr(event, name)
        if value is not None:
            document[name] = value
    if event.lat is not None:
        document["position"] = {"lat": event.lat, "lon": event.lon, "accuracy_m": event.accuracy_m}
    if event.is_mock:
        document["is_mock"] = True
    return document
