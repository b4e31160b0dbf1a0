"""The demo town: its files are current and acceptable, and its walks are the same each time."""

import importlib.util
import itertools
import json
import math
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gateway.demo.numbers import as_shown, p99, quantile, read_metrics
from gateway.demo.phones import Pace, Post, uploads, walk
from gateway.demo.receivers import first_news, news, reports
from gateway.demo.world import (
    FixturesMissing,
    Town,
    device_document,
    distance_m,
    hastened,
    load_town,
    moved,
    people_of,
    user_document,
)
from gateway.kinds import beacon, geofence, receiver
from gateway.person import parse_device, parse_user
from senders.message import parse_message
from triggers.trigger import parse_trigger

FIXTURES = Path(__file__).parents[2] / "fixtures"
PACE = Pace(1_800_000_000_000, 20.0)


@pytest.fixture(scope="module")
def town() -> Town:
    return load_town()


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_demo", FIXTURES / "make_demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_files_are_what_the_script_makes() -> None:
    """Whoever changes the script commits what it makes."""
    for name, content in _script().make().items():
        assert content == json.loads((FIXTURES / name).read_text(encoding="utf-8")), name


def test_the_town_is_big_enough_and_every_document_is_taken(town: Town) -> None:
    """50 shops and more, circles and polygons, a hole, a corridor; all valid at any speed."""
    shops = [one for one in town.geofences if "shop" in one["properties"]["tags"]]
    shapes = Counter(one["geometry"]["type"] for one in town.geofences)
    assert len(shops) >= 50
    assert {"Point", "Polygon", "MultiPolygon", "LineString"} == set(shapes)
    assert len(town.triggers) >= 6
    for speed in (1, 20, 60):
        fast = hastened(town, speed)
        for feature in fast.geofences:
            geofence.parse(feature["id"], feature)
        for zone in fast.beacons:
            beacon.parse(zone["id"], zone)
        for trigger in fast.triggers:
            parse_trigger(trigger)
            parse_message(trigger["variants"][0]["message"])
    for one in town.receivers:
        receiver.parse(one["id"], one)


def test_people_are_valid_and_always_the_same(town: Town) -> None:
    """Users and devices are accepted as they are; addresses and tags are nobody else's."""
    people = people_of(town, 200)
    assert people == people_of(town, 200)
    subscription = {"endpoint": "https://127.0.0.1:9443/wpush/a", "keys": _keys()}
    for person in people:
        parse_user(person.user_id, user_document(person), 1)
        parse_device(person.device_id, device_document(town, person, subscription), 1)
    addresses = [one.address for one in people if one.address]
    assert len(addresses) == len(set(addresses))
    assert {"apns", "fcm", "webpush", None} == {one.provider for one in people}


def _keys() -> dict[str, str]:
    from base64 import urlsafe_b64encode

    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    encoded = [urlsafe_b64encode(part).rstrip(b"=").decode() for part in (point, bytes(16))]
    return dict(zip(("p256dh", "auth"), encoded, strict=True))


def test_speed_divides_four_durations_and_nothing_else(town: Town) -> None:
    """Dwell, delay, cooldown and silence; the wall clock's own limits stay."""
    fast = hastened(town, 30)
    by_id = {one["id"]: one for one in fast.triggers}
    assert 8 == by_id["fitting-room"]["on"]["dwell_s"]
    assert 10 == by_id["come-back"]["delay_s"]
    assert 480 == by_id["welcome"]["cooldown"]["seconds"]
    assert {8} == {zone["policy"]["silence_exit_s"] for zone in fast.beacons}
    assert {5} == {zone["policy"]["silence_exit_s"] for zone in hastened(town, 60).beacons}
    assert town.triggers == hastened(town, 1).triggers
    assert 86_400 == by_id["cart-reminder"]["audience"]["all"][0]["within_s"]


def test_routes_are_ways_on_the_graph(town: Town) -> None:
    """Every shop can be reached from every corner of a sample, without a jump."""
    streets = town.streets
    for start, end in itertools.product(streets.corners[:4], streets.shops[::7]):
        route = streets.route(start, end)
        assert (streets.point(start), streets.point(end)) == (route[0], route[-1])
        assert max(distance_m(a, b) for a, b in itertools.pairwise(route)) < 500


def test_walks_repeat_and_stay_plausible(town: Town) -> None:
    """The same seed gives the same walk, another one does not; nobody runs or jumps."""
    person = people_of(town, 1)[0]
    moments = list(itertools.islice(walk(town.streets, person, 7), 400))
    assert moments == list(itertools.islice(walk(town.streets, person, 7), 400))
    assert moments != list(itertools.islice(walk(town.streets, person, 8), 400))
    for before, after in itertools.pairwise(moments):
        assert after.at_s > before.at_s
        assert distance_m(before.fix, after.fix) < 60
    assert any(one.shop for one in moments)


