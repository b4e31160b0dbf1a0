"""What operations take: the schema and an example of every body, and what parameters mean."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gateway.openapi_schemas import ANYTHING, Schema, one_or_many, ref


class Body(NamedTuple):
    """A body. ``example`` None: the one that the route gives itself."""

    schema: Schema
    example: Any = None
    is_required: bool = True
    media_types: tuple[str, ...] = ()


_BOTH = ("application/json", "application/msgpack")
_PING = {
    "device_id": "phone-1",
    "lat": 52.5163,
    "lon": 13.3777,
    "accuracy_m": 8.0,
    "recorded_at": "2026-05-04T09:30:00Z",
}
_SIGHTING = {
    "receiver_id": "gw-entrance",
    "beacon": "ibeacon:e2c56db5-dffb-48d2-b060-d0f5a71096e0:1:3",
    "rssi_dbm": -63,
}
_ORDER = {"name": "order_ready", "user_id": "kim", "properties": {"order": "4711"}}
_PATCH: Schema = {"type": "object", "description": "A JSON merge patch (RFC 7396)."}

BODIES: Mapping[str, Body] = {
    "put_geofence": Body(ref("GeofencePosted")),
    "put_beacon": Body(ref("BeaconPosted")),
    "put_receiver": Body(ref("ReceiverPosted")),
    "put_trigger": Body(ref("TriggerPosted")),
    "put_credential": Body(ref("CredentialPosted")),
    "put_settings": Body(ref("Settings")),
    "put_device": Body(ref("DevicePosted")),
    "put_user": Body(ref("UserPosted")),
    "patch_geofence": Body(_PATCH, {"properties": {"radius_m": 150}}),
    "patch_beacon": Body(_PATCH, {"tags": ["till", "front"]}),
    "patch_receiver": Body(_PATCH, {"rssi_offset_dbm": -4}),
    "patch_trigger": Body(_PATCH, {"enabled": False}),
    "patch_credential": Body(_PATCH, {"topic": "com.example.shop"}),
    "patch_settings": Body(_PATCH),
    "patch_device": Body(_PATCH),
    "patch_user": Body(_PATCH),
    "post_device_consent": Body(ref("ConsentAnswer")),
    "post_user_consent": Body(ref("ConsentAnswer")),
    "merge_user": Body(ref("UserMerge")),
    "create_key": Body(ref("NewKey"), {"name": "shop back end", "scopes": ["manage"]}),
    "rotate_key": Body(ref("KeyRotation"), {"overlap_s": 86_400}, is_required=False),
    "put_jwt_key": Body(
        ref("JwtKey"), {"algorithm": "HS256", "secret": "at-least-32-bytes-that-nobody-guesses"}
    ),
    "mint_device_token": Body(ref("TokenRequest"), {"ttl_s": 3600}, is_required=False),
    "postPings": Body(one_or_many("Ping", "pings"), _PING, media_types=_BOTH),
    "postSightings": Body(one_or_many("Sighting", "sightings"), _SIGHTING, media_types=_BOTH),
    "postEvents": Body(one_or_many("CustomEvent", "events"), _ORDER, media_types=_BOTH),
    "post_receipts": Body(one_or_many("Receipt", "receipts")),
    "post_notification": Body(ref("Notification")),
    "backtest_trigger": Body(ref("BacktestRequest"), {"pings": [_PING], "budget_s": 10}),
    "preview_message": Body(ref("MessageSample")),
    "mark_inbox": Body(
        ref("InboxMarks"),
        {
            "ids": ["6f1f6a0e-6a0e-5b8e-9f6f-2f6a0e6a0e6a"],
            "state": "read",
            "device_id": "phone-1",
        },
    ),
    "replay_dead_letters": Body(ref("DeadLetterChoice")),
    "sign_in": Body(ref("SignIn")),
    "put_web_push_subscription": Body(ANYTHING),
}


class Parameter(NamedTuple):
    """What a parameter of this name means everywhere."""

    description: str
    schema: Schema | None = None


_INSTANT = "RFC 3339 with an offset, or epoch milliseconds."
PARAMETERS: Mapping[str, Parameter] = {
    "limit": Parameter("How many items at most."),
    "cursor": Parameter("`next_cursor` of the page before."),
    "tag": Parameter("Only with this tag; repeated: with all of them."),
    "updated_since": Parameter(f"Only what changed at or after this instant: {_INSTANT}"),
    "after": Parameter(f"Only later: {_INSTANT}"),
    "before": Parameter(f"Only earlier: {_INSTANT}"),
    "since": Parameter(f"From this instant on: {_INSTANT}"),
    "order": Parameter("Newest or oldest first.", {"enum": ["asc", "desc"], "default": "desc"}),
    "device": Parameter("The id of a device."),
    "user": Parameter("The id of a user."),
    "zone": Parameter("The id of a zone."),
    "trigger": Parameter("The id of a trigger."),
    "kind": Parameter("The kind of event."),
    "bbox": Parameter("west,south,east,north in degrees.", {"type": "string"}),
    "near": Parameter("lat,lon in degrees.", {"type": "string"}),
    "within_m": Parameter("No farther than this from the nearest edge."),
    "format": Parameter("A file format, or the format of an app."),
    "dry_run": Parameter("Check and count, store nothing."),
    "repair": Parameter("Repair what would be refused, and say so."),
}

HEADERS: Mapping[str, str] = {
    "If-Match": "Write only if the stored document has this ETag.",
    "If-None-Match": "`*`: write only if nothing is stored. An ETag: read only if it changed.",
    "Idempotency-Key": "The same request under the same key takes effect once.",
}
IDEMPOTENT = frozenset(
    {"post_device_consent", "post_user_consent", "merge_user", "post_notification", "postEvents"}
)
