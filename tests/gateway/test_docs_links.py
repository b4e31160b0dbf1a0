"""What the documentation points at exists: files, headings, commands, metrics, log lines."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from gateway.cli import main
from gateway.docs import PACKAGES
from gateway.metrics import CATALOGUE

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (("", "*.md"), ("docs", "**/*.md"), ("fixtures", "*.md"))
PAGES = sorted(page for folder, pages in FOLDERS for page in (ROOT / folder).glob(pages))
ALERTS = ROOT / "docs/operations/alerts.yml"
DASHBOARD = ROOT / "docs/operations/grafana.json"
METRICS = {metric.name: metric for metric in CATALOGUE}

LINK = re.compile(r"(?<!`)\[[^\]\[]*\]\(([^()\s]+)\)")
METRIC = re.compile(r"\bgateway_[a-z0-9_]+")
LABEL = re.compile(r"[{,]\s*([a-z_]+)\s*(?:=~|!~|!=|=)")


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(path: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: Counter[str] = Counter()
    names = set()
    for heading in re.findall(r"^#+ +(.+?) *$", prose(path), re.MULTILINE):
        text = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        names.add(f"{name}-{found[name]}" if found[name] else name)
        found[name] += 1
    return names


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_resolve(page: Path) -> None:
    """Relative links lead to a file of the repository, and to one of its headings."""
    broken = []
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert [] == broken


def test_every_page_is_in_the_index() -> None:
    """docs/README.md leads to each page of docs/."""
    linked = {
        (ROOT / "docs" / link.partition("#")[0]).resolve()
        for link in LINK.findall(prose(ROOT / "docs/README.md"))
    }
    assert set() == set((ROOT / "docs").glob("*.md")) - linked - {ROOT / "docs/README.md"}


def commands(group: click.Group, path: str = "gateway") -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield f"{path} {name}"
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


def test_commands_are_known_and_documented() -> None:
    """Every command has its place in docs/cli.md, and no page names one that does not exist."""
    known = set(commands(main))
    text = (ROOT / "docs/cli.md").read_text("utf-8")
    assert set() == {command for command in known if f"\n## {command}\n" not in text}
    named = {
        f"gateway {name}"
        for page in PAGES
        for name in re.findall(r"`(?:\.venv/bin/)?gateway ([a-z]+)\b", page.read_text("utf-8"))
    }
    assert set() == named - known


def names_of(expression: str) -> set[str]:
    """The metrics that an expression names, without the suffixes of histograms."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in METRIC.findall(expression)}


def expressions() -> list[str]:
    """All expressions of the alert rules and of the dashboard."""
    rules = re.findall(r"^ +expr: (.+)$", ALERTS.read_text("utf-8"), re.MULTILINE)
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return rules + [target["expr"] for panel in panels for target in panel.get("targets", [])]


def test_alerts_and_dashboard_name_real_metrics() -> None:
    """Each metric exists, is used as its type asks, and has the labels that are asked of it."""
    assert len(expressions()) > 25
    for expression in expressions():
        assert names_of(expression), expression
        for name in names_of(expression):
            assert name in METRICS, expression
            is_histogram = METRICS[name].type == "histogram"
            assert is_histogram == (f"{name}_bucket" in expression), expression
        labels = {"instance", "le"}.union(*(METRICS[n].labels for n in names_of(expression)))
        by = re.findall(r"(?:by|without) \(([a-z_, ]+)\)", expression)
        asked = set(LABEL.findall(expression)) | {one for part in by for one in part.split(", ")}
        assert asked <= labels, expression


def test_labels_of_alerts_have_real_values() -> None:
    """An alert on a value that no series has would never fire."""
    from gateway.errors import PROBLEMS
    from gateway.metrics import LOOPS, OUTCOMES

    known = {*OUTCOMES, *PROBLEMS, *LOOPS, "http", "mqtt"}
    text = "\n".join(re.findall(r"^ +expr: (.+)$", ALERTS.read_text("utf-8"), re.MULTILINE))
    values = re.findall(r'=~?"([^"]+)"', text)
    assert values
    assert set() == {one for value in values for one in value.split("|")} - known


def test_alerts_are_six_and_described() -> None:
    """alerts.yml is a rules file of Prometheus, and docs/operations.md speaks of each rule."""
    yaml = pytest.importorskip("yaml")
    (group,) = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    rules = group["rules"]
    assert 6 == len(rules)
    described = (ROOT / "docs/operations.md").read_text("utf-8")
    for rule in rules:
        assert {"alert", "expr", "labels", "annotations"} <= rule.keys()
        assert f"| `{rule['alert']}` |" in described


def test_metrics_named_in_pages_exist() -> None:
    """No page speaks of a metric that is not there."""
    for page in PAGES:
        for name in re.findall(r"`(gateway_[a-z0-9_]+)", page.read_text("utf-8")):
            assert re.sub(r"_bucket$", "", name) in METRICS, page_id(page)


def test_every_log_line_is_described() -> None:
    """docs/operations.md has every event that is logged at info or above, and no other."""
    logged = {
        name
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for name in re.findall(
            r"_log\.(?:info|warning|error)\(\s*\"(\w+)\"", path.read_text("utf-8")
        )
    }
    section = (ROOT / "docs/operations.md").read_text("utf-8").partition("\n## Logs\n")[2]
    rows = re.findall(r"^\| (`.+?`) \|", section.partition("\n## ")[0], re.MULTILINE)
    assert logged == {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_design_names_modules_that_exist() -> None:
    """The interfaces of docs/design.md stand at real modules (the full list is generated)."""
    missing = set()
    design, packages = prose(ROOT / "docs/design.md"), "|".join(PACKAGES)
    for cell in re.findall(rf"^\| (`(?:{packages})/.+?) \|", design, re.MULTILINE):
        folder = ""
        for named in re.findall(r"`([^`]+)`", cell):
            # `triggers/x.py`, then `y.py` or `lua/` beside it
            is_whole = (ROOT / named.partition("/")[0]).is_dir()
            folder = str(Path(named).parent) if is_whole else folder
            path = named if is_whole else f"{folder}/{named}"
            missing |= {one for one in expanded(path) if not list(ROOT.glob(one.rstrip("/")))}
    assert set() == missing


def expanded(name: str) -> list[str]:
    """``a/{b,c}.py`` as its members."""
    match = re.fullmatch(r"(.*)\{(.+)\}(.*)", name)
    return [f"{match[1]}{one}{match[3]}" for one in match[2].split(",")] if match else [name]
