"""Settings: one struct, one name each.

Model: a setting has one name everywhere. In the file it is ``port = 8080``, in the environment
``GATEWAY_PORT=8080``, on the command line ``--port 8080``. Later sources win: defaults, file,
environment, flags. A name that no setting has is an error, never ignored.

Error tree: ``ConfigError`` names every wrong setting, where it was set, why, and the nearest name.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit, urlunsplit

import msgspec
from msgspec import Meta

ENV_PREFIX = "GATEWAY_"
CONFIG_VARIABLE = "GATEWAY_CONFIG"
# Read by the commands that are clients of a gateway; they are no settings of the gateway itself.
CLIENT_VARIABLES = frozenset({"GATEWAY_URL", "GATEWAY_API_KEY"})
DEFAULT_FILE = Path("gateway.toml")
MASK = "********"

Durability = Literal["fsync", "everysec", "replicated"]


def _about(text: str, unit: str = "", *, secret: bool = False, **limits: Any) -> Meta:
    """What a setting means; the one source of help, tables and validation."""
    return Meta(description=text, extra={"unit": unit, "secret": secret}, **limits)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every setting of the gateway, with its default. Limits are checked when it is loaded."""

    # Serving
    host: Annotated[str, _about("Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, _about("Port to listen on.", ge=1, le=65535)] = 8080
    workers: Annotated[
        int, _about("Serving processes; about one a CPU core.", "processes", ge=1, le=256)
    ] = 1
    background: Annotated[
        bool,
        _about(
            "Run timers and dispatch inside `gateway serve`. Turn off where `gateway worker` runs."
        ),
    ] = True
    public_url: Annotated[
        str,
        _about("How clients reach this gateway, without a trailing slash. Empty: host and port."),
    ] = ""
    cors_origins: Annotated[
        tuple[str, ...], _about("Web origins that may call the API from a browser.")
    ] = ()
    console_tiles: Annotated[
        str,
        _about(
            "Map tiles below the console's map, as `https://host/{z}/{x}/{y}.png`. Empty: coast "
            "lines alone, and nothing is loaded from elsewhere."
        ),
    ] = ""
    drain_s: Annotated[
        float,
        _about(
            "After SIGTERM, how long `/readyz` answers 503 before intake stops.", "s", ge=0, le=600
        ),
    ] = 0.0
    stop_timeout_s: Annotated[
        int, _about("How long a process may take to finish its work on stop.", "s", ge=1, le=600)
    ] = 20
    max_body_bytes: Annotated[
        int, _about("Largest request body, before and after decompression.", "bytes", ge=1024)
    ] = 16 * 1024 * 1024
    max_import_bytes: Annotated[
        int, _about("Largest body of an import, which is streamed.", "bytes", ge=1024)
    ] = 4 * 1024**3

    # State
    data_dir: Annotated[
        Path, _about("Where the private Redis, the master key and the metrics files live.")
    ] = Path(".data")
    redis_url: Annotated[
        str,
        _about(
            "Redis or Valkey, 6.2 or newer: `redis://`, `rediss://`, `unix://`, "
            "`redis+sentinel://host,host/name`, `redis+cluster://host`. "
            "Empty: a private server in `data_dir`.",
            secret=True,
        ),
    ] = ""
    redis_maxmemory_bytes: Annotated[
        int, _about("Memory limit of the private Redis; 0 for none.", "bytes", ge=0)
    ] = 0
    redis_timeout_s: Annotated[
        float, _about("Longest wait for one answer of Redis.", "s", gt=0, le=120)
    ] = 10.0
    shards: Annotated[
        int,
        _about("Shards of device state. Fixed at the first start.", "shards", ge=1, le=1024),
    ] = 4
    durability: Annotated[
        Durability,
        _about(
            "What an accepted ping has survived: `fsync` is on disk, `everysec` may lose a "
            "second, `replicated` is also on `replicas` replicas."
        ),
    ] = "fsync"
    replicas: Annotated[
        int, _about("Replicas that must confirm, with `durability = replicated`.", ge=1, le=16)
    ] = 1

    # Intake
    batch_window_ms: Annotated[
        float,
        _about(
            "How long a batch waits for others to join while one is under way; an idle gateway "
            "waits for nobody.",
            "ms",
            ge=0,
            le=1000,
        ),
    ] = 5.0
    batch_max_pings: Annotated[
        int, _about("Most pings in one batch.", "pings", ge=1, le=100_000)
    ] = 4000
    max_pings_per_call: Annotated[
        int, _about("Most pings in one request.", "pings", ge=1, le=100_000)
    ] = 10_000
    max_waiting_pings: Annotated[
        int, _about("Pings that may wait in a process before it answers 503.", "pings", ge=1)
    ] = 200_000

    # Security
    master_key: Annotated[
        tuple[str, ...],
        _about(
            "Keys that seal provider credentials, 32 bytes in base64 each. The first seals, all "
            "open. Empty: read from `master_key_file`.",
            secret=True,
        ),
    ] = ()
    master_key_file: Annotated[
        str,
        _about(
            "File with the master keys, one a line. Empty: `master.key` in `data_dir`, made if "
            "missing."
        ),
    ] = ""
    allowed_private_hosts: Annotated[
        tuple[str, ...],
        _about(
            "Hosts, addresses or networks inside private ranges that webhooks and provider "
            "endpoints may reach."
        ),
    ] = ()
    device_token_ttl_s: Annotated[
        int, _about("Lifetime of a device token that the gateway mints.", "s", ge=60, le=604_800)
    ] = 3600
    device_token_max_ttl_s: Annotated[
        int, _about("Longest lifetime of a device token that is accepted.", "s", ge=60)
    ] = 86_400
    metrics_token: Annotated[
        str, _about("Bearer token that `/metrics` asks for. Empty: open.", secret=True)
    ] = ""
    rate_limit_key_per_s: Annotated[
        float, _about("Cost units an API key may spend; 0 for no limit.", "1/s", ge=0)
    ] = 0.0
    rate_limit_key_burst: Annotated[
        int, _about("Cost units an API key may spend at once.", "units", ge=1)
    ] = 20_000
    rate_limit_device_per_s: Annotated[
        float, _about("Pings a device may send; 0 for no limit.", "1/s", ge=0)
    ] = 0.0
    rate_limit_device_burst: Annotated[
        int, _about("Pings a device may send at once.", "pings", ge=1)
    ] = 1000

    mqtt_url: Annotated[
        str,
        _about(
            "Broker whose messages are taken: `mqtt://user:password@host:port` or `mqtts://`. "
            "Empty: none.",
            secret=True,
        ),
    ] = ""
    mqtt_tenant: Annotated[str, _about("The tenant that the broker's messages belong to.")] = ""
    mqtt_topics: Annotated[
        tuple[str, ...],
        _about(
            "What to subscribe to, as `<topic filter>=<format>`. Empty: the usual topics of "
            "OwnTracks, OpenMQTTGateway, ESPresense and Ruuvi."
        ),
    ] = ()

    # Dispatch
    dispatch_concurrency: Annotated[
        int, _about("Pushes that one process holds at once.", "pushes", ge=4, le=100_000)
    ] = 4096
    dispatch_claim_s: Annotated[
        int,
        _about("After this long a crashed process's pushes are claimed by another.", "s", ge=35),
    ] = 35

    # Retention
    events_retention_s: Annotated[int, _about("How long events are kept.", "s", ge=60)] = (
        30 * 86_400
    )
    decisions_retention_s: Annotated[int, _about("How long decisions are kept.", "s", ge=60)] = (
        30 * 86_400
    )
    device_retention_s: Annotated[
        int, _about("State of a device not heard of for so long is forgotten.", "s", ge=3600)
    ] = 180 * 86_400
    events_max_per_shard: Annotated[
        int, _about("Most events kept for a tenant in a shard.", "events", ge=100)
    ] = 250_000
    dead_letters_max: Annotated[
        int, _about("Most dead letters kept for a tenant in a shard.", "pushes", ge=10)
    ] = 10_000
    audit_retention_s: Annotated[int, _about("How long the audit log is kept.", "s", ge=3600)] = (
        365 * 86_400
    )
    idempotency_retention_s: Annotated[
        int, _about("How long an answer is kept for its `Idempotency-Key`.", "s", ge=60)
    ] = 86_400

    # Logs
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _about("Least level that is written.")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "console", "json"],
        _about("`auto` is `console` on a terminal and `json` elsewhere."),
    ] = "auto"

    @property
    def base_url(self) -> str:
        """How clients reach this gateway, without a trailing slash."""
        if self.public_url:
            return self.public_url.rstrip("/")
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104
        return f"http://{host}:{self.port}"


