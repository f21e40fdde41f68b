"""Decides what is read of the history for a stretch of time: which steps, and in which keys. No I/O.

All moments are whole seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from netify_agent.config.calendar import DAY_S, HOUR_S, Period
from netify_agent.store.history_migration import old_starts, old_step
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.layout import OPEN, Unit


class Piece(NamedTuple):
    """A stretch that is read from the records of one step: those whose middle is in it."""

    step: int
    since: int
    until: int


class Middles(dict[int, int | None]):
    """Start of a record to its middle; None if that is in none of the pieces. Filled as it is asked."""

    def __init__(self, steps: HistorySteps, step: int, pieces: Sequence[Piece]) -> None:
        super().__init__()
        self._steps, self._step, self._pieces = steps, step, pieces

    def __missing__(self, start: int) -> int | None:
        found = None
        near = 2 * self._step + DAY_S  # the middle is at most so much later than the start
        # A stranger may have sent a start that no calendar has.
        if any(piece.since - near <= start < piece.until for piece in self._pieces):
            middle = self._steps.middle(self._step, start)
            found = middle if any(piece.since <= middle < piece.until for piece in self._pieces) else None
        self[start] = found
        return found


@dataclass
class Part:
    """One string or hash of each of some series.

    :ivar start: of the chunk, or of the bucket.
    :ivar middles: which of its records count.
    :ivar fresh_only: of a chunk, only the records that no longer step holds.
    :ivar is_old: a bucket in the form of schema 3.
    """

    step: int
    start: int
    middles: Middles
    series: Sequence[str]
    is_chunk: bool = False
    fresh_only: bool = False
    is_old: bool = False


def plan(steps: HistorySteps, complete: Mapping[int, int], since: int, until: int, now: int) -> list[Piece]:
    """Cover the time from ``since`` until before ``until`` with periods of the longest steps that fit.

    Where no period that begins right fits, the shortest one that is still kept is taken as a whole, so the
    pieces may cover more. They are in order and have no gap between them.

    The time after the last flush is covered like any other: it has records if the clock was set back.

    :param complete: step to the moment from which on it has records of everything.
    :param now: the last flush.
    """
    longest_first = steps.all[::-1]
    longest = max((step for step in longest_first if complete.get(step, 0) <= now), default=longest_first[0])
    since = max(since, min(now - steps.keep_s[step] - 2 * steps.chunk_length(step) for step in longest_first))
    pieces: list[Piece] = []
    at = since
    while at < until:
        kept: list[tuple[int, Period]] = []  # longest first
        for step in longest_first:
            period = steps.calendar.period(step, at)
            if period.end > now - steps.keep_s[step] and period.start >= complete.get(step, 0):
                kept.append((step, period))
        fitting = [(step, period) for step, period in kept if period.start == at and period.end <= until]
        if fitting:
            step, period = fitting[0]
        else:
            step, period = (
                kept[-1] if kept else (longest_first[0], steps.calendar.period(longest_first[0], at))
            )
        begin, end = period if not pieces else (at, period.end)
        if fitting and step == longest:  # so do all that follow
            last = steps.calendar.period(step, until - 1)
            end = max(end, last.end if last.end == until else last.start)
        if pieces and pieces[-1].step == step:
            pieces[-1] = pieces[-1]._replace(until=end)
        else:
            pieces.append(Piece(step, begin, end))
        at = end
    return pieces


def may_overlap(steps: HistorySteps, piece: Piece, step: int, start: int) -> bool:
    """Whether a chunk, or the open bucket (``step`` :data:`OPEN`), may have records of a piece."""
    end = start + steps.shortest if step == OPEN else steps.chunk_end(step, start)
    # Where the calendar was changed, a chunk may hold records that are not of its period by now.
    slack = 0 if step >= DAY_S else 2 * HOUR_S
    return start - slack < piece.until and end + slack > piece.since


def parts_of(
    steps: HistorySteps,
    pieces: Sequence[Piece],
    units: Mapping[Unit, Sequence[Piece]],
    due: Sequence[Unit],
    series: Sequence[str],
    unmigrated: Sequence[str],
) -> list[Part]:
    """What may have records of some series in ``pieces``.

    :param units: chunks of the pieces' own steps that may have records of them, with these pieces.
    :param due: chunks with fresh records, and open buckets.
    :param unmigrated: those of the series that are in the form of schema 3.
    """
    found = [
        Part(step, start, Middles(steps, step, wanting), series, is_chunk=True)
        for (step, start), wanting in units.items()
    ]
    for step, start in due:
        wanting = [
            piece
            for piece in pieces
            if (piece.step > step or step == OPEN) and may_overlap(steps, piece, step, start)
        ]
        if wanting and step == OPEN:
            found.append(Part(steps.shortest, start, Middles(steps, steps.shortest, wanting), series))
        elif wanting:
            middles = Middles(steps, step, wanting)
            found.append(Part(step, start, middles, series, is_chunk=True, fresh_only=True))
    for piece in pieces if unmigrated else ():
        old = old_step(steps, piece.step)
        for start in old_starts(old, piece.since, piece.until) if old else ():
            middles = Middles(steps, old or 0, [piece])
            found.append(Part(old or 0, start, middles, unmigrated, is_old=True))
    return found
