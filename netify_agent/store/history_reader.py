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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from netify_agent.config.calendar import DAY_S, HOUR_S, Period
from netify_agent.store.client import Client, undecoded
from netify_agent.store.history_migration import old_starts, old_step
from netify_agent.store.history_plan import Piece, plan
from netify_agent.store.history_record import (
    NO_VOLUME,
    Damaged,
    Share,
    Volume,
    add_shares,
    add_volumes,
    decode,
    decode_volumes,
)
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.layout import OPEN, VOLUME_CODES, Keys, Unit
from netify_agent.store.open_bucket import shares_of, volume_of
from netify_agent.store.query import FlushStamp, Query, Result, retry_when_flushed

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
class _State:
    """What the store says about its history.

    :ivar due: units with fresh records or open buckets; :ivar complete: see :func:`plan`.
    :ivar unmigrated: series in the form of schema 3.
    :ivar names: number to application.
    """

    flush: FlushStamp
    due: list[Unit]
    complete: dict[int, int]
    unmigrated: set[str]
    names: dict[int, str]


@dataclass
class _Part:
    """One string or hash of the store that has records of some series.

    :ivar step: of its records; :ivar start: of the chunk, or of the bucket.
    :ivar pieces: which of its records count.
    """

    step: int
    start: int
    pieces: list[Piece]
    is_chunk: bool
    fresh_only: bool = False
    data: Result[bytes | None] = field(default_factory=Result)
    fields: Result[dict[bytes, bytes]] = field(default_factory=Result)
    values: Result[list[bytes | None]] = field(default_factory=Result)