class SettingInfo(NamedTuple):
    """One setting as people read about it."""

    name: str
    type: str
    default: str
    unit: str
    help: str
    is_secret: bool
    is_list: bool
    is_switch: bool

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return ENV_PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        """Its command-line flag."""
        return "--" + self.name.replace("_", "-")


class ConfigError(ValueError):
    """The configuration is wrong; ``problems`` has one line for each wrong setting."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def describe_settings() -> list[SettingInfo]:
    """Every setting, in the order of the struct."""
    hints = get_type_hints(Settings, include_extras=True)
    return [_describe(field, hints[field.name]) for field in msgspec.structs.fields(Settings)]


def load_settings(
    config_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings in force: defaults, then the file, then the environment, then flags.

    Args:
        config_file: the TOML file; else ``GATEWAY_CONFIG``, else ``gateway.toml`` if it is there.
            An empty ``GATEWAY_CONFIG`` means no file.
        environ: the environment; the process's own by default.
        flags: settings from the command line; ``None`` values are not set.

    Raises:
        ConfigError: an unknown name, a value of the wrong type or out of range, an unreadable file.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    problems: list[str] = []
    path = _file_to_read(config_file, environ)
    sources = [
        (f"{path}", _read_file(path) if path else {}),
        ("environment", _read_environment(environ)),
        ("command line", {name: v for name, v in (flags or {}).items() if v is not None}),
    ]
    known = {info.name: info for info in describe_settings()}
    for origin, source in sources:
        for name, value in source.items():
            if name not in known:
                problems.append(_unknown(origin, name, known))
            else:
                values[name] = _split_list(value) if known[name].is_list else value
                origins[name] = origin
    problems += _invalid_values(values, origins, known)
    if problems:
        raise ConfigError(*problems)
    return _convert(values)


def to_environment(settings: Settings) -> dict[str, str]:
    """The environment from which ``load_settings`` gives these settings again (no file is read)."""
    values = {CONFIG_VARIABLE: ""}
    for info in describe_settings():
        values[info.variable] = _as_text(getattr(settings, info.name))
    return values


def masked(settings: Settings) -> dict[str, Any]:
    """The settings by name for people to see: secrets and passwords are replaced by stars."""
    shown: dict[str, Any] = {}
    for info in describe_settings():
        value = getattr(settings, info.name)
        if info.is_secret and value:
            value = mask_url(value) if "://" in str(value) else MASK
        shown[info.name] = str(value) if isinstance(value, Path) else value
    return shown


def mask_url(url: str) -> str:
    """A URL without its password."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    user = parts.netloc.rpartition("@")[0].partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{user}:{MASK}@{parts.netloc.rpartition('@')[2]}"))


