"""Records of simulated networks, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from netify_agent.simulator import Simulation

Record = dict[str, Any]


SCHEMAS = Path(__file__).parents[2] / "shared" / "netifyd-v5"


DESCRIPTIONS = ("flow", "flow_dpi_update", "flow_dpi_complete")


def records_of(simulation: Simulation) -> list[Record]:
    return [json.loads(payload) for _, payload in simulation.records()]