#: Called with a moment inside the period, the volume, and the applications by name.
_Take = Callable[[int, Volume, dict[str, Share]], None]


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
        self, series: str, step: int, periods: Sequence[Period], *, applications: bool = False
    ) -> list[Bucket]:
        """What ``series`` moved in each of ``periods``, which are consecutive periods of ``step``.

        Repeats the read by itself if a flush is applied meanwhile.

        :returns: the periods with traffic, oldest first.
        """
        if not periods:
            return []
        starts = [period.start for period in periods]
        found: dict[int, Bucket] = {}

        def take(middle: int, volume: Volume, shares: dict[str, Share]) -> None:
            period = periods[bisect_right(starts, middle) - 1]
            bucket = found.setdefault(period.start, Bucket(*period, NO_VOLUME, {}))
            add_shares(bucket.applications, shares)
            found[period.start] = bucket._replace(volume=add_volumes(bucket.volume, volume))

        state = self._state(None, applications)
        pieces = [Piece(step, starts[0], periods[-1].end)]
        for _, middle, volume, shares in self._read(state, [series], pieces, applications):
            take(middle, volume, shares)
        return [
            found[start] for start in sorted(found) if any(found[start].volume) or found[start].applications
        ]

    def volumes(
        self, series: Sequence[str], since: int, until: int, flush: FlushStamp | None = None
    ) -> PeriodVolumes:
        """What each of ``series`` moved from ``since`` until before ``until``, seconds since the epoch.

        The sums are made from the longest steps whose periods fit: months, then days, hours and so on at both
        ends. Where the shorter step is no longer kept, the longer period that touches the end is taken as a
        whole; ``period`` of the answer says so. A period that has not ended is taken if ``until`` is after
        the last flush.

        :param flush: continue the read of this flush; None: of whichever is the last.
        :raises FlushedMeanwhile: if a flush is applied meanwhile; see
            :func:`~netify_agent.store.query.retry_when_flushed`, which the caller applies.
        """
        state = self._state(flush, False)
        pieces = self._plan(state, since, until)
        found: dict[str, Volume] = {}
        for name, _, volume, _ in self._read(state, series, pieces, False):
            found[name] = add_volumes(found.get(name, NO_VOLUME), volume)
        moved = {name: volume for name, volume in found.items() if any(volume)}
        return PeriodVolumes(state.flush, _covered(pieces, since, until), moved)

    def shares(
        self, series: Sequence[str], since: int, until: int, flush: FlushStamp | None = None
    ) -> PeriodShares:
        """As :meth:`volumes`, by application."""
        state = self._state(flush, True)
        pieces = self._plan(state, since, until)
        found: dict[str, dict[str, Share]] = {}
        for name, _, _, shares in self._read(state, series, pieces, True):
            add_shares(found.setdefault(name, {}), shares)
        for name, shares in found.items():
            found[name] = {application: share for application, share in shares.items() if any(share)}
        moved = {name: shares for name, shares in found.items() if shares}
        return PeriodShares(state.flush, _covered(pieces, since, until), moved)

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
            {int(number): name for name, number in numbers.value.items()} if numbers else {},
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
        self, state: _State, series: Sequence[str], pieces: Sequence[Piece], applications: bool
    ) -> Iterator[tuple[str, int, Volume, dict[str, Share]]]:
        """Yield series, middle, volume and applications of each record in ``pieces``."""
        if not pieces or not series:
            return
        units = self._units(state, pieces)
        query = Query(self._undecoded, self._keys, state.flush)
        parts = [(name, part) for name in series for part in self._parts(state, name, pieces, units)]
        chunks = [self._keys.chunk((part.step, part.start), name) for name, part in parts if part.is_chunk]
        strings = query.mget(chunks)
        for name, part in parts:
            if part.is_chunk:
                continue
            key = self._bucket_key(name, part)
            if applications:
                part.fields = query.hgetall(key)  # type: ignore[assignment]
            else:
                part.values = query.hmget(key, VOLUME_CODES)  # type: ignore[assignment]
        query.run()
        data = iter(strings.value)
        for name, part in parts:
            try:
                if part.is_chunk:
                    records = self._of_chunk(state, part, next(data), applications)
                else:
                    records = self._of_bucket(part, applications)
            except Damaged as error:
                self._tell(name, part, error)
                continue
            for start, volume, shares in records:
                middle = self.steps.middle(part.step, start)
                if any(piece.since <= middle < piece.until for piece in part.pieces):
                    yield name, middle, volume, shares

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
            # Where the calendar was changed, a chunk may hold records that are not of its period by now.
            slack = 0 if piece.step >= DAY_S else 2 * HOUR_S
            for start in {
                *map(int, starts.value),
                *(start for step, start in state.due if step == piece.step),
            }:
                end = self.steps.chunk_end(piece.step, start)
                if start - slack < piece.until and end + slack > piece.since:
                    units.setdefault((piece.step, start), []).append(piece)
        return units

    def _parts(
        self, state: _State, name: str, pieces: Sequence[Piece], units: dict[Unit, list[Piece]]
    ) -> Iterator[_Part]:
        for (step, start), wanting in units.items():
            yield _Part(step, start, wanting, is_chunk=True)
        for step, start in state.due:
            longer = [piece for piece in pieces if piece.step > step or step == OPEN]
            if step == OPEN:
                yield _Part(self.steps.shortest, start, longer, is_chunk=False)
            elif longer:
                yield _Part(step, start, longer, is_chunk=True, fresh_only=True)
        if name in state.unmigrated:
            for piece in pieces:
                old = old_step(self.steps, piece.step)
                for start in old_starts(old, piece.since, piece.until) if old else ():
                    part = _Part(old or 0, start, [piece], is_chunk=False)
                    part.fresh_only = True  # marks the form of schema 3
                    yield part

    def _bucket_key(self, name: str, part: _Part) -> str:
        if part.fresh_only:
            return self._keys.old_bucket(part.step, part.start, name)
        return self._keys.open_bucket(part.start, name)

    def _of_chunk(
        self, state: _State, part: _Part, data: bytes | None, applications: bool
    ) -> Iterator[tuple[int, Volume, dict[str, Share]]]:
        if not data:
            return iter(())
        if not applications:
            volumes = decode_volumes(data, part.start, fresh_only=part.fresh_only)
            return ((start, volume, {}) for start, volume in volumes)
        chunk = decode(data, part.start)
        records = chunk.fresh if part.fresh_only else [*chunk.summed, *chunk.fresh]
        return (
            (
                record.start,
                record.volume,
                {
                    state.names.get(number, f"?{number}"): share
                    for number, share in record.applications.items()
                },
            )
            for record in records
        )

    def _of_bucket(self, part: _Part, applications: bool) -> Iterator[tuple[int, Volume, dict[str, Share]]]:
        if not applications:
            return iter([(part.start, volume_of(part.values.value), {})])
        fields = {
            name.decode("utf-8", "replace"): value.decode("utf-8", "replace")
            for name, value in part.fields.value.items()
        }
        return iter([(part.start, *shares_of(fields))])

    def _tell(self, name: str, part: _Part, error: Damaged) -> None:
        """Log each damaged key once."""
        key = (
            self._keys.chunk((part.step, part.start), name) if part.is_chunk else self._bucket_key(name, part)
        )
        if key not in self._logged:
            self._logged.add(key)
            log.error("the history in Redis under %s is damaged and is left out: %s", key, error)


def _covered(pieces: Sequence[Piece], since: int, until: int) -> Period:
    if not pieces:
        return Period(since, until)
    return Period(pieces[0].since, pieces[-1].until)
