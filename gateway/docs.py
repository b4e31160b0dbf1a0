"""Parts of the documentation that are made from the program, and the check that they are current.

Model: a generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end generated -->``.
``GENERATORS`` has a function for each name; ``gateway docs --write`` fills the parts of every
``docs/*.md`` and the README anew, and ``gateway docs --check`` tells which are out of date.
"""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import msgspec

from gateway.config import Settings, describe_settings

GENERATORS: dict[str, Callable[[], str]] = {}
PACKAGES = ("geo", "triggers", "senders", "gateway")
OPENAPI_FILE = "openapi.json"

_PART = re.compile(
    r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- end generated -->)", re.DOTALL
)


def generator(name: str) -> Callable[[Callable[[], str]], Callable[[], str]]:
    """Register a function that writes the part of this name, as Markdown."""

    def register(function: Callable[[], str]) -> Callable[[], str]:
        GENERATORS[name] = function
        return function

    return register


def stale_files(root: Path, *, write: bool = False) -> list[Path]:
    """The files whose generated parts are not current; with ``write`` they are made current.

    Raises:
        ValueError: a file asks for a part that nobody generates.
    """
    stale = []
    for path, wanted in _wanted(root):
        present = path.read_text("utf-8") if path.exists() else ""
        if present != wanted:
            stale.append(path)
            if write:
                path.write_text(wanted, "utf-8")
    return stale


def openapi_document() -> str:
    """The OpenAPI document of a gateway with default settings, as formatted JSON."""
    from gateway.app import create_app
    from gateway.openapi import document_of

    schema = document_of(create_app(Settings()))
    return msgspec.json.format(msgspec.json.encode(schema, order="deterministic")).decode() + "\n"


def _wanted(root: Path) -> Iterator[tuple[Path, str]]:
    yield root / "docs" / OPENAPI_FILE, openapi_document()
    for path in sorted([root / "README.md", *(root / "docs").glob("*.md")]):
        yield path, _filled(path)


def _filled(path: Path) -> str:
    def fill(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in GENERATORS:
            known = ", ".join(sorted(GENERATORS))
            raise ValueError(f"{path}: nobody generates {name!r}; known are {known}")
        return f"{match[1]}\n{GENERATORS[name]().strip()}\n\n{match[3]}"

    return _PART.sub(fill, path.read_text("utf-8"))


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; bars in cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines
    )


@generator("settings")
def _settings() -> str:
    rows = []
    for info in describe_settings():
        default = f"`{info.default}`" if info.default else "none"
        unit = f", {info.unit}" if info.unit else ""
        rows.append([f"`{info.name}`", f"{info.type}{unit}", default, info.help])
    return table(["setting", "type", "default", "meaning"], rows)


@generator("problems")
def _problems() -> str:
    from gateway.errors import PROBLEMS

    return "\n\n".join(
        f"## {kind.slug}\n\n{kind.status}, {kind.title.lower()}. {kind.cure}"
        + (" The same request may be sent again." if kind.is_retryable else "")
        for kind in PROBLEMS.values()
    )


@generator("metrics")
def _metrics() -> str:
    from gateway.metrics import CATALOGUE

    rows = [
        [f"`{info.name}`", info.type, ", ".join(f"`{one}`" for one in info.labels), info.help]
        for info in CATALOGUE
    ]
    return table(["metric", "type", "labels", "meaning"], rows)


@generator("modules")
def _modules() -> str:
    """Every module with the first sentence of its docstring, a table a folder."""
    root = Path(__file__).resolve().parent.parent
    folders = sorted({path.parent for name in PACKAGES for path in (root / name).rglob("*.py")})
    order = {name: place for place, name in enumerate(PACKAGES)}
    parts = []
    for folder in sorted(folders, key=lambda one: order[one.relative_to(root).parts[0]]):
        rows = [
            [f"`{path.name}`", _first_sentence(path)]
            for path in sorted(folder.glob("*.py"))
            if not path.name.startswith("__")
        ]
        title = folder.relative_to(root).as_posix()
        parts.append(f"### `{title}/`\n\n{table(['module', 'is'], rows)}")
    return "\n\n".join(parts)


def _first_sentence(module: Path) -> str:
    text = ast.get_docstring(ast.parse(module.read_text("utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].replace("``", "`").split())


@generator("cli")
def _cli() -> str:
    from gateway.cli import main

    return "\n\n".join(_help_of(main, ["gateway"], None))


def _help_of(
    command: click.Command, path: list[str], parent: click.Context | None
) -> Iterator[str]:
    """The help of a command and of all below it."""
    settings = {**command.context_settings, "terminal_width": 100, "max_content_width": 100}
    context = click.Context(command, info_name=path[-1], parent=parent, **settings)
    yield f"## {' '.join(path)}\n\n```text\n{command.get_help(context).strip()}\n```"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from _help_of(below, [*path, name], context)
