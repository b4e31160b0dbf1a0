"""Logs never carry what must not be read by whoever reads logs."""

import json
import logging
from typing import Any

import pytest
import structlog

from gateway.config import Settings
from gateway.keys import new_key_text
from gateway.log import HIDDEN, configure_logging, get_logger, hide_secrets, redact

KEY = new_key_text()
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJkMSJ9.c2lnbmF0dXJl"


@pytest.fixture(autouse=True)
def _restore_logging() -> Any:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        (f"GET /i/{KEY}/owntracks?x=1", KEY),
        ("/i/my-own-token/traccar", "my-own-token"),
        (f"Authorization: Bearer {JWT}", JWT),
        ("https://user:pass@host/path", "user:pass"),
        ("/x?token=abc&y=1", "abc"),
        ("/ingest/traccar?api_key=abc&y=1", "abc"),
        ("/v1/actions/s3cr3t", "s3cr3t"),
        (f"two {KEY} and {JWT}", KEY),
    ],
)
def test_secrets_in_text_are_hidden(text: str, hidden: str) -> None:
    """Keys, tokens and passwords disappear wherever they stand in a line."""
    assert hidden not in hide_secrets(text)
    assert HIDDEN in hide_secrets(text)


@pytest.mark.parametrize("text", ["", "GET /v1/keys", "https://host/path?x=1", "device-1 eyJ"])
def test_other_text_stays(text: str) -> None:
    """Nothing else is lost."""
    assert text == hide_secrets(text)


@pytest.mark.parametrize(
    ("level", "expected"),
    [("info", HIDDEN), ("error", HIDDEN), ("debug", 52.5)],
)
def test_positions_are_for_debug_only(level: str, expected: object) -> None:
    """At info and above nobody can see where a person was."""
    event = redact(None, level, {"event": "x", "lat": 52.5, "inner": {"lat": 52.5}, "n": 3})
    assert (expected, {"lat": expected}, 3) == (event["lat"], event["inner"], event["n"])


@pytest.mark.parametrize("level", ["debug", "info"])
def test_tokens_are_never_written(level: str) -> None:
    """Not even at debug."""
    event = redact(None, level, {"event": "x", "token": "t", "list": [KEY], "authorization": "a"})
    assert HIDDEN == event["token"] == event["authorization"]
    assert [HIDDEN] == event["list"]


def test_lines_are_json_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line on stderr, for our loggers and those of libraries."""
    configure_logging(Settings(log_format="json"))
    get_logger("test").info("something_happened", size_b=3, path=f"/t/{KEY}")
    logging.getLogger("library").warning("watch out: %s", KEY)
    get_logger("test").debug("not_written")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert ["something_happened", f"watch out: {HIDDEN}"] == [line["event"] for line in lines]
    assert ["info", "warning"] == [line["level"] for line in lines]
    assert all(line["ts"].endswith("Z") for line in lines)


def test_a_trace_is_part_of_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A fault is one line with its trace inside."""
    configure_logging(Settings(log_format="json"))
    try:
        _ = 1 / 0
    except ZeroDivisionError as error:
        get_logger("test").error("failed", exc_info=error)
    (line,) = capsys.readouterr().err.splitlines()
    assert "ZeroDivisionError" in json.loads(line)["exception"]
