"""The owner's calendar: periods in zones with every kind of clock change."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import cache
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netify_agent.config.calendar import DAY_S, HOUR_S, MONTH_S, WEEK_S, Calendar, load_zone
from netify_agent.config.settings import ConfigError, load

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",  # set back from 01:00 to 00:00: midnight comes twice
    "Asia/Beirut",  # set forward at 00:00: midnight is skipped
    "America/Sao_Paulo",  # set back from 00:00 to 23:00 of the day before
    "Asia/Kathmandu",  # +05:45
    "Asia/Kolkata",  # +05:30
    "Australia/Lord_Howe",  # +10:30, set by half an hour
    "Pacific/Apia",  # skipped 2011-12-30
)
STEPS = (60, 300, 900, 1_800, HOUR_S, 2 * HOUR_S, 6 * HOUR_S, 12 * HOUR_S, DAY_S, 2 * DAY_S, WEEK_S, MONTH_S)


def in_zone(name: str, month_starts_on: int = 1, week_starts_on: int = 0) -> Calendar:
    return Calendar(name, ZoneInfo(name), month_starts_on, week_starts_on)


def at(text: str) -> int:
    """Seconds since the epoch of a time with its offset."""
    return int(datetime.fromisoformat(text).timestamp())


def shown(moment: int, zone: str) -> str:
    return datetime.fromtimestamp(moment, ZoneInfo(zone)).isoformat()


@given(
    zone=st.sampled_from(ZONES),
    step=st.sampled_from(STEPS),
    moment=st.integers(at("1995-01-01T00:00:00+00:00"), at("2037-01-01T00:00:00+00:00")),
    month_starts_on=st.integers(1, 31),
    week_starts_on=st.integers(0, 6),
)
def test_periods_cover_time_without_gap_or_overlap(
    zone: str, step: int, moment: int, month_starts_on: int, week_starts_on: int
) -> None:
    found = in_zone(zone, month_starts_on, week_starts_on)
    period = found.period(step, moment)
    assert period.start <= moment < period.end
    assert found.period(step, period.start) == found.period(step, period.end - 1) == period
    assert found.period(step, period.end).start == period.end
    assert found.period(step, period.start - 1).end == period.start


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("step", [900, HOUR_S, 6 * HOUR_S, DAY_S])
def test_a_year_of_steps_has_no_gap(zone: str, step: int) -> None:
    since, until = at("2011-06-01T00:00:00+00:00"), at("2012-06-01T00:00:00+00:00")
    periods = in_zone(zone).periods(step, since, until)
    assert periods[0].start <= since and periods[-1].end >= until
    assert all(before.end == after.start for before, after in pairwise(periods))
    assert all(period.end > period.start for period in periods)


@pytest.mark.parametrize(
    ("zone", "moment", "start", "hours"),
    [
        ("Europe/Berlin", "2026-03-29T12:00:00+02:00", "2026-03-29T00:00:00+01:00", 23),
        ("Europe/Berlin", "2026-10-25T12:00:00+01:00", "2026-10-25T00:00:00+02:00", 25),
        ("Asia/Kathmandu", "2026-11-29T23:59:59+05:45", "2026-11-29T00:00:00+05:45", 24),
        ("Australia/Lord_Howe", "2026-04-05T12:00:00+10:30", "2026-04-05T00:00:00+11:00", 24.5),
        ("Asia/Beirut", "2026-03-29T12:00:00+03:00", "2026-03-29T01:00:00+03:00", 23),
        ("America/Havana", "2026-11-01T12:00:00-05:00", "2026-11-01T00:00:00-04:00", 25),
        ("Pacific/Apia", "2011-12-29T12:00:00-10:00", "2011-12-29T00:00:00-10:00", 24),
    ],
)
def test_days_begin_at_midnight(zone: str, moment: str, start: str, hours: float) -> None:
    day = in_zone(zone).day(at(moment))
    assert (shown(day.start, zone), (day.end - day.start) / HOUR_S) == (start, hours)


@pytest.mark.parametrize(
    ("starts_on", "moment", "start", "end"),
    [
        (1, "2026-02-28T23:59:59", "2026-02-01", "2026-03-01"),
        (15, "2026-11-14T23:59:59", "2026-10-15", "2026-11-15"),
        (15, "2026-11-15T00:00:00", "2026-11-15", "2026-12-15"),
        (31, "2026-02-27T12:00:00", "2026-01-31", "2026-02-28"),
        (31, "2026-02-28T12:00:00", "2026-02-28", "2026-03-31"),
        (31, "2028-02-28T12:00:00", "2028-01-31", "2028-02-29"),
        (30, "2026-12-31T12:00:00", "2026-12-30", "2027-01-30"),
        (31, "2026-12-31T12:00:00", "2026-12-31", "2027-01-31"),
    ],
)
def test_months_begin_on_their_day_or_the_last_one(starts_on: int, moment: str, start: str, end: str) -> None:
    month = in_zone("UTC", starts_on).month(at(f"{moment}+00:00"))
    assert [shown(edge, "UTC")[:10] for edge in month] == [start, end]


@pytest.mark.parametrize(("starts_on", "start"), [(0, "2026-11-23"), (5, "2026-11-28"), (6, "2026-11-29")])
def test_weeks_begin_on_their_day(starts_on: int, start: str) -> None:
    week = in_zone("Europe/Berlin", week_starts_on=starts_on).week(at("2026-11-29T12:00:00+01:00"))
    assert shown(week.start, "Europe/Berlin")[:10] == start
    assert week.end - week.start == WEEK_S


@cache
def clock_changes(zone: str) -> list[int]:
    """The moments at which the zone's clock is set in the year from June 2011."""
    tz, begin = ZoneInfo(zone), at("2011-06-01T00:00:00+00:00")
    moments = range(begin, begin + 366 * DAY_S, 900)
    offsets = [datetime.fromtimestamp(moment, tz).utcoffset() for moment in moments]
    return [
        moment for moment, (one, other) in zip(moments[1:], pairwise(offsets), strict=True) if one != other
    ]


