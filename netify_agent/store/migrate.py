"""What older schemas lack, made of what they have. Each step is part of the transaction that claims a store.

Schema 2 added ``protocol-users:<protocol>``.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

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
