"""The plans of one world: figures that equal the history to the byte, thresholds that are told once.

Here plans must equal ``/usage``. That the history adds up to the totals is checked in ``history``, and that
these are true in ``delivered``.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

from alert_receivers import Hook
from history import END, answer
from short_steps import STEPS
from support import Daemon, eventually

_PERCENT = (1, 2, 5, 10, 25, 50, 100, 200, 500, 1000)
_PART = 20_000_000  # bytes, a percent of the limit
_EACH = {"limit": "1 MB", "per": "day", "device": "each", "warn_at": []}
_STATUSES = ("firing", "resolved")
SETTINGS: dict[str, Any] = {
    # Seeds differ in how many of these thresholds they pass.
    "all": {
        "limit": "2 GB",
        "per": "month",
        "local": True,
        "warn_at": {f"{percent}%": "info" for percent in _PERCENT},
    },
    "link": {"limit": "1 MB", "per": "week", "direction": "up", "warn_at": []},
    "each": _EACH,
    "each-local": {**_EACH, "local": True},
    "app": {**_EACH, "application": "Unknown"},
}


class Plans:
    """What the agent says of its plans, and what a receiver was told of them."""

    def __init__(self) -> None:
        self._due: Counter[str] | None = None

    def check(self, daemon: Daemon, *, forgetful: bool) -> list[str]:
        """What is wrong, while the plans are configured.

        :param forgetful: Redis lost for good what it held; then thresholds may have been passed by more.
        """
        wrong: list[str] = []
        rows = daemon.get("/plans?limit=10000")[1]["plans"]
        for name, plan in SETTINGS.items():
            of_plan = [row for row in rows if row["plan"] == name]
            found = {row["device"]: row["used"] for row in of_plan}
            if expected := _by_usage(daemon, plan, found):
                wrong.append(f"plan {name}: {found} used, but {expected} by /usage")
        thresholds = next(row for row in rows if row["plan"] == "all")
        reached = {one["percent"] for one in thresholds["thresholds"] if thresholds["used"] >= one["bytes"]}
        passed = {one["percent"] for one in thresholds["thresholds"] if one["passed_at"] is not None}
        if passed != reached and not forgetful:
            wrong.append(f"{thresholds['used']} bytes reached {reached} %, but {passed} % are passed")
        self._due = None if forgetful else _due(daemon)
        return wrong

    def check_told(self, receiver: Hook) -> list[str]:
        """What is wrong with what ``receiver`` was told, after all plans were removed."""
        if self._due is None:
            return []
        told: dict[str, str] = {}  # the key of a notification to the alert and its status
        for key, document in zip(receiver.keys, receiver.documents, strict=True):
            (alert,) = document["alerts"]
            if alert["labels"]["kind"] == "plan":
                told[key] = f"{alert['labels']['alertname']} {alert['status']}"
        due = Counter({f"{name} {status}": self._due[name] for name in self._due for status in _STATUSES})
        times = Counter(told.values())
        return [] if times == due else [f"thresholds: {dict(times)} were told, {dict(due)} are due"]


def _due(daemon: Daemon) -> Counter[str]:
    """How often each threshold of the plan of a month must be told: once in each month that reached it.

    There is more than one if the clock was in another one for a while.
    """
    months: Counter[str] = Counter()
    query = f"/history?resolution={STEPS[-1].name}&to={END}"
    for bucket in eventually(partial(answer, daemon, query), "the history")["buckets"]:
        months[bucket["start"][:7]] += bucket["bytes_up"] + bucket["bytes_down"]
    return Counter(
        f"all {percent}%" for used in months.values() for percent in _PERCENT if used >= percent * _PART
    )


def _by_usage(daemon: Daemon, plan: dict[str, Any], found: dict[str | None, int]) -> dict[str | None, int]:
    """The figures of a plan by ``/usage``, if they are others."""
    query = f"/usage?period={plan['per']}&limit=10000"
    if "application" in plan:
        query += f"&application={plan['application']}"
    document = eventually(partial(answer, daemon, query), "the usage")
    rows = document["usage"] if "device" in plan else [{"key": None, **document["totals"]}]
    whole, local = ("bytes_up", "bytes_down"), ("local_up", "local_down")
    ways = (0,) if plan.get("direction") == "up" else (0, 1)
    expected = {
        row["key"]: sum(row[whole[way]] - (0 if plan.get("local") else row[local[way]]) for way in ways)
        for row in rows
        if row["key"] != "other"
    }
    expected = {key: count for key, count in expected.items() if count or key is None}
    return {} if expected == found else expected
