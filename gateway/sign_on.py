"""Whose device it is, as pings tell it.

A ping that names a user links its device to that user (making the device's record if there is
none). What was noted is remembered for a minute, so that naming the user in each ping is cheap.
Device tokens are not believed about users: a token speaks for a device, not for whose it is.
"""

from collections.abc import Sequence

from gateway.people import People
from gateway.person import Device
from gateway.wire import Ping

REMEMBERED = 200_000
MINUTE_MS = 60_000


class SignOn:
    """See the module."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._user_of: dict[tuple[str, str], tuple[str, int]] = {}

    async def note(self, tenant: str, pings: Sequence[Ping], now: int) -> None:
        """Link the devices of these pings to the users they name; the last one of a device counts.

        Raises:
            RedisError: nothing is acknowledged yet.
        """
        named = {p.device_id: p.user_id for p in pings if p.user_id is not None}
        for device_id, user_id in named.items():
            if self._user_of.get((tenant, device_id)) != (user_id, now // MINUTE_MS):
                await self._link(tenant, device_id, user_id, now)

    async def _link(self, tenant: str, device_id: str, user_id: str, now: int) -> None:
        if not await self._people.link(tenant, device_id, user_id, now=now):
            await self._people.put_device(tenant, Device(id=device_id, user_id=user_id), now=now)
        if len(self._user_of) >= REMEMBERED:
            self._user_of.clear()
        self._user_of[tenant, device_id] = (user_id, now // MINUTE_MS)
