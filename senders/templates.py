"""Liquid, fenced in: no files, no includes, bounded loops, bounded text, values only.

Templates come from tenants and values from anybody, so every way to make a small template large is
bounded: its source, its loops, its variables, its output, and what goes into and comes out of every
filter. Values are plain data; attributes of Python objects cannot be reached.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from babel import Locale, UnknownLocaleError
from liquid import Environment, StrictDefaultUndefined, Undefined
from liquid.exceptions import LiquidError
from liquid.extra import Currency, DateTime, Number
from liquid.template import BoundTemplate

MAX_SOURCE_CHARS = 8_192
MAX_OUTPUT_BYTES = 32_768
MAX_VALUE_CHARS = 4_096  # of any text or list that a filter takes or gives
MAX_LOOPS = 500
MAX_NUMBER = 10**18
CACHED_TEMPLATES = 4_096

_FORBIDDEN_TAGS = ("include", "render", "tablerow", "increment", "decrement", "ifchanged")


# ``{{ user.name }}`` and ``{{ user.name | default: "there" }}``: most of what people write, and ten
# times faster without the general machinery.
_OUTPUT = re.compile(
    r"""(?<!\{)\{\{ *([a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)*) *"""
    r"""(?:\| *default: *('[^'{}\\]*'|"[^"{}\\]*") *)?\}\}"""
)
_PROPERTIES = frozenset({"size", "first", "last"})  # of everything, also of what lacks the name


class _Lookup(NamedTuple):
    path: tuple[str, ...]
    default: str | None  # None: there is none


class TemplateError(ValueError):
    """A template that does not parse, or does not render with these values; the text says why."""


class _Liquid(Environment):
    """The dialect: standard tags and filters, and locale-aware numbers and dates."""

    loop_iteration_limit = MAX_LOOPS
    local_namespace_limit = 65_536
    output_stream_limit = MAX_OUTPUT_BYTES
    block_nesting_limit = 12
    context_depth_limit = 12

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        for name in _FORBIDDEN_TAGS:
            self.tags.pop(name, None)
        for name, make in (("currency", Currency), ("datetime", DateTime), ("number", Number)):
            self.filters[name] = make()
        self.filters = {name: _bounded(name, call) for name, call in self.filters.items()}


def is_template(text: str) -> bool:
    """Whether there is anything to fill in."""
    return "{{" in text or "{%" in text


def check(source: str) -> None:
    """Parse without rendering.

    Raises:
        TemplateError: where and what the syntax error is.
    """
    if not is_template(source):
        return
    template = _compile(source, strict=False, escape=False)
    for name, spans in template.analyze().filters.items():
        if name not in template.env.filters:
            raise TemplateError(f"line {spans[0].line_col(source)[0]}: unknown filter {name!r}")


def fill(
    source: str, values: Mapping[str, Any], *, strict: bool = False, escape: bool = False
) -> str:
    """The text with ``values`` filled in.

    Args:
        source: Liquid template.
        values: plain data.
        strict: a missing variable is an error (unless ``default`` follows), not empty.
        escape: values are HTML-escaped.

    Raises:
        TemplateError: syntax, a missing variable, or a bound that was reached.
    """
    if "{{" not in source and "{%" not in source:
        return source
    if not escape and (plain := _plain(source)) is not None:
        text = _fill_plain(plain, values, strict=strict)
        if text is not None:
            return text
    template = _compile(source, strict=strict, escape=escape)
    try:
        return str(template.render(values))
    except LiquidError as error:
        raise TemplateError(_told(error)) from None
    except TemplateError:
        raise
    except (ArithmeticError, TypeError, ValueError, LookupError, RecursionError) as error:
        raise TemplateError(f"cannot be filled in: {error}") from None


@lru_cache(maxsize=512)
def known_locale(locale: str) -> str:
    """The locale as numbers and dates are formatted in it; ``en_US`` for unknown ones."""
    try:
        return str(Locale.parse(locale.replace("-", "_")))
    except (UnknownLocaleError, ValueError):
        return "en_US"


@lru_cache(maxsize=CACHED_TEMPLATES)
def _compile(source: str, *, strict: bool, escape: bool) -> BoundTemplate:
    if len(source) > MAX_SOURCE_CHARS:
        raise TemplateError(f"longer than {MAX_SOURCE_CHARS} characters")
    try:
        return _environment(strict=strict, escape=escape).from_string(source)
    except LiquidError as error:
        raise TemplateError(_told(error)) from None
    except RecursionError:
        raise TemplateError("nested too deeply") from None


@lru_cache(maxsize=CACHED_TEMPLATES)
def _plain(source: str) -> tuple[str | _Lookup, ...] | None:
    """Words and look-ups of a template that has nothing else; None for all others."""
    parts = _OUTPUT.split(source)
    if len(parts) == 1 or any("{{" in words or "{%" in words for words in parts[::3]):
        return None
    found: list[str | _Lookup] = [parts[0]]
    for path, default, words in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        found.append(_Lookup(tuple(path.split(".")), default[1:-1] if default else None))
        found.append(words)
    return tuple(found)


def _fill_plain(
    parts: tuple[str | _Lookup, ...], values: Mapping[str, Any], *, strict: bool
) -> str | None:
    """The text, if every look-up ends at a text, a whole number or nothing; None: ask Liquid."""
    filled = []
    for part in parts:
        word = part if isinstance(part, str) else _look_up(part, values, strict=strict)
        if word is None:
            return None
        filled.append(word)
    text = "".join(filled)
    return text if len(text) * 4 <= MAX_OUTPUT_BYTES else None


def _look_up(wanted: _Lookup, values: Mapping[str, Any], *, strict: bool) -> str | None:
    path, default = wanted
    value: Any = values
    for name in path:
        if type(value) is not dict:
            return None
        if name not in value:
            is_nothing = value is not values and not _PROPERTIES.intersection(path)
            return (default if default is not None or strict else "") if is_nothing else None
        value = value[name]
    if type(value) is int:
        # A filter refuses huge numbers, so that one is left to Liquid, which says so.
        return str(value) if default is None or abs(value) <= MAX_NUMBER else None
    if value is None or value == "":
        return default or ""
    return value if type(value) is str else None


@lru_cache(maxsize=4)
def _environment(*, strict: bool, escape: bool) -> Environment:
    return _Liquid(undefined=StrictDefaultUndefined if strict else Undefined, autoescape=escape)


def _told(error: LiquidError) -> str:
    where = error.context()
    text = str(error.message or type(error).__name__).partition("\n")[0]
    return f"line {where[0]}, column {where[1] + 1}: {text}" if where else text


def _bounded(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, refusing values that are too large on the way in and on the way out."""

    def bounded(*values: Any, **options: Any) -> Any:
        for value in values:
            _check_size(name, value)
        result = call(*values, **options)
        _check_size(name, result)
        return result

    for flag in ("with_context", "with_environment"):
        if getattr(call, flag, False):
            setattr(bounded, flag, True)
    return bounded


def _check_size(name: str, value: Any) -> None:
    kind = type(value)  # isinstance would ask a strict undefined value, which refuses to answer
    if issubclass(kind, Undefined):
        return
    if kind is int and abs(value) > MAX_NUMBER:
        raise TemplateError(f"{name}: a number beyond {MAX_NUMBER:g}")
    if hasattr(kind, "__len__") and len(value) > MAX_VALUE_CHARS:
        raise TemplateError(f"{name}: a value longer than {MAX_VALUE_CHARS}")
