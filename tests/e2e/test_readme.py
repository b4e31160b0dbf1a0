"""The command lines of the README and the quick start do what the text beside them says."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
QUICK_START = ROOT / "docs/quickstart.md"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here"),
    pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here"),
]


def blocks(text: str) -> list[str]:
    """The shell blocks of a page, in order, without those that build the environment."""
    found = re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for block in found if not block.startswith("make ")]


def section(text: str, heading: str) -> str:
    """What stands under a heading of the second level."""
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


class Shell:
    """One bash that runs blocks in a new directory, with ``.venv/bin/gateway`` and free ports."""

    def __init__(self, folder: Path, ports: dict[str, int]) -> None:
        self._folder = folder
        self._ports = ports
        binary = folder / ".venv/bin/gateway"
        binary.parent.mkdir(parents=True)
        binary.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gateway "$@"\n')
        binary.chmod(0o755)
        clean = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")}
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], cwd=folder,
            env=clean | {"PYTHONPATH": str(ROOT), "no_proxy": "127.0.0.1"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def run(self, block: str) -> str:
        """What a block prints; fails where one of its commands fails."""
        for written, free in self._ports.items():
            block = block.replace(f":{written}", f":{free}").replace(
                f"--port {written}", f"--port {free}"
            )
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{block}\necho; echo end-of-block $?\n")
        stdin.flush()
        lines = []
        for line in stdout:
            if line.startswith("end-of-block "):
                assert line.split()[1] == "0", f"{block}\n{''.join(lines)}"
                return "".join(lines).strip()
            lines.append(line)
        pytest.fail(f"the shell ended in\n{block}\n{''.join(lines)}")

    def close(self) -> None:
        """End the shell and everything that it started."""
        os.killpg(self._process.pid, signal.SIGTERM)
        mine = [p for p in psutil.process_iter(["cwd"]) if self._is_mine(p.info["cwd"])]
        _, alive = psutil.wait_procs(mine, timeout=30)
        for process in alive:
            process.kill()
        self._process.wait(30)
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def _is_mine(self, cwd: str | None) -> bool:
        return cwd is not None and Path(cwd).is_relative_to(self._folder)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, free_ports: list[int]) -> Iterator[Shell]:
    gateway, sandbox = free_ports
    shell = Shell(tmp_path_factory.mktemp("readme"), {"8080": gateway, "9443": sandbox})
    yield shell
    shell.close()


@pytest.fixture(scope="module")
def free_ports() -> list[int]:
    """Two ports that nobody listens on now."""
    import socket

    probes = [socket.socket() for _ in range(2)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@pytest.fixture(scope="module")
def readme(shell: Shell) -> list[tuple[str, str]]:
    """The quick start of the README as it was run: its blocks, and what each printed."""
    return [
        (block, shell.run(block)) for block in blocks(section(README.read_text(), "Quick start"))
    ]


def answer_to(readme: list[tuple[str, str]], part: str) -> Any:
    """The JSON that the last block with this part printed."""
    return json.loads([printed for block, printed in readme if part in block][-1])


def test_the_readme_leads_to_a_push(readme: list[tuple[str, str]]) -> None:
    """Its lines, run one after another as they stand, end with a push that a browser can read."""
    assert answer_to(readme, "/v1/geofences/shop")["id"] == "shop"
    assert answer_to(readme, "/v1/pings") == {
        "accepted": 1, "duplicates": 0, "late": 0, "rejected": []
    }  # fmt: skip
    (message,) = answer_to(readme, "/_sandbox/messages")["items"]
    shown = message["payload"]["notification"]
    assert "Hi Ada" == shown["title"]
    assert "Coffee at The Corner Shop is on us." == shown["body"]
    (why,) = answer_to(readme, "/v1/explain")["items"]
    assert ("welcome", "sent") == (why["trigger_id"], why["result"])


def test_the_first_line_of_the_readme(readme: list[tuple[str, str]], shell: Shell) -> None:
    """The first curl gets the answer that is printed below it."""
    opening = README.read_text().partition("\n## ")[0]
    (curl,) = blocks(opening)
    (promised,) = re.findall(r"^```json\n(.*?)^```$", opening, re.DOTALL | re.MULTILINE)
    assert json.loads(promised) == json.loads(shell.run(curl))


def test_the_quick_start_goes_on(readme: list[tuple[str, str]], shell: Shell) -> None:
    """Each answer that the page shows is the answer that comes, as far as the page shows it."""
    text = QUICK_START.read_text()
    for block, promised in re.findall(
        r"^```sh\n(.*?)^```$(?:\n+^```json\n(.*?)^```$)?", text, re.DOTALL | re.MULTILINE
    ):
        printed = shell.run(block)
        if promised:
            assert_shows(json.loads(promised), json.loads(printed))


def assert_shows(promised: Any, found: Any) -> None:
    """Everything promised is found; what is found may be more."""
    if isinstance(promised, dict):
        for name, value in promised.items():
            assert name in found
            assert_shows(value, found[name])
    elif isinstance(promised, list):
        assert len(promised) == len(found)
        for one, other in zip(promised, found, strict=True):
            assert_shows(one, other)
    else:
        assert promised == found
