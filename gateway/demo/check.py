"""``gateway demo --check``: a bounded run, compared with the independent count.

Everything that is posted is drawn beforehand from a fixed seed; every tenth upload is sent twice.
Then the events that the API lists and the messages that the sandbox took must be those that
``count`` finds: none missing, none more, none twice. Nothing depends on how fast the machine is;
only the patience does.
"""

import asyncio
import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np

from gateway.api_client import ApiClient
from gateway.demo import count, plane
from gateway.demo.count import Counted, Fix, Happening, PushKey, Sighting
from gateway.demo.install import fetch_all
from gateway.demo.numbers import as_shown
from gateway.demo.phones import Pace, Post, uploads
from gateway.demo.receivers import reports
from gateway.demo.stage import Stage
from gateway.demo.traffic import Answered, Traffic
from gateway.demo.world import Person, Town

SPEED = 30.0
PHONES = 120
TRAFFIC_S = 28.0
REPEATED = 10  # every so many uploads, one is sent twice
PATIENCE_S = 120.0
QUIET_S = 2.0  # nothing new for so long, after everything is due
SHOWN_LINES = 20
LEAST_EVENTS = 200  # a count of nearly nothing proves nothing
MOST_UNSURE = 0.1

Say = Callable[[str], None]


class Check(NamedTuple):
    """What is run: the town as installed, its people, and when the traffic began."""

    stage: Stage
    town: Town
    people: list[Person]
    seed: int


class Seen(NamedTuple):
    """What the gateway's API and the sandbox list."""

    events: Counter[Happening]
    told: Counter[str]  # custom events, by user
    pushes: Counter[PushKey]
    misled: list[str]  # messages that reached somebody else, or repeat a push id


