"""Where a push stands, on two axes: how far its delivery came, and what the person did. Pure.

*Delivery* is one state, the furthest reached: a push on one of several addresses may have arrived
while another was refused. *Engagement* is a set, in the order in which it was told. Whatever a
phone tells of a push proves that it was delivered.
"""

from collections.abc import Iterable
from typing import Literal, get_args

import msgspec

from gateway.delivery_log import ARRIVED, DeliveryRecord

Delivery = Literal["waiting", "suppressed", "undeliverable", "dead", "unknown", "sent", "delivered"]
ORDER: tuple[Delivery, ...] = get_args(Delivery)
ENGAGEMENT = frozenset({"shown", "opened", "dismissed"})
RECEIPTS = ENGAGEMENT | {"delivered", "action"}


class Standing(msgspec.Struct, frozen=True):
    """The two axes. ``engagement``: shown, opened, dismissed, ``action:<id>``."""

    delivery: Delivery
    engagement: list[str]


def standing_of(steps: Iterable[DeliveryRecord]) -> Standing:
    """The standing of one push by its steps, oldest first."""
    delivery: Delivery = "waiting"
    engagement: dict[str, None] = {}
    for step in steps:
        delivery = max(delivery, _reached(step), key=ORDER.index)
        if step.state == "action":
            engagement[f"action:{step.reason}"] = None
        elif step.state in ENGAGEMENT:
            engagement[step.state] = None
    return Standing(delivery, list(engagement))


def _reached(step: DeliveryRecord) -> Delivery:
    if step.state in RECEIPTS:
        return "delivered"
    if step.state == "suppressed" and step.reason == ARRIVED:
        return "waiting"  # a fallback that nobody needed says nothing
    return next((state for state in ORDER if state == step.state), "waiting")
