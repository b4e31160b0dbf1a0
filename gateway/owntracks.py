"""What OwnTracks needs of the gateway's data: passphrases, and geofences to watch on the phone.

With the tenant's setting ``owntracks_waypoints`` (how many), a phone that posts a position is told
the nearest geofences as circles (``cmd setWaypoints``) whenever they are others than it was told
before. The phone then wakes at their edges; the gateway still judges by its own exact shapes.
Source: owntracks/booklet, docs/tech/json.md (``cmd``), docs/features/waypoints.md.
"""

from collections.abc import Sequence
from typing import Any

from gateway.catalog import Catalog
from gateway.enclosing import around
from gateway.ingest import owntracks
from gateway.ingest.model import BadRecord, Parsed, Posted, Reply, json_reply
from gateway.kinds import geofence
from gateway.people import People
from gateway.registry import Registry
from gateway.tenant_view import TenantView, ZoneInfo
from gateway.wire import to_ms

PASSPHRASE = "owntracks_passphrase"  # noqa: S105 - the attribute's name
MOST_REMEMBERED = 50_000
FIRST_TST = 1_000_000_000  # Android knows a waypoint by its ``tst``: one second for each zone
TSTS = 600_000_000


class OwnTracks:
    """See the module."""

    def __init__(self, catalog: Catalog, registry: Registry, people: People) -> None:
        self._catalog = catalog
        self._registry = registry
        self._people = people
        self._told: dict[tuple[str, str], int] = {}

    async def passphrases(self, tenant: str, posted: Posted) -> Sequence[str]:
        """What may open the message: the device's passphrase, then the tenant's."""
        if b"encrypted" not in posted.body:
            return ()
        found = []
        try:
            device = await self._people.device(tenant, owntracks.device_of(posted))
            if device is not None:
                found.append(device.person.attributes.get(PASSPHRASE))
        except BadRecord:
            pass  # no name outside the box; the tenant's passphrase may open it
        found.append(self._catalog.view(tenant).rules.owntracks_passphrase)
        return [one for one in found if isinstance(one, str) and one]

    async def reply(self, tenant: str, parsed: Parsed) -> Reply:
        """The reply, with the nearest geofences if the phone should hear of them."""
        view = self._catalog.view(tenant)
        limit = view.rules.owntracks_waypoints
        if not limit or not parsed.pings:
            return parsed.reply
        ping = max(parsed.pings, key=lambda one: to_ms(one.recorded_at))
        near = [
            view.infos[one.key]
            for one in view.index.nearest(ping.lat, ping.lon, limit)
            if one.key in view.infos
        ]
        told = hash(frozenset((info.key, info.version) for info in near))
        if not near or self._told.get((tenant, ping.device_id)) == told:
            return parsed.reply
        if len(self._told) >= MOST_REMEMBERED:
            self._told.clear()
        self._told[tenant, ping.device_id] = told
        return set_waypoints(await self._waypoints(view, near))

    async def _waypoints(self, view: TenantView, near: list[ZoneInfo]) -> list[dict[str, Any]]:
        ids = [info.id for info in near]
        documents = await self._registry.get_many(view.tenant, "geofences", ids)
        return [
            _waypoint(info, document.doc)
            for info, document in zip(near, documents, strict=True)
            if document is not None
        ]


def set_waypoints(waypoints: list[dict[str, Any]]) -> Reply:
    """The command that makes the app watch these circles."""
    return json_reply(
        [
            {
                "_type": "cmd",
                "action": "setWaypoints",
                "waypoints": {"_type": "waypoints", "waypoints": waypoints},
            }
        ]
    )


def _waypoint(info: ZoneInfo, stored: bytes) -> dict[str, Any]:
    """One circle. The id is in ``desc``, for iOS knows a waypoint by that."""
    circle = around(geofence.read(stored).geometry)
    return {
        "_type": "waypoint",
        "tst": FIRST_TST + info.key % TSTS,
        "rid": info.id,
        "desc": f"{info.name} ({info.id})" if info.name else info.id,
        "rad": max(1, round(circle.radius_m)),
        "lat": round(circle.lat, 6),
        "lon": round(circle.lon, 6),
    }
