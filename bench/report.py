"""What a run found, for people (a table), for programs (JSON) and for the documentation."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.budgets import Row
from gateway.docs import table as table_of

DOCUMENT = "docs/benchmarks.md"
_PART = r"(<!-- bench: {name} -->\n).*?(<!-- end bench -->)"

PREFACE = """# Benchmarks

Every figure comes from `gateway bench` (or, for the soak, `python -m bench.soak`) on the machine
named; `gateway bench --write` measures anew and writes this page. Everything runs on the one
machine: the gateway, its Redis, the load generator and the providers' stand-in.

- **Open loop.** Requests leave at fixed instants whatever the answers do, and latency counts from
  the instant a request should have left. A rate is *sustained* if every request is answered 202, at
  least 97 % of it is achieved, p99 stays within 500 ms, and no backlog grows. The *knee* is the
  highest rate sustained of those tried (95, 85, 75, 65, 50 % of what a closed loop reaches).
- **202 means committed**: each ping's state, events and outbox entries are on disk.
- **Ceiling**: what the part can do without the gateway, measured in the same run.
- **City**: 10,000 shops of 50 to 150 m; 2 % of the devices walk in and out (1 % of the pings cause
  an event), 2 % stay inside, the rest pass. **Overlap**: 23,000 circles of 5 km on 60 cities, every
  device inside some of them. **Store**: 67 overlapping zones of one mall, every device inside.

## Budgets

<!-- bench: budgets -->
<!-- end bench -->

## Profiles

`city-100` is the city in batches of 100 pings a request. Processor time is of the whole process,
all threads, in the closed loop; latencies are at 70 % of the knee (of the closed loop, where no
knee was searched).

<!-- bench: profiles -->
<!-- end bench -->

## Where the time goes

`python -m bench.profile_pipeline` runs the pipeline in one process against a private Redis.

<!-- bench: profile -->
<!-- end bench -->

## Soak

`python -m bench.soak --minutes 60` loads the city at 70 % of what it can take, while geofences are
edited, devices change their addresses and the provider has brownouts. A slope is a straight line
through the second half of the run: what would grow without end shows there.

<!-- bench: soak -->
<!-- end bench -->
"""


def to_json(machine: dict[str, Any], budgets: Sequence[Row], profiles: Sequence[Row]) -> str:
    """The document that ``gateway bench --json`` prints."""
    return json.dumps(
        {"machine": machine, "budgets": list(budgets), "profiles": list(profiles)}, indent=1
    )


def show(
    console: Console, machine: dict[str, Any], budgets: Sequence[Row], profiles: Sequence[Row]
) -> None:
    """Print tables for a person."""
    console.print(describe(machine), highlight=False)
    table = Table(title="Budgets", title_justify="left")
    for head in ("name", "value", "budget", "met", "ceiling", "ratio"):
        is_text = head in ("name", "met")
        table.add_column(head, justify="left" if is_text else "right", no_wrap=True)
    for row in budgets:
        style = {True: "green", False: "red", None: "dim"}[row["met"]]
        table.add_row(row["name"], *budget_cells(row), style=style)
    if budgets:
        console.print(table)
    if profiles:
        table = Table(title="Profiles", title_justify="left")
        for head in PROFILE_HEADS:
            justify: Any = "left" if head == "profile" else "right"
            table.add_column(head.replace(", ", "\n"), justify=justify, no_wrap=True)
        for row in profiles:
            table.add_row(*profile_cells(row))
        console.print(table)
    for note in [*notes_of(budgets, "name"), *notes_of(profiles, "profile")]:
        console.print(note, style="dim", markup=False, highlight=False)


def notes_of(rows: Sequence[Row], name: str) -> list[str]:
    """What a reader of these figures should know besides."""
    return [f"{row[name]}: {row['note']}" for row in rows if row["note"]]


def describe(machine: dict[str, Any]) -> str:
    """The machine and the settings in one paragraph."""
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"{machine['system']}, Python {machine['python']}, Redis {machine['redis'] or 'not used'}. "
        f"{machine['workers']} serving process(es), {machine['seconds']:g} s a measurement, "
        f"load average {machine['load']} before, {machine['load_after']} after; {machine['at']}."
    )


def budget_cells(row: Row) -> list[str]:
    """Value, budget, met, ceiling, ratio as a person reads them."""
    unit, value = row["unit"], row["value"]
    met = {True: "met", False: "missed", None: "not measured"}[row["met"]]
    return [
        "" if value is None else f"{number(value)} {unit}",
        f"{'≥' if row['is_floor'] else '≤'} {number(row['budget'])}",
        met,
        "" if row["ceiling"] is None else number(row["ceiling"]),
        "" if row["ratio"] is None else f"{row['ratio']:.2f}",
    ]


PROFILE_HEADS = (
    "profile", "closed loop, pings/s", "events/s", "gateway, µs a ping", "Redis, µs a ping",
    "knee, pings/s", "paced, pings/s", "p50, ms", "p99, ms",
)  # fmt: skip


def profile_cells(row: Row) -> list[str]:
    """A profile as a person reads it."""
    names = (
        "closed_loop_pings_per_s", "events_per_s", "gateway_us_a_ping", "redis_us_a_ping",
        "knee_pings_per_s", "paced_pings_per_s", "p50_ms", "p99_ms",
    )  # fmt: skip
    return [row["profile"]] + ["" if row[one] is None else number(row[one]) for one in names]


def number(value: float) -> str:
    """With separators, and no more digits than matter."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def write(
    root: Path, machine: dict[str, Any], budgets: Sequence[Row], profiles: Sequence[Row]
) -> None:
    """Put this run's tables into the documentation."""
    rows = [[f"{row['what']} (`{row['name']}`)", *budget_cells(row)] for row in budgets]
    heads = ["what", "value", "budget", "met", "ceiling", "ratio"]
    _put_table(root, "budgets", table_of(heads, rows), notes_of(budgets, "name"), machine)
    if profiles:
        table = table_of(list(PROFILE_HEADS), [profile_cells(row) for row in profiles])
        _put_table(root, "profiles", table, notes_of(profiles, "profile"), machine)


def _put_table(
    root: Path, name: str, table: str, notes: Sequence[str], machine: dict[str, Any]
) -> None:
    listed = "\n".join(f"- {note}" for note in notes)
    put_part(root, name, f"{describe(machine)}\n\n{table}\n\n{listed}")


def put_part(root: Path, name: str, text: str) -> None:
    """Replace one part of the page; the others stay."""
    path = root / DOCUMENT
    page = path.read_text("utf-8") if path.exists() else PREFACE
    pattern = re.compile(_PART.format(name=name), re.DOTALL)
    path.write_text(pattern.sub(lambda m: f"{m[1]}\n{text.strip()}\n\n{m[2]}", page), "utf-8")
