"""JSON Schemas of the answers about a period: ``/usage``. See :mod:`netify_agent.api.spec.schemas`."""

from __future__ import annotations

from netify_agent.api.http.route import Schema
from netify_agent.api.spec.schemas import COUNT, TEXT, TEXT_OR_NULL, TIME, page, record

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
