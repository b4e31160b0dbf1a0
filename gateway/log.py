"""Logs: one line a unit of work, on stderr, for people on a terminal and for machines elsewhere.

Levels: *info* is start, stop and one line a management request; *warning* is a trouble that passes
by itself; *error* is a fault of ours or of the configuration; *debug* is for looking into one case.
There is never a line a ping.

Invariant: keys, tokens and passwords are never written; positions and message text only at debug.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from gateway.config import Settings

HIDDEN = "[hidden]"

_SECRET_NAMES = frozenset(
    {"address", "authorization", "cookie", "key", "master_key", "password", "secret", "token"}
)
_PRIVATE_NAMES = frozenset(
    {
        "accuracy_m", "body", "lat", "latitude", "lon", "longitude", "message", "position",
        "subtitle", "text", "title",
    }
)  # fmt: skip
# API keys, JWTs, tokens in an adapter's path or a query, passwords in URLs.
_SECRET_TEXT = re.compile(
    r"tgw_[A-Za-z0-9]{4,}_?[A-Za-z0-9]*"
    r"|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"
    r"|(?<=/i/)[^/?#\s]+"
    r"|(?<=/actions/)[^/?#\s]+"
    r"|(?<=[?&]key=)[^&#\s]+|(?<=[?&]api_key=)[^&#\s]+|(?<=[?&]token=)[^&#\s]+"
    r"|(?<=://)[^/@\s]+(?=@)"
)


def configure_logging(settings: Settings) -> None:
    """Send every log line of this process, libraries' too, through one renderer."""
    is_console = settings.log_format == "console" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        redact,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), timestamp_key="ts")
        if is_console
        else structlog.processors.JSONRenderer()
    )
    tail = [renderer] if is_console else [structlog.processors.format_exc_info, renderer]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tail],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    for noisy in ("httpx", "httpcore", "asyncio", "_granian"):
        logging.getLogger(noisy).setLevel("WARNING")


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """The logger of a module; events are snake_case words, facts are key-values."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(name)
    return logger


def redact(_logger: Any, level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide what must not be written at this level (structlog processor)."""
    hidden = _SECRET_NAMES if level == "debug" else _SECRET_NAMES | _PRIVATE_NAMES
    return {name: _clean(name, value, hidden) for name, value in event.items()}


def hide_secrets(text: str) -> str:
    """The text without keys, tokens and passwords."""
    return _SECRET_TEXT.sub(HIDDEN, text)


def _clean(name: str, value: Any, hidden: frozenset[str]) -> Any:
    if name in hidden:
        return HIDDEN
    if isinstance(value, str):
        return hide_secrets(value)
    if isinstance(value, Mapping):
        return {key: _clean(str(key), inner, hidden) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean("", inner, hidden) for inner in value]
    return value
