"""The page about the state machine shows the table that runs."""

from pathlib import Path

import pytest

from triggers.diagram import mermaid, render
from triggers.state import Phase
from triggers.transitions import TABLE, TRANSITIONS, Signal

PAGE = Path(__file__).parents[2] / "docs" / "state-machine.md"


def test_page_is_current() -> None:
    """Diagram and table in the docs are those of the code."""
    page = PAGE.read_text()
    assert page == render(page)


def test_page_without_markers() -> None:
    """A page that cannot be rendered says which marker it lacks."""
    with pytest.raises(ValueError, match=r"lacks the markers .*diagram"):
        render("# nothing")


def test_table_is_complete() -> None:
    """Every phase answers every signal, and the flat table is the same one."""
    assert set(Phase) == set(TRANSITIONS)
    assert all(set(Signal) == set(row) for row in TRANSITIONS.values())
    flat = [TRANSITIONS[phase][signal] for phase in Phase for signal in Signal]
    assert flat == list(TABLE)


def test_diagram_names_events() -> None:
    """The arrows say which events they report."""
    assert "outside --> inside: in / enter" in mermaid()
    assert "exiting --> outside: out, silent, removed / exit" in mermaid()
