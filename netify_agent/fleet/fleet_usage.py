"""``/usage`` of a fleet: what each gateway, application or category used in a period, over many gateways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from netify_agent.api.documents import rfc3339
from netify_agent.api.http import paging, parameters
from netify_agent.api.http.csv_table import with_csv
from netify_agent.api.http.problems import bad_parameter
from netify_agent.api.http.route import Document, Request, Route, Table
from netify_agent.api.period_usage import Key, PeriodUsage, Selection, Usage, add, link_bytes, sum_of
from netify_agent.api.routes.period_usage import (
    LIMIT,
    PERIODS,
    Row,
    bytes_document,
    period_document,
    requested_period,
    row_document,
)
from netify_agent.api.services import Services
from netify_agent.api.spec import period_schemas, schemas
from netify_agent.config.calendar import Period
from netify_agent.enrich.applications import display_name
from netify_agent.fleet.fleet_sums import FleetSums, matching, pattern
from netify_agent.fleet.overview import View
from netify_agent.store.history_record import NO_SHARE, Share

EVERYTHING = Selection((), whole=True, application=None)
KINDS = ("gateway", "application", "category")

ROW = schemas.record(
    "FleetUsageRow",
    {key: schema for key, schema in period_schemas.USAGE_ROW["properties"].items() if key != "previous"},
)
USAGE = schemas.record(
    "FleetUsage",
    {
        "generated_at": schemas.TIME_OR_NULL,
        "by": {"enum": list(KINDS)},
        "period": {
            **schemas.record(
                None, dict.fromkeys(("start", "end", "covered_start", "covered_end"), schemas.TIME)
            ),
            "type": ["object", "null"],
        },
        "gateways": schemas.POSITIVE,
        "totals": schemas.record(None, dict.fromkeys(NO_SHARE._fields, schemas.COUNT)),
        "usage": schemas.listing(schemas.any_fields(ROW)),
        "total": schemas.POSITIVE,
        "next": {"type": ["string", "null"], "description": "`cursor` of the next page."},
    },
)
SORT_KEYS: dict[str, paging.SortKey[Row]] = {
    "link": lambda row: link_bytes(row.used),
    "bytes": lambda row: row.used.bytes_up + row.used.bytes_down,
    "name": lambda row: (row.name or "").casefold() or None,
}


class Part(NamedTuple):
    """What one gateway moved in the period of its own calendar."""

    period: Period
    usage: Usage


def route(view: View, sums: FleetSums) -> Route:
    """The route of the usage of a period."""

    def answer(request: Request) -> Document:
        by, now = request["by"], request.at_ms // 1000
        if request["from"] is not None and request["to"] is None:
            raise bad_parameter("from", parameters.as_given(request, "from"), "'to' with it")
        is_current = request["from"] is None and request["at"] is None

        def read(services: Services) -> Part:
            known = services.reader.known()
            period = requested_period(request, services.settings.calendar.calendar, now)
            usage = PeriodUsage(services.history, services.directory, known.categories)
            kind = "device" if by == "gateway" else by  # no device: the sum of the gateway alone
            return Part(period, usage.read(EVERYTHING, kind, period, known.flush))

        question = ("usage", by, *(request[name] for name in ("period", "at", "from", "to")))
        parts = sums.parts(
            matching(view.rows, request["gateways"]),
            question,
            read,
            size=lambda part: len(part.usage.rows),
            holds=lambda part: not is_current or now in part.period,
        )
        used: dict[Key, Share] = {}
        for row, part in parts:
            for key, share in (
                part.usage.rows.items() if by != "gateway" else [(row.gateway, part.usage.total)]
            ):
                add(used, key, share)
        rows = [
            Row(key, display_name(key) if key and by == "application" else key, share, None)
            for key, share in used.items()
        ]
        total = sum_of(part.usage.total for _, part in parts)
        page = paging.page(rows, request, SORT_KEYS, lambda row: row.key or "")
        head = {
            "generated_at": rfc3339(request.at_ms) if request.at_ms else None,
            "by": by,
            "period": whole_period([part for _, part in parts]),
            "gateways": len(parts),
            "totals": bytes_document(total),
        }
        elements = [row_document(row, total) for row in page.elements]
        for element in elements:
            del element["previous"]
        return paging.list_document(head, "usage", elements, page, request)

    return with_csv(
        Route(
            "/usage",
            "usage",
            "What each gateway, application or category used in a period, over many gateways.",
            answer,
            parameters=(
                parameters.choice("by", KINDS, KINDS[0], "What a row represents."),
                parameters.choice(
                    "period", list(PERIODS), None, "Of each gateway's own calendar; `month` without `from`."
                ),
                parameters.moment("at", "Any moment in the period; if absent, the latest message."),
                parameters.moment("from", "Start of the time, in place of `period`."),
                parameters.moment("to", "End of the time, with `from`."),
                pattern(),
                *paging.parameters(SORT_KEYS, LIMIT, ROW),
            ),
            schema=USAGE,
            table=Table("usage", ROW, ("key", "name")),
            cached=True,
        )
    )


def whole_period(parts: Sequence[Part]) -> Document | None:
    """From the earliest start to the latest end: gateways in other time zones have other months."""
    if not parts:
        return None
    covered = [part.usage.covered for part in parts]
    return period_document(
        Period(min(part.period.start for part in parts), max(part.period.end for part in parts)),
        Period(min(one.start for one in covered), max(one.end for one in covered)),
    )
