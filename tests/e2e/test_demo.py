"""The demo as people run it: whole processes, and nothing left of them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

GATEWAY = [sys.executable, "-m", "gateway.cli"]
PATIENCE_S = 300


def _environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    return kept | {"PYTHONUNBUFFERED": "1"} | more


@pytest.mark.e2e
@pytest.mark.slow
def test_the_check_finds_every_event_and_push_as_counted() -> None:
    """``gateway demo --check`` exits 0: the gateway and the independent count agree."""
    done = subprocess.run(
        [*GATEWAY, "demo", "--check"],
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "Check passed" in done.stdout


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything(tmp_path: Path, number: signal.Signals) -> None:
    """Without a terminal the demo prints plain lines; a signal leaves no process behind."""
    command = [*GATEWAY, "demo", "--data-dir", str(tmp_path / "demo"), "--phones", "20"]
    demo = subprocess.Popen(
        command, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert demo.stdout is not None
        lines = []
        for line in demo.stdout:
            lines.append(line)
            if "pushes:" in line:
                break
        family = psutil.Process(demo.pid).children(recursive=True)
        demo.send_signal(number)
        rest = demo.stdout.read()
        assert 0 == demo.wait(PATIENCE_S), "".join(lines) + rest
        assert "Everything has stopped" in rest
        gone, alive = psutil.wait_procs(family, timeout=10)
        assert [] == alive
        assert len(gone) >= 4  # the gateway, a serving process, its Redis, the sandbox
    finally:
        demo.kill()
        demo.stdout.close()
        demo.wait()


@pytest.mark.e2e
def test_a_directory_of_somebody_else_is_not_cleared(tmp_path: Path) -> None:
    """``--fresh`` refuses to delete what the demo did not make."""
    (tmp_path / "holiday.jpg").write_text("precious")
    command = [*GATEWAY, "demo", "--fresh", "--data-dir", str(tmp_path)]
    done = subprocess.run(
        command, env=_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert 1 == done.returncode
    assert "remove it yourself" in done.stderr
    assert "precious" == (tmp_path / "holiday.jpg").read_text()