def nearest_name(name: str, names: list[str]) -> str | None:
    """The known name a typing error most likely meant."""
    matches = difflib.get_close_matches(name.lower().replace("-", "_"), names, n=1, cutoff=0.6)
    return matches[0] if matches else None


def _file_to_read(config_file: Path | None, environ: Mapping[str, str]) -> Path | None:
    if config_file is not None:
        return config_file
    named = environ.get(CONFIG_VARIABLE)
    if named is not None:
        return Path(named) if named else None
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Check the path.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not valid TOML: {error}.") from None


def _read_environment(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name.removeprefix(ENV_PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(ENV_PREFIX) and name not in CLIENT_VARIABLES | {CONFIG_VARIABLE}
    }


def _split_list(value: Any) -> Any:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _unknown(origin: str, name: str, known: Mapping[str, SettingInfo]) -> str:
    def spell(setting: str) -> str:
        return ENV_PREFIX + setting.upper() if origin == "environment" else setting

    nearest = nearest_name(name, list(known))
    hint = f"Did you mean {spell(nearest)}?" if nearest else "See docs/configuration.md."
    return f"{origin}: unknown setting {spell(name)}. {hint}"


def _invalid_values(
    values: Mapping[str, Any], origins: Mapping[str, str], known: Mapping[str, SettingInfo]
) -> list[str]:
    """Judge each value alone, so that all wrong ones are named at once."""
    problems = []
    for name, value in values.items():
        try:
            _convert({name: value})
        except msgspec.ValidationError as error:
            reason = str(error).partition(" - at ")[0]
            shown = MASK if known[name].is_secret else repr(value)
            problems.append(f"{origins[name]}: {name} = {shown} is wrong: {reason}.")
    return problems


def _convert(values: Mapping[str, Any]) -> Settings:
    return msgspec.convert(values, Settings, strict=False, dec_hook=lambda _, value: Path(value))


def _as_text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _describe(field: msgspec.structs.FieldInfo, hint: Any) -> SettingInfo:
    inner, meta = get_args(hint)[0], get_args(hint)[1]
    default = field.default
    return SettingInfo(
        name=field.name,
        type=_type_name(inner, meta),
        default=_as_text(default),
        unit=meta.extra["unit"],
        help=meta.description,
        is_secret=meta.extra["secret"],
        is_list=get_origin(inner) is tuple,
        is_switch=inner is bool,
    )


def _type_name(inner: Any, meta: Meta) -> str:
    if get_origin(inner) is Literal:
        return ", ".join(get_args(inner))
    if get_origin(inner) is tuple:
        return "list"
    name = {str: "text", int: "integer", float: "number", bool: "switch", Path: "path"}[inner]
    low, high = meta.ge if meta.ge is not None else meta.gt, meta.le
    if low is None:
        return name
    return f"{name}, {low:g} to {high:g}" if high is not None else f"{name}, from {low:g}"
