"""The shape of an FCM HTTP v1 message: which fields there are, and what each may hold.

Source: the public discovery document of ``fcm.googleapis.com`` v1. Names are accepted in snake_case
and camelCase, as protobuf's JSON mapping does; what is not in the table is refused, as there.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any], str | None]  # what is wrong with a value, or None
Fields = Mapping[str, "Check | Fields"]

_DURATION = re.compile(r"(\d+)(\.\d{1,9})?s\Z")
_COLOR = re.compile(r"#[0-9a-fA-F]{6}\Z")
_ANALYTICS_LABEL = re.compile(r"[a-zA-Z0-9\-_.~%]{1,50}\Z")
MAX_TTL_S = 28 * 86400


class Violation(Exception):
    """One field that is wrong: its path, and the text the real service gives.

    ``is_known_to_fcm`` is false for what the API's front end refuses before FCM sees it.
    """

    def __init__(self, field: str, description: str, *, is_known_to_fcm: bool = True) -> None:
        super().__init__(description)
        self.field = field
        self.description = description
        self.is_known_to_fcm = is_known_to_fcm


def _of(kind: type | tuple[type, ...], name: str) -> Check:
    def check(value: Any) -> str | None:
        is_wrong_bool = isinstance(value, bool) and kind is not bool
        if isinstance(value, kind) and not is_wrong_bool:
            return None
        return f"Invalid value ({name}), {value!r}"

    return check


text = _of(str, "TYPE_STRING")
flag = _of(bool, "TYPE_BOOL")
whole = _of(int, "TYPE_INT32")
number = _of((int, float), "TYPE_FLOAT")
struct = _of(dict, "type.googleapis.com/google.protobuf.Struct")


def texts(value: Any) -> str | None:
    """Check a list of strings."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return None
    return "Invalid value (TYPE_STRING): must be a list of strings"


def text_map(value: Any) -> str | None:
    """Check a map of strings to strings."""
    if not isinstance(value, dict):
        return f"Invalid value (TYPE_MESSAGE), {value!r}"
    for item in value.values():
        if not isinstance(item, str):
            return f"Invalid value (TYPE_STRING), {item!r}"
    return None


def duration(value: Any) -> str | None:
    """Check a protobuf duration such as ``"3.5s"``."""
    if isinstance(value, str) and _DURATION.match(value):
        return None
    return f"Invalid value (type.googleapis.com/google.protobuf.Duration), {value!r}"


def durations(value: Any) -> str | None:
    """Check a list of durations."""
    if isinstance(value, list):
        return next((wrong for item in value if (wrong := duration(item))), None)
    return f"Invalid value (type.googleapis.com/google.protobuf.Duration), {value!r}"


def ttl(value: Any) -> str | None:
    """Check a time to live: 0 to 28 days."""
    wrong = duration(value)
    if wrong is None and float(value[:-1]) > MAX_TTL_S:
        return f"Invalid TTL duration {value}: must be from 0 to {MAX_TTL_S} seconds"
    return wrong


def color(value: Any) -> str | None:
    """Check ``#rrggbb``."""
    is_color = isinstance(value, str) and _COLOR.match(value)
    return None if is_color else f"Invalid color {value!r}: must be in the form #RRGGBB"


def label(value: Any) -> str | None:
    """Check an analytics label."""
    is_label = isinstance(value, str) and _ANALYTICS_LABEL.match(value)
    return None if is_label else f"Invalid analytics label {value!r}"


def https_link(value: Any) -> str | None:
    """Check a link: web push opens HTTPS only."""
    is_https = isinstance(value, str) and value.startswith("https://")
    return None if is_https else f"Invalid link {value!r}: must be an HTTPS URL"


def one_of(*values: str) -> Check:
    """Check the name of an enumeration, in any case: Google's own SDKs send ``"high"``."""

    def check(value: Any) -> str | None:
        if isinstance(value, str) and value.upper() in values:
            return None
        return f"Invalid value (enum {', '.join(values)}), {value!r}"

    return check


