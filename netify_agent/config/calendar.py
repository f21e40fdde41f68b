"""The owner's calendar: where days, weeks, months and shorter steps of history begin.

All moments are seconds since the epoch. A *period* begins at a moment that belongs to it and ends at the
start of the next one. The periods of one step cover time without gap or overlap, also where a clock is set.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

HOUR_S, DAY_S, WEEK_S = 3_600, 86_400, 604_800
#: The step of calendar months. The number is the average length of a Gregorian month, in seconds.
MONTH_S = 2_629_746

_LOCALTIME = Path("/etc/localtime")  # man 5 localtime: a link into /usr/share/zoneinfo
_EPOCH = datetime(1970, 1, 1)


class Period(NamedTuple):
    """A stretch of time: from ``start`` until before ``end``, both in seconds since the epoch."""

    start: int
    end: int

    def __contains__(self, at: object) -> bool:
        """Whether the moment ``at`` (s) belongs to the period."""
        return isinstance(at, (int, float)) and self.start <= at < self.end

    @property
    def middle(self) -> int:
        """The moment half-way."""
        return (self.start + self.end) // 2


def load_zone(name: str, localtime: Path = _LOCALTIME) -> tuple[str, tzinfo]:
    """Load a time zone with its IANA name.

    :param name: an IANA name, or ``local``: that of ``TZ``, else of ``localtime``, else UTC.
    :raises LookupError: if the system's database has no such zone; the message names it.
    """
    if name != "local":
        return name, _zone(name)
    wanted = os.environ.get("TZ", "").removeprefix(":")
    if wanted:
        return wanted, _zone(wanted)
    if not localtime.exists():
        return "UTC", timezone.utc
    _, found, linked = str(localtime.resolve()).rpartition("/zoneinfo/")
    if found:
        return linked, _zone(linked)
    try:
        with localtime.open("rb") as file:
            return "local", ZoneInfo.from_file(file, key="local")
    except (ValueError, OSError) as error:
        raise LookupError(f"a time zone in {localtime}: {error}") from None


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        if name == "UTC":  # without any database, package tzdata
            return timezone.utc
        raise LookupError(
            f"a time zone of the system's database, such as Europe/Berlin; it has no {name}"
        ) from None


@dataclass(frozen=True)
class Calendar:
    """Where periods begin.

    :ivar zone_name: IANA name of the time zone, as answers show it.
    :ivar zone: the zone itself.
    :ivar month_starts_on: day of the month, 1 to 31; in a shorter month its last day.
    :ivar week_starts_on: 0 Monday to 6 Sunday.
    """

    zone_name: str = "UTC"
    zone: tzinfo = timezone.utc
    month_starts_on: int = 1
    week_starts_on: int = 0

    def day(self, at: int) -> Period:
        """The day that ``at`` belongs to: 23 or 25 hours where the clock is set by one."""
        return self.period(DAY_S, at)

    def week(self, at: int) -> Period:
        """The week that ``at`` belongs to."""
        return self.period(WEEK_S, at)

    def month(self, at: int) -> Period:
        """The month that ``at`` belongs to."""
        return self.period(MONTH_S, at)

    def period(self, step_s: int, at: int) -> Period:
        """The period of a step that ``at`` belongs to.

        Steps shorter than a day begin where the wall clock shows a multiple of them. What begins twice, when
        the clock is set back, is two periods. Steps of whole days begin at midnight; 7 days are weeks.

        :param step_s: seconds; :data:`MONTH_S` are months.
        """
        return _period(self, step_s, at)

    def periods(self, step_s: int, since: int, until: int) -> list[Period]:
        """The periods of a step that touch the time from ``since`` until before ``until``, in order."""
        found = []
        at = since
        while at < until:
            found.append(self.period(step_s, at))
            at = found[-1].end
        return found

    # -- inside ----------------------------------------------------------------------------------------------

    def _local(self, at: int) -> datetime:
        return datetime.fromtimestamp(at, self.zone)

    def _midnight(self, day: date) -> int:
        """The first moment of ``day``."""
        return int(datetime(day.year, day.month, day.day, tzinfo=self.zone).timestamp())

    def _days(self, first: date, after: date) -> Period:
        return Period(self._midnight(first), self._midnight(after))

    def _month(self, at: int) -> Period:
        today = self._local(at).date()
        year, month = today.year, today.month
        if today < self._month_start(year, month):
            year, month = _month_after(year, month, -1)
        return self._days(self._month_start(year, month), self._month_start(*_month_after(year, month, 1)))

    def _month_start(self, year: int, month: int) -> date:
        return date(year, month, min(self.month_starts_on, monthrange(year, month)[1]))

    def _whole_days(self, days: int, at: int) -> Period:
        today = self._local(at).date()
        # date.toordinal: day 1 was a Monday
        first = today - timedelta((today.toordinal() - 1 - self.week_starts_on) % days)
        return self._days(first, first + timedelta(days))

    def _wall(self, at: int) -> int:
        """What the wall clock shows at ``at``, in seconds since 1970 on that clock."""
        return int((self._local(at).replace(tzinfo=None) - _EPOCH).total_seconds())

    def _wall_moments(self, wall_s: int) -> list[int]:
        """The moments at which the wall clock shows ``wall_s``; if it skips it, the moment when it does so.

        Two if the clock is set back over it, else one.
        """
        shown = (_EPOCH + timedelta(seconds=wall_s)).replace(tzinfo=self.zone)
        first, second = (int(shown.replace(fold=fold).timestamp()) for fold in (0, 1))
        if first <= second:
            return [first, second]
        # Skipped: the zone reads it by the offset before and by the one after the clock is set forward.
        between = range(second, first)
        return [second + bisect_left(between, wall_s, key=self._wall)]

    def _step_start(self, step_s: int, at: int) -> int:
        start = self._shown_start(step_s, at)
        # A clock that was set back shows a time before the period's start again.
        while (rest := start + step_s - self._wall(start) % step_s) <= at:
            later = self._shown_start(step_s, rest)
            if not start < later <= at:
                break
            start = later
        return start

    def _shown_start(self, step_s: int, at: int) -> int:
        """The last moment until ``at`` at which the clock showed the multiple that precedes what it shows."""
        shown = self._wall(at)
        return max(moment for moment in self._wall_moments(shown - shown % step_s) if moment <= at)

    def _step(self, step_s: int, at: int) -> Period:
        offsets = {self._local(moment).utcoffset() for moment in (at - step_s, at, at + step_s)}
        if len(offsets) == 1:
            start = at - self._wall(at) % step_s
            return Period(start, start + step_s)
        return self._step_around_change(step_s, at)

    def _step_around_change(self, step_s: int, at: int) -> Period:
        start = self._step_start(step_s, at)
        shown = self._wall(start)
        into = shown % step_s
        # Unless the clock is set meanwhile, the period ends when the rest of the step has passed. If it is
        # set back, another may begin earlier, where the clock shows again what it has shown.
        passed = self._step_start(step_s, start + step_s - into)
        later = [passed, *self._wall_moments(shown - into), *self._wall_moments(shown - into + step_s)]
        return Period(
            start,
            min(moment for moment in later if moment > at and self._step_start(step_s, moment) == moment),
        )


def _month_after(year: int, month: int, count: int) -> tuple[int, int]:
    """Year and month that are ``count`` months after the given ones."""
    months = year * 12 + month - 1 + count
    return months // 12, months % 12 + 1


@lru_cache(maxsize=8192)
def _period(calendar: Calendar, step_s: int, at: int) -> Period:
    if step_s == MONTH_S:
        return calendar._month(at)
    if step_s % DAY_S == 0:
        return calendar._whole_days(step_s // DAY_S, at)
    return calendar._step(step_s, at)
