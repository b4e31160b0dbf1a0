"""The benchmark's structure: every promise is listed, the JSON has its shape. Never a speed."""

import io
import json
import random
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from bench import ingest, report, soak
from bench.budgets import BUDGETS, NAMES, Found, rows
from bench.generator import Seen, quantile
from bench.load import SHARES, find_knee, is_sustained
from bench.machine import children, cpu_s, describe_machine
from bench.suite import NEEDS, Options, Suite
from bench.traffic import Traffic
from bench.worlds import LAPS, METRES_PER_DEGREE, WORLDS, city, store
from gateway.cli import main
from gateway.wire import PINGS

MACHINE = describe_machine("6.2.14") | {
    "seconds": 4.0,
    "workers": 1,
    "load_after": 0.1,
    "at": "2026-11-22 20:00 UTC",
}


def seen(rate: float, *, seconds: float = 2.0, p99_ms: float = 10.0, refused: int = 0) -> Seen:
    answered = round(rate * seconds)
    return Seen(
        requests=answered + refused, answered=answered, refused=refused, failed=0, pings=answered,
        seconds=seconds, p50_ms=1.0, p99_ms=p99_ms, max_ms=p99_ms, backlog=0, lag_p99_ms=0.1,
        cpu=0.1,
    )  # fmt: skip


def test_every_promise_is_a_budget() -> None:
    """The whole table of promises, by name; and a row for each, measured or not."""
    promised = [
        "decode_ping", "locate_10k", "locate_1m", "locate_growth", "pings_batched",
        "one_ping_requests", "one_ping_p99", "push_latency_p99", "pushes_dispatched", "build_100k",
        "build_1m", "zone_bytes", "quiet_device_bytes",
    ]  # fmt: skip
    assert promised == list(NAMES)
    assert promised == [row["name"] for row in rows({})]
    assert set(NEEDS) <= set(NAMES)


@pytest.mark.parametrize(
    ("name", "value", "met"),
    [
        ("pings_batched", 60_000.0, True),
        ("pings_batched", 59_999.0, False),
        ("one_ping_p99", 50.0, True),
        ("one_ping_p99", 50.1, False),
    ],
)
def test_a_budget_is_met_up_to_its_limit(name: str, value: float, met: bool) -> None:
    """Floors and ceilings both include the limit itself."""
    (row,) = rows({name: Found(value, ceiling=2 * value)}, [name])
    assert (met, 0.5) == (row["met"], row["ratio"])


def test_json_has_its_shape() -> None:
    """``machine``, and for every budget the seven members that scripts read."""
    found = {"decode_ping": Found(0.25, 0.2), "locate_growth": Found(1.1)}
    document = json.loads(report.to_json(MACHINE, rows(found), []))
    assert {"machine", "budgets", "profiles"} == set(document)
    assert {"cpu", "cores", "python", "redis", "load"} <= set(document["machine"])
    wanted = {"name", "value", "unit", "budget", "met", "ceiling", "ratio"}
    assert all(wanted <= set(row) for row in document["budgets"])
    by_name = {row["name"]: row for row in document["budgets"]}
    assert (0.25, True, 0.2, 1.25) == tuple(
        by_name["decode_ping"][key] for key in ("value", "met", "ceiling", "ratio")
    )
    assert (1.1, True, None) == tuple(
        by_name["locate_growth"][key] for key in ("value", "met", "ceiling")
    )
    assert (None, None) == (by_name["build_1m"]["value"], by_name["build_1m"]["met"])


def test_the_page_keeps_what_was_not_measured(tmp_path: Path) -> None:
    """Writing one part of the page leaves the others; writing twice is the same as once."""
    (tmp_path / "docs").mkdir()
    page = tmp_path / report.DOCUMENT
    report.put_part(tmp_path, "soak", "an hour's table")
    report.write(tmp_path, MACHINE, rows({"decode_ping": Found(0.25, 0.2, "a note")}), [])
    once = page.read_text()
    report.write(tmp_path, MACHINE, rows({"decode_ping": Found(0.25, 0.2, "a note")}), [])
    assert once == page.read_text()
    assert "an hour's table" in once
    assert all(f"`{budget.name}`" in once for budget in BUDGETS)
    assert "a note" in once


def test_the_table_names_every_budget() -> None:
    """A person sees each name, measured or not, in 100 columns."""
    shown = io.StringIO()
    console = Console(width=100, file=shown)
    report.show(console, MACHINE, rows({"decode_ping": Found(0.25, 0.2)}), [])
    assert all(name in shown.getvalue() for name in NAMES)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--only", "speed"],
        ["--profile", "moon"],
        ["--seconds", "0"],
        ["--write", "--only", "decode_ping"],
    ],
)
def test_wrong_options_are_usage_errors(arguments: list[str]) -> None:
    """Exit 2, before anything is started."""
    result = CliRunner().invoke(main, ["bench", *arguments])
    assert 2 == result.exit_code


def test_json_alone_on_stdout() -> None:
    """``--json`` prints nothing but JSON; the messages are on stderr."""
    result = CliRunner().invoke(main, ["bench", "--json", "--only", "decode_ping"])
    (row,) = json.loads(result.stdout)["budgets"]
    assert "decode_ping" == row["name"]
    assert row["value"] > 0
    assert "measuring: decode" in result.stderr


