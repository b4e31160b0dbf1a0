"""The house rules of a tenant: the settings document."""

from typing import Annotated, Any

import msgspec

from triggers.document import convert
from triggers.model import Policy
from triggers.schedule import QuietHours
from triggers.walltime import ZoneName

Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000_000)]
Seconds = Annotated[int, msgspec.Meta(ge=0, le=10 * 366 * 86_400)]


class Caps(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How many marketing pushes one person gets from all triggers together."""

    per_day: Count | None = None  # a calendar day where the person is
    per_week: Count | None = None  # any seven days
    min_gap_s: Seconds | None = None


class TenantRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What holds for every trigger of a tenant, unless the trigger says otherwise.

    ``timezone`` is the last resort where neither zone nor device has one. ``require_consent``:
    a person who never answered is not pushed to (one who refused never is). ``allow_mock``: mocked
    positions may fire. ``coarse_location``: events carry a position rounded to about a kilometre.
    ``recording``: raw pings are kept for backtests, for ``recording_retention_s``.
    ``location_retention_s``: nothing that tells where somebody was is kept longer (state, events,
    recordings); None: as long as the operator keeps it.
    ``owntracks_passphrase`` opens the encrypted messages of OwnTracks phones;
    ``owntracks_waypoints`` and ``transistor_geofences`` are how many near geofences phones with
    those apps are told to watch.
    """

    timezone: ZoneName | None = None
    quiet_hours: QuietHours | None = None
    caps: Caps = Caps()
    require_consent: bool = False
    policy: Policy = Policy()
    allow_mock: bool = False
    coarse_location: bool = False
    recording: bool = False
    recording_retention_s: Seconds = 7 * 86_400
    location_retention_s: Seconds | None = None
    owntracks_passphrase: Annotated[str, msgspec.Meta(max_length=32)] | None = None
    owntracks_waypoints: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    transistor_geofences: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0


def parse_tenant_rules(doc: dict[str, Any]) -> TenantRules:
    """The settings document of a tenant.

    Raises:
        InvalidTrigger: with the JSON pointer of the field that is wrong, and why.
    """
    return convert(doc, TenantRules)
