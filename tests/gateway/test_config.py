"""Settings: sources, precedence, errors that name the setting, and the documentation."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gateway.config import (
    MASK,
    ConfigError,
    Settings,
    describe_settings,
    load_settings,
    mask_url,
    masked,
    to_environment,
)


def write(folder: Path, text: str) -> Path:
    path = folder / "gateway.toml"
    path.write_text(text, "utf-8")
    return path


def test_later_sources_win(tmp_path: Path) -> None:
    """Defaults, then the file, then the environment, then flags."""
    path = write(tmp_path, "port = 1000\nworkers = 2\nshards = 8\n")
    environ = {"GATEWAY_PORT": "2000", "GATEWAY_WORKERS": "3"}
    found = load_settings(path, environ, {"port": "3000", "host": None})
    assert Settings(port=3000, workers=3, shards=8) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("prot = 1", ["gateway.toml", "'prot'", "port"], id="unknown-name"),
        pytest.param("port = 0", ["port = 0", ">= 1"], id="too-small"),
        pytest.param("port = 70000", ["port = 70000", "<= 65535"], id="too-large"),
        pytest.param("durability = 'never'", ["durability", "'never'"], id="no-choice"),
        pytest.param("workers = 'x'", ["workers", "'x'", "int"], id="wrong-type"),
        pytest.param("port = ", ["not valid TOML"], id="no-toml"),
        pytest.param("[port]\nx = 1", ["port"], id="table"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, text: str, words: list[str]) -> None:
    """A wrong file is an error that says where, which setting and why."""
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, text), {})
    for word in words:
        assert word.strip("'") in str(caught.value)


def test_every_wrong_setting_is_named_at_once() -> None:
    """One run shows all that must be corrected."""
    environ = {"GATEWAY_PRT": "1", "GATEWAY_SHARDS": "0", "GATEWAY_LOG_LEVEL": "loud"}
    with pytest.raises(ConfigError) as caught:
        load_settings(None, environ)
    assert 3 == len(caught.value.problems)
    assert "Did you mean GATEWAY_PORT?" in caught.value.problems[0]


def test_a_secret_is_not_shown_in_an_error() -> None:
    """Errors go to logs."""
    with pytest.raises(ConfigError) as caught:
        load_settings(None, {"GATEWAY_CONFIG": ""}, {"metrics_token": 5.5, "port": "no"})
    assert "5.5" not in str(caught.value)


@pytest.mark.parametrize(
    "environ",
    [{"GATEWAY_CONFIG": "/nowhere/gateway.toml"}, {"GATEWAY_CONFIG": "."}],
    ids=["missing", "folder"],
)
def test_a_file_that_was_named_must_be_there(environ: dict[str, str]) -> None:
    """A typing error in the path does not silently give defaults."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(None, environ)


def test_client_variables_are_no_settings() -> None:
    """What the client commands read does not disturb the server."""
    environ = {"GATEWAY_URL": "http://x", "GATEWAY_API_KEY": "k", "GATEWAY_CONFIG": ""}
    assert Settings() == load_settings(None, environ)


@given(
    values=st.fixed_dictionaries(
        {},
        optional={
            "port": st.integers(1, 65535),
            "background": st.booleans(),
            "batch_window_ms": st.floats(0, 1000),
            "cors_origins": st.lists(st.sampled_from(["http://a", "http://b"])).map(tuple),
            "log_format": st.sampled_from(["auto", "json"]),
        },
    )
)
@hypothesis_settings(max_examples=50, deadline=None)
def test_the_environment_carries_every_setting(values: dict[str, Any]) -> None:
    """A serving process gets exactly the settings of its parent."""
    found = Settings(**values)
    assert found == load_settings(None, to_environment(found))


def test_secrets_are_masked() -> None:
    """What people print shows no secret, but enough to recognise a URL."""
    shown = masked(
        Settings(redis_url="rediss://me:pass@redis:6379/2", master_key=("a",), metrics_token="t")
    )
    assert f"rediss://me:{MASK}@redis:6379/2" == shown["redis_url"]
    assert MASK == shown["master_key"] == shown["metrics_token"]
    assert "" == masked(Settings())["metrics_token"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://:p@h:1/0", f"redis://:{MASK}@h:1/0"),
        ("redis://u:p@q@h:1", f"redis://u:{MASK}@h:1"),
        ("unix:///tmp/x.sock", "unix:///tmp/x.sock"),
    ],
)
def test_only_the_password_of_a_url_is_hidden(url: str, expected: str) -> None:
    """The host stays readable."""
    assert expected == mask_url(url)


def test_every_setting_says_what_it_is() -> None:
    """Each setting has help, and numbers that are quantities have a unit."""
    described = describe_settings()
    assert [field.name for field in msgspec.structs.fields(Settings)] == [s.name for s in described]
    for info in described:
        assert info.help.endswith("."), info.name
        if info.name.endswith(("_s", "_ms", "_bytes")):
            assert info.unit, info.name


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(), "http://127.0.0.1:8080"),
        (Settings(host="0.0.0.0", port=1), "http://127.0.0.1:1"),
        (Settings(public_url="https://x.example/"), "https://x.example"),
    ],
)
def test_base_url(settings: Settings, expected: str) -> None:
    """Links in answers work for the caller."""
    assert expected == settings.base_url


def test_every_setting_does_something() -> None:
    """A setting that nothing reads would be a promise that nobody keeps."""
    package = Path(__file__).parents[2] / "gateway"
    code = "".join(path.read_text("utf-8") for path in package.rglob("*.py"))
    unread = {one.name for one in describe_settings() if f".{one.name}" not in code}
    assert set() == unread