def _first(posts: Any, until_s: float) -> list[Post]:
    return list(itertools.takewhile(lambda post: post.due_s <= until_s, posts))


def test_uploads_are_batches_in_the_order_of_time(town: Town) -> None:
    """Positions are posted once, after they were taken; phones in the tunnel report late."""
    for person in (people_of(town, 40)[0], people_of(town, 40)[28]):
        posts = _first(uploads(town, person, PACE, 7), 60)
        times = [p["recorded_at"] for post in posts for p in post.items if "lat" in p]
        assert sorted(set(times)) == times
        assert any(len(post.items) > 1 for post in posts)
        for post in posts:
            for item in post.items:
                at = item.get("recorded_at") or item["seen_at"]
                age_ms = PACE.started_at + post.due_s * 1000 - at
                assert person.lag_s * 1000 - 1 <= age_ms <= person.lag_s * 1000 + 3000


def test_receivers_hear_tags_of_customers_only(town: Town) -> None:
    """What is reported is a customer's tag, strong enough, by a receiver of the town."""
    people = people_of(town, 60)
    found = [i for post in _first(reports(town, people, PACE, 7), 120) for i in post.items]
    assert found
    assert {i["beacon"] for i in found} <= {one.transmitter for one in people}
    assert {i["receiver_id"] for i in found} <= {one["id"] for one in town.receivers}
    assert min(i["rssi_dbm"] for i in found) > -70


def test_news_names_its_events() -> None:
    """Every custom event has an id of its own, so that posting it again changes nothing."""
    people = people_of(load_town(), 60)
    later = [i for post in _first(news(people, PACE, 7), 300) for i in post.items]
    ids = [one["event_id"] for one in first_news(people) + later]
    assert len(ids) == len(set(ids))


def test_missing_fixtures_are_told(tmp_path: Path) -> None:
    """The message says where was looked."""
    with pytest.raises(FixturesMissing, match=str(tmp_path)):
        load_town(tmp_path)


def test_moving_by_metres_is_that_far() -> None:
    """The demo's own geodesy is consistent."""
    here = (11.5755, 48.1373)
    assert math.isclose(50, distance_m(here, moved(here, 30, 40)), rel_tol=1e-4)


MESSAGES = [
    ("apns", {"aps": {"alert": {"title": "T", "body": "B"}}, "push_id": "p", "data": {"k": "v"}}),
    ("fcm", {"notification": {"title": "T", "body": "B"}, "data": {"push_id": "p", "k": "v"}}),
    ("fcm", {"data": {"title": "T", "body": "B", "push_id": "p", "k": "v"}}),
    ("webpush", {"notification": {"title": "T", "body": "B",
                                  "data": {"push_id": "p", "data": {"k": "v"}}}}),
    ("webhook", {"data": {"title": "T", "body": "B", "id": "p", "data": {"k": "v"}}}),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "payload"), MESSAGES)
def test_messages_are_read_as_phones_do(provider: str, payload: dict[str, Any]) -> None:
    """Words, push id and own data of each provider's shape."""
    shown = as_shown({"provider": provider, "target": "t", "payload": payload})
    assert ("T", "B", "p", "v") == (shown.title, shown.body, shown.push_id, shown.data["k"])


def test_numbers_are_read_from_the_exposition() -> None:
    """Counters by their one label; deliveries alone are pushes."""
    text = (
        "# TYPE gateway_pings counter\n"
        'gateway_pings_total{result="accepted"} 7.0\ngateway_pings_total{result="late"} 1.0\n'
        "# TYPE gateway_decisions counter\n"
        'gateway_decisions_total{result="sent"} 3.0\ngateway_decisions_total{result="stale"} 2.0\n'
        "# TYPE gateway_pushes counter\n"
        'gateway_pushes_total{provider="apns",outcome="delivered"} 2.0\n'
        'gateway_pushes_total{provider="apns",outcome="retry"} 9.0\n'
    )
    numbers = read_metrics(text)
    assert (8, {"apns": 2}, {"stale": 2}) == (numbers.pings, numbers.pushes, numbers.suppressed)


@pytest.mark.parametrize(
    ("buckets", "share", "expected"),
    [
        ({0.1: 50, 0.2: 100, math.inf: 100}, 0.99, 0.198),
        ({0.1: 50, 0.2: 100, math.inf: 100}, 0.5, 0.1),
        ({0.1: 0, math.inf: 4}, 0.99, 0.1),  # beyond the last edge: at least that
    ],
)
def test_quantiles_of_histograms(buckets: dict[float, int], share: float, expected: float) -> None:
    """Linear within a bucket, as Prometheus does it."""
    assert math.isclose(expected, quantile(buckets, share))


def test_quantiles_of_nothing_are_nan() -> None:
    """Nothing measured is not zero."""
    assert math.isnan(quantile({}, 0.99))
    assert math.isnan(p99([]))
