"""The book that accounting writes in: rows of the batch that is being gathered.

Knows how a flow's bytes become changes of rows, and how they move from one row to another; not why.
"""

from __future__ import annotations

from collections.abc import Collection

from netify_agent.accounting.batch import MAX_ENDED, Batch, DeviceNote, Row, Rows
from netify_agent.accounting.flow import Counts, Flow, split
from netify_agent.netifyd.flow_record import Description, Key


class BatchBuilder:
    """Changes since the last :meth:`take`.

    :ivar batch: the changes so far, but for the states of flows.
    :ivar changed: live flows whose state goes into that batch; None for one that is no longer live.
    :ivar generation: number of batches taken.
    """

    def __init__(self, bucket: int) -> None:
        """Begin in the history bucket that starts at ``bucket``, seconds since the epoch."""
        self.batch = Batch(bucket)
        self.changed: dict[str, Flow | None] = {}
        self.generation = 0
        self._taken = self.batch
        self._liquid: dict[str, Flow | None] = {}  # of the batch that was taken: states still to be written

    def take(self, bucket: int) -> Batch:
        """Return the batch and begin another in ``bucket`` (start, seconds since the epoch).

        The states of its flows come with :meth:`freeze`: all at once, they would take the listener too long.
        """
        self.freeze()
        self._taken, self.batch = self.batch, Batch(bucket)
        self._liquid, self.changed = self.changed, {}
        self.generation += 1
        return self._taken

    def freeze(self, most: int | None = None) -> bool:
        """Write states of up to ``most`` flows (None: of all) into the batch that was taken last.

        :returns: whether any are left.
        """
        liquid, flows = self._liquid, self._taken.flows
        for _ in range(len(liquid) if most is None else min(most, len(liquid))):
            digest, flow = liquid.popitem()
            flows[digest] = flow.state() if flow is not None else None
        return bool(liquid)

    def touch(self, flow: Flow) -> None:
        """``flow`` is about to change: the batch that was taken last is to have its state from before."""
        if self._liquid and self._liquid.get(flow.digest) is flow:
            self._taken.flows[flow.digest] = (
                flow.state()
            )  # first: where memory ran out, it is still to be done
            del self._liquid[flow.digest]

    def count(self, flow: Flow, up: int, down: int, packets_up: int, packets_down: int) -> None:
        """Add bytes and packets to the flow and to the rows that it belongs to."""
        batch = self.batch
        if flow.bucket != batch.bucket:
            flow.begin(batch.bucket)
        flow.bytes_up += up
        flow.bytes_down += down
        flow.packets_up += packets_up
        flow.packets_down += packets_down
        _add(batch.counted, flow.key, flow, up, down, packets_up, packets_down)
        if flow.peer is not None:
            _add(batch.mirrored, flow.peer, flow, down, up, packets_down, packets_up)

    def count_missed(self, flow: Flow, missed: int, packets: int) -> None:
        """Count bytes and packets proven by a total alone, in the flow's own proportion (trap 5)."""
        up, down = split(missed, flow.bytes_up, flow.bytes_down)
        packets_up, packets_down = split(packets, flow.packets_up, flow.packets_down)
        self.count(flow, up, down, packets_up, packets_down)
        self.batch.counters["bytes_missed"] += missed
        self.batch.counters["packets_missed"] += packets

    def count_flows(self, flow: Flow, flows: int) -> None:
        """Add ``flows`` (negative: take away) to the number of flows of the flow's rows."""
        if not flows:
            return
        flow.flows += flows
        _add(self.batch.counted, flow.key, flow, 0, 0, 0, 0).flows += flows
        if flow.peer is not None:
            _add(self.batch.mirrored, flow.peer, flow, 0, 0, 0, 0).flows += flows

    def move(self, flow: Flow, key: Key, peer: Key | None) -> None:
        """Give ``flow`` to ``key`` (and ``peer``), and with it what it counted elsewhere (trap 4).

        Totals move whole. History moves what was counted in the bucket that is still open: a closed
        bucket stays what it was, so that no bucket can ever hold a negative count.
        """
        if flow.key == key and flow.peer == peer:
            return
        batch = self.batch
        recent, older = flow.recent(batch.bucket), flow.older(batch.bucket)
        self._shift(batch.counted, batch.mirrored, flow, -1, recent)
        self._shift(batch.moved, batch.moved_mirrored, flow, -1, older)
        flow.key, flow.peer = key, peer
        batch.placed.add(flow.digest)
        self._shift(batch.counted, batch.mirrored, flow, 1, recent)
        self._shift(batch.moved, batch.moved_mirrored, flow, 1, older)

    def _shift(self, rows: Rows, mirrored: Rows, flow: Flow, sign: int, part: Counts) -> None:
        """Add ``sign`` times ``part`` to the flow's rows."""
        if not any(part):
            return
        up, down, packets_up, packets_down, flows = (sign * value for value in part)
        row = _add(rows, flow.key, flow, up, down, packets_up, packets_down)
        row.flows += flows
        row.moved_up += up
        row.moved_down += down
        if flow.peer is not None:
            row = _add(mirrored, flow.peer, flow, down, up, packets_down, packets_up)
            row.flows += flows
            row.moved_up += down
            row.moved_down += up

    def adopt(self, flow: Flow) -> None:
        """``flow`` begins to go by its digest, which the store holds only if this batch is to remove it."""
        flow.born = -1 if flow.digest in self.changed else self.generation
        self.batch.ended.pop(flow.digest, None)  # of an earlier life, or of this one before it went on
        self.batch.placed.add(flow.digest)

    def describe(self, flow: Flow, told: Description) -> None:
        """``flow`` is what ``told`` says, and the store is to know."""
        self.move(flow, told.key, told.peer)
        if flow.risk != told.risk:
            flow.risk = told.risk
            self.batch.placed.add(flow.digest)
        self.batch.details[flow.digest] = told.details

    def save(self, flow: Flow) -> None:
        """The flow's state goes to the store with this batch; with that it is live there, or over."""
        if not flow.ended:
            self.changed[flow.digest] = flow
            return
        batch, digest = self.batch, flow.digest
        batch.placed.discard(digest)
        batch.ended.pop(digest, None)
        batch.ended[digest] = flow.state()
        if len(batch.ended) > MAX_ENDED:
            oldest = next(iter(batch.ended))
            del batch.ended[oldest]
            batch.details.pop(oldest, None)

    def unsave(self, flow: Flow) -> None:
        """The flow is no longer live in the store after this batch, if it ever got there."""
        if flow.born == self.generation:
            self.changed.pop(flow.digest, None)
        else:
            self.changed[flow.digest] = None

    def replace(self, old: Flow, digest: str, *, known: bool = False) -> None:
        """What the store and this batch hold of ``old`` goes on under ``digest``.

        :param known: what is told of the flow of ``digest`` is better.
        """
        batch = self.batch
        if not old.ended:
            self.unsave(old)
        batch.placed.discard(old.digest)
        batch.placed.add(digest)
        batch.ended.pop(old.digest, None)
        if old.digest == digest:
            return
        details = batch.details.pop(old.digest, None)
        if not known:
            batch.details.pop(digest, None)  # of an earlier life
            if details is not None:
                batch.details[digest] = details
        stored = batch.replaced.pop(old.digest, [])
        if old.born != self.generation:
            stored.append(old.digest)
        if digest in stored:  # it goes back to a digest that it had before
            stored.remove(digest)
        if stored:
            batch.replaced.setdefault(digest, []).extend(stored)

    def note(self, device: str) -> DeviceNote:
        """What this batch tells of ``device`` besides its bytes."""
        note = self.batch.devices.get(device)
        if note is None:
            note = self.batch.devices[device] = DeviceNote()
        return note

    def drop(self, devices: Collection[str]) -> None:
        """Leave nothing in the batch of ``devices`` whose flows have moved elsewhere."""
        batch = self.batch
        for device in devices:
            batch.devices.pop(device, None)
        for rows, moved in ((batch.counted, batch.moved), (batch.mirrored, batch.moved_mirrored)):
            for key in [key for key in rows.keys() | moved.keys() if key.device in devices]:
                parts = [table[key].counts() for table in (rows, moved) if key in table]
                if not any(map(sum, zip(*parts, strict=True))):
                    rows.pop(key, None)
                    moved.pop(key, None)


