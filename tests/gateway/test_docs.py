"""The documentation is what the program says."""

from pathlib import Path

import pytest

from gateway.config import describe_settings
from gateway.docs import GENERATORS, stale_files, table
from gateway.errors import PROBLEMS
from gateway.metrics import CATALOGUE

ROOT = Path(__file__).resolve().parents[2]


def test_generated_parts_are_current() -> None:
    """Cure: `gateway docs --write`."""
    assert [] == stale_files(ROOT)


def test_every_promise_has_its_place() -> None:
    """Each setting, problem type and metric is documented."""
    errors = (ROOT / "docs/errors.md").read_text("utf-8")
    for slug in PROBLEMS:
        assert f"\n## {slug}\n" in errors
    settings = (ROOT / "docs/configuration.md").read_text("utf-8")
    for info in describe_settings():
        assert f"| `{info.name}` |" in settings
    metrics = (ROOT / "docs/metrics.md").read_text("utf-8")
    for metric in CATALOGUE:
        assert f"| `{metric.name}` |" in metrics


def test_a_part_is_filled_where_it_is_marked(tmp_path: Path) -> None:
    """Text around the marks stays; a second run changes nothing; an unknown part is an error."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("no marks\n", "utf-8")
    page = tmp_path / "docs/x.md"
    page.write_text(
        "before\n<!-- generated: problems -->\nold\n<!-- end generated -->\nafter\n", "utf-8"
    )
    assert page in stale_files(tmp_path, write=True)
    assert [] == stale_files(tmp_path)
    text = page.read_text("utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "## not-found" in text
    assert "old" not in text
    page.write_text("<!-- generated: nobody -->\n<!-- end generated -->\n", "utf-8")
    with pytest.raises(ValueError, match="nobody"):
        stale_files(tmp_path)


def test_tables_escape_bars() -> None:
    """A bar in a cell does not break the row."""
    assert "| a\\|b |" in table(["x"], [["a|b"]])
    assert "settings" in GENERATORS
