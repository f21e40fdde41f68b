"""Runs tests of the stream with each JSON decoder: the standard library's alone, or a fast one before it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from framings import MakeReader, Read, decoders, read_with

from netify_agent.netifyd.framing import RecordReader
from netify_agent.netifyd.json_line_framing import Loads


@pytest.fixture(
    params=decoders(), ids=lambda loads: getattr(loads, "__module__", None) or "json", scope="module"
)
def loads(request: pytest.FixtureRequest) -> Loads | None:
    decoder: Any = request.param
    return decoder


@pytest.fixture(scope="module")
def read(loads: Loads | None) -> Read:
    return partial(read_with, loads)


@pytest.fixture(scope="module")
def make_reader(loads: Loads | None) -> MakeReader:
    return partial(RecordReader, fast_loads=loads)
