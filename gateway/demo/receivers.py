"""The town's own voices: receivers at counters, and the shops' back end. Pure, like the phones.

A receiver hears the tags of customers who truly stand in its shop: the same walks that their phones
report, walked once more.
"""

import heapq
import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from gateway.demo.phones import Moment, Pace, Post, rssi_dbm, walk
from gateway.demo.world import Person, Town

ORDER_EVERY_S = 240.0  # of the town: how often the back end has news, for somebody


class _Heard(NamedTuple):
    at_s: float
    number: int
    person: Person
    moment: Moment


def reports(town: Town, people: Sequence[Person], pace: Pace, seed: int) -> Iterator[Post]:
    """What the receivers post, each once an interval if it has heard anybody."""
    receivers = {
        zone["metadata"]["shop"]: zone["receivers"][0]
        for zone in town.beacons
        if zone.get("receivers")
    }
    interval_s = float(town.receivers[0]["report_interval_s"])
    tagged = [person for person in people if person.transmitter]
    until_s, heard = interval_s, dict[str, list[dict[str, Any]]]()
    for one in heapq.merge(*(_moments(town, person, seed) for person in tagged)):
        while one.at_s > until_s:
            for receiver_id, sightings in heard.items():
                yield Post(
                    pace.due_s(until_s), receiver_id, "/v1/sightings", "sightings", sightings
                )
            heard = {}
            until_s += interval_s
        hears = receivers.get(one.moment.shop or "")
        if hears is not None:
            heard.setdefault(hears, []).append(_sighting(hears, one, pace))


def news(people: Sequence[Person], pace: Pace, seed: int) -> Iterator[Post]:
    """What the shops' back end tells all day: carts left, orders ready, orders paid."""
    rng = random.Random(f"{seed}/shops")
    at_s, number = 0.0, 0
    while True:
        at_s += rng.uniform(0.5, 1.5) * ORDER_EVERY_S
        number += 1
        person = rng.choice(people)
        name = rng.choice(("order_ready", "cart_abandoned", "order_paid"))
        yield Post(
            pace.due_s(at_s),
            "shops",
            "/v1/events",
            "events",
            [told(person, name, f"live-{pace.started_at}-{number}", f"N-{5000 + number}")],
        )


def first_news(people: Sequence[Person]) -> list[dict[str, Any]]:
    """The custom events with which the town's day begins."""
    carts = [
        told(one, "cart_abandoned", f"cart-{one.number}", None) for one in people if one.has_cart
    ]
    orders = [
        told(one, "order_ready", f"order-{one.number}", one.order) for one in people if one.order
    ]
    return carts + orders


def told(person: Person, name: str, event_id: str, order: str | None) -> dict[str, Any]:
    """A custom event of somebody."""
    event: dict[str, Any] = {"name": name, "user_id": person.user_id, "event_id": event_id}
    return event | {"properties": {"order": order}} if order else event


def _moments(town: Town, person: Person, seed: int) -> Iterator[_Heard]:
    for moment in walk(town.streets, person, seed):
        yield _Heard(moment.at_s, person.number, person, moment)


def _sighting(receiver_id: str, one: _Heard, pace: Pace) -> dict[str, Any]:
    rng = random.Random(f"{receiver_id}/{one.number}/{one.at_s}")
    return {
        "receiver_id": receiver_id,
        "beacon": one.person.transmitter,
        "rssi_dbm": rssi_dbm(rng.uniform(1.0, 2.0), rng),
        "seen_at": pace.recorded_at(one.at_s),
    }
