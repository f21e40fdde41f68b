"""Busy simulated networks."""

from __future__ import annotations

import pytest
from simulated import Record, records_of

from netify_agent.simulator import Simulation


@pytest.fixture(scope="module")
def busy_v4() -> list[Record]:
    return records_of(Simulation(7, 120, 1.0))


@pytest.fixture(scope="module")
def busy_v5() -> list[Record]:
    return records_of(Simulation(7, 120, 1.0, version=5))
