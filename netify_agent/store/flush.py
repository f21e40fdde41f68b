"""A flush as plain data: what the flusher hands to the writer, and what other packages add to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from netify_agent.accounting.batch import Batch, FlowState, SourceState
from netify_agent.store.deltas import Change
from netify_agent.store.transaction import Transaction


@dataclass(frozen=True)
class Flush:
    """A batch with its sequence number and times.

    :ivar sequence: the previous flush's number plus one.
    :ivar at_ms: when the batch was taken, by the agent's clock, milliseconds since the epoch.
    :ivar elapsed_ms: time since the previous batch was taken; the divisor of the rates.
    :ivar forget: devices to forget with this flush, if their requests still stand.
    """

    sequence: int
    batch: Batch
    at_ms: int
    elapsed_ms: int
    forget: tuple[str, ...] = ()


@dataclass(frozen=True)
class Restored:
    """The stored state of an earlier run.

    :ivar sequence: number of its last flush; 0 for a new store.
    :ivar flows: live flows by id.
    :ivar sources: state of each source by URL.
    :ivar devices: devices that have a row.
    """

    sequence: int
    flows: dict[str, FlowState]
    sources: dict[str, SourceState]
    devices: list[str]


class Rewound(Exception):
    """Redis was restored to an older state or lost its data: it holds flushes up to ``sequence`` only."""

    def __init__(self, sequence: int) -> None:
        super().__init__(f"Redis holds flushes up to number {sequence} only")
        self.sequence = sequence


@dataclass(frozen=True)
class FlushFacts:
    """What a flush changes.

    :ivar devices: devices that it changes.
    :ivar rates: rates after it, of devices and the gateway (empty name), for
        :func:`~netify_agent.store.rows.decode_rates`.
    :ivar dropped: devices that it drops.
    """

    flush: Flush
    devices: Collection[str]
    rates: Mapping[str, str]
    dropped: Collection[str] = ()


class FlushPart(Protocol):
    """Adds commands of another package to the transaction of each flush.

    The methods are called in this order. If the flush is attempted again, all of them are called again.
    """

    def begin(self, flush: Flush) -> None:
        """Prepare for a flush that is about to be written. Redis holds the previous one and may be read."""

    def add(self, change: Change) -> None:
        """Take the change of one device, or of the gateway, by this flush."""

    def queue(self, pipe: Transaction, facts: FlushFacts) -> None:
        """Queue commands.

        The commands must not depend on the attempt: an earlier one may be the one that Redis executed.
        """
