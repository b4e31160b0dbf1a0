"""The passphrases that open OwnTracks' encrypted messages."""

from collections.abc import Sequence

from gateway.catalog import Catalog
from gateway.ingest import owntracks
from gateway.ingest.model import BadRecord, Posted
from gateway.people import People

PASSPHRASE = "owntracks_passphrase"  # noqa: S105 - the attribute's name


class Passphrases:
    """Those of devices stand in their attributes, those of tenants in their settings."""

    def __init__(self, catalog: Catalog, people: People) -> None:
        self._catalog = catalog
        self._people = people

    async def that_may_open(self, tenant: str, posted: Posted) -> Sequence[str]:
        """The device's passphrase, then the tenant's; none for a message that is not encrypted."""
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
