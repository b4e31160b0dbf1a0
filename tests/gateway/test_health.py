"""Readiness: every check counts, none can hang or break the probe."""

import asyncio
from pathlib import Path

import pytest

from gateway import health
from gateway.health import DRAIN_FILE, Finding, Health


async def fine() -> str:
    return "fine"


async def broken() -> str:
    raise ConnectionError("gone")


async def hanging() -> str:
    await asyncio.sleep(3600)
    return "never"


def names(found: list[Finding]) -> dict[str, bool]:
    return {finding.name: finding.is_ok for finding in found}


def test_a_check_counts_once_it_has_passed(tmp_path: Path) -> None:
    """Before its first run a process is not ready."""

    async def work() -> None:
        checks = Health(tmp_path)
        checks.add("a", fine)
        assert {"serving": True, "a": False} == names(checks.findings())
        await checks.check_all()
        assert {"serving": True, "a": True} == names(checks.findings())
        checks.stop()
        assert {"serving": False, "a": True} == names(checks.findings())

    asyncio.run(work())


def test_trouble_is_told_and_does_not_spread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that raises or hangs is a finding; the others are not held up."""
    monkeypatch.setattr(health, "CHECK_TIMEOUT_S", 0.05)

    async def work() -> None:
        checks = Health(tmp_path)
        for name, check in {"fine": fine, "broken": broken, "hanging": hanging}.items():
            checks.add(name, check)
        await checks.check_all()
        found = {finding.name: finding for finding in checks.findings()}
        assert (True, False, False) == tuple(
            found[name].is_ok for name in ("fine", "broken", "hanging")
        )
        assert "ConnectionError: gone" == found["broken"].detail

    asyncio.run(work())


def test_the_parent_can_drain_all_processes(tmp_path: Path) -> None:
    """A file in the data directory is seen by each of them."""
    checks = Health(tmp_path)
    (tmp_path / DRAIN_FILE).touch()
    assert {"serving": False} == names(checks.findings())
