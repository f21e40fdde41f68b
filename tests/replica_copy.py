"""What of a gateway's store a collector has too."""

from __future__ import annotations

import json
from typing import Any

from netify_agent.store.layout import Keys, prefix

KEYS = Keys("gw1")
#: What is not copied: single flows, plans, what only the writer of a store needs, and the collector's own.
OWN = (
    *(
        KEYS.meta,
        KEYS.copy,
        KEYS.copy_settings,
        KEYS.copy_items,
        KEYS.counters,
        KEYS.left_out,
        KEYS.forget,
        KEYS.unmigrated,
    ),
    *(KEYS.alert_state, KEYS.alert_outbox, KEYS.plans),
    *("netify:{gw1}:flows", "netify:{gw1}:index:", "netify:{gw1}:history:due:"),
    "netify-collector:",  # the collector's own, of all gateways
)


def copied(found: dict[str, Any]) -> dict[str, Any]:
    """The copied keys of a store, with rates in any order."""
    kept = {
        key: value
        for key, value in found.items()
        if key.startswith(prefix("gw1")) and (not key.startswith(OWN) or key == KEYS.devices)
    }
    rates = {device: json.loads(text) for device, text in kept.get(KEYS.rates, {}).items()}
    return {**kept, KEYS.rates: rates}
