"""What the demo shows: a live table on a terminal, plain lines elsewhere. NO_COLOR is respected."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gateway.demo.numbers import PROVIDER_NAMES, Numbers, Shown

PLAIN_EVERY_S = 5.0
PLAIN_PUSHES = 3
SHOWN_PUSHES = 8
MOST_ROWS = 6


class Glance(NamedTuple):
    """One moment of the demo. ``fresh`` are the messages since the last one, oldest first.

    ``ingest_p99_ms`` is what phones waited for an answer, ``push_p99_ms`` the time from a ping's
    receipt to the provider's acceptance of its push; NaN while there is none.
    """

    elapsed_s: float
    pings_per_s: float
    ingest_p99_ms: float
    push_p99_ms: float
    numbers: Numbers
    fresh: Sequence[Shown]


class Screen(Protocol):
    """Where the demo shows itself; a context manager for the time in which it is live."""

    def say(self, text: str) -> None:
        """Show a line that stays."""

    def show(self, glance: Glance) -> None:
        """Show the present moment."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class LiveScreen:
    """Redraws a table in place."""

    def __init__(self, console: Console, names: Mapping[str, str], title: str) -> None:
        self._console = console
        self._names = names
        self._title = title
        self._pushes: list[Shown] = []
        self._live: Live | None = None

    def say(self, text: str) -> None:
        """See ``Screen``."""
        self._console.print(escape(text), highlight=False, soft_wrap=True)

    def show(self, glance: Glance) -> None:
        """See ``Screen``."""
        self._pushes = [*self._pushes, *glance.fresh][-SHOWN_PUSHES:]
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        self._live.update(self._drawn(glance), refresh=True)

    def close(self) -> None:
        """See ``Screen``."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _drawn(self, glance: Glance) -> Group:
        numbers = glance.numbers
        columns = Table.grid(expand=True, padding=(0, 2))
        for _ in range(4):
            columns.add_column(ratio=1)
        columns.add_row(
            _counts("Intake", _intake(glance)),
            _counts("Events", _rows(numbers.events)),
            _counts("Pushes", _rows(_named(numbers.pushes))),
            _counts("Suppressed", _rows(numbers.suppressed)),
        )
        phones = Table.grid(padding=(0, 2))
        for shown in reversed(self._pushes):
            to, channel = _recipient(shown, self._names), f"[dim]{shown.channel}[/]"
            words = f"[bold]{escape(shown.title)}[/]  {escape(shown.body)}"
            phones.add_row(channel, escape(to), Text.from_markup(words, overflow="ellipsis"))
        return Group(
            Panel(columns, title=escape(self._title), title_align="left"),
            Panel(phones, title="On their screens, newest first", title_align="left"),
        )


class PlainScreen:
    """Prints a line every few seconds: for logs, pipes and terminals without cursor."""

    def __init__(self, console: Console, names: Mapping[str, str]) -> None:
        self._console = console
        self._names = names
        self._shown_at_s = -math.inf
        self._fresh: list[Shown] = []

    def say(self, text: str) -> None:
        """See ``Screen``."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, glance: Glance) -> None:
        """See ``Screen``."""
        self._fresh += glance.fresh
        if glance.elapsed_s - self._shown_at_s < PLAIN_EVERY_S:
            return
        self._shown_at_s = glance.elapsed_s
        numbers = glance.numbers
        intake = ", ".join(f"{name} {value}" for name, value in _intake(glance))
        self.say(f"[{glance.elapsed_s:5.0f} s] {intake}")
        for title, counts in (
            ("events", numbers.events),
            ("pushes", _named(numbers.pushes)),
            ("suppressed", numbers.suppressed),
        ):
            self.say(f"          {title}: " + ", ".join(f"{n} {k}" for k, n in _rows(counts)))
        for shown in self._fresh[-PLAIN_PUSHES:]:
            to = _recipient(shown, self._names)
            self.say(f"          {shown.channel} to {to}: {shown.title} | {shown.body}")
        self._fresh = []

    def close(self) -> None:
        """See ``Screen``."""


def choose_screen(names: Mapping[str, str], title: str) -> Screen:
    """The live table on a terminal, plain lines elsewhere.

    Args:
        names: of people by user id.
        title: of the table.
    """
    console = Console()
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveScreen(console, names, title)
    return PlainScreen(console, names)


def _counts(title: str, rows: Sequence[tuple[str, str]]) -> Table:
    table = Table(title=title, title_justify="left", box=None, show_header=False, padding=(0, 1))
    table.add_column(style="dim")
    table.add_column(justify="right")
    for name, value in rows:
        table.add_row(name, value)
    return table


def _intake(glance: Glance) -> list[tuple[str, str]]:
    return [
        ("pings/s", f"{glance.pings_per_s:,.0f}"),
        ("pings", f"{glance.numbers.pings:,}"),
        ("sightings", f"{glance.numbers.sightings:,}"),
        ("p99 to answer", _ms(glance.ingest_p99_ms)),
        ("p99 to provider", _ms(glance.push_p99_ms)),
    ]


def _rows(counts: Counter[str]) -> list[tuple[str, str]]:
    return [(name, f"{number:,}") for name, number in counts.most_common(MOST_ROWS)]


def _named(pushes: Counter[str]) -> Counter[str]:
    return Counter({PROVIDER_NAMES.get(name, name): number for name, number in pushes.items()})


def _recipient(shown: Shown, names: Mapping[str, str]) -> str:
    """Whose screen it is; what goes to the tenant's own webhook is for the staff."""
    return "staff" if shown.channel == "webhook" else names.get(shown.data.get("user", ""), "?")


def _ms(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:,.0f} ms"
