"""Counts what the scopes of plans used in their current periods.

The history is the only stored record of it. A table in memory holds what some series moved in one period. It
is read from the history once, and each flush adds to it what the flush adds to the history. It is read again
when the period ends, when the configuration needs other figures, and when Redis lost flushes. The figures of
plans are therefore always those of ``/usage``, and most flushes read nothing for them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from netify_agent.config.alerts import EACH
from netify_agent.config.calendar import Period
from netify_agent.config.plans import Plan, Plans
from netify_agent.enrich import Directory
from netify_agent.netifyd.flow_record import OTHER_DEVICE
from netify_agent.store.client import StoreError
from netify_agent.store.deltas import Change, Sums
from netify_agent.store.flush import Flush
from netify_agent.store.history_reader import HistoryReader
from netify_agent.store.history_record import NO_SHARE, Share
from netify_agent.store.layout import GATEWAY
from netify_agent.store.query import FlushedMeanwhile, FlushStamp
from netify_agent.store.reader import StoreReader

log = logging.getLogger(__name__)

_DEVICES = EACH  # in place of the name of a series: all devices


class _Selection(NamedTuple):
    """The traffic that a plan counts. Plans with the same selection share a table.

    :ivar series: of the gateway, of a device, or :data:`_DEVICES`.
    :ivar application, category: only this traffic; None: all.
    """

    step: int
    series: str
    application: str | None
    category: str | None


def _selection_of(plan: Plan) -> _Selection:
    series = plan.device or (GATEWAY if plan.group is None else _DEVICES)
    return _Selection(plan.step, series, plan.application, plan.category)


@dataclass
class _Table:
    """What some series moved in one period.

    :ivar tags: the applications that count; None: all traffic.
    :ivar stored: by series, as the history has it.
    :ivar growth: what the flush adds that is being written.
    """

    selection: _Selection
    period: Period
    tags: frozenset[str] | None
    stored: dict[str, Share]
    growth: dict[str, Share] = field(default_factory=dict)

    def add(self, change: Change) -> None:
        """Note what a flush adds to the history of a series."""
        series = self.selection.series
        if change.name != series and (series != _DEVICES or change.name == GATEWAY):
            return
        tally = change.interval
        if self.tags is None:
            parts: Iterable[Sums] = (tally.total,)
        else:
            parts = (sums for tag, sums in tally.applications.items() if tag in self.tags)
        self.growth[change.name] = _sum(Share(one[0], one[1], one[5], one[6]) for one in parts)

    def used(self) -> dict[str, Share]:
        """Return what each series moved, including the flush that is being written."""
        found = dict(self.stored)
        for name, share in self.growth.items():
            found[name] = _sum((found.get(name, NO_SHARE), share))
        return found

    def commit(self, dropped: Collection[str]) -> None:
        """Add the growth to what is stored, because the flush is in Redis; remove devices that it dropped."""
        self.stored, self.growth = self.used(), {}
        if self.selection.series != GATEWAY:
            for device in dropped:
                self.stored.pop(device, None)


class PlanMeter:
    """The plans of one gateway. All methods belong to the writer's thread."""

    def __init__(
        self, reader: StoreReader, history: HistoryReader, directory: Callable[[], Directory]
    ) -> None:
        """Reads nothing yet. ``directory``: returns the names, groups and categories."""
        self._reader = reader
        self._history = history
        self._directory = directory
        self._plans: Plans = {}
        self._tables: dict[_Selection, _Table] = {}
        self._categories: dict[str, int] | None = None  # application to netifyd's category id
        self._sequence: int | None = None  # of the last flush in Redis, whose bytes the tables have
        self._groups: dict[str, list[str]] = {}  # of devices
        self._groups_of: tuple[Directory, int] | None = None  # directory and generation that they are from
        self._logged: str | None = None  # the error that was logged last

    def configure(self, plans: Plans) -> None:
        """Count for other plans from the next flush on."""
        self._plans = plans

    # -- a flush -------------------------------------------------------------------------------------------

    def begin(self, flush: Flush) -> None:
        """Prepare for a flush that is about to be written. Call :meth:`add` with all its changes afterwards.

        Reads the tables that are missing. If that fails, their plans have no figures with this flush.
        """
        if flush.sequence - 1 != self._sequence:
            self._tables, self._categories = {}, None
            self._sequence = flush.sequence - 1
        for table in self._tables.values():
            table.growth = {}
        try:
            self._read(flush)
        except StoreError as error:
            if str(error) != self._logged:
                log.warning("cannot read the use of plans, retrying with the next flush: %s", error)
            self._logged = str(error)
            return
        self._logged = None

    def add(self, change: Change) -> None:
        """Take what the flush adds to the history of one series."""
        for table in self._tables.values():
            table.add(change)

    def used(self, dropped: Collection[str] = ()) -> dict[str, tuple[Period, dict[str, int]]]:
        """Period and used bytes of each plan that is known, with the flush that is being written.

        :param dropped: devices that the flush drops.
        :returns: by plan; see :class:`~netify_agent.plans.standing.PlanStanding`.
        """
        found = {}
        for name, plan in self._plans.items():
            table = self._tables.get(_selection_of(plan))
            if table is not None:
                found[name] = table.period, self._rows(plan, table, dropped)
        return found

    def applied(self, sequence: int, dropped: Collection[str]) -> None:
        """Note that flush ``sequence``, which dropped the devices ``dropped``, is in Redis."""
        self._sequence = sequence
        for table in self._tables.values():
            table.commit(dropped)

    def period(self, plan: Plan, bucket: int) -> Period:
        """The period of a plan that the bytes of a history bucket belong to; ``bucket``: its start, s."""
        steps = self._history.steps
        return steps.period(plan.step, steps.shortest, bucket)

    # -- inside --------------------------------------------------------------------------------------------

    def _rows(self, plan: Plan, table: _Table, dropped: Collection[str]) -> dict[str, int]:
        used = {
            device: share
            for device, share in table.used().items()
            if device not in dropped or device == GATEWAY
        }
        group = plan.group and plan.group.name
        if group is not None:
            used = {device: share for device, share in used.items() if group in self._of(device)}
        if plan.device == EACH:
            rows = {device: amount(plan, share) for device, share in used.items() if device != OTHER_DEVICE}
            return {device: count for device, count in rows.items() if count}
        return {group or plan.device or GATEWAY: sum(amount(plan, share) for share in used.values())}

    def _of(self, device: str) -> list[str]:
        """The groups of a device."""
        directory = self._directory()
        now = directory, directory.generation
        if now != self._groups_of:
            self._groups, self._groups_of = {}, now
        groups = self._groups.get(device)
        if groups is None:
            groups = self._groups[device] = directory.groups(device, (), directory.name(device, (), None))
        return groups

    def _read(self, flush: Flush) -> None:
        """Read the tables that are missing or of another period or category. Raises StoreError."""
        wanted = {_selection_of(plan): plan for plan in self._plans.values()}
        self._tables = {one: table for one, table in self._tables.items() if one in wanted}
        if not wanted:
            self._categories = None
            return
        devices: list[str] | None = None
        if self._categories is None:
            known = self._reader.known()
            if known.flush.sequence != flush.sequence - 1:
                raise FlushedMeanwhile
            self._categories, devices = known.categories, known.devices
        self._categories.update(flush.batch.categories)
        for selection, plan in wanted.items():
            period = self.period(plan, flush.batch.bucket)
            tags = self._tags(selection)
            table = self._tables.pop(selection, None)
            if table is None or (table.period, table.tags) != (period, tags):
                names = [selection.series]
                if selection.series == _DEVICES:
                    devices = self._reader.known().devices if devices is None else devices
                    names = devices
                table = _Table(selection, period, tags, self._stored(names, period, tags, flush))
            self._tables[selection] = table

    def _tags(self, selection: _Selection) -> frozenset[str] | None:
        if selection.application is not None:
            return frozenset((selection.application,))
        if selection.category is None:
            return None
        category_of = self._directory().application
        return frozenset(
            tag
            for tag, number in (self._categories or {}).items()
            if category_of(tag, number)[1] == selection.category
        )

    def _stored(
        self, series: list[str], period: Period, tags: frozenset[str] | None, flush: Flush
    ) -> dict[str, Share]:
        """Read from the history what series moved in a period before the flush. Raises StoreError."""
        # The agent's clock may have been set since the bucket began, even by years. By the time of the flush,
        # the steps that the period is read from might have expired.
        now_ms = min(max(flush.at_ms, period.start * 1000), period.end * 1000)
        before = FlushStamp(flush.sequence - 1, now_ms)
        if tags is None:
            volumes = self._history.volumes(series, *period, before).volumes
            return {
                name: Share(one.bytes_up, one.bytes_down, one.local_up, one.local_down)
                for name, one in volumes.items()
            }
        shares = self._history.shares(series, *period, before).shares
        return {
            name: _sum(share for tag, share in of_series.items() if tag in tags)
            for name, of_series in shares.items()
        }


def amount(plan: Plan, share: Share) -> int:
    """The bytes of ``share`` that count for a plan."""
    up, down = share.bytes_up, share.bytes_down
    if not plan.local:
        up, down = up - share.local_up, down - share.local_down
    return {"both": up + down, "up": up, "down": down}[plan.direction]


def _sum(shares: Iterable[Share]) -> Share:
    up = down = local_up = local_down = 0
    for share in shares:
        up += share[0]
        down += share[1]
        local_up += share[2]
        local_down += share[3]
    return Share(up, down, local_up, local_down)
