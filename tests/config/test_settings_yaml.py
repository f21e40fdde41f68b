"""Broken and hostile YAML gives one clear error; arbitrary text and values never crash."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from config_problems import CONFFILE, known_keys, problem, problems
from hypothesis import given
from hypothesis import strategies as st

from netify_agent.config.settings import (
    ConfigError,
    Settings,
    parse,
)

# Hostile and broken YAML


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("interval: 15\nweb: [", 2),
        ("interval: 15\n\tweb: 1", 2),
        ("a: b: c", 1),
        ("interval: 15\n---\ninterval: 16", 2),
        ("interval: 15\nx: \x07", 2),
        ('\ngateway: "\\UFFFFFFFF"', 2),
        ("%YAML " + "9" * 5000 + ".1\n---\n", 1),
        ("\ud800", 1),
    ],
)
def test_broken_yaml_is_one_problem_with_its_line(text: str, line: int) -> None:
    assert problem(text).startswith(f"f.yaml:{line}: expected valid YAML: ")


def test_anchors_and_aliases_are_refused_before_they_can_multiply() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    found = problems(bomb)
    assert len(found) == 60 + 2 * 59
    assert found[0] == "f.yaml:1: expected plain values, found a YAML anchor or alias (& or *)"


def test_a_structure_that_contains_itself_is_refused() -> None:
    assert "anchor or alias" in problems("&a [*a]")[0]


@pytest.mark.parametrize("text", ["[" * 50_000, "{a: " * 50_000, "- " * 400 + "x"])
def test_deep_nesting_is_refused(text: str) -> None:
    assert problem(text) == "f.yaml:1: expected at most 20 levels, found more"


TEXTS = st.one_of(
    st.text(),
    st.text(alphabet="abw:-#&*!|>%@`'\"{}[],?\n\t \\x0uU<~=.15m\ufeff\x85", max_size=80),
    st.builds(
        lambda at, size, new, text: text[:at] + new + text[at + size :],
        st.integers(0, 4000),
        st.integers(0, 30),
        st.text(max_size=10),
        st.just("".join(f"{line}\n" for line in CONFFILE.read_text().splitlines() if "#" not in line)),
    ),
)


@given(TEXTS)
def test_any_text_gives_settings_or_a_config_error(text: str) -> None:
    try:
        assert isinstance(parse(text, "f.yaml"), Settings)
    except ConfigError as error:
        assert error.problems
        assert all(line.startswith("f.yaml:") and line.isprintable() for line in error.problems)


KEYS = st.sampled_from(sorted({part for key in known_keys(Settings) for part in key.split(".")}))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=5),
    st.dates(),
    st.from_regex(r"(unix|tcp|redis|rediss)://[a-z0-9@:/?=.%\[\]-]{0,20}", fullmatch=True),
    st.from_regex(r"[0-9]{1,20}[smhd]", fullmatch=True),
    st.from_regex(r"[\[\]a-z0-9.:%-]{1,12}:[0-9]{1,6}", fullmatch=True),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS | SCALARS.filter(bool), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=6) | VALUES)
def test_any_value_gives_settings_or_a_config_error(value: Any) -> None:
    try:
        text = yaml.safe_dump(value)
    except TypeError:  # PyYAML sorts keys, and not every two can be compared
        text = yaml.safe_dump(value, sort_keys=False)
    try:
        assert isinstance(parse(text, "f.yaml"), Settings)
    except ConfigError as error:
        assert all(line.startswith("f.yaml:") and line.isprintable() for line in error.problems)
