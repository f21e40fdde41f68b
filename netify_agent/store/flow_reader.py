"""Reads single flows, live or recently ended: pages of them, and the risks of a device.

Flows are listed by the time of their last packet, latest first. The writer keeps a sorted set (an index) of
all flows and one for each device, application and risk score, so the cost of a page depends on its length
only. A request that filters by more than one of these is answered from the shortest index, of which at most
the latest :data:`MAX_SCANNED` flows are examined.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from netify_agent.accounting.batch import FlowState
from netify_agent.accounting.flow_id import digest_of
from netify_agent.netifyd.flow_record import Details
from netify_agent.store.encoding import decode_details, decode_state
from netify_agent.store.query import FlushStamp, retry_when_flushed
from netify_agent.store.reader import StoreReader
from netify_agent.store.rows import DeviceRow

MAX_SCANNED = 10_000  # flows of an index that are examined for a combination of filters
FLOWS_OF_DEVICE = 1_000  # flows of a device that are summed up
MAX_MERGED = 100


class FlowPosition(NamedTuple):
    """Place of a flow in the list: netifyd's clock at its last packet (ms), then its flow id."""

    seen: int
    flow_id: str


@dataclass(frozen=True)
class FlowFilter:
    """Which flows to list. None or 0 does not filter.

    :ivar device: on either side.
    :ivar application: its tag.
    :ivar active: True: live flows only; False: ended flows only.
    :ivar min_risk: lowest risk score.
    :ivar devices: one of these on either side.
    """

    device: str | None = None
    application: str | None = None
    active: bool | None = None
    min_risk: int = 0
    devices: frozenset[str] | None = None

    def matches(self, state: FlowState) -> bool:
        """Whether a flow in this state matches, apart from :attr:`active`."""
        sides = state.key.device, state.peer.device if state.peer is not None else None
        return (
            self.device in (None, *sides)
            and (self.devices is None or not self.devices.isdisjoint(sides))
            and self.application in (None, state.key.application)
            and state.risk >= self.min_risk
        )


@dataclass
class FlowRow:
    """A flow. ``details`` is None if netifyd never described it."""

    flow_id: str
    active: bool
    state: FlowState
    details: Details | None

    @property
    def digest(self) -> str:
        """Its digest, which another source may use for another flow."""
        return digest_of(self.flow_id)


@dataclass
class FlowPage:
    """Flows, latest first.

    :ivar flush: the flush that the page shows.
    :ivar total: number of matching flows on all pages; if only part of an index was examined, in that part.
    :ivar more: whether further flows follow.
    :ivar devices: name, hint and addresses of the devices on the page, by name.
    :ivar categories: application to netifyd's category id, for the applications on the page.
    """

    flush: FlushStamp
    total: int
    rows: list[FlowRow]
    more: bool
    devices: dict[str, DeviceRow] = field(default_factory=dict)
    categories: dict[str, int] = field(default_factory=dict)


class _Entry(NamedTuple):
    """A member of an index."""

    position: FlowPosition
    active: bool


class _Index(NamedTuple):
    """A sorted set of flows. ``active``: whether they are live."""

    key: str
    active: bool


@dataclass
class RiskRow:
    """A risk of a device's flows.

    :ivar risk: netifyd's number of the risk.
    :ivar flows: how many flows have it.
    :ivar score: highest risk score of one of them.
    :ivar last_seen: netifyd's clock at the latest packet of one of them, milliseconds since the epoch.
    """

    risk: int
    flows: int
    score: int
    last_seen: int