OPTIONS: Fields = {"analytics_label": label}
LIGHTS: Fields = {
    "color": {"red": number, "green": number, "blue": number, "alpha": number},
    "light_on_duration": duration,
    "light_off_duration": duration,
}
PRIORITIES = ("PRIORITY_UNSPECIFIED", "PRIORITY_MIN", "PRIORITY_LOW", "PRIORITY_DEFAULT")
ANDROID_NOTIFICATION: Fields = {
    **dict.fromkeys(
        ("title", "body", "icon", "sound", "tag", "click_action", "body_loc_key", "title_loc_key"),
        text,
    ),
    **dict.fromkeys(("channel_id", "ticker", "image", "event_time"), text),
    **dict.fromkeys(("body_loc_args", "title_loc_args"), texts),
    **dict.fromkeys(("sticky", "local_only", "bypass_proxy_notification"), flag),
    **dict.fromkeys(("default_sound", "default_vibrate_timings", "default_light_settings"), flag),
    "color": color,
    "notification_priority": one_of(*PRIORITIES, "PRIORITY_HIGH", "PRIORITY_MAX"),
    "vibrate_timings": durations,
    "visibility": one_of("VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"),
    "notification_count": whole,
    "light_settings": LIGHTS,
    "proxy": one_of("PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED"),
}
MESSAGE: Fields = {
    "name": text,
    "token": text,
    "topic": text,
    "condition": text,
    "data": text_map,
    "notification": {"title": text, "body": text, "image": text},
    "fcm_options": OPTIONS,
    "android": {
        "collapse_key": text,
        "priority": one_of("NORMAL", "HIGH"),
        "ttl": ttl,
        "restricted_package_name": text,
        "data": text_map,
        "notification": ANDROID_NOTIFICATION,
        "fcm_options": OPTIONS,
        "direct_boot_ok": flag,
        "bandwidth_constrained_ok": flag,
        "restricted_satellite_ok": flag,
    },
    "apns": {
        "headers": text_map,
        "payload": struct,
        "fcm_options": {"analytics_label": label, "image": text},
        "live_activity_token": text,
    },
    "webpush": {
        "headers": text_map,
        "data": text_map,
        "notification": struct,
        "fcm_options": {"link": https_link, "analytics_label": label},
    },
}
REQUEST: Fields = {"validate_only": flag, "message": MESSAGE}


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.title() for word in rest)


def _prepared(fields: Fields) -> dict[str, tuple[str, Any]]:
    """Both spellings of each field -> (snake_case name, check or prepared fields)."""
    table: dict[str, tuple[str, Any]] = {}
    for name, rule in fields.items():
        entry = (name, rule if callable(rule) else _prepared(rule))
        table[name] = table[_camel(name)] = entry
    return table


_REQUEST = _prepared(REQUEST)


def check_request(document: Any) -> dict[str, Any]:
    """Return a send request with snake_case names.

    Raises:
        Violation: an unknown field, a field given twice, or a value of the wrong kind.
    """
    return _checked(document, _REQUEST, "")


def _unreadable(path: str, description: str) -> Violation:
    return Violation(path, description, is_known_to_fcm=False)


def _checked(value: Any, fields: dict[str, tuple[str, Any]], path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _unreadable(path, f"Invalid value at '{path}' (TYPE_MESSAGE), {value!r}")
    checked: dict[str, Any] = {}
    for key, item in value.items():
        if key not in fields:
            where = f" at '{path}'" if path else ""
            described = f'Unknown name "{key}"{where}: Cannot find field.'
            raise _unreadable(path, f"Invalid JSON payload received. {described}")
        name, rule = fields[key]
        item_path = f"{path}.{name}" if path else name
        if name in checked:
            raise _unreadable(item_path, f"Field '{item_path}' is set twice")
        if item is None:
            continue
        if isinstance(rule, dict):
            checked[name] = _checked(item, rule, item_path)
            continue
        wrong = rule(item)
        if wrong is not None:
            raise _unreadable(item_path, f"Invalid value at '{item_path}': {wrong}")
        checked[name] = item
    return checked
