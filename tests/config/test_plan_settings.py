"""The configuration of plans: what is read, and what each problem names."""

from __future__ import annotations

import re

import pytest
from config_problems import known_keys, problem, problems

from netify_agent.config.alerts import QuietHours, RateAlert, Reference
from netify_agent.config.plans import MAX_PLANS, Plan, PlanAlert
from netify_agent.config.settings import parse

PLAN = "limit: 5 GB, per: day"


def test_plans_are_read() -> None:
    plans = parse(
        """
groups: {kids: []}
notify: {phone: {type: ntfy, url: 'https://h/x'}}
plans:
  uplink: {limit: 500 GB, per: month}
  kids: {limit: 1.5 GiB, per: week, device: each, group: kids, category: games, direction: down, local: true,
         warn_at: {100%: warning, 50%: info}, quiet: 22:00-07:00, notify: [phone]}
""",
        "f",
    ).plans
    assert plans["uplink"] == Plan(500 * 10**9, "month")
    assert plans["uplink"].warn_at == {75: "warning", 90: "warning", 100: "critical"}
    assert plans["kids"] == Plan(
        *(3 << 29, "week", "each", Reference("kids"), None, "games", "down", True),
        *({50: "info", 100: "warning"}, QuietHours(22 * 60, 7 * 60), (Reference("phone"),)),
    )
    assert list(plans["kids"].warn_at) == [50, 100]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1 kB", 1000),
        ("1.5MB", 1_500_000),
        ("2 KiB", 2048),
        ("0.001 kB", 1),
        ("1 TiB", 1 << 40),
        ("999 PB", 999 * 10**15),
    ],
)
def test_amounts_are_decimal_or_binary(text: str, count: int) -> None:
    assert parse(f"plans: {{a: {{limit: {text}, per: day}}}}", "f").plans["a"].limit == count


AMOUNT = "limit: expected an amount with its unit, such as 500 GB, 1.5 TB or 465 GiB, found "
PERCENT = "expected a part of the limit from 1% to 1000%, such as 90%, found "


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("per: day", AMOUNT + "nothing"),
        ("limit: 500, per: day", AMOUNT + "500 (not text)"),
        ("limit: 500 gb, per: day", AMOUNT + "'500 gb'"),
        ("limit: 500 Gbit, per: day", AMOUNT + "'500 Gbit'"),
        ("limit: 0 GB, per: day", AMOUNT + "'0 GB'"),
        ("limit: 0.0001 kB, per: day", AMOUNT + "'0.0001 kB'"),
        ("limit: 0.001 KiB, per: day", AMOUNT + "'0.001 KiB'"),  # 1.024 bytes
        ("limit: 1001 PB, per: day", AMOUNT + "'1001 PB'"),
        ("limit: 5 GB", "per: expected day, week or month, found nothing"),
        ("limit: 5 GB, per: year", "per: expected day, week or month, found 'year'"),
        (f"{PLAN}, direction: in", "direction: expected both, up or down, found 'in'"),
        (f"{PLAN}, local: maybe", "local: expected true or false, found 'maybe'"),
        (
            f"{PLAN}, device: tv",
            "device: expected a MAC address, or the IP address of a device without",
        ),
        (f"{PLAN}, group: kid", "group: expected a group of groups (and there is none), found 'kid'"),
        (
            f"{PLAN}, group: each",
            "group: expected a group of groups (and there is none), found 'each'",
        ),
        (
            f"{PLAN}, group: x, device: 10.8.0.2",
            "device: expected each, or no group, found '10.8.0.2'",
        ),
        (f"{PLAN}, application: each", "application: expected the tag of an application such as"),
        (f"{PLAN}, category: ''", "category: expected the name of a category such as"),
        (
            f"{PLAN}, application: x, category: y",
            "category: expected one of application and category, found both",
        ),
        (f"{PLAN}, warn_at: 90%", "warn_at: expected a list, found '90%'"),
        (f"{PLAN}, warn_at: [90]", f"warn_at[0]: {PERCENT}90 (not text)"),
        (f"{PLAN}, warn_at: [0%]", f"warn_at[0]: {PERCENT}'0%'"),
        (f"{PLAN}, warn_at: [1001%]", f"warn_at[0]: {PERCENT}'1001%'"),
        (f"{PLAN}, warn_at: [90%, 90%]", "warn_at[1]: expected each entry once, found '90%' again"),
        (f"{PLAN}, warn_at: {{x: info}}", f"warn_at.x: {PERCENT}'x'"),
        (
            f"{PLAN}, warn_at: {{90%: loud}}",
            "warn_at.'90%': expected info, warning or critical, found",
        ),
        (
            f"{PLAN}, notify: [fone]",
            "notify: expected a receiver of notify (and there is none), found",
        ),
        (
            f"{PLAN}, quiet: night",
            "quiet: expected a part of the day such as 22:00-07:00, found 'night'",
        ),
        (f"{PLAN}, limits: 1", "limits: unknown key, did you mean 'limit'?"),
    ],
)
def test_a_problem_of_a_plan_names_its_key(keys: str, expected: str) -> None:
    assert problem(f"plans: {{a: {{{keys}}}}}").startswith(f"f.yaml:1: plans.a.{expected}")


