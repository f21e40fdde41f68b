"""A row on history: Redis' memory for a year of it, beside what schema 2 took for the same traffic."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from measure import Row, Scale
from real_store import RealStore
from simulated_year import (
    A_YEAR,
    DAY_S,
    ENDS,
    KEEP_S,
    Expiry,
    Network,
    memory,
    schedule,
    write,
    write_schema_2,
)
from support import RedisServer, short_directory

from netify_agent.store.history_steps import HistorySteps

_APPLICATIONS = 10


def rows(scale: Scale) -> Iterator[Row]:
    devices, days = scale.year
    network = Network(devices, _APPLICATIONS, schedule(ENDS[1] - days * DAY_S, ENDS[1], A_YEAR))
    with short_directory() as directory, RedisServer(directory) as server:
        expiry = Expiry(server.url)
        store = RealStore(server.url, "packed", history=HistorySteps(KEEP_S))
        now = deque(write(store, network, expiry), maxlen=1)[0]
        expiry.close()
        write_schema_2(server.url, "hashes", network, now)
        packed, hashes = (memory(server.url, gateway) for gateway in ("packed", "hashes"))
    yield Row(
        f"history: {days} days of {devices} devices x {_APPLICATIONS} applications: "
        "schema 2 / packed, MEMORY USAGE",
        [hashes / packed],
        7.0,
        least=True,
        note=f"{hashes / devices:,.0f} and {packed / devices:,.0f} bytes a device (the gateway included); "
        "docs/store.md has the formula",
    )