class FlowReader:
    """Reads from one gateway's store. Raises :class:`~netify_agent.store.client.StoreError`."""

    def __init__(
        self, reader: StoreReader, max_scanned: int = MAX_SCANNED, max_merged: int = MAX_MERGED
    ) -> None:
        """Read nothing yet.

        :param max_scanned: flows of an index that are examined for a combination of filters.
        :param max_merged: devices whose indexes are read together for one request.
        """
        self._reader = reader
        self._keys = reader.keys
        self._max_scanned = max_scanned
        self._max_merged = max_merged

    @retry_when_flushed
    def page(self, filters: FlowFilter, limit: int, after: FlowPosition | None = None) -> FlowPage:
        """The first ``limit`` matching flows, or the first after a position."""
        query = self._reader.query()
        scores = query.smembers(self._keys.scores)
        flush = query.run()

        groups = self._indexes(filters, sorted(int(score) for score in scores.value))
        lengths = self._lengths(flush, groups)
        if len(groups) == 1 and filters.devices is None:
            page = self._page_of_index(flush, groups[0], lengths[0], limit, after)
        else:
            shortest = groups[lengths.index(min(lengths))]
            page = self._page_by_scan(flush, shortest, filters, limit, after)
        self._add_names(page)
        return page

    def risks(self, device: str, flush: FlushStamp) -> list[RiskRow]:
        """The risks of a device's latest :data:`FLOWS_OF_DEVICE` flows, highest score first.

        :raises FlushedMeanwhile: if ``flush`` is no longer the last one.
        """
        (indexes,) = self._indexes(FlowFilter(device=device), ())
        latest = self._latest(flush, indexes, FLOWS_OF_DEVICE, None)[:FLOWS_OF_DEVICE]
        risks: dict[int, RiskRow] = {}
        for row in self._rows(flush, latest, details=True):
            for risk in row.details.risks if row.details is not None else ():
                summary = risks.setdefault(risk, RiskRow(risk, 0, 0, 0))
                summary.flows += 1
                summary.score = max(summary.score, row.state.risk)
                summary.last_seen = max(summary.last_seen, row.state.last_seen)
        return sorted(risks.values(), key=lambda row: (-row.score, -row.flows, row.risk))

    def started(self, device: str, flush: FlushStamp) -> dict[str, int]:
        """Since when a device uses its applications: start of the oldest live flow of each.

        Its latest :data:`FLOWS_OF_DEVICE` live flows are examined; those without a start are left out.

        :returns: netifyd's clock, ms since the epoch, by application.
        :raises FlushedMeanwhile: if ``flush`` is no longer the last one.
        """
        (indexes,) = self._indexes(FlowFilter(device=device, active=True), ())
        latest = self._latest(flush, indexes, FLOWS_OF_DEVICE, None)[:FLOWS_OF_DEVICE]
        started: dict[str, int] = {}
        for row in self._rows(flush, latest, details=False):
            application, begin = row.state.key.application, row.state.first_seen
            if begin:
                started[application] = min(begin, started.get(application, begin))
        return started

    def _page_of_index(
        self,
        flush: FlushStamp,
        indexes: Sequence[_Index],
        total: int,
        limit: int,
        after: FlowPosition | None,
    ) -> FlowPage:
        """A page of indexes whose every flow matches."""
        entries = self._latest(flush, indexes, limit + 1, after)
        return FlowPage(
            flush, total, self._rows(flush, entries[:limit], details=True), more=len(entries) > limit
        )

    def _page_by_scan(
        self,
        flush: FlushStamp,
        indexes: Sequence[_Index],
        filters: FlowFilter,
        limit: int,
        after: FlowPosition | None,
    ) -> FlowPage:
        """A page of the matching ones among the latest flows of some indexes."""
        latest = self._latest(flush, indexes, self._max_scanned, None)[: self._max_scanned]
        rows = [row for row in self._rows(flush, latest, details=False) if filters.matches(row.state)]
        total = len(rows)
        entries = [_Entry(FlowPosition(row.state.last_seen, row.flow_id), row.active) for row in rows]
        if after is not None:
            entries = [entry for entry in entries if entry.position < after]
        return FlowPage(
            flush, total, self._rows(flush, entries[:limit], details=True), more=len(entries) > limit
        )

    def _indexes(self, filters: FlowFilter, scores: Sequence[int]) -> list[list[_Index]]:
        """The indexes to read, one group for each criterion: every matching flow is in each group.

        The indexes of more than ``max_merged`` devices are not read: all flows are searched instead.

        :param scores: risk scores that have an index.
        """
        keys = self._keys
        criteria = []
        if filters.device is not None:
            criteria.append([keys.of_device(filters.device)])
        if filters.application is not None:
            criteria.append([keys.of_application(filters.application)])
        if filters.min_risk:
            criteria.append([keys.of_score(score) for score in scores if score >= filters.min_risk])
        if filters.devices is not None and len(filters.devices) <= self._max_merged:
            criteria.append([keys.of_device(device) for device in sorted(filters.devices)])
        kinds = (True, False) if filters.active is None else (filters.active,)
        return [
            [_Index(keys.index(active, of), active) for of in criterion for active in kinds]
            for criterion in criteria or [[""]]
        ]

    def _lengths(self, flush: FlushStamp, groups: Iterable[Iterable[_Index]]) -> list[int]:
        """Number of flows in the indexes of each group."""
        query = self._reader.query(flush)
        cards = [[query.zcard(index.key) for index in group] for group in groups]
        query.run()
        return [sum(card.value for card in group) for group in cards]

    def _latest(
        self, flush: FlushStamp, indexes: Sequence[_Index], count: int, after: FlowPosition | None
    ) -> list[_Entry]:
        """The latest flows of some indexes: at least ``count`` if they hold as many.

        A sorted set can be cut by time only. Flows with the same time as ``after`` are therefore read again
        and skipped; if these fill a whole reply, a longer reply is requested.
        """
        entries: list[_Entry] = []
        reply_length = count + 1  # the flow at ``after`` itself is usually still there
        remaining = list(indexes)
        while remaining:
            query = self._reader.query(flush)
            latest: int | str = after.seen if after is not None else "+inf"
            replies = [query.highest(index.key, reply_length, latest) for index in remaining]
            query.run()
            incomplete = []
            for index, reply in zip(remaining, replies, strict=True):
                positions = [FlowPosition(seen, digest) for digest, seen in reply.value]
                following = [position for position in positions if after is None or position < after]
                if len(following) < count and len(positions) == reply_length:
                    incomplete.append(index)
                else:
                    entries += [_Entry(position, index.active) for position in following]
            remaining, reply_length = incomplete, reply_length * 8
        return sorted(set(entries), reverse=True)  # a flow between two devices is in the index of each

    def _rows(self, flush: FlushStamp, entries: Sequence[_Entry], *, details: bool) -> list[FlowRow]:
        """The flows of some index entries, in their order; an entry without a stored state is left out."""
        keys = self._keys
        query = self._reader.query(flush)
        live = query.hmget(keys.flows, [entry.position.flow_id for entry in entries if entry.active])
        ended = query.hmget(keys.ended, [entry.position.flow_id for entry in entries if not entry.active])
        described = query.hmget(
            keys.details, [entry.position.flow_id for entry in entries] if details else []
        )
        query.run()
        states = {True: iter(live.value), False: iter(ended.value)}
        texts = described.value or [None] * len(entries)
        rows = []
        for entry, text in zip(entries, texts, strict=True):
            state = next(states[entry.active])
            if state is not None:
                rows.append(
                    FlowRow(
                        entry.position.flow_id,
                        entry.active,
                        decode_state(state),
                        decode_details(text) if text else None,
                    )
                )
        return rows

    def _add_names(self, page: FlowPage) -> None:
        """Read hints and addresses of the devices on a page, and categories of its applications."""
        keys = self._keys
        sides = [key for row in page.rows for key in (row.state.key, row.state.peer) if key is not None]
        devices = sorted({key.device for key in sides if key.device is not None})
        applications = sorted({key.application for key in sides})
        query = self._reader.query(page.flush)
        categories = query.hmget(keys.categories, applications)
        hints = [query.hget(keys.totals(device), "hint") for device in devices]
        addresses = [query.zrevrange(keys.addresses(device)) for device in devices]
        query.run()
        page.categories = {
            application: int(category or 0)
            for application, category in zip(applications, categories.value, strict=True)
        }
        page.devices = {
            device: DeviceRow({}, name=device, hint=hint.value, addresses=of_device.value)
            for device, hint, of_device in zip(devices, hints, addresses, strict=True)
        }
