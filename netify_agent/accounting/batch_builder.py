"""Builds the batch of pending changes. Knows how a flow's bytes become changes of rows, and not why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace

from netify_agent.accounting.batch import MAX_ENDED, Batch, DeviceNote, FlowState, Row, Rows, SourceState
from netify_agent.accounting.capture_points import LEFT_OUT
from netify_agent.accounting.flow import Counts, Flow, split
from netify_agent.netifyd.flow_record import UNDESCRIBED, Description, Key


class _Changes:
    """Flows that changed in one batch. Their states are written when it is handed over.

    :ivar flows: flows whose state goes to the store: as live, or in ``ended``.
    :ivar removed: ids that the store holds as live and that are not live any more.
    :ivar ended: flow id to the flow that ended under it, the latest last.
    """

    def __init__(self) -> None:
        self.flows: dict[Flow, None] = {}
        self.removed: dict[str, None] = {}
        self.ended: dict[str, Flow] = {}


class BatchBuilder:
    """Gathers changes until a batch is taken.

    :ivar counters: the accounting's own counters since the last batch, by name.
    """

    def __init__(self, bucket: int, max_ended: int = MAX_ENDED) -> None:
        """Begin in the history bucket that starts at ``bucket``, seconds since the epoch.

        :param max_ended: ended flows in a batch; beyond it the earliest are dropped.
        """
        self._max_ended = max_ended
        self._batch = Batch(bucket)
        self._changes = _Changes()
        self._number = 0
        # The batch that is being handed over: states of its flows are still to be written.
        self._closing: Batch | None = None
        self._unwritten = _Changes()
        self._states: dict[str, FlowState | None] = {}
        self._ended_states: dict[str, FlowState] = {}

    @property
    def counters(self) -> Counter[str]:
        """The accounting's own counters since the last batch."""
        return self._batch.counters

    @property
    def size(self) -> int:
        """Number of rows and flow states that changed since the last batch."""
        return self._batch.size + len(self._changes.flows) + len(self._changes.removed)

    @property
    def bucket(self) -> int:
        """Start of the history bucket that is open, seconds since the epoch."""
        return self._batch.bucket

    # -- handing over ------------------------------------------------------------------------------

    def close(self, bucket: int, sources: dict[str, SourceState]) -> None:
        """End the batch and begin another one in ``bucket`` (start, seconds since the epoch).

        Nothing happens while a batch is being handed over: the caller was interrupted and goes on with it.
        """
        if self._closing is not None:
            return
        self._closing = replace(self._batch, sources=sources)
        self._unwritten, self._changes = self._changes, _Changes()
        self._batch = Batch(bucket)
        self._states, self._ended_states = dict.fromkeys(self._unwritten.removed), {}
        self._number += 1

    def finish(self, most: int | None = None) -> Batch | None:
        """Write the states of up to ``most`` flows (None: all) of the batch that was closed.

        All at once would take longer than the listener can wait.

        :returns: the batch when it is complete, else None.
        """
        flows = self._unwritten.flows
        for _ in range(len(flows) if most is None else min(most, len(flows))):
            self._write(next(reversed(flows)))
        if flows or self._closing is None:
            return None
        ended = self._ended_states
        in_order = {name: ended[name] for name in self._unwritten.ended if name in ended}
        batch = replace(self._closing, flows=self._states, ended=in_order)
        self._closing = None
        self._unwritten, self._states, self._ended_states = _Changes(), {}, {}  # an emptied dict stays large
        return batch

    def _write(self, flow: Flow) -> None:
        """Write the state of a flow into the batch that was closed."""
        name = flow.id
        if not flow.ended:
            self._states[name] = flow.state()
        elif self._unwritten.ended.get(name) is flow:
            self._ended_states[name] = flow.state()
        del self._unwritten.flows[flow]  # last: where memory ran out before, it is still to be done

    def change(self, flow: Flow) -> None:
        """Call this before changing ``flow``. Its new state goes to the store with this batch.

        The batch that is being handed over gets the state from before.
        """
        if flow in self._unwritten.flows:
            self._write(flow)
        self._changes.flows[flow] = None

    # -- flows that begin, end and get another digest ------------------------------------------------

    def begin(self, flow: Flow) -> None:
        """Queue a flow that is live under its flow id from now on: it is new, was renamed or was resumed."""
        self.change(flow)
        name = flow.id
        flow.born = -1 if name in self._changes.removed else self._number
        self._changes.ended.pop(name, None)  # of an earlier flow, or of this one before it was resumed
        self._batch.placed.add(name)

    def end(self, flow: Flow) -> None:
        """Queue the end of ``flow``, which was live. The caller has announced the change."""
        self._remove(flow)
        self._show(flow)

    def show_ended(self, flow: Flow) -> None:
        """Queue the state of a flow that has ended: the store shows it for a while."""
        self.change(flow)
        self._show(flow)

    def _show(self, flow: Flow) -> None:
        ended, name = self._changes.ended, flow.id
        ended.pop(name, None)
        ended[name] = flow
        self._batch.placed.discard(name)
        if len(ended) > self._max_ended:
            oldest = next(iter(ended))
            del ended[oldest]
            self._batch.details.pop(oldest, None)

    def hand_on(self, old: Flow, name: str, *, is_described: bool = False) -> None:
        """Rename what the store and this batch hold of ``old`` to the flow id ``name``.

        :param is_described: the flow of ``name`` has a better description than ``old``.
        """
        batch, old_name = self._batch, old.id
        if not old.ended:
            self._remove(old)
        self._changes.flows.pop(old, None)
        self._changes.ended.pop(old_name, None)
        batch.placed.discard(old_name)
        batch.placed.add(name)
        if old_name == name:
            return
        details = batch.details.pop(old_name, None)
        if not is_described:
            batch.details.pop(name, None)  # of an earlier flow
            if details is not None:
                batch.details[name] = details
        stored = batch.replaced.pop(old_name, [])
        if old.born != self._number:
            stored.append(old_name)
        self.rename_stored(stored, name)

    def rename_stored(self, stored: list[str], name: str) -> None:
        """Rename the entries ``stored`` of the store to the flow id ``name``."""
        if name in stored:  # it goes back to a digest that it had before
            stored.remove(name)
        if stored:
            self._batch.replaced.setdefault(name, []).extend(stored)

    def remove_stored(self, name: str) -> None:
        """Remove the live entry of the flow id ``name`` from the store."""
        self._changes.removed[name] = None

    def _remove(self, flow: Flow) -> None:
        """Remove the live entry of ``flow`` from the store, unless it was never stored."""
        if flow.born != self._number:
            self._changes.removed[flow.id] = None

    # -- counters --------------------------------------------------------------------------------------

    def count(self, flow: Flow, up: int, down: int, packets_up: int, packets_down: int) -> None:
        """Add bytes and packets to the flow and to its rows. The caller has announced the change."""
        batch = self._batch
        if flow.bucket != batch.bucket:
            flow.open_bucket(batch.bucket)
        flow.bytes_up += up
        flow.bytes_down += down
        flow.packets_up += packets_up
        flow.packets_down += packets_down
        if flow.capture == LEFT_OUT:
            _add(batch.left_out, UNDESCRIBED, flow, up, down, packets_up, packets_down)
            return
        _add(batch.counted, flow.key, flow, up, down, packets_up, packets_down)
        if flow.peer is not None:
            _add(batch.mirrored, flow.peer, flow, down, up, packets_down, packets_up)

    def count_missed(self, flow: Flow, missed: int, packets: int) -> None:
        """Count bytes and packets that a total alone proves, in the flow's own proportion."""
        up, down = split(missed, flow.bytes_up, flow.bytes_down)
        packets_up, packets_down = split(packets, flow.packets_up, flow.packets_down)
        self.count(flow, up, down, packets_up, packets_down)
        self.counters["bytes_missed"] += missed
        self.counters["packets_missed"] += packets

    def count_flows(self, flow: Flow, flows: int) -> None:
        """Add ``flows`` (negative: take away) to the number of flows of the flow's rows."""
        if not flows:
            return
        batch = self._batch
        flow.flows += flows
        if flow.capture == LEFT_OUT:
            _add(batch.left_out, UNDESCRIBED, flow, 0, 0, 0, 0).flows += flows
            return
        _add(batch.counted, flow.key, flow, 0, 0, 0, 0).flows += flows
        if flow.peer is not None:
            _add(batch.mirrored, flow.peer, flow, 0, 0, 0, 0).flows += flows

    def move(self, flow: Flow, key: Key, peer: Key | None, capture: int) -> None:
        """Give ``flow``, and what it counted elsewhere, to other rows. The caller announced the change.

        Totals move whole. History moves what was counted in the open bucket: a closed bucket stays as it was,
        so that no bucket ever holds a negative count.
        """
        if flow.key is key and flow.peer is peer and flow.capture == capture:
            return  # keys are shared, so this is the usual way that nothing changes
        batch = self._batch
        if flow.key != key or flow.peer != peer or (flow.capture == LEFT_OUT) != (capture == LEFT_OUT):
            recent, older = flow.in_bucket(batch.bucket), flow.before_bucket(batch.bucket)
            self._shift(flow, -1, recent, older)
            flow.key, flow.peer, flow.capture = key, peer, capture
            batch.placed.add(flow.id)
            self._shift(flow, 1, recent, older)
        flow.capture = capture

    def _shift(self, flow: Flow, sign: int, recent: Counts, older: Counts) -> None:
        """Add ``sign`` times both parts of a flow's counters to its rows."""
        batch = self._batch
        if flow.capture == LEFT_OUT:
            for part in (recent, older):
                counts = [sign * value for value in part]
                row = _add(batch.left_out, UNDESCRIBED, flow, *counts[:4])
                row.flows += counts[4]
                row.move(*counts[:4])
        else:
            self._shift_rows(batch.counted, batch.mirrored, flow, sign, recent)
            self._shift_rows(batch.moved, batch.moved_mirrored, flow, sign, older)

    def _shift_rows(self, rows: Rows, mirrored: Rows, flow: Flow, sign: int, part: Counts) -> None:
        if not any(part):
            return
        up, down, packets_up, packets_down, flows = (sign * value for value in part)
        row = _add(rows, flow.key, flow, up, down, packets_up, packets_down)
        row.flows += flows
        row.move(up, down, packets_up, packets_down)
        if flow.peer is not None:
            row = _add(mirrored, flow.peer, flow, down, up, packets_down, packets_up)
            row.flows += flows
            row.move(down, up, packets_down, packets_up)

    # -- descriptions --------------------------------------------------------------------------------------

    def describe(self, flow: Flow, description: Description, capture: int) -> None:
        """Make ``flow`` what the description says, for rows and store. The caller announced the change."""
        self.move(flow, description.key, description.peer, capture)
        if flow.risk != description.risk:
            flow.risk = description.risk
            self._batch.placed.add(flow.id)
        self._batch.details[flow.id] = description.details

    def note(self, device: str) -> DeviceNote:
        """Return what this batch says of ``device`` besides its bytes, to be added to."""
        note = self._batch.devices.get(device)
        if note is None:
            note = self._batch.devices[device] = DeviceNote()
        return note

    def changed_devices(self) -> set[str]:
        """Return the devices that this batch changes anything of so far."""
        return self._batch.changed_devices()

    def drop_devices(self, devices: Collection[str]) -> None:
        """Remove the rows of ``devices`` whose flows were moved to other devices.

        A row stays if flows that are no longer known counted in it.
        """
        batch = self._batch
        for device in devices:
            batch.devices.pop(device, None)
        for rows, moved in ((batch.counted, batch.moved), (batch.mirrored, batch.moved_mirrored)):
            for key in [key for key in rows.keys() | moved.keys() if key.device in devices]:
                parts = [table[key].counts() for table in (rows, moved) if key in table]
                if not any(map(sum, zip(*parts, strict=True))):
                    rows.pop(key, None)
                    moved.pop(key, None)

    def categorize(self, application: str, category: int) -> None:
        """Note netifyd's category id of an application."""
        self._batch.categories[application] = category

    # -- a store that lost its data ------------------------------------------------------------------------

    def forget_corrections(self) -> None:
        """Drop the corrections of this batch, because Redis lost the rows that they would take from."""
        self._batch = self._batch.without_corrections()

    def change_uncounted(self, flow: Flow) -> None:
        """Forget what ``flow`` counted, because Redis lost it. It can't be moved to other rows any more."""
        if flow in self._unwritten.flows:
            self._write(flow)
        flow.forget_counts()

    def save_all(self, flows: Iterable[Flow]) -> None:
        """Put every live flow into this batch, for a store that lost them."""
        names = []
        for flow in flows:
            self.change(flow)
            names.append(flow.id)
        self._batch.placed.update(names)
        self._batch = replace(self._batch, complete=True)


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
