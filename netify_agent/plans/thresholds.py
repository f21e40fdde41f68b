"""Remembers which thresholds of plans are passed: each once in a period, also over restarts. No I/O.

A threshold stays passed until the period ends, even if the figure falls below it again: bytes move to another
application when netifyd reclassifies a flow. If the limit or the scope changes, it is compared again. A clock
that is set may leave a period and return to it, so ended and future periods are remembered too.
Memory is authoritative; each flush stores the changes since the flush before.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from netify_agent.config.calendar import Period
from netify_agent.config.plans import Plan, Plans
from netify_agent.store.unstored import Changes, UnstoredChanges

TABLE = "plans"  #: name of the table in the store
REMEMBERED = 2  # periods before the current one, and after it, in which somebody passed a threshold

_Place = tuple[str, int]  # a plan and a threshold, percent


class _Passed(NamedTuple):
    """A threshold that is passed in one period.

    :ivar start, end: of the period, seconds since the epoch.
    :ivar of: the plan's limit and scope, as :func:`_definition` spells them.
    :ivar since_ms: when it was found, our clock, milliseconds since the epoch.
    :ivar over: a flush of a later period came, so its alert is resolved.
    """

    start: int
    end: int
    of: str
    since_ms: int
    over: bool = False


_Periods = tuple[_Passed, ...]  # of one threshold and one who, by their start


class Thresholds:
    """The thresholds that are passed, by plan, threshold and by whom."""

    def __init__(self) -> None:
        self._passed: dict[_Place, dict[str, _Periods]] = {}
        self._current: dict[_Place, tuple[Period, str]] = {}  # period and definition of the last comparison
        self._dirty = UnstoredChanges()

    def restore(self, stored: Mapping[str, str]) -> int:
        """Continue from the stored state; returns the number of damaged entries, which are left out."""
        damaged = 0
        self._current = {}
        for name, text in stored.items():
            try:
                plan, threshold, who = name.split(":", 2)
                place, periods = (plan, int(threshold)), tuple(_Passed(*one) for one in json.loads(text))
                if not periods or not all(_is_sound(one) for one in periods):
                    raise ValueError("not a passed threshold")
            except (ValueError, TypeError):
                damaged += 1
                self._dirty[TABLE, name] = None
                continue
            self._passed.setdefault(place, {})[who] = periods
        return damaged

    def evaluate(
        self,
        plans: Plans,
        used: Mapping[str, tuple[Period, Mapping[str, int]]],
        at_ms: int,
        dropped: Collection[str] = (),
    ) -> None:
        """Compare what is used with the thresholds, once for each flush.

        :param used: plan to its period and to bytes by whom; plans that are missing stay as they are.
        :param at_ms: our clock, milliseconds since the epoch.
        :param dropped: devices that have no row any more.
        """
        places = {(name, threshold) for name, plan in plans.items() for threshold in plan.warn_at}
        for place, passed in list(self._passed.items()):
            for who in [one for one in passed if place not in places or (one and one in dropped)]:
                self._set(place, who, ())
        for name, (period, rows) in used.items():
            for threshold in plans[name].warn_at:
                self._compare((name, threshold), plans[name], period, rows, at_ms)

    def _compare(
        self, place: _Place, plan: Plan, period: Period, rows: Mapping[str, int], at_ms: int
    ) -> None:
        bound, of = plan.bound(place[1]), _definition(plan)
        known = self._passed.setdefault(place, {})
        is_other, self._current[place] = self._current.get(place) != (period, of), (period, of)
        for who, before in list(known.items()) if is_other else ():
            periods = _carried_on(before, period, of, reached=rows.get(who, 0) >= bound)
            if periods != before:
                self._set(place, who, periods)
        for who, count in rows.items():
            periods = known.get(who, ())
            if count >= bound and all((one.start, one.end) != period for one in periods):
                self._set(place, who, tuple(sorted((*periods, _Passed(*period, of, at_ms)))))

    def _set(self, place: _Place, who: str, periods: _Periods) -> None:
        if periods:
            self._passed[place][who] = periods
        else:
            del self._passed[place][who]
        self._note(place, who)

    def _note(self, place: _Place, who: str) -> None:
        periods = self._passed[place].get(who)
        text = None if periods is None else json.dumps(periods, separators=(",", ":"))
        self._dirty[TABLE, f"{place[0]}:{place[1]}:{who}"] = text

    def passed(self, plan: str, threshold: int, period: Period) -> dict[str, int]:
        """Who passed a threshold in a period, each since when: our clock, milliseconds since the epoch."""
        return {
            who: one.since_ms
            for who, periods in self._passed.get((plan, threshold), {}).items()
            for one in periods
            if (one.start, one.end) == period
        }

    def firing(self, plan: str, threshold: int) -> Iterator[tuple[str, int]]:
        """Who passed a threshold in a period that is not over, and since when.

        Somebody has two if the clock was in the next period before.
        """
        for who, periods in self._passed.get((plan, threshold), {}).items():
            for one in periods:
                if not one.over:
                    yield who, one.since_ms

    def changes(self, *, everything: bool) -> Changes:
        """Return the changes for the next flush to store; ``everything``: Redis lost the table."""
        if everything:
            for place, passed in self._passed.items():
                for who in passed:
                    self._note(place, who)
        return self._dirty.take()

    def stored(self) -> None:
        """The latest result of :meth:`changes` is in Redis."""
        self._dirty.stored()


def _definition(plan: Plan) -> str:
    """Limit and scope of a plan: with other ones, its thresholds are compared anew."""
    group = plan.group and plan.group.name
    scope = plan.device, group, plan.application, plan.category
    return json.dumps([plan.limit, plan.per, plan.direction, plan.local, *scope], separators=(",", ":"))


def _carried_on(periods: _Periods, now: Period, of: str, *, reached: bool) -> _Periods:
    """What is remembered in the period ``now``.

    :param of: the plan's definition by now. By another one, or in another calendar, a threshold that is
        still ``reached`` goes on as the same.
    """
    if len(periods) == 1 and (periods[0].start, periods[0].end, periods[0].of) == (*now, of):
        return periods
    before: list[_Passed] = []
    after: list[_Passed] = []
    if all(one.of == of for one in periods):
        before = [one._replace(over=True) for one in periods if one.end <= now.start]
        after = [one for one in periods if one.start >= now.end]
    current = [one for one in periods if one.end > now.start and one not in after]
    if all((one.start, one.end, one.of) != (*now, of) for one in current):
        current = [one._replace(start=now.start, end=now.end, of=of) for one in current[:1] if reached]
    return (*before[-REMEMBERED:], *current, *after[:REMEMBERED])


def _is_sound(passed: _Passed) -> bool:
    numbers = passed.start, passed.end, passed.since_ms
    return (
        all(type(number) is int for number in numbers)
        and isinstance(passed.of, str)
        and isinstance(passed.over, bool)
    )
