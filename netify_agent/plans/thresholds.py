"""Remembers which thresholds of plans are passed: each once in a period, also over restarts. No I/O.

A threshold stays passed until the period ends, even if the figure falls below it again: bytes move to another
application when netifyd reclassifies a flow. If the limit or the scope changes, it is compared again. Memory
is authoritative; each flush stores the changes since the flush before.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import NamedTuple

from netify_agent.config.calendar import Period
from netify_agent.config.plans import Plan, Plans
from netify_agent.store.unstored import Changes, UnstoredChanges

TABLE = "plans"  #: name of the table in the store

_Place = tuple[str, int]  # a plan and a threshold, percent


class _Passed(NamedTuple):
    """A threshold that is passed.

    :ivar start, end: of the period, seconds since the epoch.
    :ivar of: the plan's limit and scope, as :func:`_definition` spells them.
    :ivar since_ms: when it was found, our clock, milliseconds since the epoch.
    """

    start: int
    end: int
    of: str
    since_ms: int


class Thresholds:
    """The thresholds that are passed, by plan, threshold and by whom."""

    def __init__(self) -> None:
        self._passed: dict[_Place, dict[str, _Passed]] = {}
        self._dirty = UnstoredChanges()

    def restore(self, stored: Mapping[str, str]) -> int:
        """Continue from the stored state; returns the number of damaged entries, which are left out."""
        damaged = 0
        for name, text in stored.items():
            try:
                plan, threshold, who = name.split(":", 2)
                start, end, of, since_ms = json.loads(text)
                numbers = int(threshold), start, end, since_ms
                if any(type(number) is not int for number in numbers) or not isinstance(of, str):
                    raise ValueError("not a passed threshold")
            except (ValueError, TypeError):
                damaged += 1
                self._dirty[TABLE, name] = None
                continue
            self._passed.setdefault((plan, numbers[0]), {})[who] = _Passed(start, end, of, since_ms)
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
                self._set(place, who, None)
        for name, (period, rows) in used.items():
            for threshold in plans[name].warn_at:
                self._compare((name, threshold), plans[name], period, rows, at_ms)

    def _compare(
        self, place: _Place, plan: Plan, period: Period, rows: Mapping[str, int], at_ms: int
    ) -> None:
        bound, of = plan.bound(place[1]), _definition(plan)
        for who, passed in list(self._passed.get(place, {}).items()):
            set_back = period.end <= passed.start  # our clock was: the period has not ended
            if passed.of == of and (set_back or (passed.start, passed.end) == period):
                continue
            goes_on = period.start < passed.end and rows.get(who, 0) >= bound
            self._set(place, who, _Passed(*period, of, passed.since_ms) if goes_on else None)
        known = self._passed.get(place, {})
        for who in [who for who, count in rows.items() if count >= bound and who not in known]:
            self._set(place, who, _Passed(*period, of, at_ms))

    def _set(self, place: _Place, who: str, passed: _Passed | None) -> None:
        found = self._passed.setdefault(place, {})
        if passed is None:
            del found[who]
        else:
            found[who] = passed
        self._note(place, who)

    def _note(self, place: _Place, who: str) -> None:
        passed = self._passed[place].get(who)
        text = None if passed is None else json.dumps(passed, separators=(",", ":"))
        self._dirty[TABLE, f"{place[0]}:{place[1]}:{who}"] = text

    def passed(self, plan: str, threshold: int) -> dict[str, int]:
        """Who passed a threshold, each since when: our clock, milliseconds since the epoch."""
        return {who: one.since_ms for who, one in self._passed.get((plan, threshold), {}).items()}

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
