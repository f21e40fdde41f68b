"""JSON Schemas of the answers about a period: ``/usage`` and ``/plans``.

See :mod:`netify_agent.api.spec.schemas`.
"""

from __future__ import annotations

from netify_agent.api.http.route import Schema
from netify_agent.api.spec.schemas import (
    COUNT,
    DEVICE_NAME,
    FLAG,
    POSITIVE,
    TEXT,
    TEXT_OR_NULL,
    TIME,
    TIME_OR_NULL,
    listing,
    page,
    record,
)

_BYTES = {"bytes_up": COUNT, "bytes_down": COUNT, "local_up": COUNT, "local_down": COUNT}
_TIMES = dict.fromkeys(("start", "end", "covered_start", "covered_end"), TIME)


def _or_null(properties: dict[str, Schema]) -> Schema:
    return {**record(None, properties), "type": ["object", "null"]}


USAGE_ROW = record(
    "UsageRow",
    {
        "key": {
            "type": ["string", "null"],
            "description": "Device, group, tag, category or interface; null for what belongs to none.",
        },
        "name": TEXT_OR_NULL,
        **_BYTES,
        "share": {
            "type": ["number", "null"],
            "description": "Part of the bytes of `totals`, both without local ones; null if there are none.",
        },
        "previous": _or_null(_BYTES),
    },
)
USAGE = page(
    "Usage",
    "usage",
    USAGE_ROW,
    {
        "by": TEXT,
        "period": record("UsedPeriod", _TIMES),
        "previous_period": _or_null(_TIMES),
        "timezone": TEXT,
        "totals": record("UsageTotals", {**_BYTES, "previous": _or_null(_BYTES)}),
        **dict.fromkeys(("unattributed", "local", "forgotten"), _or_null(_BYTES)),
    },
)

_THRESHOLD = record(
    None,
    {
        "percent": POSITIVE,
        "bytes": POSITIVE,
        "severity": {"enum": ["info", "warning", "critical"]},
        "passed_at": {
            **TIME_OR_NULL,
            "description": "Time of the flush that found it passed in this period; null if it is not.",
        },
    },
)
PLAN = record(
    "Plan",
    {
        "plan": TEXT,
        "device": {**DEVICE_NAME, "type": ["string", "null"]},
        "device_name": TEXT_OR_NULL,
        "group": TEXT_OR_NULL,
        "application": TEXT_OR_NULL,
        "category": TEXT_OR_NULL,
        "direction": {"enum": ["both", "up", "down"]},
        "local": {**FLAG, "description": "Whether traffic inside the network counts too."},
        "per": {"enum": ["day", "week", "month"]},
        "start": TIME,
        "end": TIME,
        "elapsed": {"type": "number", "description": "Elapsed part of the period, 0 to 1."},
        "limit": {**POSITIVE, "description": "Bytes."},
        "used": COUNT,
        "left": {**COUNT, "description": "`limit` less `used`: below 0 if more was used."},
        "share": {"type": "number", "description": "`used` divided by `limit`."},
        "forecast": {
            "type": ["integer", "null"],
            "description": "`used` divided by `elapsed`; null while less than 5 % of the period are over.",
        },
        "thresholds": listing(_THRESHOLD),
    },
)
PLANS = page("Plans", "plans", PLAN, {"timezone": TEXT})
