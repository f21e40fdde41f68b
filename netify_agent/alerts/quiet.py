"""Quiet hours: the time until which a notification is held."""

from __future__ import annotations

from datetime import datetime, timedelta

from netify_agent.config.alerts import QuietHours
from netify_agent.config.calendar import Calendar

_LONGEST_MS = 25 * 3_600_000  # a day on which the clock is set back by an hour


def quiet_until(quiet: QuietHours | None, calendar: Calendar, at_ms: int) -> int:
    """The end of the quiet hours that ``at_ms`` is in; 0 if it is in none.

    :param at_ms: our clock, milliseconds since the epoch; the result likewise.
    """
    if quiet is None:
        return 0
    now = datetime.fromtimestamp(at_ms / 1000, calendar.zone)
    minute = now.hour * 60 + now.minute
    length = (quiet.end - quiet.begin) % 1440
    if (minute - quiet.begin) % 1440 >= length:
        return 0
    day = now.date() if minute < quiet.end else now.date() + timedelta(1)
    hour, minute = divmod(quiet.end, 60)
    end = datetime(day.year, day.month, day.day, hour, minute, tzinfo=calendar.zone)
    return max(int(end.timestamp()) * 1000, at_ms)


def is_held(until_ms: int, now_ms: float) -> bool:
    """Whether quiet hours that end at ``until_ms`` still last.

    Quiet hours are shorter than a day. If they seem to last longer, the clock was set back since they were
    entered, and their end means nothing.

    :param now_ms: our clock, milliseconds since the epoch.
    """
    return now_ms < until_ms <= now_ms + _LONGEST_MS