@pytest.mark.parametrize("zone", [*ZONES, "America/Santiago", "Pacific/Chatham", "Antarctica/Troll"])
def test_steps_are_those_of_a_clock_that_is_looked_at_each_minute(zone: str) -> None:
    tz, found = ZoneInfo(zone), in_zone(zone)

    def wall(moment: int) -> float:
        return datetime.fromtimestamp(moment, tz).replace(tzinfo=timezone.utc).timestamp()

    begin = at("2011-06-01T00:00:00+00:00")
    for change in range(begin, begin + 366 * DAY_S, 900):
        if wall(change) - wall(change - 900) == 900:
            continue
        for step in (60, 300, 1_800, HOUR_S, 2 * HOUR_S, 3 * HOUR_S):
            # A period begins where the clock shows a multiple, or skips one.
            starts = [
                moment
                for moment in range(change - 2 * HOUR_S, change + 7 * HOUR_S, 60)
                if wall(moment) % step == 0 or wall(moment) // step > wall(moment - 1) // step
            ]
            for start, end in pairwise(starts):
                assert found.periods(step, start, end) == [(start, end)]
                for moment in (start + 1, (start + end) // 2, end - 1):
                    assert found.period(step, moment) == (start, end)


def test_an_hour_that_comes_twice_is_two_periods() -> None:
    hours = in_zone("Europe/Berlin").periods(
        HOUR_S, at("2026-10-25T01:00:00+02:00"), at("2026-10-25T04:00:00+01:00")
    )
    assert [shown(hour.start, "Europe/Berlin")[11:] for hour in hours] == [
        "01:00:00+02:00",
        "02:00:00+02:00",
        "02:00:00+01:00",
        "03:00:00+01:00",
    ]


def test_hours_follow_the_wall_clock_of_the_zone() -> None:
    hour = in_zone("Asia/Kathmandu").period(HOUR_S, at("2026-11-29T12:20:00+05:45"))
    assert shown(hour.start, "Asia/Kathmandu") == "2026-11-29T12:00:00+05:45"


def test_the_local_zone_is_that_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    assert load_zone("local")[0] == "Asia/Kolkata"
    monkeypatch.delenv("TZ")
    link = tmp_path / "localtime"
    assert load_zone("local", link) == ("UTC", timezone.utc)
    folder = tmp_path / "zoneinfo" / "Europe"
    folder.mkdir(parents=True)
    (folder / "Berlin").write_bytes(b"")
    link.symlink_to(folder / "Berlin")
    assert load_zone("local", link)[0] == "Europe/Berlin"
    link.unlink()
    link.write_bytes(b"no zone")
    with pytest.raises(LookupError, match="a time zone in "):
        load_zone("local", link)


@pytest.mark.parametrize("name", ["Europe/Berlim", "../etc/passwd", "Mars/Base", "Europe"])
def test_an_unknown_zone_is_named(name: str) -> None:
    with pytest.raises(LookupError, match=name):
        load_zone(name)


@pytest.mark.parametrize("named", [True, False])
def test_a_zone_of_the_machine_that_its_database_lacks_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    monkeypatch.setenv("TZ", "Mars/Base")
    file = tmp_path / "netify-agent.yaml"
    file.write_text("interval: 15\n")
    told = "calendar.timezone: expected a time zone of the system's database, such as Europe/Berlin; it"
    with pytest.raises(ConfigError) as error:
        load(str(file) if named else None)
    assert str(error.value).startswith(f"{file}: {told}" if named else told)


def test_a_zone_that_was_read_stays_when_the_system_loses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    settings = load(None)
    monkeypatch.setenv("TZ", "Mars/Base")
    assert settings.calendar.calendar.zone_name == "Europe/Berlin"
