"""The settings of ``plans:``: how much may be used in a day, week or month, and when to warn.

Names of receivers and groups, and whether the history is kept long enough, are checked in ``settings``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import yaml

from netify_agent.config import types, yaml_reader
from netify_agent.config.alerts import (
    DIRECTIONS,
    EACH,
    SEVERITIES,
    Alert,
    Alerts,
    QuietHours,
    Reference,
    device_or,
    quiet_hours,
    reference,
)
from netify_agent.config.calendar import DAY_S, HOUR_S, MONTH_S, WEEK_S
from netify_agent.config.device_types import group_name
from netify_agent.config.types import Resolution
from netify_agent.config.yaml_reader import Conflict, Expected, one_of, parsed, reads, section

MAX_PLANS = 50
PERIODS = {"day": DAY_S, "week": WEEK_S, "month": MONTH_S}
#: The longest day, week and month, where a clock is set back by an hour.
_LONGEST_S = {"day": 25 * HOUR_S, "week": WEEK_S + HOUR_S, "month": 31 * DAY_S + HOUR_S}
_MAX_PERCENT = 1000
_MAX_BYTES = 10**18  # 1 EB

_AMOUNT = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,3}))? ?([kMGTP]B|[KMGTP]iB)")
_UNITS = {
    **{f"{letter}B": 1000**power for power, letter in enumerate("kMGTP", 1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGTP", 1)},
}
_PERCENT = re.compile(r"([1-9][0-9]{0,3})%")


def amount(text: str) -> int:
    """Read an amount such as ``500 GB`` or ``1.5 TiB``; returns bytes. Raises Expected.

    A number without a unit is refused, because owners mean GB and programs mean bytes.
    """
    match = _AMOUNT.fullmatch(text)
    thousandths = int(match[1] + (match[2] or "").ljust(3, "0")) * _UNITS[match[3]] if match else 0
    if not 0 < thousandths <= _MAX_BYTES * 1000 or thousandths % 1000:
        raise Expected("an amount with its unit, such as 500 GB, 1.5 TB or 465 GiB")
    return thousandths // 1000


def percent(text: str) -> int:
    """Read ``90%``; returns 90. Raises Expected."""
    match = _PERCENT.fullmatch(text)
    if not match or int(match[1]) > _MAX_PERCENT:
        raise Expected(f"a part of the limit from 1% to {_MAX_PERCENT}%, such as 90%")
    return int(match[1])


def _tag(text: str) -> str:
    if not 1 <= len(text) <= 256 or text == EACH:
        raise Expected("the tag of an application such as netify.netflix")
    return text


def _category(text: str) -> str:
    if not 1 <= len(text) <= 64:
        raise Expected("the name of a category such as streaming-media, as /categories shows it")
    return text


def _severity_of(threshold: int) -> str:
    return "critical" if threshold >= 100 else "warning"


_severities = yaml_reader.mapping_of(
    parsed(percent), parsed(one_of(*SEVERITIES)), "thresholds with severities, such as 90%: info", 10
)
_thresholds = yaml_reader.list_of(parsed(percent))


def _warn_at(node: yaml.Node) -> Mapping[int, str]:
    """Reads a list of thresholds, or thresholds with their severities; returns percent to severity."""
    if isinstance(node, yaml.MappingNode):
        found = _severities(node)
    else:
        found = {one: _severity_of(one) for one in _thresholds(node)}
    return dict(sorted(found.items()))


_DEFAULT_WARN_AT = {one: _severity_of(one) for one in (75, 90, 100)}


@dataclass(frozen=True)
class Plan:
    """How much may be used in one period of the calendar.

    :ivar limit: bytes.
    :ivar per: a key of :data:`PERIODS`.
    :ivar device: a device, :data:`EACH` for each device by itself, or None. With :data:`EACH`, ``group``
        limits the devices to those of a group; without both, the plan is the gateway's.
    :ivar local: whether traffic between two devices of the network counts too.
    :ivar warn_at: threshold in percent of the limit to the severity of its alert, lowest first.
    :ivar quiet: when no notification is sent; :ivar notify: receivers, None: all.
    """

    limit: int = field(default=0, metadata=reads(parsed(amount), required=True))
    per: str = field(default="month", metadata=reads(parsed(one_of(*PERIODS)), required=True))
    device: str | None = field(default=None, metadata=reads(yaml_reader.optional(parsed(device_or(EACH)))))
    group: Reference | None = field(default=None, metadata=reads(yaml_reader.optional(reference(group_name))))
    application: str | None = field(default=None, metadata=reads(yaml_reader.optional(parsed(_tag))))
    category: str | None = field(default=None, metadata=reads(yaml_reader.optional(parsed(_category))))
    direction: str = field(default="both", metadata=reads(parsed(one_of(*DIRECTIONS))))
    local: bool = field(default=False, metadata=reads(yaml_reader.boolean))
    warn_at: Mapping[int, str] = field(default_factory=lambda: _DEFAULT_WARN_AT, metadata=reads(_warn_at))
    quiet: QuietHours | None = field(default=None, metadata=reads(yaml_reader.optional(parsed(quiet_hours))))
    notify: tuple[Reference, ...] | None = field(
        default=None, metadata=reads(yaml_reader.optional(yaml_reader.list_of(reference(types.plain_name))))
    )

    @property
    def step(self) -> int:
        """The step of its periods, for :meth:`~netify_agent.config.calendar.Calendar.period`."""
        return PERIODS[self.per]

    def bound(self, threshold: int) -> int:
        """Bytes from which on a threshold (percent) is passed."""
        return -(-self.limit * threshold // 100)


def _one_scope(plan: Plan) -> Conflict | None:
    if plan.group is not None and plan.device not in (None, EACH):
        return Conflict(("device", "group"), f"expected {EACH}, or no group, found '{plan.device}'")
    if plan.application is not None and plan.category is not None:
        text = "expected one of application and category, found both"
        return Conflict(("category", "application"), text)
    return None


Plans = dict[str, Plan]

read_plans: yaml_reader.Reader[Plans] = yaml_reader.mapping_of(
    parsed(types.plain_name),
    section(Plan, _one_scope),
    "names of plans with their keys, such as uplink: {limit: 500 GB, per: month}",
    MAX_PLANS,
    "names",
)


def is_kept(per: str, history: Iterable[Resolution]) -> bool:
    """Whether the history can say to the byte what was used since the start of the current period."""
    return any(
        one.step_s == PERIODS[per] or (DAY_S % one.step_s == 0 and one.keep_s >= _LONGEST_S[per])
        for one in history
    )


@dataclass(frozen=True)
class PlanAlert(Alert):
    """A threshold of a plan that is passed. It is made from the plan, not from ``alerts:``.

    :ivar threshold: percent of the limit.
    """

    kind = "plan"

    plan_name: str = ""
    plan: Plan = field(default_factory=Plan)
    threshold: int = 100


def alert_name(plan: str, threshold: int) -> str:
    """The name of an alert about a plan. No alert of ``alerts:`` can have it."""
    return f"{plan} {threshold}%"


def alerts_of(plans: Plans) -> Alerts:
    """An alert for each threshold of each plan, by name."""
    return {
        alert_name(name, threshold): PlanAlert(severity, plan.quiet, plan.notify, name, plan, threshold)
        for name, plan in plans.items()
        for threshold, severity in plan.warn_at.items()
    }