@pytest.mark.parametrize(
    ("options", "names", "profiles"),
    [
        (Options(), set(NAMES), 8),
        (Options(full=True), set(NAMES), 9),
        (Options(only=("decode_ping",)), {"decode_ping"}, 0),
        (Options(only=("one_ping_p99",)), {"one_ping_p99"}, 1),
        (Options(profiles=("store-100",)), set(), 1),
        (Options(only=("one_ping_p99",), profiles=("city-10",)), {"one_ping_p99"}, 2),
    ],
)
def test_what_is_asked_for_is_what_runs(options: Options, names: set[str], profiles: int) -> None:
    """Budgets bring the profiles they need; profiles alone measure no budget."""
    suite = Suite(options, lambda _: None)
    assert (names, profiles) == (set(suite.names), len(suite.profiles))


@pytest.mark.parametrize("format_", ["json", "msgpack"])
@pytest.mark.parametrize("size", [1, 7])
def test_requests_are_what_the_gateway_reads(format_: ingest.Format, size: int) -> None:
    """Each request is whole, its pings decode without a refusal, and its instant is the present."""
    world = city(20, zones=10)
    traffic = Traffic(world, "a-key", size, format_)
    requests = [next(traffic) for _ in range(traffic.requests_a_lap)]
    pinged = []
    for request in requests:
        head, _, body = request.partition(b"\r\n\r\n")
        assert f"content-length: {len(body)}".encode() in head.lower()
        items, _, refusals = PINGS.decode(body, format_)
        assert [] == list(refusals)
        pinged += [item.device_id for item in items]
        assert all(1_700_000_000_000 < item.recorded_at < 4e12 for item in items)
    assert world.device_ids == pinged


@pytest.mark.parametrize("name", ["city", "overlap", "store", "quiet"])
def test_nobody_in_a_world_jumps(name: str) -> None:
    """Between laps a device walks at most some hundred metres, so no fix looks impossible."""
    world = WORLDS[name](200)
    for lap in range(LAPS):
        north_m = (world.lat[lap] - world.lat[lap - 1]) * METRES_PER_DEGREE
        assert abs(north_m).max() < 300
    assert (LAPS, 200) == world.lat.shape


def test_worlds_are_the_same_each_time() -> None:
    """The generator's world and the gateway's geofences come from two processes."""
    one, other = store(50), store(50)
    assert list(one.features()) == list(other.features())
    assert (one.lat == other.lat).all()
    first = msgspec.json.decode(next(one.features()))
    assert ("Feature", "zone-0") == (first["type"], first["id"])
    assert len(list(city(10).features())) == 10_000 == len(city(500).radius_m)


@settings(max_examples=50, deadline=None)
@given(st.floats(100, 10_000), st.sampled_from([0.3, 0.55, 0.7, 0.8, 0.9, 1.1]))
def test_the_knee_is_the_highest_rate_held(most: float, held_share: float) -> None:
    """Of the rates tried, the first that a server of this strength holds; else what came."""

    def fire(seconds: float, rate: float | None) -> Seen:
        if rate is None:
            return seen(most, seconds=seconds)
        held = rate <= most * held_share
        return seen(rate, seconds=seconds, p99_ms=10.0 if held else 2_000.0)

    knee = find_knee(fire, 50.0)
    holds = [share for share in SHARES if share <= held_share]
    assert bool(holds) == knee.is_sustained
    assert knee.rate == pytest.approx(most * (holds or SHARES[-1:])[0], rel=0.01)


def test_a_refusal_is_not_sustained() -> None:
    """One 503 is enough, and so is falling behind."""
    assert is_sustained(seen(100), 100)
    assert not is_sustained(seen(100, refused=1), 100)
    assert not is_sustained(seen(90), 100)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_quantiles_are_values_that_were_seen(values: list[float]) -> None:
    """Nearest rank: p100 is the greatest, p0 the least, nothing is interpolated."""
    ascending = sorted(values)
    assert (ascending[0], ascending[-1]) == (quantile(ascending, 0.0), quantile(ascending, 1.0))
    assert quantile(ascending, random.random()) in values


def test_processes_are_read_from_proc() -> None:
    """Our own processor time is positive, a process that is not there has used none."""
    assert 0.0 == cpu_s(2**22 + 1)
    assert [] == children(2**22 + 1)


def test_slopes_are_of_the_second_half() -> None:
    """A quantity that settles has no slope, one that grows by 1 a second has 3,600 an hour."""
    names = (*soak.LEVELS, *soak.SERVICE)
    samples = [
        dict.fromkeys(names, 5.0)
        | {"at_s": float(at_s), "timers": float(at_s), "Redis, keys": min(at_s, 40.0)}
        for at_s in range(0, 100, 10)
    ]
    found = {one.name: one for one in soak.slopes_of(samples)}
    assert set(names) == set(found)
    assert 3600.0 == found["timers"].an_hour
    assert 0.0 == found["Redis, keys"].an_hour
    assert (0.0, 90.0, 90.0) == found["timers"][1:4]
    assert None is found["pings/s"].an_hour
