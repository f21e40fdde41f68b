"""The state of plans after a flush, as plain data. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from netify_agent.config.calendar import Period
from netify_agent.config.plans import Plan

#: Part of a period, in percent, before which there is no forecast: a day and a half of a month.
FORECAST_FROM_PERCENT = 5


@dataclass(frozen=True)
class PlanStanding:
    """The state of one plan.

    :ivar period: the period of the calendar that the bytes of the latest flush belong to.
    :ivar used: bytes by device or group; the empty name is the gateway. A plan of each device has the devices
        that moved bytes in the period, any other plan has one element.
    :ivar passed: threshold in percent to those who passed it, each with the time of the flush that found it,
        our clock, milliseconds since the epoch.
    """

    name: str
    plan: Plan
    period: Period
    used: Mapping[str, int]
    passed: Mapping[int, Mapping[str, int]]


@dataclass(frozen=True)
class Standings:
    """The state of all plans after one flush.

    :ivar sequence: number of the flush.
    :ivar at_ms: our clock when its batch was taken, milliseconds since the epoch.
    """

    sequence: int
    at_ms: int
    plans: Mapping[str, PlanStanding] = field(default_factory=dict)


def elapsed_share(period: Period, at_ms: int) -> float:
    """The elapsed part of a period, 0 to 1."""
    return min(max((at_ms / 1000 - period.start) / (period.end - period.start), 0.0), 1.0)


def forecast(used: int, period: Period, at_ms: int) -> int | None:
    """Expected bytes at the end of the period, at the average rate so far.

    :returns: None while less than :data:`FORECAST_FROM_PERCENT` percent of the period are over.
    """
    length_ms = (period.end - period.start) * 1000
    over_ms = min(at_ms - period.start * 1000, length_ms)
    if over_ms * 100 < length_ms * FORECAST_FROM_PERCENT:
        return None
    return used * length_ms // over_ms