def forget_corrections(batch: Batch) -> None:
    """Leave in ``batch`` only what it adds: the rows that it takes from are gone from the store."""
    batch.placed.update(digest for digest, state in batch.flows.items() if state is not None)
    batch.moved.clear()
    batch.moved_mirrored.clear()
    for row in (*batch.counted.values(), *batch.mirrored.values()):
        fresh_up, fresh_down = row.bytes_up - row.moved_up, row.bytes_down - row.moved_down
        row.bytes_up, row.bytes_down = max(row.bytes_up, 0), max(row.bytes_down, 0)
        row.moved_up, row.moved_down = row.bytes_up - fresh_up, row.bytes_down - fresh_down
        row.packets_up, row.packets_down = max(row.packets_up, 0), max(row.packets_down, 0)
        row.flows = 0


def _add(rows: Rows, key: Key, flow: Flow, up: int, down: int, packets_up: int, packets_down: int) -> Row:
    """Add to the row of ``key``, as seen in ``flow``'s time, and return it."""
    row = rows.get(key)
    if row is None:
        row = rows[key] = Row()
    row.bytes_up += up
    row.bytes_down += down
    row.packets_up += packets_up
    row.packets_down += packets_down
    if not row.first_seen:
        row.first_seen = flow.first_seen
    if flow.last_seen:
        row.last_seen = flow.last_seen
    return row
