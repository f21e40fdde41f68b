"""Fixtures of the tests of names."""

from __future__ import annotations

from pathlib import Path

import pytest
from enrich_network import Network


@pytest.fixture
def network(tmp_path: Path) -> Network:
    return Network(tmp_path)
