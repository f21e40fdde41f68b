"""Row on the agent at rest: connected, nothing to account, nobody asks."""

from __future__ import annotations

import time
from collections.abc import Iterator

from measure import Row, Scale
from stand import stand


def rows(scale: Scale) -> Iterator[Row]:
    shares = []
    stretch = scale.interval * 6
    with stand(20, 5, 100) as running:
        running.sender.ask(do="describe")
        running.sender.ask(do="report")
        time.sleep(stretch / 2)
        for _ in range(max(scale.rounds // 2, 1)):
            before, started = running.cpu_seconds(), time.monotonic()
            running.sender.ask(do="status")
            time.sleep(stretch)
            shares.append((running.cpu_seconds() - before) / (time.monotonic() - started) * 100)
    yield Row(
        "at rest: CPU of the agent, connected to a silent netifyd",
        shares,
        0.3,
        unit="%",
        note=f"of one core, over {stretch:.0f} s each",
    )
