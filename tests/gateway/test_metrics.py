"""Metrics: names, labels, and the numbers of several processes together."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import metrics

CODE = """
from gateway import metrics
metrics.mark_started()
metrics.count(metrics.PINGS, {"accepted": 100, "late": 3, "duplicate": 0})
metrics.WAITING_PINGS.set(7)
metrics.BATCH_DURATION.labels("commit").observe(0.002)
"""


def run(code: str, folder: Path) -> str:
    environ = {**os.environ, metrics.FILES_VARIABLE: str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_names_follow_the_rules() -> None:
    """One prefix, base units, `_total` on counters and on nothing else, help as a sentence."""
    names = [info.name for info in metrics.CATALOGUE]
    assert len(names) == len(set(names))
    for info in metrics.CATALOGUE:
        assert re.fullmatch(r"gateway_[a-z0-9_]+", info.name)
        assert (info.type == "counter") == info.name.endswith("_total")
        assert not info.name.endswith(("_ms", "_milliseconds"))
        assert info.help.endswith("."), info.name


@pytest.mark.parametrize("label", ["tenant", "device", "device_id", "zone", "trigger", "user"])
def test_no_label_grows_with_customers(label: str) -> None:
    """Numbers of one tenant or device come from the API."""
    assert label not in {name for info in metrics.CATALOGUE for name in info.labels}


def test_all_processes_are_shown(tmp_path: Path) -> None:
    """Counters of all, dead ones too; live gauges of those that live."""
    folder = tmp_path / "metrics"
    metrics.prepare_files(folder)
    run(CODE, folder)
    text = run(CODE + "print(metrics.exposition()[0].decode())", folder)
    assert 'gateway_pings_total{result="accepted"} 200.0' in text
    assert 'gateway_pings_total{result="late"} 6.0' in text
    assert 'gateway_decisions_total{result="cooldown"} 0.0' in text  # there before its first
    assert "gateway_waiting_pings 7.0" in text
    assert 'gateway_batch_duration_seconds_count{stage="commit"} 2.0' in text
    metrics.prepare_files(folder)
    assert [] == list(folder.glob("*.db"))


def test_one_process_needs_no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that embeds the gateway sees its own numbers."""
    monkeypatch.delenv(metrics.FILES_VARIABLE, raising=False)
    metrics.count(metrics.RECEIPTS, {"opened": 2})
    body, media_type = metrics.exposition()
    assert b'gateway_receipts_total{kind="opened"}' in body
    assert media_type.startswith("text/plain")


def test_every_metric_is_fed() -> None:
    """A metric that nothing sets would be a promise that nobody keeps."""
    from prometheus_client.metrics import MetricWrapperBase

    package = Path(metrics.__file__).parent
    code = "".join(
        path.read_text("utf-8") for path in package.rglob("*.py") if path.name != "metrics.py"
    )
    own = ("BUILD_INFO", "STARTED_AT")  # set by mark_started
    unfed = {
        name
        for name, value in vars(metrics).items()
        if isinstance(value, MetricWrapperBase) and f"metrics.{name}" not in code
    }
    assert set(own) == unfed
