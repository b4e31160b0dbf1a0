"""OwnTracks for iOS and Android, and what imitates it: one JSON object a message, by ``_type``.

The apps read the answer as a JSON array; Android sends for ever what is answered otherwise, and iOS
drops what is answered with 4xx. Times are epoch seconds, ``vel`` is km/h in the apps' own messages
and m/s in imitations, which carry neither ``topic`` nor ``X-Limit-*``.
Source: owntracks/booklet, docs/tech/{http,json}.md and docs/features/{encrypt,beacons}.md.
"""

from collections.abc import Iterable
from typing import Any

from gateway.ingest import owntracks_box
from gateway.ingest.body import read_json
from gateway.ingest.model import BadRecord, Parsed, Posted, as_object, json_reply, read_each
from gateway.ingest.values import (
    KMH_MPS,
    first,
    instant,
    make_ping,
    make_sighting,
    number,
    share,
    speed_mps,
    whole,
)
from gateway.wire import Ping, Sighting
from geo.beacons import is_rssi

NOTHING = json_reply([])
# Messages of the apps that say nothing of a place.
_SILENT = frozenset(
    {
        "card", "cmd", "configuration", "dump", "lwt", "request", "status", "steps", "waypoint",
        "waypoints",
    }
)  # fmt: skip
_UNSET = {"user", "device"}  # what iOS sends in X-Limit-U and X-Limit-D when nothing is set


def parse(posted: Posted) -> Parsed:
    """One message, or an array of them. An empty body is a deleted friend, and nothing to do.

    Raises:
        UnreadableBody: it is not JSON.
    """
    if not posted.body.strip():
        return Parsed(NOTHING)
    document = read_json(posted.body)
    records = document if isinstance(document, list) else [document]

    def read(record: Any) -> Iterable[Ping | Sighting]:
        return _read(posted, as_object(record))

    return read_each(records, read, NOTHING)


def device_of(posted: Posted, topic: object = None, tid: object = None) -> str:
    """The device: URL, then user and device of the headers, then the topic, then ``tid``.

    Raises:
        BadRecord: nothing names one.
    """
    return posted.device(_by_headers(posted), _by_topic(topic), tid)


def _read(posted: Posted, message: dict[str, Any]) -> Iterable[Ping | Sighting]:
    kind = message.get("_type")
    if kind == "encrypted":
        message = owntracks_box.open_message(message, posted.passphrases)
        kind = message.get("_type")
    if kind == "location":
        return (_location(posted, message),)
    if kind == "transition":
        return () if message.get("lat") is None else (_location(posted, message),)
    if kind == "beacon":
        return _beacon(posted, message)
    if str(kind) in _SILENT:
        return ()
    raise BadRecord(f"the _type {str(kind)[:40]!r} is not known")


def _location(posted: Posted, message: dict[str, Any]) -> Ping:
    at = instant(message.get("tst"))
    if at is None:
        raise BadRecord("tst must be the time of the position in epoch seconds")
    is_app = bool(message.get("topic")) or bool(_limits(posted))
    return make_ping(
        device_of(posted, message.get("topic"), message.get("tid")),
        message.get("lat"),
        message.get("lon"),
        at,
        accuracy_m=message.get("acc"),
        altitude_m=message.get("alt"),
        speed_mps=speed_mps(message.get("vel"), KMH_MPS if is_app else 1.0),
        heading_deg=first(message, "cog", "bear"),
        sent_at=instant(message.get("created_at")),
        battery=share(message.get("batt")),
        activity=message.get("motionactivities"),
    )


def _beacon(posted: Posted, message: dict[str, Any]) -> Iterable[Sighting]:
    """Its ``tst`` is the time of the last position, so the time of receipt counts."""
    if not is_rssi(number(message.get("rssi")) or 0):
        return ()
    parts = {
        "uuid": str(message.get("uuid")),
        "major": whole(message.get("major")),
        "minor": whole(message.get("minor")),
    }
    sighting = make_sighting(
        message.get("rssi"),
        device_id=device_of(posted, message.get("topic"), message.get("tid")),
        beacon=parts,
        seen_at=posted.received_at,
    )
    return (sighting,)


def _limits(posted: Posted) -> list[str]:
    """User and device of the ``X-Limit`` headers or of ``?u=&d=``, in lower case, where set."""
    named = (
        posted.headers.get("x-limit-u") or posted.query.get("u") or "",
        posted.headers.get("x-limit-d") or posted.query.get("d") or "",
    )
    return [name.lower() for name in named if name and name.lower() not in _UNSET]


def _by_headers(posted: Posted) -> str | None:
    named = _limits(posted)
    if posted.user and len(named) < 2:
        named = [posted.user.lower(), *(name for name in named if name != posted.user.lower())]
    return "-".join(named) or None


def _by_topic(topic: object) -> str | None:
    """``owntracks/jane/phone`` names the device ``jane-phone``."""
    parts = topic.lower().split("/") if isinstance(topic, str) else []
    return "-".join(parts[1:3]) if len(parts) >= 3 else None
