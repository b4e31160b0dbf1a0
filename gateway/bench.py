"""``gateway bench``: measures every budget on this machine, and the ceiling beside it.

The measurements live in ``bench/`` of the repository, which the installed package does not carry.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent


def run(
    *,
    as_json: bool = False,
    only: Sequence[str] = (),
    profiles: Sequence[str] = (),
    seconds: float = 4.0,
    full: bool = False,
    workers: int = 1,
    write: bool = False,
) -> int:
    """Measure, and print a table (or JSON alone) on stdout; what is going on goes to stderr.

    Args:
        as_json: print JSON.
        only: names of the budgets to measure; all if empty.
        profiles: names of the load profiles to run; all, or those that ``only`` needs, if empty.
        seconds: length of one measurement.
        full: a million geofences too.
        workers: serving processes of the gateway under test.
        write: put the tables into ``docs/benchmarks.md``.

    Returns:
        The exit code: 0 if everything asked for was measured and met, else 1.

    Raises:
        click.UsageError: a name is not that of a budget or a profile, or only a part would be
            written.
        click.ClickException: this is not the repository.
    """
    if write and (only or profiles):
        raise click.UsageError("--write needs the whole run: leave out --only and --profile.")
    if not (ROOT / "bench").is_dir():
        raise click.ClickException("`gateway bench` needs the repository, which holds bench/.")
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from rich.console import Console

    from bench import report
    from bench.suite import Options, Suite

    logging.getLogger("httpx").setLevel(logging.WARNING)
    options = Options(tuple(only), tuple(profiles), seconds, full, workers)
    progress = Console(stderr=True)
    try:
        suite = Suite(options, lambda what: progress.print(f"measuring: {what}", style="dim"))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    outcome = suite.run()
    for problem in outcome.problems:
        progress.print(f"not measured: {problem}", style="red", markup=False)
    if as_json:
        click.echo(report.to_json(outcome.machine, outcome.budgets, outcome.profiles))
    else:
        report.show(Console(), outcome.machine, outcome.budgets, outcome.profiles)
    if write:
        report.write(ROOT, outcome.machine, outcome.budgets, outcome.profiles)
    missed = [row for row in outcome.budgets if row["met"] is False]
    return 1 if outcome.problems or missed else 0
