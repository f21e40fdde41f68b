"""Decides which steps of the history are read for a stretch of time. No I/O.

All moments are whole seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from netify_agent.config.calendar import Period
from netify_agent.store.history_steps import HistorySteps


class Piece(NamedTuple):
    """A stretch that is read from the records of one step: those whose middle is in it."""

    step: int
    since: int
    until: int


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
