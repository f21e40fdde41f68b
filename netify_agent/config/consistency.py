"""Checks alerts and plans against the sections that they refer to: groups, receivers and the history."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from netify_agent.config.alerts import EACH, Alerts, RateAlert, Reference
from netify_agent.config.plans import Plans, is_kept
from netify_agent.config.types import Resolution
from netify_agent.config.yaml_reader import Conflict


class _Use(NamedTuple):
    """A name that a section uses.

    :ivar path: keys of the section, of its element and in that.
    :ivar expected: completes the sentence 'expected ...'.
    """

    reference: Reference
    path: tuple[str, str, str]
    expected: str
    known: Collection[str]


def conflict_of(
    alerts: Alerts,
    plans: Plans,
    groups: Collection[str],
    receivers: Collection[str],
    history: Iterable[Resolution],
) -> Conflict | None:
    """The first alert or plan that uses an unknown name, or the first plan that no history is kept for.

    :param groups: names of the groups; :param receivers: names of the receivers.
    """
    for use in _uses(alerts, plans, groups, receivers):
        if use.reference.name not in use.known:
            names = ", ".join(sorted({*use.known} - {EACH})) or "and there is none"
            text = f"expected {use.expected} ({names}), found '{use.reference.name}'"
            return Conflict(use.path[:1], text, use.reference.line, ".".join(use.path))
    for name, plan in plans.items():
        if not is_kept(plan.per, history):
            text = f"expected a history that is kept for a {plan.per}, found none in history"
            return Conflict(("plans", "history"), text, path=f"plans.{name}.per")
    return None


def _uses(
    alerts: Alerts, plans: Plans, groups: Collection[str], receivers: Collection[str]
) -> Iterator[_Use]:
    for name, alert in alerts.items():
        if isinstance(alert, RateAlert) and alert.group is not None:
            known, expected = {*groups}, "a group of groups"
            if alert.device is None:
                known, expected = known | {EACH}, "each, or a group of groups"
            yield _Use(alert.group, ("alerts", name, "group"), expected, known)
    for name, plan in plans.items():
        if plan.group is not None:
            yield _Use(plan.group, ("plans", name, "group"), "a group of groups", groups)
    for section, elements in (("alerts", alerts), ("plans", plans)):
        for name, one in elements.items():
            for reference in one.notify or ():
                yield _Use(reference, (section, name, "notify"), "a receiver of notify", receivers)
