"""The schemas of the API: of posted documents by the structs that read them, and of answers."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from gateway import audit, delivery_log, person, quarantine, standing, tokens, wire
from gateway.api import (
    backtests,
    consents,
    console,
    custom_events,
    dead_letters,
    inboxes,
    keys,
    messages,
    notifications,
    receipts,
    users,
)
from gateway.backtest.report import Report
from gateway.kinds import beacon, geofence, receiver
from gateway.transfer import importer
from senders.credentials import TYPES
from senders.preview import Preview
from triggers.model import Check, EventKind, Result
from triggers.tenant import TenantRules
from triggers.trigger import Trigger

Schema = dict[str, Any]

INSTANT: Schema = {"type": "string", "format": "date-time"}
TEXT: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
YES_OR_NO: Schema = {"type": "boolean"}
ANYTHING: Schema = {"type": "object"}
TEXTS: Schema = {"type": "array", "items": TEXT}

_POSTED: Mapping[str, Any] = {
    "Ping": wire.Ping,
    "Sighting": wire.Sighting,
    "CustomEvent": custom_events.PostedEvent,
    "Receipt": receipts.Posted,
    "Notification": notifications.Notification,
    "BacktestRequest": backtests.Asked,
    "MessageSample": messages.Sample,
    "InboxMarks": inboxes.Marks,
    "DeadLetterChoice": dead_letters.Chosen,
    "ConsentAnswer": consents.Answer,
    "UserMerge": users.Merge,
    "SignIn": console.SignIn,
    "NewKey": keys.NewKey,
    "KeyRotation": keys.Rotation,
    "TokenRequest": keys.TokenRequest,
    "JwtKey": tokens.JwtKey,
    "DevicePosted": person.DeviceDocument,
    "UserPosted": person.UserDocument,
    "BeaconPosted": beacon.BeaconZone,
    "ReceiverPosted": receiver.Receiver,
    "GeofenceProperties": geofence.Properties,
    "Device": person.Device,
    "User": person.User,
    "AuditEntry": audit.Entry,
    "Quarantined": quarantine.Quarantined,
    "ImportReport": importer.Report,
    "DeliveryStep": delivery_log.DeliveryRecord,
    "Standing": standing.Standing,
    "PlatformPreview": Preview,
    "BacktestReport": Report,
    "Check": Check,
    "Refusal": wire.Refusal,
}
_RENAMED: Mapping[str, str] = {"Problem": "ImportFault", "_Zone": "ZoneOfMessage"}
_READ_ONLY: Mapping[str, Schema] = {
    "version": {"type": "integer", "minimum": 1, "readOnly": True},
    "created_at": {**INSTANT, "readOnly": True},
    "updated_at": {**INSTANT, "readOnly": True},
}


def ref(name: str) -> Schema:
    """A reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(
    required: Mapping[str, Schema] | Iterable[str] = (), more: Mapping[str, Schema] | None = None
) -> Schema:
    """An object with these members; those of ``more`` may be left out."""
    always = dict(required) if isinstance(required, Mapping) else {name: {} for name in required}
    schema: Schema = {"type": "object", "properties": {**always, **(more or {})}}
    return {**schema, "required": list(always)} if always else schema


def or_null(schema: Schema) -> Schema:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def listed(item: Schema, **more: Schema) -> Schema:
    """A page of items."""
    return record({"items": {"type": "array", "items": item}, "next_cursor": TEXT_OR_NULL, **more})


def one_or_many(name: str, plural: str) -> Schema:
    """What intake takes: one, an array, or an object with the array."""
    many = {"type": "array", "items": ref(name), "minItems": 1}
    whole = {**record({plural: many}), "additionalProperties": False}
    return {"oneOf": [ref(name), many, whole]}


