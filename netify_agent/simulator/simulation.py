"""The stream: a simulated clock that drives the traffic and netifyd's reports.

An event queue of what detection sees, and every 15 s the counters of all live flows; both in order of
time, produced one record at a time, so that memory holds live flows and never the stream. It knows no
sockets.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator

from . import wire
from .flow import Counters, Flow
from .network import Device, Network
from .status import AgentStatus
from .traffic import Traffic
from .truth import Truth

INTERVAL_S = 15
# 2026-01-01 00:00:00 UTC: a fixed time, so that a stream depends on its parameters alone.
DEFAULT_START_MS = 1_767_225_600_000

_NOTHING = Counters(0, 0, 0, 0, 0)
_JOIN, _SESSION, _STAGE, _PURGE = range(4)


class Simulation:
    """A netifyd on the gateway of a simulated network.

    The same parameters give the same bytes, in any process.

    :ivar truth: exact totals of all records produced so far
    :ivar version: 4 or 5, the wire format
    :ivar now_ms: the simulated time of the last record, milliseconds since the epoch
    :ivar end_ms: when the stream ends, None if it never does
    :ivar ended: whether all records were yielded
    """

    def __init__(
        self,
        seed: int = 1,
        devices: int = 20,
        hours: float | None = None,
        *,
        version: int = 4,
        profile: str = "home",
        start_ms: int = DEFAULT_START_MS,
        keep_flows: bool = False,
    ) -> None:
        """Create the network. Nothing is produced before `records` is read.

        :param devices: how many devices there are, 1 to 100000
        :param hours: simulated length, rounded to whole intervals of 15 s and one at least; None: endless
        :param version: 4 or 5
        :param profile: `home` (many small sites) or `office` (few large ones)
        :param start_ms: simulated time of the start, milliseconds since the epoch
        :param keep_flows: let the truth keep the totals of every flow, for tests of finite streams
        :raises ValueError: a parameter outside what is allowed
        """
        if version not in (4, 5):
            raise ValueError(f"version: {version!r}, allowed are 4 and 5")
        if hours is not None and not 0 < hours < 1_000_000:
            raise ValueError(f"hours: {hours!r}, allowed is more than 0 and less than 1000000")
        network = Network(seed, devices, profile)
        self.version = version
        self.now_ms = start_ms
        self.end_ms: int | None = None
        if hours is not None:
            self.end_ms = start_ms + max(1, round(hours * 3600 / INTERVAL_S)) * INTERVAL_S * 1000
        self.ended = False
        self.truth = Truth(keep_flows=keep_flows)
        self._traffic = Traffic(seed, network, INTERVAL_S * 1000, start_ms)
        self._status = AgentStatus(network, version, INTERVAL_S, start_ms)
        self._live: dict[Flow, None] = {}
        self._queue: list[tuple[int, int, int, Device | Flow]] = []
        self._queued = 0
        self._next_tick_ms = start_ms + INTERVAL_S * 1000
        for device in network.devices:
            self._at(self._traffic.join_ms(), _JOIN, device)

    def opening(self) -> list[bytes]:
        """Return the current payloads that begin each new connection."""
        return self._status.opening(self.now_ms, len(self._live))

    def records(self) -> Iterator[tuple[int, bytes]]:
        """Yield `(at_ms, payload)` in order of time; a payload is one line of JSON that ends in LF.

        `truth` includes a record from the moment it is yielded. Can be read only once.
        """
        return self.advance(math.inf)

    def advance(self, until_ms: float) -> Iterator[tuple[int, bytes]]:
        """Yield as `records` does, but only what happens up to `until_ms`; the next call goes on from there.

        What is yielded must be read to its end before the next call.
        """
        while not self.ended:
            tick = self._next_tick_ms
            for payload in self._events(min(until_ms, tick - 1)):
                yield self.now_ms, payload
            if until_ms < tick:
                return
            self.now_ms = tick
            for payload in self._report():
                yield tick, payload
            self._next_tick_ms = tick + INTERVAL_S * 1000
            if tick == self.end_ms:
                for flow in [flow for flow in self._live if flow.start_ms <= tick]:
                    yield tick, self._purge(flow, "terminate" if self.version == 4 else "expired")
                self.ended = True

    def next_ms(self) -> int:
        """Return the time of the next event."""
        return min(self._queue[0][0], self._next_tick_ms)

    def _at(self, at_ms: int, what: int, subject: Device | Flow) -> None:
        self._queued += 1
        heapq.heappush(self._queue, (at_ms, self._queued, what, subject))

    def _events(self, until_ms: float) -> Iterator[bytes]:
        """Process the events up to `until_ms`."""
        queue, traffic = self._queue, self._traffic
        while queue[0][0] <= until_ms:
            self.now_ms, _, what, subject = heapq.heappop(queue)
            if isinstance(subject, Flow):
                if what == _STAGE:
                    yield from self._describe(subject)
                else:
                    yield self._purge(subject, "closed" if subject.closed else "expired")
                continue
            flows = (traffic.joining if what == _JOIN else traffic.session)(subject, self.now_ms)
            for flow in flows:
                self._live[flow] = None
                self._at(flow.purge_ms, _PURGE, flow)
                if flow.stages:
                    self._at(flow.stages[0].at_ms, _STAGE, flow)
            self._at(traffic.next_session_ms(subject, self.now_ms), _SESSION, subject)

    def _describe(self, flow: Flow) -> Iterator[bytes]:
        """Return the description of the flow at the due stage, and queue the next stage."""
        stage = flow.stages[flow.described]
        first = flow.described == 0
        flow.described += 1
        if flow.described < len(flow.stages):
            self._at(flow.stages[flow.described].at_ms, _STAGE, flow)
        totals = flow.totals
        totals.device, totals.peer = flow.device_id, flow.peer_id
        totals.application = stage.application.tag
        totals.protocol = stage.protocol.name
        self.truth.opened(totals)
        if self.version == 4:
            yield wire.flow_record(flow, stage, self.now_ms, 4)
            return
        complete = flow.described == len(flow.stages)
        kinds = ["flow"] if first else [] if complete else ["flow_dpi_update"]
        for kind in [*kinds, "flow_dpi_complete"] if complete else kinds:
            flow.rename()
            yield wire.flow_record(flow, stage, self.now_ms, 5, kind)

    def _report(self) -> Iterator[bytes]:
        """Return the counters of every live flow with traffic, then the status."""
        now, rng, version = self.now_ms, self._traffic.rng, self.version
        for flow in self._live:
            counters = flow.take(now, rng)
            if counters is not None:
                self._count(flow, counters)
                yield wire.stats_record(flow, counters, version)
        yield from self._status.interval_over(now, len(self._live))

    def _purge(self, flow: Flow, reason: str) -> bytes:
        counters = flow.take(self.now_ms, self._traffic.rng) or _NOTHING
        self._count(flow, counters)
        del self._live[flow]
        self.truth.purged(flow.totals)
        return wire.purge_record(flow, counters, reason, self.version)

    def _count(self, flow: Flow, counters: Counters) -> None:
        totals = flow.totals
        totals.bytes_up += counters.local_bytes
        totals.bytes_down += counters.other_bytes
        totals.packets_up += counters.local_packets
        totals.packets_down += counters.other_packets
        self.truth.opened(totals)
        self._status.count(flow, counters)
