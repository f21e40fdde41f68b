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

import json
import logging
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from netify_agent.config.calendar import DAY_S, Period
from netify_agent.store.client import Client, undecoded
from netify_agent.store.history_blocks import Damaged
from netify_agent.store.history_decoders import (
    ApplicationsDecoder,
    Decoder,
    OneApplicationDecoder,
    VolumeDecoder,
)
from netify_agent.store.history_plan import Part, Piece, may_overlap, parts_of, plan
from netify_agent.store.history_record import NO_SHARE, NO_VOLUME, Share, Volume, add_shares, add_volumes
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.layout import Keys, Unit
from netify_agent.store.query import FlushStamp, Query, retry_when_flushed

log = logging.getLogger(__name__)
NEVER = sys.maxsize  # after every moment


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


@dataclass
class PeriodShare:
    """As :class:`PeriodVolumes`, of one application: series to its part."""

    flush: FlushStamp
    period: Period
    shares: dict[str, Share]


@dataclass
class _State:
    """What the store says about its history.

    :ivar due: units with fresh records or open buckets; :ivar complete: see :func:`plan`.
    :ivar unmigrated: series in the form of schema 3.
    :ivar numbers: application to its number; empty if not asked for.
    """

    flush: FlushStamp
    due: list[Unit]
    complete: dict[int, int]
    unmigrated: set[str]
    numbers: dict[str, str]


_T = TypeVar("_T")


