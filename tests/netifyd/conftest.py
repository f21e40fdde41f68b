"""Runs tests of the stream with each JSON decoder: the standard library's alone, or a fast one before it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from framings import MakeReader, Read, decoders, read_with

from netify_agent.netifyd.framing import RecordReader
from netify_agent.netifyd.json_line_framing import Decode


@pytest.fixture(
    params=decoders(), ids=lambda fast: getattr(fast, "__module__", None) or "json", scope="module"
)
def fast(request: pytest.FixtureRequest) -> Decode | None:
    decoder: Any = request.param
    return decoder


@pytest.fixture(scope="module")
def read(fast: Decode | None) -> Read:
    return partial(read_with, fast)


@pytest.fixture(scope="module")
def make_reader(fast: Decode | None) -> MakeReader:
    return partial(RecordReader, fast=fast)
