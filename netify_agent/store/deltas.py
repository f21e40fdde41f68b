"""Sums a batch up: what each hash of the store must grow by. Plain data in, plain data out.

The sums are made for one device at a time. All at once they would need much memory in a large network, and
freeing it would stop all threads.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from operator import add

from netify_agent.accounting.batch import Batch, Row, Rows
from netify_agent.netifyd.flow_record import Key
from netify_agent.store.layout import GATEWAY

#: Bytes up, bytes down, packets up, packets down, flows, and the bytes up and down that were local: those of
#: flows between two devices. They are part of the first two.
Sums = list[int]
Counts = tuple[int, int, int, int, int, int, int]  # the same
Fresh = dict[str, list[int]]  # bytes up and down by application


def _zeros() -> Sums:
    return [0, 0, 0, 0, 0, 0, 0]


class Tally:
    """Growth of several rows: in total, by application and by protocol."""

    __slots__ = ("applications", "protocols", "total")

    def __init__(self) -> None:
        self.total = _zeros()
        self.applications: dict[str, Sums] = {}
        self.protocols: dict[str, Sums] = {}

    def add(self, key: Key, counts: Counts) -> None:
        """Add counters to the total, to the application and to the protocol."""
        self.total = _sum(self.total, counts)
        _add(self.applications, key.application, counts)
        _add(self.protocols, key.protocol, counts)

    def merge(self, other: Tally) -> None:
        """Add another growth."""
        self.total = _sum(self.total, other.total)
        for application, sums in other.applications.items():
            _add(self.applications, application, sums)
        for protocol, sums in other.protocols.items():
            _add(self.protocols, protocol, sums)


class Change:
    """Growth of one device, or of the gateway.

    ``first_seen`` and ``last_seen`` map applications to netifyd's clock in ms. They name only rows that grew:
    bytes that moved away say nothing about when an application was seen.

    :ivar name: the device, or :data:`~netify_agent.store.layout.GATEWAY`.
    :ivar lasting: growth of the totals.
    :ivar interval: growth of the history: without bytes that moved after their bucket was closed.
    :ivar fresh: bytes that passed in this interval, for the rates.
    :ivar interfaces: ``interval`` of the gateway by the capturing interface, "" if it is unknown; they add up
        to it. Empty for a device.
    """

    __slots__ = ("first_seen", "fresh", "interfaces", "interval", "last_seen", "lasting", "name")

    def __init__(self, name: str, moved: bool) -> None:
        """``moved``: some of the rows are no part of the interval."""
        self.name = name
        self.lasting = Tally()
        self.interval = Tally() if moved else self.lasting
        self.fresh: Fresh = {}
        self.interfaces: dict[str, Sums] = {}
        self.first_seen: dict[str, int] = {}
        self.last_seen: dict[str, int] = {}

    def add(self, key: Key, row: Row, counts: Counts, moved: bool) -> None:
        """Add a row; ``counts`` are its counters."""
        self.lasting.add(key, counts)
        if self.interval is not self.lasting and not moved:
            self.interval.add(key, counts)
        application = key.application
        up, down = row.passed()
        if not moved and (up or down):
            self._add_fresh(application, up, down)
        if max(counts) > 0:
            self._see(application, row.first_seen, row.last_seen)

    def merge(self, other: Change) -> None:
        """Add the growth of a device to that of the gateway."""
        self.lasting.merge(other.lasting)
        if self.interval is not self.lasting:
            self.interval.merge(other.interval)
        for application, (up, down) in other.fresh.items():
            self._add_fresh(application, up, down)
        for application, seen in other.last_seen.items():
            self._see(application, 0, seen)
        for application, seen in other.first_seen.items():
            self._see(application, seen, 0)

    def _add_fresh(self, application: str, up: int, down: int) -> None:
        sums = self.fresh.get(application)
        if sums is None:
            self.fresh[application] = [up, down]
        else:
            sums[0] += up
            sums[1] += down

    def _see(self, application: str, first: int, last: int) -> None:
        """Note when an application was seen; 0: unknown."""
        if first and first < self.first_seen.get(application, first + 1):
            self.first_seen[application] = first
        if last > self.last_seen.get(application, 0):
            self.last_seen[application] = last


class Summary:
    """What one batch changes.

    :ivar devices: the devices in it.
    :ivar unattributed: growth of what belongs to no device; complete once :meth:`changes` was read.
    :ivar mirrored: growth of what is counted at two devices; complete once :meth:`changes` was read.
    :ivar unattributed_interval, mirrored_interval: the same two for history, as ``Change.interval``.
    :ivar left_out: growth of what was captured at interfaces that do not count.
    """

    def __init__(self, batch: Batch) -> None:
        """``batch`` must not change any more."""
        self.unattributed, self.mirrored, self.left_out = _zeros(), _zeros(), _zeros()
        self.unattributed_interval, self.mirrored_interval = _zeros(), _zeros()
        for row in batch.left_out.values():
            self.left_out = _sum(self.left_out, (*row.counts(), 0, 0))  # none is known as local
        self._moved = bool(batch.moved)
        self._parts = (
            _Part(batch.counted, gateway=True, moved=False),
            _Part(batch.moved, gateway=True, moved=True),
            _Part(batch.mirrored, gateway=False, moved=False),
            _Part(batch.moved_mirrored, gateway=False, moved=True),
        )
        self.devices: set[str] = {
            # A flow record named it, even if it changed no counter.
            name
            for name, note in batch.devices.items()
            if note.interface is not None or note.hint is not None
        }
        for part in self._parts:
            self.devices.update(name for name in part.keys if name is not None)

    def changes(self) -> Iterator[Change]:
        """Yield every device, then the gateway. Call it once."""
        gateway = Change(GATEWAY, self._moved)
        for part, key, row in self._rows(None):
            counts = _counts(key, row)
            if part.gateway:
                gateway.add(key, row, counts, part.moved)
                _add_interface(gateway, part, key, counts)
                self.unattributed = _sum(self.unattributed, counts)
                if not part.moved:
                    self.unattributed_interval = _sum(self.unattributed_interval, counts)
            else:
                self._add_mirrored(part, counts)
        for device in self.devices:
            change = Change(device, any(part.moved and device in part.keys for part in self._parts))
            for part, key, row in self._rows(device, gateway=True):
                counts = _counts(key, row)
                change.add(key, row, counts, part.moved)
                _add_interface(gateway, part, key, counts)
            gateway.merge(change)
            for part, key, row in self._rows(device, gateway=False):
                counts = _counts(key, row)
                change.add(key, row, counts, part.moved)
                self._add_mirrored(part, counts)
            yield change
        if gateway.lasting.applications:
            yield gateway

    def _rows(self, device: str | None, gateway: bool | None = None) -> Iterator[tuple[_Part, Key, Row]]:
        """The rows of a device; ``gateway``: only those that change the gateway too, or only the others."""
        for part in self._parts:
            if gateway is None or part.gateway == gateway:
                for key in part.keys.get(device, ()):
                    yield part, key, part.rows[key]

    def _add_mirrored(self, part: _Part, counts: Counts) -> None:
        self.mirrored = _sum(self.mirrored, counts)
        if not part.moved:
            self.mirrored_interval = _sum(self.mirrored_interval, counts)


class _Part:
    """One of the four kinds of rows in a batch, by device."""

    def __init__(self, rows: Rows, *, gateway: bool, moved: bool) -> None:
        """``gateway``: they change the gateway too. ``moved``: they do not change the history."""
        self.rows, self.gateway, self.moved = rows, gateway, moved
        self.keys: defaultdict[str | None, list[Key]] = defaultdict(list)
        for key in rows:
            self.keys[key.device].append(key)


def _counts(key: Key, row: Row) -> Counts:
    if key.local:
        return *row.counts(), row.bytes_up, row.bytes_down
    return *row.counts(), 0, 0


def _sum(sums: Sums, counts: Iterable[int]) -> Sums:
    return [*map(add, sums, counts)]


def _add(rows: dict[str, Sums], name: str, counts: Iterable[int]) -> None:
    """Add counters to those of a row."""
    sums = rows.get(name)
    rows[name] = list(counts) if sums is None else _sum(sums, counts)


def _add_interface(gateway: Change, part: _Part, key: Key, counts: Counts) -> None:
    if not part.moved:
        _add(gateway.interfaces, key.interface or "", counts)