@pytest.mark.parametrize("key", sorted(known_keys(Plan)))
def test_each_key_refuses_what_it_can_not_be_with_file_line_and_key(key: str) -> None:
    found = [one for one in problems(f"plans:\n  a:\n    {key}: {{x: {{}}}}\n") if f" plans.a.{key}" in one]
    assert len(found) == 1
    assert re.match(rf"f\.yaml:3: plans\.a\.{key}(\.x)?: expected .+, found ", found[0]), found


def test_names_are_simple_and_few() -> None:
    assert problem(f"plans: {{'a b': {{{PLAN}}}}}").startswith("f.yaml:1: plans.'a b': expected a name of")
    many = ", ".join(f"p{number}: {{{PLAN}}}" for number in range(MAX_PLANS + 1))
    assert problem(f"plans: {{{many}}}") == f"f.yaml:1: plans: expected at most {MAX_PLANS} names, found 51"


@pytest.mark.parametrize(
    ("history", "per", "is_kept"),
    [
        ("{5m: 2d}", "day", True),
        ("{5m: 1d}", "day", False),  # a day may have 25 hours
        ("{5m: 2d}", "week", False),
        ("{1h: 31d}", "month", False),
        ("{1h: 32d}", "month", True),
        ("{5m: 1h, 1mo: 5y}", "month", True),
        ("{1d: 2d, 7d: 7d}", "week", True),
        ("{1d: 8d, 7d: 400d}", "month", False),  # weeks begin in one month and end in another
        ("{7h: 400d}", "day", False),
    ],
)
def test_a_plan_needs_a_history_that_is_kept_for_its_period(history: str, per: str, is_kept: bool) -> None:
    text = f"history: {history}\nplans: {{a: {{limit: 5 GB, per: {per}}}}}"
    if is_kept:
        assert parse(text, "f").plans
    else:
        expected = f"expected a history that is kept for a {per}, found none in history"
        assert problem(text) == f"f.yaml:2: plans.a.per: {expected}"


def test_each_threshold_is_an_alert_whose_name_no_other_can_have() -> None:
    text = f"alerts: {{day: {{kind: health}}}}\nplans: {{day: {{{PLAN}, warn_at: [100%, 90%]}}}}"
    watched = parse(text, "f").watched
    assert list(watched) == ["day", "day 90%", "day 100%"]
    alert = watched["day 90%"]
    assert isinstance(alert, PlanAlert)
    assert (alert.kind, alert.severity, alert.threshold, alert.plan_name) == ("plan", "warning", 90, "day")
    assert watched["day 100%"].severity == "critical"


def test_each_device_of_a_group_is_a_scope_of_rates_too() -> None:
    text = "groups: {kids: []}\nalerts: {a: {kind: rate, above: 1 bit/s, device: each, group: kids}}"
    alert = parse(text, "f").alerts["a"]
    assert isinstance(alert, RateAlert)
    assert (alert.device, alert.group) == ("each", Reference("kids"))
    for wrong in ("device: 10.8.0.2, group: kids", "device: each, group: each"):
        expected = (
            "expected one of device and group, found both (only device: each takes the name of a group)"
        )
        assert (
            problem(text.replace("device: each, group: kids", wrong))
            == f"f.yaml:2: alerts.a.group: {expected}"
        )


def test_no_group_is_called_each() -> None:
    assert (
        problem("groups: {each: []}")
        == "f.yaml:1: groups.each: expected a name other than each, found 'each'"
    )
