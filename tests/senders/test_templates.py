"""Liquid is what people know, and cannot be used to take the gateway down or to look inside."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from senders.templates import (
    MAX_SOURCE_CHARS,
    TemplateError,
    check,
    fill,
    is_template,
    known_locale,
)

VALUES: dict[str, Any] = {
    "user": {"first_name": "Ann", "visits": 3, "tags": ["gold", "vip"], "motto": "", "none": None},
    "zone": {"name": "Tom & Jerry's", "price": 12.5},
    "locale": "de_DE",
    "currency_code": "EUR",
}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("plain { text }", "plain { text }"),
        ("Hi {{ user.first_name }}", "Hi Ann"),
        ("{{user.first_name}}{{ user.visits }}", "Ann3"),
        ("Hi {{ user.last_name | default: 'there' }}!", "Hi there!"),
        ("Hi {{ user.motto | default: 'there' }}!", "Hi there!"),
        ('Hi {{ user.none | default: "there" }}!', "Hi there!"),
        ("[{{ user.last_name }}]", "[]"),
        ("{% if user.visits > 2 %}again{% else %}new{% endif %}", "again"),
        ("{{ user.tags | join: ', ' }}", "gold, vip"),
        ("{% for tag in user.tags %}<{{ tag }}>{% endfor %}", "<gold><vip>"),
        ("{{ zone.name }}", "Tom & Jerry's"),
        ("{{ 1234.5 | number }}", "1.234,5"),
        ("{{ zone.price | currency }}", "12,50\xa0€"),
        ("{{ user.first_name.size }}", "3"),
        ("{{ user.__class__ }}{{ user.first_name.__len__ }}", ""),
    ],
)
def test_templates_people_write(source: str, expected: str) -> None:
    """Look-ups, defaults, conditions, loops, filters, and formats of the recipient's language."""
    assert expected == fill(source, VALUES)


def test_values_are_escaped_where_html_is_made() -> None:
    """With ``escape``, values cannot bring markup along; the template's own markup stays."""
    values = {"name": "<script>"}
    assert "<b>&lt;script&gt;</b>" == fill("<b>{{ name }}</b>", values, escape=True)
    assert "<b><script></b>" == fill("<b>{{ name }}</b>", values)


def test_a_value_is_never_a_template() -> None:
    """Liquid inside a user's name is text."""
    assert "{{ secret }}" == fill("{{ name }}", {"name": "{{ secret }}", "secret": "x"})


@pytest.mark.parametrize("source", ["{{ user.last }}", "Hi {{ user.a.b }}", "{{ x | upcase }}"])
def test_strict_refuses_missing_variables(source: str) -> None:
    """The variable is named; a default still helps."""
    with pytest.raises(TemplateError, match="is undefined"):
        fill(source, VALUES, strict=True)
    assert "there" == fill("{{ user.last | default: 'there' }}", VALUES, strict=True)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("Hi {{ user", "line 1"),
        ("a\nb {% if x %}", "expected tag endif"),
        ("a\nb {% nope %}", "line 2"),
        ("{{ 'a' | shout }}", "unknown filter 'shout'"),
        ("{% include 'secrets' %}", "unexpected tag 'include'"),
        ("{% render 'secrets' %}", "unexpected tag 'render'"),
        ("{{ a }}" + "x" * MAX_SOURCE_CHARS, "longer than"),
        ("{% if a %}" * 20 + "{% endif %}" * 20, "nest"),
    ],
)
def test_wrong_templates_are_told_when_written(source: str, problem: str) -> None:
    """Where and what, before anything is sent."""
    with pytest.raises(TemplateError) as caught:
        check(source)
    assert problem in str(caught.value)


BOMBS = [
    "{% for i in (1..1000000000) %}x{% endfor %}",
    "{% for i in (1..400) %}{% for j in (1..400) %}x{% endfor %}{% endfor %}",
    "{{ (1..1000000000) | join: ',' }}",
    "{{ (1..1000000000) | reverse }}",
    "{% assign x = 'ab' %}{% for i in (1..400) %}{% assign x = x | append: x %}{% endfor %}",
    "{{ 'aaaaaaaa'" + " | replace: 'a', 'aaaaaaaaaaaaaaaa'" * 12 + " }}",
    "{{ 9" + " | times: 999999999" * 9 + " }}",
    "{% assign x = 'a,a,a,a' | split: ',' %}"
    + "{% assign x = x | concat: x %}" * 30
    + "{{ x | join: 'aaaaaaaaaaaaaaaaaaaa' }}",
    "{% capture x %}{% for i in (1..500) %}" + "y" * 4000 + "{% endfor %}{% endcapture %}{{ x }}",
]


@pytest.mark.parametrize("source", BOMBS)
def test_small_templates_cannot_become_large(source: str) -> None:
    """Each is stopped within a fraction of a second."""
    started_s = time.process_time()
    with pytest.raises(TemplateError):
        fill(source, VALUES)
    assert time.process_time() - started_s < 2


@settings(max_examples=150, deadline=None)
@given(
    st.text("{}%| abxu.:'1(<", max_size=40),
    st.sampled_from(["{{ user.first_name }}", "{% if a %}", "{{ 'x' | size }}", ""]),
)
def test_any_text_fills_or_is_refused(noise: str, piece: str) -> None:
    """No text makes anything but a text or a ``TemplateError``."""
    for source in (noise + piece, piece + noise):
        assert isinstance(_outcome(source, VALUES), str | None)


_NAMES = st.sampled_from(["a", "b", "c", "d.a", "d.b", "d.x.y", "d.size", "d.a.last"])
_PIECES = st.one_of(
    st.text("xy {}'|", max_size=5),
    _NAMES.map(lambda name: "{{ " + name + " }}"),
    _NAMES.map(lambda name: "{{" + name + " | default: 'z' }}"),
    _NAMES.map(lambda name: "{{ " + name + r" | default: 'y\n' }}"),
)
_VALUES = st.one_of(
    st.text(max_size=3), st.integers(), st.none(), st.booleans(), st.floats(-9, 9), st.just([1])
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(_PIECES, max_size=5).map("".join),
    st.fixed_dictionaries(
        {},
        optional={"a": _VALUES, "b": _VALUES, "d": st.dictionaries(st.sampled_from("ab"), _VALUES)},
    ),
    st.booleans(),
)
def test_plain_look_ups_are_liquid(source: str, values: dict[str, Any], strict: bool) -> None:
    """The short way for plain look-ups gives what Liquid gives."""
    long_way = source + " {% if false %}{% endif %}"  # more than look-ups: goes through Liquid
    assert _outcome(long_way, values, strict) == _outcome(source + " ", values, strict)


def _outcome(source: str, values: dict[str, Any], strict: bool = False) -> str | None:
    try:
        # Liquid's output buffer turns carriage returns into line feeds
        return fill(source, values, strict=strict).replace("\r\n", "\n").replace("\r", "\n")
    except TemplateError:
        return None


def test_locales() -> None:
    """Unknown languages are formatted as American English instead of failing."""
    assert ["de_DE", "pt_BR", "en_US", "en_US"] == [
        known_locale(tag) for tag in ("de-DE", "pt_BR", "xx-YY", "not a locale")
    ]
    assert is_template("{{ a }}")
    assert not is_template("{ a }")
