"""What every operation answers when all is well: schema and example, by operation id."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gateway.api import beacons, devices, geofences, receivers, tenants, triggers, users
from gateway.openapi_schemas import (
    ANYTHING,
    COUNT,
    INSTANT,
    NUMBER,
    TEXT,
    TEXT_OR_NULL,
    TEXTS,
    YES_OR_NO,
    Schema,
    listed,
    record,
    ref,
)
from gateway.transfer.formats import MEDIA_TYPES


class Answer(NamedTuple):
    """One status of an operation. ``media_types`` is empty where there is no body."""

    status: int
    description: str
    schema: Schema
    example: Any
    media_types: tuple[str, ...] = ("application/json",)
    headers: tuple[str, ...] = ()


AT, LATER = "2026-12-01T09:30:00.000Z", "2026-12-02T09:30:00.000Z"
PUSH_ID = "6f1f6a0e-6a0e-5b8e-9f6f-2f6a0e6a0e6a"
EVENT_ID = "0b9f6c1e-8a3e-5f6f-a1a5-6e1f0f0a7c11"
_STAMP = {"version": 7, "created_at": AT, "updated_at": AT}
_NOTHING = Answer(204, "Done", {}, None, ())
_UNCHANGED = Answer(304, "Unchanged since the version that If-None-Match names", {}, None, (), ())
_TEXT = ("text/plain",)

_CREDENTIAL = {
    "id": "apns",
    "type": "apns",
    "team_id": "A1B2C3D4E5",
    "key_id": "F6G7H8J9K0",
    "topic": "com.example.shop",
    "secrets": ["private_key"],
    **_STAMP,
}
_DEVICE = {"id": "phone-1", **devices.EXAMPLE, **_STAMP, "last_seen_at": AT}
_USER = {"id": "kim", **users.EXAMPLE, **_STAMP}
_GEOFENCE = {**geofences.EXAMPLE, **_STAMP}
_KEY = {
    "id": "k7d2m9q4",
    "name": "shop back end",
    "scopes": ["manage"],
    "created_at": AT,
    "expires_at": None,
    "revoked_at": None,
    "active": True,
}
_EVENT = {
    "id": EVENT_ID,
    "kind": "dwell",
    "device_id": "phone-1",
    "user_id": "kim",
    "zone": {"type": "geofence", "id": "store-12"},
    "occurred_at": AT,
    "received_at": AT,
    "confidence": "high",
    "reason": "timer",
    "dwell_s": 300,
    "position": {"lat": 52.5163, "lon": 13.3777, "accuracy_m": 8.0},
}
_STEP = {
    "push_id": PUSH_ID,
    "device_id": "phone-1",
    "trigger_id": "lunch-offer",
    "event_id": EVENT_ID,
    "state": "delivered",
    "at": AT,
    "lane": "marketing",
    "channel": "app_push",
    "provider": "fcm",
}
_LETTER = {
    "id": "0-1796030400000-0",
    "class": "marketing",
    "reason": "credential_invalid",
    "died_at": AT,
    "push": {"id": PUSH_ID, "trigger_id": "lunch-offer", "device_id": "phone-1", "attempt": 5},
}
_CONSENTED = {
    "consents": {"push": True, "location": "precise"},
    "items": [{"at": AT, "recorded_at": AT, "source": "onboarding screen", "push": True}],
    "next_cursor": None,
}
_TAKEN = {"accepted": 1, "duplicates": 0, "late": 0, "rejected": []}
_EXPLAINED = {
    "push_id": PUSH_ID,
    "trigger_id": "lunch-offer",
    "event_id": EVENT_ID,
    "event_kind": "dwell",
    "device_id": "phone-1",
    "user_id": "kim",
    "zone_id": "store-12",
    "result": "cooldown",
    "decided_at": AT,
    "summary": "Not sent: lunch-offer went to this person 20 min ago; it waits 24 h.",
    "checks": [{"name": "cooldown", "ok": False, "detail": "24 h for each zone"}],
    "checks_text": ["no  cooldown: 24 h for each zone"],
    "story": [],
}
_SYSTEM = {
    "version": "1.0.0",
    "installation_id": "7b1f",
    "started_at": AT,
    "python": "3.12.3",
    "clock": {"now": AT, "skew_s": None},
    "durability": "everysec",
    "shards": 4,
    "redis": {"version": "7.2.0", "used_memory_bytes": 1_000_000, "max_memory_bytes": 0},
    "limits": {"max_body_bytes": 10_485_760, "max_pings_per_call": 10_000},
    "ready": True,
    "checks": [{"name": "redis", "is_ok": True, "detail": "answers (0.4 ms)"}],
}
_SESSION = {"tenant": "acme", "key_id": "k7d2m9q4", "scopes": ["read"], "tiles": None}
_VERIFIER = {"id": "backend", "kid": "acme/backend", "algorithm": "ES256", "public_key": "-----…"}


def _ok(
    schema: Schema, example: Any, *, status: int = 200, headers: tuple[str, ...] = ()
) -> Answer:
    return Answer(status, "OK", schema, example, headers=headers)


def _page(item: Schema, example: Any, **more: Any) -> Answer:
    schema = listed(item, **dict.fromkeys(more, COUNT))
    body = {"items": [example], "next_cursor": None, **more}
    return Answer(200, "A page", schema, body, headers=("Link",))


def _documents(noun: str, plural: str, schema: str, example: Any) -> dict[str, list[Answer]]:
    """The answers of the operations that every kind of document has."""
    read = _ok(ref(schema), example, headers=("ETag",))
    made = read._replace(status=201, description="Created", headers=("ETag", "Location"))
    return {
        f"put_{noun}": [read._replace(description="Replaced, or the same"), made],
        f"get_{noun}": [read, _UNCHANGED],
        f"patch_{noun}": [read],
        f"delete_{noun}": [_NOTHING],
        f"list_{plural}": [_page(ref(schema), example)],
    }


def _counted(name: str) -> list[Answer]:
    return [_ok(record({name: COUNT}), {name: 1})]


def _told() -> list[Answer]:
    return [_ok(record({"accepted": COUNT, "duplicates": COUNT}), {"accepted": 1, "duplicates": 0})]


_PREVIEW = {
    "title": "Hi Ada",
    "subtitle": "",
    "body": "Lunch at Main Street",
    "platforms": {"sms": {"payload": "Hi Ada", "size": 6, "limit": 160, "unit": "characters"}},
}
_REGION = {
    "id": "store-12",
    "name": "Pariser Platz",
    "lat": 52.5163,
    "lon": 13.3777,
    "radius_m": 120.0,
    "distance_m": 310.5,
    "version": 7,
}
_CENTRE = {"lat": 52.51, "lon": 13.37, "radius_m": 310.5}
_DEAD_COUNTS = {"replayed": COUNT, "unreadable": COUNT}
_INBOX_ITEM = {
    "id": PUSH_ID,
    "state": "new",
    "created_at": AT,
    "expires_at": LATER,
    "message": {"title": "Lunch is on us"},
}
_REPORT = {
    "dry_run": False,
    "read": 4000,
    "created": 3999,
    "updated": 0,
    "unchanged": 0,
    "repaired": 0,
    "failed": 1,
    "errors": [
        {"index": 17, "id": "store-18", "pointer": "#/geometry", "detail": "the ring is not closed"}
    ],
    "aborted": None,
}
_BACKTEST = {
    "trigger_id": "lunch-offer",
    "traffic": {
        "pings": 120_000,
        "devices": 80,
        "accepted": 119_000,
        "duplicates": 900,
        "late": 100,
        "held": 0,
        "rejected": 0,
        "since": "2026-05-04T00:00:00.000Z",
        "until": "2026-05-11T00:00:00.000Z",
    },
    "occasions": 40,
    "pushes": 31,
    "people": 22,
    "waiting": 0,
    "reasons": {"cooldown": 9},
    "pushes_per_person": [],
    "hours": [],
    "examples": [],
    "stopped": None,
    "took_ms": 2100,
    "is_draft": False,
    "rejected": [],
}
_QUARANTINED = {
    "id": "1796030400000-0",
    "received_at": 1_796_030_400_000,
    "format": "owntracks",
    "reason": "lat is missing",
    "raw": '{"_type":"location"}',
}

ANSWERS: Mapping[str, list[Answer]] = {
    **_documents("geofence", "geofences", "Geofence", _GEOFENCE),
    **_documents("beacon", "beacons", "Beacon", {**beacons.EXAMPLE, **_STAMP}),
    **_documents("receiver", "receivers", "Receiver", {**receivers.EXAMPLE, **_STAMP}),
    **_documents("trigger", "triggers", "Trigger", {**triggers.EXAMPLE, **_STAMP}),
    **_documents("credential", "credentials", "Credential", _CREDENTIAL),
    **_documents("settings", "settings", "StoredSettings", {**tenants.EXAMPLE, **_STAMP}),
    **_documents("device", "devices", "Device", _DEVICE),
    **_documents("user", "users", "User", _USER),
    "delete_device": _counted("erased"),
    "delete_user": _counted("erased"),
    "list_device_consents": [_ok(ref("Consented"), _CONSENTED)],
    "post_device_consent": [_ok(ref("Consented"), _CONSENTED)],
    "list_user_consents": [_ok(ref("Consented"), _CONSENTED)],
    "post_user_consent": [_ok(ref("Consented"), _CONSENTED)],
    "list_user_devices": [_page(ANYTHING, {"id": "phone-1", **devices.EXAMPLE})],
    "merge_user": [_ok(ref("User"), _USER, headers=("ETag",))],
    "export_user": [
        _ok(
            record({"user": ANYTHING, "devices": {"type": "array", "items": ANYTHING}}),
            {"exported_at": AT, "user": {"record": _USER}, "devices": [{"record": _DEVICE}]},
        )
    ],
    "check_credential": [
        _ok(
            record({"ok": YES_OR_NO, "detail": TEXT, "checked_at": INSTANT}),
            {"ok": False, "detail": "the private key belongs to another team", "checked_at": AT},
        )
    ],
    "list_keys": [_page(ref("Key"), {**_KEY, "last_used_at": AT})],
    "create_key": [_ok(ref("MadeKey"), {**_KEY, "key": "gk_k7d2m9q4_…"}, status=201)],
    "rotate_key": [_ok(ref("MadeKey"), {**_KEY, "key": "gk_k7d2m9q4_…"}, status=201)],
    "revoke_key": [_NOTHING],
    "list_jwt_keys": [_page(ref("VerificationKey"), _VERIFIER)],
    "put_jwt_key": [
        _ok(ref("VerificationKey"), _VERIFIER, headers=("ETag",)),
        _ok(ref("VerificationKey"), _VERIFIER, status=201, headers=("ETag",)),
    ],
    "delete_jwt_key": [_NOTHING],
    "mint_device_token": [
        _ok(
            record({"token": TEXT, "device_id": TEXT, "expires_at": INSTANT}),
            {"token": "eyJ…", "device_id": "phone-1", "expires_at": LATER},
            status=201,
        )
    ],
    "postPings": [_ok(ref("Taken"), {**_TAKEN, "wake_radius_m": 310}, status=202)],
    "postSightings": [_ok(ref("Taken"), {**_TAKEN, "ignored": 0}, status=202)],
    "postEvents": [
        _ok(
            ref("Taken"),
            {"accepted": 1, "duplicates": 0, "rejected": [], "ids": [EVENT_ID]},
            status=202,
        )
    ],
    "ingest": [
        Answer(
            200,
            "What the app expects to hear",
            {},
            [],
            ("application/json", "text/plain", "text/html"),
        )
    ],
    "listQuarantine": [_page(ref("Quarantined"), _QUARANTINED)],
    "clearQuarantine": [_NOTHING],
    "import_geofences": [_ok(ref("ImportReport"), _REPORT)],
    "export_geofences": [
        Answer(
            200,
            "A file",
            {},
            None,
            tuple(dict.fromkeys(kind.partition(";")[0] for kind in MEDIA_TYPES.values())),
        )
    ],
    "list_events": [_page(ref("Event"), _EVENT)],
    "stream_events": [
        Answer(
            200,
            "Server-sent events",
            TEXT,
            f'id: 1796030400000-0.0\nevent: dwell\ndata: {{"id": "{EVENT_ID}"}}\n\n',
            ("text/event-stream",),
        )
    ],
    "explain": [_page(ref("Explained"), _EXPLAINED)],
    "get_stats": [
        _ok(
            record(
                {
                    "since": INSTANT,
                    "is_complete": YES_OR_NO,
                    "events": ANYTHING,
                    "decisions": ANYTHING,
                    "documents": ANYTHING,
                    "devices": COUNT,
                    "users": COUNT,
                }
            ),
            {
                "since": AT,
                "is_complete": True,
                "events": {"enter": 41, "dwell": 12},
                "decisions": {"lunch-offer": {"sent": 9, "cooldown": 3}},
                "documents": {"geofences": 4000},
                "devices": 180,
                "users": 120,
            },
        )
    ],
    "list_audit": [
        _page(
            ref("AuditEntry"),
            {
                "at": AT,
                "actor": "k7d2m9q4",
                "action": "replace",
                "kind": "triggers",
                "id": "lunch-offer",
                "version": 7,
            },
        )
    ],
    "list_deliveries": [_page(ref("DeliveryStep"), _STEP)],
    "get_delivery": [
        _ok(
            record(
                {
                    "push_id": TEXT,
                    "delivery": TEXT,
                    "engagement": TEXTS,
                    "steps": {"type": "array", "items": ref("DeliveryStep")},
                }
            ),
            {"push_id": PUSH_ID, "delivery": "delivered", "engagement": [], "steps": [_STEP]},
        )
    ],
    "list_dead_letters": [_page(ref("DeadLetter"), _LETTER, total=1)],
    "replay_dead_letters": [_ok(record(_DEAD_COUNTS), {"replayed": 1, "unreadable": 0})],
    "purge_dead_letters": _counted("purged"),
    "backtest_trigger": [_ok(ref("BacktestReport"), _BACKTEST)],
    "post_notification": [_ok(record({"push_id": TEXT}), {"push_id": PUSH_ID}, status=202)],
    "preview_message": [
        _ok(
            record(
                {
                    "title": TEXT_OR_NULL,
                    "subtitle": TEXT_OR_NULL,
                    "body": TEXT_OR_NULL,
                    "platforms": {
                        "type": "object",
                        "additionalProperties": ref("PlatformPreview"),
                    },
                }
            ),
            _PREVIEW,
        )
    ],
    "list_regions": [
        _ok(
            listed(ref("Region"), refresh=record(dict.fromkeys(_CENTRE, NUMBER))),
            {"items": [_REGION], "next_cursor": None, "refresh": _CENTRE},
            headers=("ETag",),
        ),
        _UNCHANGED,
    ],
    "post_receipts": [_ok(ref("Taken"), {"accepted": 1, "duplicates": 0, "rejected": []})],
    "post_action": _told(),
    "list_inbox": [_page(ref("InboxItem"), _INBOX_ITEM, unread=1)],
    "mark_inbox": _counted("changed"),
    "get_web_push_key": [_ok(record({"public_key": TEXT}), {"public_key": "BCVxsr7N…"})],
    "put_web_push_subscription": [
        _ok(
            record({"device_id": TEXT, "endpoint": TEXT}),
            {"device_id": "phone-1", "endpoint": "https://push.example/wpush/v2/abc"},
        )
    ],
    "delete_web_push_subscription": [_NOTHING],
    "sign_in": [_ok(record(("tenant", "key_id", "scopes")), _SESSION)],
    "get_session": [_ok(record(("tenant", "key_id", "scopes")), _SESSION)],
    "sign_out": [_ok(record({"signed_out": YES_OR_NO}), {"signed_out": True})],
    "system": [_ok(record(list(_SYSTEM)), _SYSTEM)],
    "livez": [Answer(200, "It answers", TEXT, "ok\n", _TEXT)],
    "healthz": [Answer(200, "It answers", TEXT, "ok\n", _TEXT)],
    "readyz": [
        Answer(200, "It can take work", TEXT, "ok\n", _TEXT),
        Answer(503, "It cannot", TEXT, "not ready\n[-] redis: TimeoutError\n", _TEXT),
    ],
    "metrics": [Answer(200, "Numbers", TEXT, "# HELP gateway_pings_total Pings\n", _TEXT)],
}
