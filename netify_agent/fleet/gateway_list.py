"""``/gateways``: the gateways of a fleet, each in a line."""

from __future__ import annotations

from collections.abc import Iterable

from netify_agent.api.documents import rfc3339
from netify_agent.api.http import paging, parameters
from netify_agent.api.http.csv_table import with_csv
from netify_agent.api.http.route import Document, Request, Route, Table
from netify_agent.api.spec import schemas
from netify_agent.config.alerts import SEVERITIES
from netify_agent.enrich import Directory
from netify_agent.fleet.overview import ONLINE, STATES, Row, View
from netify_agent.fleet.summary import Summary
from netify_agent.store.layout import COUNTER_NAMES

LIMIT = 100  # default length of a page

_RATE = {"type": ["integer", "null"], "minimum": 0}
_COUNT = {"type": ["integer", "null"]}
_BYTES = {"bytes_up": schemas.COUNT, "bytes_down": schemas.COUNT}
GATEWAY = schemas.record(
    "Gateway",
    {
        "gateway": schemas.TEXT,
        "state": {"enum": list(STATES)},
        "last_contact": schemas.TIME_OR_NULL,
        "generated_at": schemas.TIME_OR_NULL,
        "version": schemas.TEXT_OR_NULL,
        "clock_skew": {
            "type": ["integer", "null"],
            "description": "Seconds by which the gateway's clock is ahead of the collector's.",
        },
        "devices": _RATE,
        "active": _RATE,
        **dict.fromkeys(COUNTER_NAMES.values(), _COUNT),
        "rate_up": _RATE,
        "rate_down": _RATE,
        "month": {
            **schemas.record(None, {"start": schemas.TIME_OR_NULL, "end": schemas.TIME_OR_NULL, **_BYTES}),
            "type": ["object", "null"],
        },
        "plan": {
            **schemas.record(
                None,
                {
                    "plan": schemas.TEXT,
                    "device": {**schemas.DEVICE_NAME, "type": ["string", "null"]},
                    "used": schemas.COUNT,
                    "limit": schemas.POSITIVE,
                    "share": {"type": "number"},
                },
            ),
            "type": ["object", "null"],
        },
        "alerts": {
            **schemas.record(None, dict.fromkeys(SEVERITIES, schemas.POSITIVE)),
            "type": ["object", "null"],
        },
        "applications": schemas.listing(
            schemas.record(
                None,
                {"tag": schemas.TEXT, "name": schemas.TEXT, "category": schemas.TEXT_OR_NULL, **_BYTES},
            )
        ),
    },
)
SUMS = {
    "gateways": schemas.POSITIVE,
    **dict.fromkeys(STATES, schemas.POSITIVE),
    "devices": schemas.POSITIVE,
    "active": schemas.POSITIVE,
    **dict.fromkeys(COUNTER_NAMES.values(), schemas.COUNT),
    "rate_up": schemas.POSITIVE,
    "rate_down": schemas.POSITIVE,
}
GATEWAYS = schemas.record(
    "Gateways",
    {
        "generated_at": schemas.TIME_OR_NULL,
        "totals": schemas.record(None, SUMS),
        "gateways": schemas.listing(schemas.any_fields(GATEWAY)),
        "total": schemas.POSITIVE,
        "next": {"type": ["string", "null"], "description": "`cursor` of the next page."},
    },
)


def _rates(row: Row) -> tuple[int, int] | tuple[None, None]:
    """Bits per second; None for a gateway that is not online: its latest rates are no longer true."""
    return row.summary.rates if row.summary and row.state == ONLINE else (None, None)


def _of_summary(value: paging.SortKey[Summary]) -> paging.SortKey[Row]:
    return lambda row: None if row.summary is None else value(row.summary)


def _urgency(summary: Summary) -> int:
    """More for one critical alert than for any number of warnings."""
    urgency = 0
    for severity in reversed(SEVERITIES):
        urgency = urgency * 10**6 + min(summary.firing.get(severity, 0), 10**6 - 1)
    return urgency


