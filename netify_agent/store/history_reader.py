"""Reads the history: buckets of one step, or the sums of any stretch of time.

A series is the history of the gateway (an empty name), of a device (its name), or of a name that ``layout``
defines. What moved in a period is the sum of

* the records of the step,
* the fresh records of shorter steps, which no longer record holds yet,
* the open buckets, which are no records yet.

A record belongs to the period that contains its middle. Each byte is therefore in exactly one period of a
step, also where the calendar changed. The number of round trips does not depend on the number of series.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from netify_agent.config.calendar import Period
from netify_agent.store.client import Client
from netify_agent.store.history_record import Share, Volume
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.query import FlushStamp


class Bucket(NamedTuple):
    """What a series moved in one period of a step.

    :ivar start: seconds since the epoch; :ivar end: start of the next period.
    :ivar applications: application to its part; empty if not asked for.
    """

    start: int
    end: int
    volume: Volume
    applications: dict[str, Share]


@dataclass
class PeriodVolumes:
    """What some series moved in a stretch of time.

    :ivar flush: the flush that everything in it belongs to.
    :ivar period: the stretch that the sums cover, seconds since the epoch. It is longer than what was asked
        for where only longer periods are kept.
    :ivar volumes: series to what it moved; series without traffic are left out.
    """

    flush: FlushStamp
    period: Period
    volumes: dict[str, Volume]


@dataclass
class PeriodShares:
    """As :class:`PeriodVolumes`, by application: series to application to its part."""

    flush: FlushStamp
    period: Period
    shares: dict[str, dict[str, Share]]


class HistoryReader:
    """Reads one gateway's history. Raises :class:`~netify_agent.store.client.StoreError`."""

    def __init__(self, client: Client, gateway: str, steps: HistorySteps) -> None:
        """Sends nothing yet. ``client``: as for the other readers; only its settings are used."""
        self.steps = steps

    def buckets(
        self, series: str, step: int, periods: Sequence[Period], *, applications: bool = False
    ) -> list[Bucket]:
        """What ``series`` moved in each of ``periods``, which are consecutive periods of ``step``.

        Repeats the read by itself if a flush is applied meanwhile.

        :returns: the periods with traffic, oldest first.
        """
        raise NotImplementedError

    def volumes(
        self, series: Sequence[str], since: int, until: int, flush: FlushStamp | None = None
    ) -> PeriodVolumes:
        """What each of ``series`` moved from ``since`` until before ``until``, seconds since the epoch.

        The sums are made from the longest steps whose periods fit: months, then days, hours and so on at both
        ends. Where the shorter step is no longer kept, the longer period that touches the end is taken as a
        whole; ``period`` of the answer says so. A period that has not ended is taken if ``until`` is not
        before the last flush.

        :param flush: continue the read of this flush; None: of whichever is the last.
        :raises FlushedMeanwhile: if a flush is applied meanwhile; see
            :func:`~netify_agent.store.query.retry_when_flushed`, which the caller applies.
        """
        raise NotImplementedError

    def shares(
        self, series: Sequence[str], since: int, until: int, flush: FlushStamp | None = None
    ) -> PeriodShares:
        """As :meth:`volumes`, by application."""
        raise NotImplementedError

    def other_series(self, flush: FlushStamp | None = None) -> list[str]:
        """The series with history that are neither the gateway's nor a device's, such as ``forgotten``."""
        raise NotImplementedError