class HistoryReader:
    """Reads one gateway's history. Raises :class:`~netify_agent.store.client.StoreError`."""

    def __init__(self, client: Client, gateway: str, steps: HistorySteps) -> None:
        """Sends nothing yet. ``client``: as for the other readers."""
        self.steps = steps
        self._client = client
        self._undecoded = undecoded(client)
        self._keys = Keys(gateway)
        self._logged: set[str] = set()  # damaged keys that the log has named

    @retry_when_flushed
    def buckets(
        self,
        series: str,
        step: int,
        periods: Sequence[Period],
        *,
        until: int = 0,
        applications: bool = False,
    ) -> list[Bucket]:
        """What ``series`` moved in each of ``periods``, which are consecutive periods of ``step``.

        Repeats the read by itself if a flush is applied meanwhile.

        :param until: include the later periods that begin before this moment, seconds since the epoch.
        :returns: the periods with traffic, oldest first.
        """
        if not periods:
            return []
        starts = [period.start for period in periods]
        found: dict[int, Bucket] = {}

        def take(middle: int, volume: Volume, shares: Mapping[str, Share]) -> None:
            period = (
                periods[bisect_right(starts, middle) - 1]
                if middle < periods[-1].end
                else self.steps.calendar.period(step, middle)
            )
            bucket = found.setdefault(period.start, Bucket(*period, NO_VOLUME, {}))
            add_shares(bucket.applications, shares)
            found[period.start] = bucket._replace(volume=add_volumes(bucket.volume, volume))

        state = self._state(None, applications)
        end = max(periods[-1].end, self.steps.calendar.period(step, until - 1).end if until else 0)
        pieces = [Piece(step, starts[0], end)]
        if applications:
            for _, of_series in self._read(state, [series], pieces, ApplicationsDecoder(state.numbers)):
                for middle, (volume, shares) in of_series:
                    take(middle, volume, shares)
        else:
            for _, volumes in self._read(state, [series], pieces, VolumeDecoder()):
                for middle, volume in volumes:
                    take(middle, volume, {})
        return [
            found[start] for start in sorted(found) if any(found[start].volume) or found[start].applications
        ]

    def volumes(
        self, series: Sequence[str], since: int, until: int, flush: FlushStamp | None = None
    ) -> PeriodVolumes:
        """What each of ``series`` moved from ``since`` until before ``until``, seconds since the epoch.

        The sums are made from the longest steps whose periods fit: months, then days, hours and so on at both
        ends. Where the shorter step is no longer kept, the longer period that touches the end is taken as a
        whole; ``period`` of the answer says so. What is later than the last flush is included: the clock was
        set back since.

        :param flush: continue the read of this flush; None: of whichever is the last.
        :raises FlushedMeanwhile: if a flush is applied meanwhile; see
            :func:`~netify_agent.store.query.retry_when_flushed`, which the caller applies.
        """
        state = self._state(flush, False)
        pieces = self._plan(state, since, until)
        found: dict[str, Volume] = {}
        for name, records in self._read(state, series, pieces, VolumeDecoder()):
            found[name] = Volume(*_sums(found.get(name, NO_VOLUME), records))
        moved = {name: volume for name, volume in found.items() if any(volume)}
        return PeriodVolumes(state.flush, _covered(pieces, since, until), moved)

    def shares(
        self, series: Sequence[str], since: int, until: int, flush: FlushStamp | None = None
    ) -> PeriodShares:
        """As :meth:`volumes`, by application."""
        state = self._state(flush, True)
        pieces = self._plan(state, since, until)
        found: dict[str, dict[str, Share]] = {}
        for name, records in self._read(state, series, pieces, ApplicationsDecoder(state.numbers)):
            into = found.setdefault(name, {})
            for _, (_, shares) in records:
                add_shares(into, shares)
        for name, shares in found.items():
            found[name] = {application: share for application, share in shares.items() if any(share)}
        moved = {name: shares for name, shares in found.items() if shares}
        return PeriodShares(state.flush, _covered(pieces, since, until), moved)

    def share(
        self,
        application: str,
        series: Sequence[str],
        since: int,
        until: int,
        flush: FlushStamp | None = None,
    ) -> PeriodShare:
        """As :meth:`volumes`, of one application."""
        state = self._state(flush, True)
        pieces = self._plan(state, since, until)
        found: dict[str, Share] = {}
        decoder = OneApplicationDecoder(application, state.numbers)
        for name, records in self._read(state, series, pieces, decoder):
            found[name] = Share(*_sums(found.get(name, NO_SHARE), records))
        moved = {name: share for name, share in found.items() if any(share)}
        return PeriodShare(state.flush, _covered(pieces, since, until), moved)

    def other_series(self, flush: FlushStamp | None = None) -> list[str]:
        """The series with history that are neither the gateway's nor a device's, such as ``forgotten``."""
        query = Query(self._client, self._keys, flush)
        names = query.smembers(self._keys.history_series)
        query.run()
        return sorted(names.value)

    # -- inside ----------------------------------------------------------------------------------------------

    def _state(self, flush: FlushStamp | None, applications: bool) -> _State:
        keys = self._keys
        query = Query(self._client, keys, flush)
        fields = query.hmget(keys.history, ["due", "since"])
        unmigrated = query.smembers(keys.unmigrated)
        numbers = query.hgetall(keys.history_applications) if applications else None
        stamp = query.run()
        due, since = fields.value
        return _State(
            stamp,
            [(step, start) for step, start in json.loads(due or "[]")],
            self._complete(json.loads(since) if since else None),
            unmigrated.value,
            numbers.value if numbers else {},
        )

    def _complete(self, stored: Mapping[str, int] | None) -> dict[int, int]:
        """From when on each step has records of everything.

        A step that only the configuration has is not complete before the first flush.

        :param stored: what the writer noted; None: nothing yet.
        """
        if stored is None:
            return {}
        return {step: stored.get(str(step), NEVER) for step in self.steps.all}

    def _plan(self, state: _State, since: int, until: int) -> list[Piece]:
        return plan(self.steps, state.complete, since, until, state.flush.at_ms // 1000)

    def _read(
        self, state: _State, series: Sequence[str], pieces: Sequence[Piece], decoder: Decoder[_T]
    ) -> Iterator[tuple[str, list[tuple[int, _T]]]]:
        """Yield a series, and middle and value of records of it in ``pieces``; each series several times."""
        if not pieces or not series:
            return
        units = self._units(state, pieces)
        query = Query(self._undecoded, self._keys, state.flush)
        parts = parts_of(
            self.steps,
            pieces,
            units,
            state.due,
            series,
            [name for name in series if name in state.unmigrated],
        )
        strings = query.mget(
            [
                self._keys.chunk((part.step, part.start), name)
                for part in parts
                if part.is_chunk
                for name in part.series
            ]
        )
        hashes = [
            decoder.queue(query, self._bucket_key(name, part))
            for part in parts
            if not part.is_chunk
            for name in part.series
        ]
        query.run()
        chunks, buckets = iter(strings.value), iter(hashes)
        for part in parts:
            middles, start = part.middles, part.start
            for name in part.series:
                try:
                    if not part.is_chunk:
                        records = [(start, decoder.of_bucket(next(buckets).value))]
                    elif data := next(chunks):
                        records = decoder.of_chunk(data, start, fresh_only=part.fresh_only)
                    else:
                        continue
                except Damaged as error:
                    self._tell(name, part, error)
                    continue
                yield name, [(at, value) for one, value in records if (at := middles[one]) is not None]

    def _units(self, state: _State, pieces: Sequence[Piece]) -> dict[Unit, list[Piece]]:
        """The chunks that may have records of the pieces' own steps."""
        query = Query(self._client, self._keys, state.flush)
        found = []
        for piece in pieces:
            low = piece.since - 2 * self.steps.chunk_length(piece.step) - DAY_S
            starts = query.zrangebyscore(self._keys.chunks(piece.step), low, piece.until + DAY_S)
            found.append((piece, starts))
        query.run()
        units: dict[Unit, list[Piece]] = {}
        for piece, starts in found:
            due = [start for step, start in state.due if step == piece.step]
            for start in {*map(int, starts.value), *due}:
                if may_overlap(self.steps, piece, piece.step, start):
                    units.setdefault((piece.step, start), []).append(piece)
        return units

    def _bucket_key(self, name: str, part: Part) -> str:
        if part.is_old:
            return self._keys.old_bucket(part.step, part.start, name)
        return self._keys.open_bucket(part.start, name)

    def _tell(self, name: str, part: Part, error: Damaged) -> None:
        """Log each damaged key once."""
        key = (
            self._keys.chunk((part.step, part.start), name) if part.is_chunk else self._bucket_key(name, part)
        )
        if key not in self._logged:
            self._logged.add(key)
            log.error("the history in Redis under %s is damaged and is left out: %s", key, error)


def _sums(known: tuple[int, ...], records: Sequence[tuple[int, tuple[int, ...]]]) -> Iterable[int]:
    """The sum of each number of some records with the numbers that are ``known``."""
    return map(sum, zip(known, *(numbers for _, numbers in records), strict=True))


def _covered(pieces: Sequence[Piece], since: int, until: int) -> Period:
    if not pieces:
        return Period(since, until)
    return Period(pieces[0].since, pieces[-1].until)
