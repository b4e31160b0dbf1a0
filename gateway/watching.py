"""Geofences for the phone to watch, in the replies of apps that take them.

With the tenant's settings ``owntracks_waypoints`` and ``transistor_geofences`` (how many), a phone
that posts a position is told the nearest geofences as circles whenever they are others than it was
told before. The phone then wakes at their edges; the gateway still judges by its own exact shapes.
Source: owntracks/booklet, docs/tech/json.md (``cmd``), docs/features/waypoints.md;
transistorsoft/background-geolocation-types, HttpConfig.ts (``background_geolocation`` in replies).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from gateway.catalog import Catalog
from gateway.enclosing import around
from gateway.ingest.model import Parsed, Reply, json_reply
from gateway.kinds import geofence
from gateway.registry import Registry
from gateway.tenant_view import TenantView, ZoneInfo
from gateway.wire import Ping, to_ms
from geo.model import Circle

MOST_REMEMBERED = 50_000
FIRST_TST = 1_000_000_000  # Android knows a waypoint by its ``tst``: one second for each zone
TSTS = 600_000_000


class Watched(NamedTuple):
    """A geofence, and the circle around it."""

    zone: ZoneInfo
    circle: Circle


class Watching:
    """What phones were told; each process remembers for itself, so some are told twice."""

    def __init__(self, catalog: Catalog, registry: Registry) -> None:
        self._catalog = catalog
        self._registry = registry
        self._told: dict[tuple[str, str], int] = {}

    async def reply(self, tenant: str, format_: str, parsed: Parsed) -> Reply:
        """The reply, with the nearest geofences if the phone should hear of them."""
        view = self._catalog.view(tenant)
        limit = {
            "owntracks": view.rules.owntracks_waypoints,
            "transistor": view.rules.transistor_geofences,
        }.get(format_, 0)
        if not limit or not parsed.pings:
            return parsed.reply
        latest = max(parsed.pings, key=lambda ping: to_ms(ping.recorded_at))
        news = self._news(view, latest, limit)
        if not news:
            return parsed.reply
        watched = await self._circles(view, news)
        return set_waypoints(watched) if format_ == "owntracks" else add_geofences(watched)

    def _news(self, view: TenantView, ping: Ping, limit: int) -> Sequence[ZoneInfo]:
        """The nearest geofences; nothing if the phone knows them all as they are."""
        found = view.index.nearest(ping.lat, ping.lon, limit)
        near = [view.infos[one.key] for one in found if one.key in view.infos]
        phone = (view.tenant, ping.device_id)
        told = hash(frozenset((info.key, info.version) for info in near))
        if self._told.get(phone) == told:
            return ()
        if len(self._told) >= MOST_REMEMBERED:
            self._told.clear()
        self._told[phone] = told
        return near

    async def _circles(self, view: TenantView, near: Sequence[ZoneInfo]) -> list[Watched]:
        ids = [info.id for info in near]
        documents = await self._registry.get_many(view.tenant, "geofences", ids)
        return [
            Watched(info, around(geofence.read(document.doc).geometry))
            for info, document in zip(near, documents, strict=True)
            if document is not None
        ]


def set_waypoints(watched: Sequence[Watched]) -> Reply:
    """OwnTracks' command. iOS knows a waypoint by ``desc``, so the id is in it."""
    waypoints: list[dict[str, Any]] = [
        {
            "_type": "waypoint",
            "tst": FIRST_TST + zone.key % TSTS,
            "rid": zone.id,
            "desc": f"{zone.name} ({zone.id})" if zone.name else zone.id,
            "rad": max(1, round(circle.radius_m)),
            "lat": round(circle.lat, 6),
            "lon": round(circle.lon, 6),
        }
        for zone, circle in watched
    ]
    wrapped = {"_type": "waypoints", "waypoints": waypoints}
    return json_reply([{"_type": "cmd", "action": "setWaypoints", "waypoints": wrapped}])


def add_geofences(watched: Sequence[Watched]) -> Reply:
    """The command of Transistor's SDK, which replaces geofences of the same identifier."""
    geofences = [
        {
            "identifier": zone.id,
            "latitude": round(circle.lat, 6),
            "longitude": round(circle.lon, 6),
            "radius": max(1, round(circle.radius_m)),
            "notifyOnEntry": True,
            "notifyOnExit": True,
        }
        for zone, circle in watched
    ]
    return json_reply({"background_geolocation": [["addGeofences", geofences]]})
