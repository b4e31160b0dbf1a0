"""The command line: exit codes, streams, messages that help."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.keys import kid_of

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in an empty directory, without any setting of this machine."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str, **environ: str) -> Result:
        return CliRunner(env=environ).invoke(main, list(arguments))

    return invoke


@pytest.mark.parametrize(
    ("arguments", "environ", "words"),
    [
        (["srve"], {}, "Did you mean 'serve'?"),
        (["config", "--prt", "1"], {}, "--port"),
        (["config"], {"GATEWAY_PRT": "1"}, "Did you mean GATEWAY_PORT?"),
        (["config", "--port", "0"], {}, "port"),
        (["config", "--config", "missing.toml"], {}, "missing.toml"),
        (["keys", "create", "--tenant", "acme"], {}, "--scopes"),
        (["keys", "create", "--tenant", "A", "--scopes", "read"], {}, "no name"),
        (["keys", "create", "--tenant", "a", "--scopes", "all"], {}, "unknown"),
        (["keys", "create", "--tenant", "a", "--scopes", "read", "--expires-at", "x"], {}, "RFC"),
        (["replay", "missing.gpx", "--device", "d", "--key", "k"], {}, "missing.gpx"),
        (["sandbox", "--port", "0"], {}, "--port"),
    ],
)
def test_wrong_use_ends_with_2_and_says_what_is_right(
    run: Run, arguments: list[str], environ: dict[str, str], words: str
) -> None:
    """Nothing is started, stdout stays empty, and the message names the cure."""
    result = run(*arguments, **environ)
    assert 2 == result.exit_code
    assert words in result.stderr
    assert "" == result.stdout
    assert "Traceback" not in result.stderr


def test_config_shows_what_is_in_force(run: Run, tmp_path: Path) -> None:
    """As TOML that can be read back, or JSON; secrets hidden."""
    (tmp_path / "gateway.toml").write_text("shards = 8\n", "utf-8")
    result = run("config", "--port", "9000", GATEWAY_REDIS_URL="redis://:pw@h:1/0")
    assert 0 == result.exit_code
    assert "port = 9000\n" in result.stdout
    assert "shards = 8\n" in result.stdout
    assert "pw" not in result.stdout
    shown = json.loads(run("config", "--json").stdout)
    assert (8, 8080) == (shown["shards"], shown["port"])


def test_keys_are_printed_alone(run: Run, redis_url: str) -> None:
    """A script can catch the key from stdout; the list never shows it."""
    made = run("keys", "create", "--tenant", "t1", "--scopes", "read", GATEWAY_REDIS_URL=redis_url)
    key = made.stdout.strip()
    kid = kid_of(key)
    assert kid is not None, made.output
    listed = run("keys", "list", "--tenant", "t1", "--json", GATEWAY_REDIS_URL=redis_url)
    assert [(kid, True)] == [(row["id"], row["active"]) for row in json.loads(listed.stdout)]
    assert key not in listed.output
    assert "t1" in run("tenants", "list", GATEWAY_REDIS_URL=redis_url).stdout.split()
    assert 0 == run("keys", "revoke", kid, "--tenant", "t1", GATEWAY_REDIS_URL=redis_url).exit_code
    assert 1 == run("keys", "revoke", "x", "--tenant", "t1", GATEWAY_REDIS_URL=redis_url).exit_code
    plain = run("keys", "list", "--tenant", "t1", GATEWAY_REDIS_URL=redis_url)
    assert re.search(rf"{kid}\s+ended\s+read", plain.stdout)


def test_keys_work_without_a_running_gateway(run: Run, tmp_path: Path) -> None:
    """A private Redis runs for the moment, and the key is there for the next one."""
    folder = str(tmp_path / "data")
    made = run("keys", "create", "--tenant", "acme", "--scopes", "read", "--data-dir", folder)
    assert kid_of(made.stdout.strip()), made.output
    listed = run("keys", "list", "--tenant", "acme", "--json", "--data-dir", folder)
    assert 1 == len(json.loads(listed.stdout))


def test_doctor_names_a_cure_for_each_trouble(run: Run, redis_url: str, tmp_path: Path) -> None:
    """A Redis that may lose data fails; exit 1; JSON for machines."""
    arguments = ["doctor", "--json", "--data-dir", str(tmp_path / "d")]
    result = run(*arguments, GATEWAY_REDIS_URL=redis_url)
    found = {row["name"]: row for row in json.loads(result.stdout)}
    assert 1 == result.exit_code
    assert "fail" == found["persistence"]["level"]  # this Redis syncs every second only
    assert "appendfsync always" in found["persistence"]["cure"]
    assert all(row["cure"] for row in found.values() if row["level"] != "ok")
    good = run(*arguments, "--durability", "everysec", GATEWAY_REDIS_URL=redis_url)
    assert 0 == good.exit_code, good.output


def test_doctor_without_redis(run: Run, tmp_path: Path) -> None:
    """The first failure is told, and nothing after it is guessed."""
    result = run("doctor", "--data-dir", str(tmp_path), GATEWAY_REDIS_URL="redis://127.0.0.1:1")
    assert 1 == result.exit_code
    assert "Start Redis" in result.stdout


def test_help_names_every_command(run: Run) -> None:
    """Help is complete, and each command's own help works."""
    from gateway.cli import _COMMANDS

    whole = run("--help").stdout
    for name in _COMMANDS:
        assert re.search(rf"^  {name} ", whole, re.MULTILINE)
        assert 0 == run(name, "--help").exit_code


def test_openapi_is_printed(run: Run) -> None:
    """The document goes to stdout, alone."""
    assert json.loads(run("openapi").stdout)["openapi"].startswith("3.1")
