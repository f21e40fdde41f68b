"""How the plans of a gateway stand: as it sends it, and as a collector reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from netify_agent.config.alerts import DIRECTIONS, SEVERITIES, Reference
from netify_agent.config.calendar import Period
from netify_agent.config.plans import PERIODS, Plan
from netify_agent.plans.standing import PlanStanding, Standings

_AT = ""  # in place of a plan's name: of which flush the standings are
_TEXTS = ("device", "application", "category")


def encode_plans(plans: Mapping[str, Plan]) -> str:
    """The configured plans in JSON, without their receivers."""
    return json.dumps({name: _document(plan) for name, plan in plans.items()})


def _document(plan: Plan) -> dict[str, Any]:
    group = plan.group and plan.group.name
    found = {name: getattr(plan, name) for name in ("limit", "per", *_TEXTS, "direction", "local")}
    return {**found, "group": group, "warn_at": {str(at): severity for at, severity in plan.warn_at.items()}}


def decode_plans(text: str) -> dict[str, Plan]:
    """Read the result of :func:`encode_plans`. Raises ValueError for anything else."""
    documents = json.loads(text)
    if not isinstance(documents, dict):
        raise ValueError("settings: expected plans")
    return {name: _plan(document) for name, document in documents.items()}


def _plan(document: Any) -> Plan:
    try:
        limit, group, warn_at = document["limit"], document["group"], document["warn_at"]
        texts = {name: document[name] for name in _TEXTS}
        fitting = isinstance(limit, int) and limit > 0 and document["per"] in PERIODS
        fitting = fitting and document["direction"] in DIRECTIONS
        fitting = fitting and all(one is None or isinstance(one, str) for one in (*texts.values(), group))
        fitting = fitting and all(severity in SEVERITIES for severity in warn_at.values())
        if not fitting:
            raise ValueError("settings: expected a plan")
        return Plan(
            **texts,
            limit=limit,
            per=document["per"],
            group=None if group is None else Reference(group),
            direction=document["direction"],
            local=bool(document["local"]),
            warn_at={int(at): severity for at, severity in warn_at.items()},
        )
    except (KeyError, TypeError, AttributeError):
        raise ValueError("settings: expected a plan") from None


def encode(standings: Standings) -> tuple[dict[str, str], dict[str, int]]:
    """Each plan's period and who passed its thresholds, in JSON; bytes used by ``<plan>:<whom>``."""
    plans = {
        name: json.dumps((*one.period, {str(at): dict(passed) for at, passed in one.passed.items()}))
        for name, one in standings.plans.items()
    }
    used = {f"{name}:{who}": n for name, one in standings.plans.items() for who, n in one.used.items()}
    return {**plans, _AT: json.dumps((standings.sequence, standings.at_ms))}, used


def decode(plans: Mapping[str, Plan], texts: Mapping[str, str], used: Mapping[str, str]) -> Standings | None:
    """Read the result of :func:`encode`; None if there is none. What is no standing is left out.

    :param plans: the configured plans. :param used: the numbers as text.
    """
    by_plan: dict[str, dict[str, int]] = {name: {} for name in plans}
    for key, number in used.items():
        name, _, who = key.partition(":")
        if name in by_plan:
            by_plan[name][who] = int(number)
    found = {}
    try:
        sequence, at_ms = json.loads(texts[_AT])
        for name, plan in plans.items():
            if name in texts:
                found[name] = _standing(name, plan, texts[name], by_plan[name])
        return Standings(int(sequence), int(at_ms), found)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def _standing(name: str, plan: Plan, text: str, used: dict[str, int]) -> PlanStanding:
    start, end, passed = json.loads(text)
    period = Period(int(start), int(end))
    if period.end <= period.start:
        raise ValueError("expected a period")
    by_percent = {int(at): {str(who): int(when) for who, when in whom.items()} for at, whom in passed.items()}
    return PlanStanding(name, plan, period, used, {**{at: {} for at in plan.warn_at}, **by_percent})
