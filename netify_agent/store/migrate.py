"""Migration of stores that an older netify-agent wrote. Each step is part of the claiming transaction.

Schema 2 added ``protocol-users:<protocol>``. Schema 3 names flows by digest and source, and keeps a baseline
of each source. The accounting gives live flows their new names when it takes them back, and the first flush
writes them.
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
    """Key of the sorted set to its devices and their bytes up and down.

    :param pipe: a pipeline that watches, so that its commands are executed at once.
    """
    found: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for device in pipe.zrange(keys.devices, 0, -1):
        for protocol, counters in by_name(pipe.hgetall(keys.protocols(device))).items():
            amount = counters.get("bytes_up", 0) + counters.get("bytes_down", 0)
            if amount > 0:
                found[keys.protocol_users(protocol)][device] = amount
    return found


def sources_of(meta: Mapping[str, str]) -> dict[str, SourceState]:
    """Return the state of each source, by URL, from the hash ``meta`` of any schema.

    :raises ValueError, TypeError, AttributeError: where ``meta`` does not hold what was stored there.
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
