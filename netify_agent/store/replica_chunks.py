"""Codes chunks of history against those that both sides know. No I/O.

Between two messages a chunk mostly changes as the gateway's own writer changes it: the record of a bucket
that was closed is appended, or all records are summed up to one of a longer step. Both sides work this out by
themselves (:mod:`netify_agent.store.history_writer` is the original). Other changes are sent as the bytes
that are appended, or as the whole chunk.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from netify_agent.store.history_blocks import Damaged
from netify_agent.store.history_record import Record, decode, encode, encode_summed
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.layout import Unit
from netify_agent.store.replica_columns import Channel, Invalid

_SAME, _GONE, _LONGER, _OTHER, _APPENDED, _APPENDED_SUMMED, _SUMMED = range(7)


class ChunkCoder:
    """The chunks of one message. Code those of shorter steps first."""

    def __init__(self, channel: Channel, steps: HistorySteps) -> None:
        self._channel = channel
        self._steps = steps
        self._appended: defaultdict[tuple[Unit, str], bytes] = defaultdict(bytes)

    def append(self, step: int, series: str, records: Iterable[Record]) -> None:
        """Expect that records were appended to their chunk."""
        for record in records:
            unit = step, self._steps.chunk(step, record.start)
            self._appended[unit, series] += encode(record, unit[1])

    def code(self, unit: Unit, series: str, had: bytes, wanted: bytes) -> bytes:
        """Code a chunk; empty: there is none. See :mod:`netify_agent.store.replica_rows`."""
        appended = had + self._appended[unit, series]
        change = self._channel.count("chunks", self._change(unit, had, appended, wanted))
        if change == _SAME:
            return had
        if change == _GONE:
            return b""
        if change == _LONGER:
            return had + self._channel.data(wanted[len(had) :])
        if change == _OTHER:
            return self._channel.data(wanted)
        if change == _APPENDED:
            return appended
        if change not in (_APPENDED_SUMMED, _SUMMED):
            raise Invalid("expected a change of a chunk")
        try:
            return self._sum_up(unit, series, appended if change == _APPENDED_SUMMED else had)
        except Damaged as error:
            raise Invalid(f"expected a chunk that can be summed up ({error})") from None

    def _change(self, unit: Unit, had: bytes, appended: bytes, wanted: bytes) -> int:
        """How ``wanted`` differs."""
        if wanted == had:
            return _SAME
        if not wanted:
            return _GONE
        if wanted == appended:
            return _APPENDED
        if had and wanted.startswith(had):
            return _LONGER
        if had:
            for change, before in ((_APPENDED_SUMMED, appended), (_SUMMED, had)):
                try:
                    if _block(before, unit[1]) == wanted:
                        return change
                except Damaged:
                    pass
        return _OTHER

    def _sum_up(self, unit: Unit, series: str, data: bytes) -> bytes:
        """The chunk with all records in one block. Expects the sums in the chunk of the longer step."""
        longer = self._steps.longer(unit[0])
        if longer is not None:
            fresh = decode(data, unit[1]).fresh
            self.append(longer, series, self._steps.summed_up(unit[0], longer, fresh))
        return _block(data, unit[1])


def _block(data: bytes, origin: int) -> bytes:
    chunk = decode(data, origin)
    return encode_summed((*chunk.summed, *chunk.fresh), origin)


def code_chunks(
    coder: ChunkCoder, unit: Unit, names: Iterable[str], had: Mapping[str, bytes], wanted: Mapping[str, bytes]
) -> dict[str, bytes]:
    """Code the chunks of the series ``names``."""
    found = {name: coder.code(unit, name, had.get(name, b""), wanted.get(name, b"")) for name in names}
    return {name: data for name, data in found.items() if data}
