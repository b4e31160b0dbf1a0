"""Values as apps write them: numbers as text, five spellings of unknown, four of a time.

Unknown is a missing key, ``null``, an empty text, a number below 0 where none can be, and NaN; each
becomes ``None`` here, before anything is computed with it.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway.ingest.model import BadRecord, UnreadableBody
from gateway.wire import Ping, Sighting

SECONDS_BELOW = 1e11  # as seconds the year 5138, as milliseconds 1973
MAX_ACCURACY_M, MAX_SPEED_MPS, MAX_ALTITUDE_M = 1e8, 1e5, 1e9
KNOT_MPS = 1852 / 3600
KMH_MPS = 1 / 3.6
SPEED_UNITS = {"mps": 1.0, "kmh": KMH_MPS, "kn": KNOT_MPS, "mph": 0.44704}
MAX_NUMBER_CHARS = 40
ACTIVITIES = {
    "stationary": "still",
    "driving": "in_vehicle",
    "automotive": "in_vehicle",
    "cycling": "on_bicycle",
}
_TRUE = frozenset({"1", "true", "yes", "on"})


def number(value: object) -> float | None:
    """A finite number, from a number or its text; None for anything else."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = value.strip()
        if len(value) > MAX_NUMBER_CHARS or "_" in value:
            return None
    elif not isinstance(value, float | int):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def measure(value: object, most: float = math.inf) -> float | None:
    """A number from 0 to ``most``; None for anything else (apps say -1 for unknown)."""
    found = number(value)
    return found if found is not None and 0 <= found <= most else None


def whole(value: object) -> int | None:
    """A whole number, from a number or its text."""
    found = number(value)
    return int(found) if found is not None and found.is_integer() else None


def flag(value: object) -> bool:
    """A yes or no, as JSON or as text."""
    return value is True or value == 1 or str(value).strip().lower() in _TRUE


def share(percent: object) -> float | None:
    """A battery level of 0 to 1, from percent."""
    found = measure(percent, 100)
    return None if found is None else found / 100


def activity(value: object) -> str | None:
    """What the person does, in one vocabulary (``still, walking, running, in_vehicle, ...``)."""
    if isinstance(value, list):
        value = next((one for one in value if isinstance(one, str)), None)
    if not isinstance(value, str) or not value:
        return None
    word = value.strip().lower()[:32]
    return ACTIVITIES.get(word, word)


def instant(value: object) -> int | None:
    """Epoch ms, from epoch seconds or milliseconds (also as text) or an ISO 8601 text.

    A text without an offset is UTC. None if it is none of these.
    """
    found = number(value)
    if found is not None:
        return round(found * 1000) if abs(found) < SECONDS_BELOW else round(found)
    if not isinstance(value, str) or len(value) > MAX_NUMBER_CHARS:
        return None
    text = value.strip()
    if "T" in text:
        text = text.replace(" ", "+")  # an offset's sign in a query that was not escaped
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def fix_time(value: object, received_at: int) -> int:
    """When a position was true; a missing time means now.

    Raises:
        BadRecord: there is a time, and it cannot be read.
    """
    if value is None or value == "":
        return received_at
    found = instant(value)
    if found is None:
        raise BadRecord(f"the time {str(value)[:40]!r} is neither epoch time nor ISO 8601")
    return found


def make_ping(device_id: str, lat: object, lon: object, recorded_at: int, **rest: Any) -> Ping:
    """A ping of what an app sent, in our units; optional values that cannot be are left out.

    Args:
        device_id: whose.
        lat: degrees, as number or text.
        lon: degrees, as number or text.
        recorded_at: epoch ms.
        rest: further fields of ``Ping``, as number or text.

    Raises:
        BadRecord: there is no position, or it cannot be.
    """
    latitude, longitude = number(lat), number(lon)
    if latitude is None or longitude is None:
        raise BadRecord("there is no position: latitude and longitude must be numbers")
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise BadRecord(f"latitude {latitude:g}, longitude {longitude:g} is not on Earth")
    if latitude == 0 and longitude == 0:
        raise BadRecord("the position is exactly 0, 0, which is how apps say that they have none")
    altitude_m = number(rest.get("altitude_m"))
    in_range = altitude_m is not None and abs(altitude_m) <= MAX_ALTITUDE_M
    return Ping(
        device_id=device_id,
        lat=latitude,
        lon=longitude,
        recorded_at=recorded_at,
        ping_id=rest.get("ping_id"),
        accuracy_m=measure(rest.get("accuracy_m"), MAX_ACCURACY_M) or None,
        altitude_m=altitude_m if in_range else None,
        speed_mps=measure(rest.get("speed_mps"), MAX_SPEED_MPS),
        heading_deg=measure(rest.get("heading_deg"), 360),
        sent_at=rest.get("sent_at"),
        is_mock=True if flag(rest.get("is_mock")) else None,
        battery=measure(rest.get("battery"), 1),
        activity=activity(rest.get("activity")),
    )


def speed_mps(value: object, unit: float) -> float | None:
    """A speed in m/s; ``unit`` is the m/s of one unit. None for unknown."""
    found = measure(value)
    return None if found is None else found * unit


def make_sighting(rssi: object, **rest: Any) -> Sighting:
    """A sighting of what a receiver or phone sent.

    Raises:
        BadRecord: a field cannot be, and which.
    """
    rssi_dbm = number(rssi)
    if rssi_dbm is None:
        raise BadRecord("there is no rssi")
    try:
        return msgspec.convert({**rest, "rssi_dbm": rssi_dbm}, Sighting)
    except msgspec.ValidationError as error:
        raise BadRecord(str(error)) from None


def speed_unit(name: str | None, default: str) -> float:
    """The m/s of one unit of speed.

    Raises:
        UnreadableBody: no such unit.
    """
    unit = SPEED_UNITS.get((name or default).lower())
    if unit is None:
        raise UnreadableBody(f"speed_unit is one of {', '.join(SPEED_UNITS)}; not {name!r}.")
    return unit


def first(record: Mapping[str, Any], *names: str) -> Any:
    """The first of these fields that says something."""
    for name in names:
        value = record.get(name)
        if value is not None and value != "":
            return value
    return None
