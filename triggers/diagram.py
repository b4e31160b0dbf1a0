"""The state diagram and the transition table as text, generated from the table itself.

``render`` puts both between their markers in a Markdown page, so a page is current exactly if
``render(page) == page``.
"""

from itertools import groupby

from triggers.state import Phase
from triggers.transitions import TRANSITIONS, Effect, Signal

BEGIN = "<!-- generated from triggers/transitions.py: {} -->"
END = "<!-- end -->"

EVENTS = {Effect.OPEN: "enter", Effect.CLOSE: "exit"}


def mermaid() -> str:
    """The diagram in Mermaid's notation; signals that change nothing are left out."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> outside"]
    arrows = []
    for phase, row in TRANSITIONS.items():
        for signal, (target, effect) in row.items():
            if target is not phase or effect in (Effect.COUNT, Effect.STAY):
                arrows.append((phase, target, effect, signal))
    arrows.sort(key=lambda arrow: arrow[:3])
    for (phase, target, effect), group in groupby(arrows, key=lambda arrow: arrow[:3]):
        signals = ", ".join([_word(signal) for *_, signal in group])
        event = f" / {EVENTS[effect]}" if effect in EVENTS else ""
        lines.append(f"    {_word(phase)} --> {_word(target)}: {signals}{event}")
    return "\n".join([*lines, "```"])


def table() -> str:
    """The whole table in Markdown: a row a phase, a column a signal, "next phase (effect)"."""
    head = ["phase", *(_word(signal) for signal in Signal)]
    lines = [_row(head), _row(["---"] * len(head))]
    for phase, row in TRANSITIONS.items():
        cells = [_cell(phase, *row[signal]) for signal in Signal]
        lines.append(_row([f"**{_word(phase)}**", *cells]))
    return "\n".join(lines)


def render(page: str) -> str:
    """The page with diagram and table brought up to date.

    Raises:
        ValueError: the page lacks a marker.
    """
    for name, text in (("diagram", mermaid()), ("table", table())):
        begin = BEGIN.format(name)
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(END)
        if not (found and closed):
            raise ValueError(f"the page lacks the markers {begin!r} and {END!r}")
        page = f"{before}{begin}\n{text}\n{END}{after}"
    return page


def _cell(phase: Phase, target: Phase, effect: Effect) -> str:
    if target is phase and effect is Effect.NOTHING:
        return "·"
    return _word(target) if effect is Effect.NOTHING else f"{_word(target)} ({_word(effect)})"


def _word(member: Phase | Signal | Effect) -> str:
    return member.name.lower()


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
