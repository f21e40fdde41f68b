"""Problems of a configuration, for tests."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from netify_agent.config.settings import (
    ConfigError,
    parse,
)

CONFFILE = Path(__file__).parents[1] / "etc" / "netify-agent.yaml"


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f.yaml")
    return list(caught.value.problems)


def problem(text: str) -> str:
    found = problems(text)
    assert len(found) == 1, found
    return found[0]


def known_keys(cls: type[Any], path: str = "") -> set[str]:
    keys = set()
    for field in dataclasses.fields(cls):
        name = path + (field.metadata["key"] or field.name)
        keys.add(name)
        of = get_type_hints(cls)[field.name]
        if isinstance(of, type) and of.__name__.endswith("Settings"):
            keys |= known_keys(of, f"{name}.")
    return keys