def schemas() -> dict[str, Schema]:
    """Every schema of the document, by name."""
    made = _of_structs() | _written()
    for name in ("Device", "User"):
        made[name] = _kept(
            made[name],
            {"last_seen_at": {"type": ["string", "null"], "format": "date-time"}}
            if name == "Device"
            else {},
        )
    for name, posted in (("Beacon", "BeaconPosted"), ("Receiver", "ReceiverPosted")):
        made[name] = _kept(made[posted], {})
    for name in ("DevicePosted", "UserPosted", "BeaconPosted", "ReceiverPosted"):
        made[name].pop("required")  # the id stands in the path
    for name in ("DeliveryStep", "AuditEntry"):  # stored as numbers, answered as text
        properties = made[name]["properties"]
        times = {one: INSTANT for one in ("at", "due_at") if one in properties}
        made[name] = {**made[name], "properties": {**properties, **times}}
    return made


def _of_structs() -> dict[str, Schema]:
    made: dict[str, Schema] = {}
    for name, struct in _POSTED.items():
        parts = _parts(struct)
        own = parts.pop(_RENAMED.get(struct.__name__, struct.__name__))
        made |= parts
        made[name] = {**own, "title": name}
    return made


def _parts(struct: Any) -> dict[str, Schema]:
    """The schemas of a struct and of those inside it."""
    _, parts = msgspec.json.schema_components([struct], ref_template="#/components/schemas/{name}")
    text = msgspec.json.encode(parts)
    for name, better in _RENAMED.items():
        text = text.replace(f'/schemas/{name}"'.encode(), f'/schemas/{better}"'.encode())
    found: dict[str, Schema] = msgspec.json.decode(text)
    return {_RENAMED.get(name, name): schema for name, schema in found.items()}


def _kept(schema: Schema, more: Mapping[str, Schema]) -> Schema:
    """A stored document as it is answered."""
    kept = {name: value for name, value in schema.items() if name != "additionalProperties"}
    properties = {**schema["properties"], **_READ_ONLY, **more}
    return {**kept, "properties": properties, "required": ["id", *_READ_ONLY]}


def _members(struct: Any, known: Mapping[str, Schema]) -> dict[str, Schema]:
    """The members of a struct whose types have forms of their own; ``known`` says which."""
    return {
        field.encode_name: known.get(field.encode_name, {})
        for field in msgspec.structs.fields(struct)
    }


def _written() -> dict[str, Schema]:
    """The schemas of documents that no single struct reads."""
    trigger = _members(Trigger, _TRIGGER)
    rules = _members(TenantRules, _RULES)
    feature = {
        "type": {"const": "Feature"},
        "geometry": record({"type": TEXT}),
        "properties": ref("GeofenceProperties"),
    }
    credential = {"type": {"enum": sorted(TYPES)}}
    posted_feature = record({"geometry": ANYTHING}, {**feature, "id": TEXT, "radius_m": NUMBER})
    return {
        "TriggerPosted": {
            **record(("on", "variants"), trigger),
            "description": "Every field: docs/triggers.md.",
        },
        "Trigger": record({"id": TEXT, "on": ANYTHING, **_READ_ONLY}, trigger),
        "Settings": {**record((), rules), "additionalProperties": False},
        "StoredSettings": record(_READ_ONLY, rules),
        "GeofencePosted": posted_feature,
        "Geofence": record(
            {**feature, "id": TEXT, **_READ_ONLY}, {"repairs": TEXTS, "distance_m": NUMBER}
        ),
        "CredentialPosted": record((), credential),
        "Credential": record({"id": TEXT, **credential, **_READ_ONLY}),
        "Key": record(_KEY, {"last_used_at": {"type": ["string", "null"]}}),
        "MadeKey": record({**_KEY, "key": TEXT}),
        "VerificationKey": record({"id": TEXT, "kid": TEXT, "algorithm": TEXT}),
        "Event": record(_EVENT, _EVENT_MORE),
        "Explained": record(_EXPLAINED),
        "DeadLetter": record(
            {
                "id": TEXT,
                "class": TEXT,
                "reason": TEXT,
                "died_at": INSTANT,
                "push": {"type": ["object", "null"]},
            }
        ),
        "InboxItem": record(
            {
                "id": TEXT,
                "state": {"enum": ["new", "read", "archived"]},
                "created_at": INSTANT,
                "expires_at": INSTANT,
                "message": ANYTHING,
            }
        ),
        "Region": record(
            {
                "id": TEXT,
                "name": TEXT_OR_NULL,
                "lat": NUMBER,
                "lon": NUMBER,
                "radius_m": NUMBER,
                "distance_m": NUMBER,
                "version": COUNT,
            }
        ),
        "Taken": record(
            {
                "accepted": COUNT,
                "duplicates": COUNT,
                "rejected": {"type": "array", "items": ref("Refusal")},
            },
            {"late": COUNT, "ignored": COUNT, "wake_radius_m": COUNT, "ids": TEXTS},
        ),
        "Consented": record(
            {
                "consents": ANYTHING,
                "items": {"type": "array", "items": ANYTHING},
                "next_cursor": TEXT_OR_NULL,
            }
        ),
    }


