"""What tests expect of the daemon's answers."""

from __future__ import annotations

from typing import Any

from support import (
    totals,
)

ALL_WELL = {"netifyd": "ok", "redis": "ok", "flushes": "ok", "sums": "ok"}


def both_directions(network: dict[str, Any]) -> tuple[int, dict[str, int]]:
    """Bytes up and down of the gateway and of each device that has any."""
    counted = totals(network)

    def both(row: dict[str, int]) -> int:
        return row["bytes_up"] + row["bytes_down"]

    return both(counted["gateway"]), {name: both(row) for name, row in counted["devices"].items()}
