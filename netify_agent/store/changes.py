"""A batch summed up: what each hash of the store must grow by. Plain data in, plain data out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from netify_agent.batch import Batch, Row, Rows
from netify_agent.store.layout import GATEWAY

Sums = list[int]  # bytes up, bytes down, packets up, packets down, flows


def _zeros() -> Sums:
    return [0, 0, 0, 0, 0]


def _table() -> defaultdict[str, Sums]:
    return defaultdict(_zeros)


@dataclass
class Change:
    """Growth of one device, or of the gateway.

    ``first_seen`` and ``last_seen`` (application to netifyd's ms) only name rows that grew: what merely
    moved away was not seen.
    """

    total: Sums = field(default_factory=_zeros)
    applications: defaultdict[str, Sums] = field(default_factory=_table)
    protocols: defaultdict[str, Sums] = field(default_factory=_table)
    first_seen: dict[str, int] = field(default_factory=dict)
    last_seen: dict[str, int] = field(default_factory=dict)

    def add(self, application: str, protocol: str, counts: Iterable[int]) -> None:
        """Add five counters to the total, the application's and the protocol's."""
        sums = self.total, self.applications[application], self.protocols[protocol]
        for index, count in enumerate(counts):
            for row in sums:
                row[index] += count

    def saw(self, application: str, row: Row) -> None:
        """Note when ``row`` of the application was seen; netifyd may not have said (0)."""
        if row.first_seen:
            known = self.first_seen.get(application, row.first_seen)
            self.first_seen[application] = min(known, row.first_seen)
        if row.last_seen:
            self.last_seen[application] = max(self.last_seen.get(application, 0), row.last_seen)


Changes = defaultdict[str, Change]
Fresh = defaultdict[str, defaultdict[str, list[int]]]


@dataclass
class Summary:
    """What one batch changes.

    :ivar lasting: growth of the totals by device, the gateway among them.
    :ivar interval: growth of the history: without what was moved after its bucket was closed.
    :ivar fresh: bytes up and down of this interval, by device and application: what rates are made of.
    :ivar unattributed: growth of what belongs to no device.
    :ivar mirrored: growth of what stands at two devices, once.
    """

    lasting: Changes
    interval: Changes
    fresh: Fresh
    unattributed: Sums
    mirrored: Sums


def summarise(batch: Batch) -> Summary:
    """Sum the rows of ``batch`` up to devices and to the gateway."""
    lasting: Changes = defaultdict(Change)
    interval: Changes = defaultdict(Change)
    fresh: Fresh = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    unattributed, mirrored = _zeros(), _zeros()
    for rows, both in ((batch.counted, True), (batch.moved, False)):
        _sum(rows, lasting, interval if both else None, gateway=True, apart=unattributed)
    for rows, both in ((batch.mirrored, True), (batch.moved_mirrored, False)):
        _sum(rows, lasting, interval if both else None, gateway=False, apart=mirrored)
    for rows, names in ((batch.counted, (GATEWAY,)), (batch.mirrored, ())):
        for key, row in rows.items():
            if row.fresh_up or row.fresh_down:
                for name in (*names, key.device) if key.device is not None else names:
                    sums = fresh[name][key.application]
                    sums[0] += row.fresh_up
                    sums[1] += row.fresh_down
    for device, note in batch.devices.items():
        if note.interface is not None or note.hint is not None:
            lasting[device]  # a flow record told of it, even where it changed no counter
    return Summary(lasting, interval, fresh, unattributed, mirrored)


def _sum(rows: Rows, lasting: Changes, interval: Changes | None, *, gateway: bool, apart: Sums) -> None:
    for key, row in rows.items():
        counts = row.counts()
        names = [GATEWAY] if gateway else []
        if key.device is not None:
            names.append(key.device)
        if not gateway or key.device is None:
            for index, count in enumerate(counts):
                apart[index] += count
        for name in names:
            change = lasting[name]
            change.add(key.application, key.protocol, counts)
            if interval is not None:
                interval[name].add(key.application, key.protocol, counts)
            if any(count > 0 for count in counts):
                change.saw(key.application, row)