_TRIGGER: Mapping[str, Schema] = {
    "id": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._~-]{0,127}$"},
    "on": record({"event": {"enum": [kind.value for kind in EventKind]}}),
    "variants": {
        "type": "array",
        "minItems": 1,
        "maxItems": 20,
        "items": record({"message": ANYTHING}, {"weight": NUMBER, "name": TEXT_OR_NULL}),
    },
    "name": TEXT,
    "description": TEXT,
    "enabled": YES_OR_NO,
    "class": {"enum": ["marketing", "transactional"]},
    "max_age_s": COUNT,
    "delay_s": COUNT,
    "on_removed": YES_OR_NO,
    "holdout": {"type": "number", "minimum": 0, "maximum": 1},
    "salt": TEXT,
    "priority": {"type": "integer"},
    "channels": {**TEXTS, "minItems": 1},
}
_RULES: Mapping[str, Schema] = {
    "timezone": TEXT_OR_NULL,
    "quiet_hours": {"type": ["object", "null"]},
    "caps": ANYTHING,
    "require_consent": YES_OR_NO,
    "policy": ANYTHING,
    "allow_mock": YES_OR_NO,
    "coarse_location": YES_OR_NO,
    "recording": YES_OR_NO,
    "recording_retention_s": COUNT,
    "location_retention_s": {"type": ["integer", "null"], "minimum": 0},
    "owntracks_passphrase": TEXT_OR_NULL,
    "owntracks_waypoints": COUNT,
    "transistor_geofences": COUNT,
}
_KEY: Mapping[str, Schema] = {
    "id": TEXT,
    "name": TEXT,
    "scopes": TEXTS,
    "created_at": TEXT_OR_NULL,
    "expires_at": TEXT_OR_NULL,
    "revoked_at": TEXT_OR_NULL,
    "active": YES_OR_NO,
}
_EVENT: Mapping[str, Schema] = {
    "id": TEXT,
    "kind": {"enum": [kind.value for kind in EventKind]},
    "device_id": TEXT,
    "occurred_at": INSTANT,
    "received_at": INSTANT,
    "confidence": {"enum": ["low", "medium", "high"]},
}
_EVENT_MORE: Mapping[str, Schema] = {
    "user_id": TEXT_OR_NULL,
    "zone": or_null(record({"type": {"enum": ["geofence", "beacon"]}, "id": TEXT})),
    "visit_id": TEXT_OR_NULL,
    "reason": TEXT_OR_NULL,
    "dwell_s": or_null(COUNT),
    "within_m": or_null(COUNT),
    "evidence_age_s": or_null(COUNT),
    "name": TEXT_OR_NULL,
    "properties": or_null(ANYTHING),
    "position": or_null(
        record({"lat": NUMBER, "lon": NUMBER, "accuracy_m": {"type": ["number", "null"]}})
    ),
    "is_mock": YES_OR_NO,
}
_EXPLAINED: Mapping[str, Schema] = {
    "push_id": TEXT,
    "trigger_id": TEXT,
    "event_id": TEXT,
    "event_kind": TEXT,
    "device_id": TEXT,
    "user_id": TEXT_OR_NULL,
    "zone_id": TEXT_OR_NULL,
    "result": {"enum": [result.value for result in Result]},
    "decided_at": INSTANT,
    "summary": TEXT,
    "checks": {"type": "array", "items": ref("Check")},
    "checks_text": TEXTS,
    "story": TEXTS,
}