SORT_KEYS: dict[str, paging.SortKey[Row]] = {
    "name": lambda row: row.gateway.casefold(),
    "state": lambda row: STATES.index(row.state),
    "last_contact": _of_summary(lambda one: one.received),
    "rate": lambda row: sum(row.summary.rates) if row.summary and row.state == ONLINE else None,
    "bytes": _of_summary(lambda one: one.counters["bytes_up"] + one.counters["bytes_down"]),
    "month": _of_summary(lambda one: one.month.bytes_up + one.month.bytes_down),
    "plan": _of_summary(lambda one: one.plan and int(min(one.plan.share, 1e9) * 10**6)),
    "devices": _of_summary(lambda one: one.devices),
    "alerts": _of_summary(_urgency),
    "clock_skew": _of_summary(lambda one: None if one.skew_s is None else abs(one.skew_s)),
}


def route(view: View, directory: Directory) -> Route:
    """The route of the list."""

    def answer(request: Request) -> Document:
        text, state = request["search"], request["state"]
        matching = [
            row
            for row in view.rows
            if (state is None or row.state == state) and (text is None or text in row.gateway.casefold())
        ]
        page = paging.page(matching, request, SORT_KEYS, lambda row: row.gateway)
        head = {
            "generated_at": rfc3339(request.at_ms) if request.at_ms else None,
            "totals": totals(matching),
        }
        elements = [element(row, directory) for row in page.elements]
        return paging.list_document(head, "gateways", elements, page, request)

    return with_csv(
        Route(
            "/gateways",
            "gateways",
            "The gateways that the token may see, each with its state, totals and top applications.",
            answer,
            parameters=(
                *paging.parameters(SORT_KEYS, LIMIT, GATEWAY),
                parameters.choice("state", STATES, None, "Only gateways in this state."),
                parameters.search("name"),
            ),
            schema=GATEWAYS,
            table=Table("gateways", GATEWAY, ("gateway",)),
            cached=True,
        )
    )


def totals(rows: Iterable[Row]) -> Document:
    """Sums over gateways; rates and active devices of those that are online."""
    sums = dict.fromkeys(SUMS, 0)
    for row in rows:
        sums["gateways"] += 1
        sums[row.state] += 1
        if row.summary is None:
            continue
        sums["devices"] += row.summary.devices
        for name, count in row.summary.counters.items():
            sums[name] += count
        if row.state == ONLINE:
            sums["active"] += row.summary.active
            sums["rate_up"] += row.summary.rates[0]
            sums["rate_down"] += row.summary.rates[1]
    return dict(sums)


def element(row: Row, directory: Directory) -> Document:
    """A gateway as an element of the list; ``directory`` has the names of applications."""
    summary = row.summary
    rate_up, rate_down = _rates(row)
    counters = summary.counters if summary else dict.fromkeys(COUNTER_NAMES.values())
    return {
        "gateway": row.gateway,
        "state": row.state,
        "last_contact": rfc3339(summary.received) if summary else None,
        "generated_at": rfc3339(summary.at_ms) if summary else None,
        "version": summary.version if summary else None,
        "clock_skew": summary.skew_s if summary else None,
        "devices": summary.devices if summary else None,
        "active": summary.active if summary and row.state == ONLINE else None,
        **counters,
        "rate_up": rate_up,
        "rate_down": rate_down,
        "month": _month(summary) if summary else None,
        "plan": _plan(summary) if summary else None,
        "alerts": summary.firing if summary else None,
        "applications": _applications(summary, directory) if summary else [],
    }


def _month(summary: Summary) -> Document:
    start, end, bytes_up, bytes_down = summary.month
    return {
        "start": rfc3339(start * 1000),
        "end": rfc3339(end * 1000),
        "bytes_up": bytes_up,
        "bytes_down": bytes_down,
    }


def _plan(summary: Summary) -> Document | None:
    use = summary.plan
    return use and {**use._asdict(), "share": round(use.share, 4)}


def _applications(summary: Summary, directory: Directory) -> list[Document]:
    found = []
    for tag, category, bytes_up, bytes_down in summary.applications:
        name, category_name = directory.application(tag, category or None)
        found.append(
            {
                "tag": tag,
                "name": name,
                "category": category_name,
                "bytes_up": bytes_up,
                "bytes_down": bytes_down,
            }
        )
    return found
