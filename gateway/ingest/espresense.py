"""ESPresense: one fingerprint a message, already filtered, without a time.

Topic ``espresense/devices/<id>/<room>``; the room is the receiver. Its Eddystone namespaces repeat
one byte, which is taken out again. Source: ESPresense/ESPresense, src/BleFingerprint.cpp.
"""

import re
from collections.abc import Iterable
from typing import Any

from gateway.ingest.body import read_json
from gateway.ingest.heard import heard
from gateway.ingest.model import Parsed, Posted, Reply, as_object, read_each
from gateway.wire import Sighting

OK = Reply()
_IBEACON = re.compile(r"iBeacon:([0-9a-fA-F-]{32,36})-(\d{1,5})-(\d{1,5})")
_ALTBEACON = re.compile(r"altBeacon:([0-9a-fA-F-]{32,36})-(\d{1,5})-(\d{1,5})")
_EDDYSTONE = re.compile(r"eddy:([0-9a-fA-F]{20,22})-([0-9a-fA-F]{12})")
_REPEATED_AT = 12  # the seventh of the eleven bytes


def parse(posted: Posted) -> Parsed:
    """The fingerprint of a message.

    Raises:
        UnreadableBody: it is not JSON.
    """

    def read(record: Any) -> Iterable[Sighting]:
        return _read(posted, as_object(record))

    return read_each([read_json(posted.body)], read, OK)


def _read(posted: Posted, record: dict[str, Any]) -> Iterable[Sighting]:
    if "rssi" not in record:
        return ()
    return heard(
        posted.receiver(),
        record.get("rssi"),
        posted.received_at,
        address=record.get("mac"),
        beacon=beacon_key(str(record.get("id", ""))[:200]),
        power_dbm=record.get("rssi@1m"),
    )


def beacon_key(name: str) -> str | None:
    """The beacon that a fingerprint's id names; None for other ids."""
    if found := _IBEACON.fullmatch(name):
        return "ibeacon:" + ":".join(found.groups())
    if found := _ALTBEACON.fullmatch(name):
        uuid, major, minor = found.groups()
        parts = [f"{int(part) & 0xFFFF:04x}" for part in (major, minor)]
        return "altbeacon:" + uuid.replace("-", "") + "".join(parts)
    if found := _EDDYSTONE.fullmatch(name):
        namespace, instance = found.groups()
        if len(namespace) == 22:
            namespace = namespace[:_REPEATED_AT] + namespace[_REPEATED_AT + 2 :]
        return f"eddystone-uid:{namespace}:{instance}"
    return None
