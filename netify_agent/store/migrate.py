"""Migrates stores of older netify-agents. Each step is part of the claiming transaction.

Schema 2 added ``protocol-users:<protocol>``. Schema 3 identifies flows by digest and source, and stores a
baseline for each source. The accounting renames the live flows when it restores them, and the first flush
writes the new names.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from netify_agent.accounting.batch import SourceState
from netify_agent.store.layout import Keys
from netify_agent.store.rows import by_name


def users_of_protocols(pipe: Any, keys: Keys) -> dict[str, dict[str, int]]:
    """Return the content of ``protocol-users``: key of a sorted set to its devices and their bytes.

    :param pipe: executes commands at once: WATCH is set, MULTI is not.
    """
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for device in pipe.zrange(keys.devices, 0, -1):
        for protocol, counters in by_name(pipe.hgetall(keys.protocols(device))).items():
            amount = counters.get("bytes_up", 0) + counters.get("bytes_down", 0)
            if amount > 0:
                found[keys.protocol_users(protocol)][device] = amount
    return found


def sources_of(meta: Mapping[str, str]) -> dict[str, SourceState]:
    """Return the state of each source by URL, from the hash ``meta`` of any schema.

    :raises ValueError, TypeError, AttributeError: if ``meta`` is invalid.
    """
    if int(meta.get("schema", 3)) >= 3:
        stored = json.loads(meta.get("sources", "{}"))
        return {source: SourceState(*state) for source, state in stored.items()}
    epoch = int(meta["epoch"]) if "epoch" in meta else None
    evicted = int(meta.get("evicted", 0))
    return {
        source: SourceState(epoch, evicted, int(start), int(uptime))
        for source, (start, uptime) in json.loads(meta.get("instances", "{}")).items()
    }
