"""What a person allowed of their location, enforced before anything is stored.

``off``: the ping is refused and leaves no trace. ``coarse``: its position is rounded to about a
kilometre and its accuracy says so. Most tenants limit nobody: whether anybody is limited at all is
asked once a second, so the first limit of an installation is known everywhere within that; whoever
withdraws waits for it (``settle``), so that what is forgotten afterwards stays forgotten.
"""

import asyncio
import time
from collections.abc import Sequence

import msgspec

from gateway.people import People
from gateway.wire import Ping, Refusal

COARSE_DIGITS = 2
COARSE_ACCURACY_M = 1000.0
ASK_EVERY_S = 1.0
IN_FLIGHT_S = 0.05  # pings that were let in just before are committed by then


class LocationConsent:
    """See the module."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._asked_at = float("-inf")
        self._is_anybody_limited = False
        self._known_at = float("inf")  # since when this process has known that somebody is

    async def settle(self) -> None:
        """Return when a limit that was stored just now holds in every process."""
        now = time.monotonic()
        self._know(now, is_anybody_limited=True)
        await asyncio.sleep(max(IN_FLIGHT_S, self._known_at + ASK_EVERY_S - now))

    async def apply(
        self,
        tenant: str,
        pings: Sequence[Ping],
        indexes: Sequence[int],
        refusals: list[Refusal],
    ) -> tuple[Sequence[Ping], Sequence[int]]:
        """The pings that may be used, as precise as allowed; the others are refused one by one."""
        if not await self._anybody():
            return pings, indexes
        limits = await self._people.limits(tenant, list({ping.device_id for ping in pings}))
        if not limits:
            return pings, indexes
        kept: list[Ping] = []
        positions: list[int] = []
        for ping, index in zip(pings, indexes, strict=True):
            limit = limits.get(ping.device_id)
            if limit == "off":
                detail = f"Device {ping.device_id!r}: the person does not allow location."
                refusals.append(Refusal(index, "location-refused", detail))
                continue
            kept.append(_coarse(ping) if limit == "coarse" else ping)
            positions.append(index)
        return kept, positions

    async def _anybody(self) -> bool:
        now = time.monotonic()
        if now - self._asked_at >= ASK_EVERY_S:
            self._asked_at = now  # before the answer is there: one request asks, not all of them
            self._know(now, is_anybody_limited=await self._people.is_anybody_limited())
        return self._is_anybody_limited

    def _know(self, now: float, *, is_anybody_limited: bool) -> None:
        if not is_anybody_limited:
            self._known_at = float("inf")
        elif not self._is_anybody_limited:
            self._known_at = now
        self._is_anybody_limited = is_anybody_limited


def _coarse(ping: Ping) -> Ping:
    return msgspec.structs.replace(
        ping,
        lat=round(ping.lat, COARSE_DIGITS),
        lon=round(ping.lon, COARSE_DIGITS),
        accuracy_m=max(ping.accuracy_m or 0.0, COARSE_ACCURACY_M),
        altitude_m=None,
        speed_mps=None,
        heading_deg=None,
    )
