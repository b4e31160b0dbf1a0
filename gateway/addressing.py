"""Which channel and which addresses a push goes to. Pure.

The device that the event is about comes first, then its user's own addresses, then the user's other
devices: the nearest holder that has an address on the channel gets the push, on all of its
addresses there.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gateway.people import CHANNEL_OF, Party
from senders.model import Target


class Addressed(NamedTuple):
    """A channel (its place in the trigger's order) and the addresses on it."""

    channel: int
    targets: tuple[Target, ...]


def address(
    order: Sequence[str], allowed: Iterable[str], start: int, party: Party, target: str = ""
) -> Addressed | None:
    """The first allowed channel from ``start`` on that has an address; None if there is none.

    Args:
        order: the trigger's channels.
        allowed: those that may be used now.
        start: earlier channels have been tried.
        party: whom it is for.
        target: only this address (empty: all).
    """
    usable = set(allowed)
    for place in range(start, len(order)):
        if order[place] in usable:
            targets = _targets(order[place], party)
            chosen = tuple(one for one in targets if target in ("", one.address))
            if chosen:
                return Addressed(place, chosen)
    return None


def _targets(channel: str, party: Party) -> tuple[Target, ...]:
    if channel == "inbox":
        return (Target("inbox", party.device.user_id or party.device.id),)
    holders = [party.device.targets, party.user.targets if party.user else ()]
    holders.append(tuple(target for other in party.others for target in other.targets))
    for held in holders:
        found = tuple(target for target in held if CHANNEL_OF[target.provider] == channel)
        if found:
            return found
    # The tenant's own receiver needs no address: its credential has the URL.
    return (Target("webhook", ""),) if channel == "webhook" else ()