def run_check(check: Check, say: Say) -> bool:
    """Run it, say how it went; whether everything is as counted."""
    zones = [plane.zone_of(feature) for feature in check.town.geofences]
    if wrong := _unfit(check.town, zones):
        raise ValueError(wrong)
    pace = Pace(time.time_ns() // 1_000_000 + 500, SPEED)
    posts = _without_razors(list(_posts(check, pace)), check.town, zones)
    answers: list[Answered] = []
    traffic = Traffic(check.stage.url, check.stage.key, answers.append)
    say(f"Posting {sum(len(p.items) for p in posts)} pings and sightings in {TRAFFIC_S:g} s ...")
    asyncio.run(traffic.play(_twice(posts), pace.started_at, TRAFFIC_S))
    check.stage.check_alive()
    counted = _count(check, zones, answers)
    due, possible = count.count_pushes(check.town, check.people, counted)
    say(f"Counted {len(counted.due)} events and {len(due)} pushes; waiting for the last timers ...")
    seen = _settled(check, len(counted.due), len(due), _all_due_at(check.town))
    problems = _compare(check, counted, (due, possible), seen)
    problems += _lost(answers, traffic)
    return _report(counted, (due, possible), seen, problems, say)


def _posts(check: Check, pace: Pace) -> Iterator[Post]:
    streams = [uploads(check.town, one, pace, check.seed) for one in check.people]
    streams.append(reports(check.town, check.people, pace, check.seed))
    merged = heapq.merge(*streams, key=lambda post: post.due_s)
    return takewhile(lambda post: post.due_s <= TRAFFIC_S, merged)


def _twice(posts: Iterable[Post]) -> Iterator[Post]:
    """The posts, some of them sent again as by a phone that missed the answer."""
    for number, post in enumerate(posts):
        yield post
        if number % REPEATED == 0:
            yield post


def _without_razors(posts: Sequence[Post], town: Town, zones: Sequence[plane.Zone]) -> list[Post]:
    """Positions that stand on a threshold prove nothing; the phones do not take them."""
    pings = [ping for post in posts if post.field == "pings" for ping in post.items]
    distances, accuracy_m = _measured(pings, zones)
    rings_m = [t["on"]["within_m"] for t in town.triggers if "within_m" in t["on"]]
    razors = iter(plane.is_razor(distances, accuracy_m, rings_m).tolist())
    kept = []
    for post in posts:
        if post.field == "pings":
            items = [ping for ping in post.items if not next(razors)]
            if not items:
                continue
            post = post._replace(items=items)  # noqa: PLW2901 - the same post without them
        kept.append(post)
    return kept


def _measured(
    pings: Sequence[dict[str, Any]], zones: Sequence[plane.Zone]
) -> tuple[plane.F64, plane.F64]:
    lon = np.array([ping["lon"] for ping in pings])
    lat = np.array([ping["lat"] for ping in pings])
    accuracy_m = np.array([ping["accuracy_m"] for ping in pings])
    return plane.distances_m(zones, lon, lat), accuracy_m


def _count(check: Check, zones: Sequence[plane.Zone], answers: Sequence[Answered]) -> Counted:
    lag_ms = {one.device_id: round(one.lag_s * 1000) for one in check.people}
    pings = [(a, ping) for a in answers if a.post.field == "pings" for ping in a.post.items]
    distances, _ = _measured([ping for _, ping in pings], zones)
    fixes = [
        (
            ping["device_id"],
            Fix(
                ping["recorded_at"],
                answered.at,
                ping["accuracy_m"],
                row,
                lag_ms[ping["device_id"]],
            ),
        )
        for (answered, ping), row in zip(pings, distances.tolist(), strict=True)
    ]
    sightings = _sightings(check, answers, lag_ms)
    return count.count_events(check.town, zones, count.group_by_device(fixes), sightings)


def _sightings(
    check: Check, answers: Sequence[Answered], lag_ms: dict[str, int]
) -> dict[tuple[str, str], list[Sighting]]:
    """Sightings by the device that is meant and the beacon zone, in the order of time."""
    carriers = {one.transmitter: one.device_id for one in check.people if one.transmitter}
    zone_of = {
        key: zone["id"]
        for zone in check.town.beacons
        for key in (*zone.get("beacons", ()), *zone.get("receivers", ()))
    }
    found: dict[tuple[str, str], dict[int, Sighting]] = {}
    for answered in answers:
        if answered.post.field != "sightings":
            continue
        for item in answered.post.items:
            device_id = item.get("device_id") or carriers[item["beacon"]]
            zone_id = zone_of[item.get("receiver_id") or item["beacon"]]
            lag = lag_ms[device_id] if "device_id" in item else 0
            sighting = Sighting(item["seen_at"], answered.at, lag)
            found.setdefault((device_id, zone_id), {}).setdefault(sighting.at, sighting)
    return {key: [one[at] for at in sorted(one)] for key, one in found.items()}


def _all_due_at(town: Town) -> float:
    """When every timer and every delayed push of the traffic that just ended has gone off."""
    waits: list[int] = [zone["policy"]["silence_exit_s"] for zone in town.beacons]
    for trigger in town.triggers:
        waits += [trigger["on"].get("dwell_s", 0), trigger.get("delay_s", 0)]
    return time.time() + max(waits) + 1


def _settled(check: Check, events: int, pushes: int, all_due_at: float) -> Seen:
    """What is listed once everything is due, all that was counted is there, and nothing moves."""
    deadline = time.monotonic() + PATIENCE_S
    time.sleep(max(0.0, all_due_at - time.time()))
    seen, same_since = _see(check), time.monotonic()
    while time.monotonic() < deadline:
        is_complete = seen.events.total() >= events and seen.pushes.total() >= pushes
        if time.monotonic() - same_since >= (QUIET_S if is_complete else PATIENCE_S / 4):
            break
        time.sleep(0.5)
        now_seen = _see(check)
        if now_seen != seen:
            seen, same_since = now_seen, time.monotonic()
    return seen


def _see(check: Check) -> Seen:
    api = ApiClient(check.stage.url, check.stage.key)
    try:
        events = fetch_all(api, "/v1/events", {"order": "asc"})
        inbox = fetch_all(api, "/v1/deliveries", {"state": "sent", "channel": "inbox"})
        devices = fetch_all(api, "/v1/devices")
    finally:
        api.close()
    happened = Counter(_happening(one) for one in events if one["kind"] != "custom")
    told = Counter(one["user_id"] for one in events if one["kind"] == "custom")
    pushes, misled = _pushes(check, devices)
    pushes.update(PushKey(one["trigger_id"], one["user_id"]) for one in inbox)
    return Seen(happened, told, pushes, misled)


def _happening(event: dict[str, Any]) -> Happening:
    at = round(datetime.fromisoformat(event["occurred_at"]).timestamp() * 1000)
    kind = event["kind"]
    detail = {"dwell": event.get("dwell_s", 0), "approach": event.get("within_m", 0)}.get(kind, 0)
    return Happening(event["device_id"], kind, event["zone"]["id"], at, detail)


def _pushes(check: Check, devices: Sequence[dict[str, Any]]) -> tuple[Counter[PushKey], list[str]]:
    """The messages at the providers by name, and those that went astray."""
    is_per_zone = {
        trigger["id"]: trigger.get("cooldown", {}).get("per") == "zone"
        for trigger in check.town.triggers
    }
    owner_of = {
        target["address"].rpartition("/")[2]: device["user_id"]
        for device in devices
        for target in device.get("targets", ())
    }
    pushes: Counter[PushKey] = Counter()
    ids: Counter[str] = Counter()
    misled = []
    for message in check.stage.sandbox.messages():
        shown = as_shown(message)
        data = shown.data
        ids[shown.push_id] += 1
        if message["provider"] != "webhook" and owner_of.get(shown.target) != data["user"]:
            misled.append(f"{data['trigger']} of {data['user']} went to {shown.target[:24]}")
        zone_id = data["zone"] if is_per_zone[data["trigger"]] else ""
        pushes[PushKey(data["trigger"], data["user"], zone_id)] += 1
    misled += [f"push {push_id} arrived {number} times" for push_id, number in ids.items()
               if number > 1]  # fmt: skip
    return pushes, misled


def _compare(
    check: Check, counted: Counted, pushes: tuple[set[PushKey], set[PushKey]], seen: Seen
) -> list[str]:
    unsure = counted.unsure
    due = {one for one in counted.due if (one.device_id, one.zone_id) not in unsure}
    listed = Counter(
        {one: n for one, n in seen.events.items() if (one.device_id, one.zone_id) not in unsure}
    )
    problems = _differences("event", due, counted.possible, listed)
    problems += _differences("push", pushes[0], pushes[1], seen.pushes)
    problems += [f"astray     {one}" for one in seen.misled]
    told = Counter(
        person.user_id
        for person in check.people
        for is_told in (person.has_cart, person.order is not None)
        if is_told
    )
    if told != seen.told:
        problems.append(f"custom events: {told.total()} were told, {seen.told.total()} are listed")
    return problems


def _differences(noun: str, due: set[Any], possible: set[Any], listed: Counter[Any]) -> list[str]:
    missing = sorted(due - listed.keys())
    more = sorted(one for one in listed if one not in due and one not in possible)
    twice = sorted(one for one, number in listed.items() if number > 1)
    return [
        *(f"missing    {noun} {one}" for one in missing),
        *(f"unexpected {noun} {one}" for one in more),
        *(f"repeated   {noun} {one}, {listed[one]} times" for one in twice),
    ]


def _lost(answers: Sequence[Answered], traffic: Traffic) -> list[str]:
    """Every ping is accepted once, every repetition is not; retries blur that."""
    if traffic.retries:
        return []
    pings = [one for one in answers if one.post.field == "pings"]
    different = {(p["device_id"], p["recorded_at"]) for one in pings for p in one.post.items}
    accepted = sum(one.answer["accepted"] for one in pings)
    if accepted == len(different):
        return []
    return [f"pings: {len(different)} different ones were posted, {accepted} were accepted"]


def _unfit(town: Town, zones: Sequence[plane.Zone]) -> str:
    """Why the count does not hold for this town; empty if it does."""
    if big := [zone.id for zone in zones if plane.scale_m(zone) > 75]:
        return f"zones {big} are so big that their exit buffer differs from the count's"
    cooldowns = [t["cooldown"]["seconds"] for t in town.triggers if "cooldown" in t]
    if min(cooldowns) < 3 * TRAFFIC_S:
        return f"a cooldown of {min(cooldowns)} s ends during the check"
    return ""


def _report(
    counted: Counted,
    pushes: tuple[set[PushKey], set[PushKey]],
    seen: Seen,
    problems: list[str],
    say: Say,
) -> bool:
    if len(counted.due) < LEAST_EVENTS:
        problems.append(f"only {len(counted.due)} events were counted; that proves nothing")
    visited = {(one.device_id, one.zone_id) for one in counted.due}
    if len(counted.unsure) > MOST_UNSURE * max(1, len(visited)):
        problems.append(f"{len(counted.unsure)} visits cannot be judged: the machine is too slow")
    kinds = Counter(one.kind for one in seen.events.elements())
    say("Listed  " + ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items())))
    triggers = Counter(one.trigger_id for one in seen.pushes.elements())
    say("Arrived " + ", ".join(f"{number} {name}" for name, number in sorted(triggers.items())))
    spared = len(counted.possible) + len(counted.unsure)
    say(f"Left to timing: {spared} events, {len(pushes[1])} pushes.")
    if not problems:
        say(f"Check passed: {len(counted.due)} events and {len(pushes[0])} pushes as counted.")
        return True
    say(f"Check FAILED: {len(problems)} differences from the independent count.")
    sorts = Counter(" ".join(problem.split()[:2]) for problem in problems)
    say("  " + ", ".join(f"{number} x {sort}" for sort, number in sorts.most_common()))
    for problem in problems[:SHOWN_LINES]:
        say(f"  {problem}")
    if len(problems) > SHOWN_LINES:
        say(f"  ... and {len(problems) - SHOWN_LINES} more")
    return False
