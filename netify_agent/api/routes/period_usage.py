"""``/usage``: who or what used how much in a period, heaviest first."""

from __future__ import annotations

from dataclasses import dataclass

from netify_agent.api.documents import rfc3339
from netify_agent.api.http import paging, parameters
from netify_agent.api.http.problems import Problem, bad_parameter
from netify_agent.api.http.route import Document, OtherResponse, Request, Route, Table
from netify_agent.api.period_usage import BESIDE, KINDS, PeriodUsage, Selection, link_bytes
from netify_agent.api.services import Services
from netify_agent.api.spec import period_schemas
from netify_agent.config.calendar import DAY_S, MONTH_S, WEEK_S, Calendar, Period
from netify_agent.enrich.applications import display_name
from netify_agent.store.history_record import NO_SHARE, Share
from netify_agent.store.query import retry_when_flushed

PERIODS = {"month": MONTH_S, "week": WEEK_S, "day": DAY_S}
LIMIT = 100  # default length of a page
LONGEST_S = 100 * 366 * DAY_S  # from `from` to `to`


@dataclass
class Row:
    """What a device, group, application, category or interface moved.

    :ivar key: None for what belongs to none of the names.
    :ivar previous: the same in the period before; None if it was not asked for.
    """

    key: str | None
    name: str | None
    used: Share
    previous: Share | None


def routes(services: Services) -> list[Route]:
    """The route of the usage of a period."""
    documents, directory = services.documents, services.directory
    sort_keys: dict[str, paging.SortKey[Row]] = {
        "link": lambda row: link_bytes(row.used),
        "bytes": lambda row: row.used.bytes_up + row.used.bytes_down,
        "name": lambda row: (row.name or "").casefold() or None,
    }

    @retry_when_flushed
    def answer(request: Request) -> Document:
        by = request["by"]
        known = services.reader.known()
        calendar = services.settings.calendar.calendar
        period = requested_period(request, calendar, known.flush.at_ms // 1000)
        usage = PeriodUsage(services.history, directory, known.categories)
        selection = selected(request, known.devices)
        now = usage.read(selection, by, period, known.flush)
        before = then = None
        if request["previous"]:
            before = period_before(request, calendar, period, known.flush.at_ms // 1000)
            then = usage.read(selection, by, before, known.flush)
        keys = {**now.rows, **(then.rows if then else {})}
        rows = [
            Row(
                key,
                named(by, key),
                now.rows.get(key, NO_SHARE),
                then.rows.get(key, NO_SHARE) if then else None,
            )
            for key in keys
        ]
        page = paging.page(rows, request, sort_keys, lambda row: row.key or "")
        beside = now.beside or dict.fromkeys(BESIDE)
        head = {
            **documents.head(known.flush.at_ms),
            "by": by,
            "period": period_document(period, now.covered),
            "previous_period": period_document(before, then.covered) if before and then else None,
            "timezone": calendar.zone_name,
            "totals": {**bytes_document(now.total), "previous": bytes_document(then.total) if then else None},
            **{name: bytes_document(share) if share else None for name, share in beside.items()},
        }
        elements = [row_document(row, now.total) for row in page.elements]
        return paging.list_document(head, "usage", elements, page, request)

    def selected(request: Request, devices: list[str]) -> Selection:
        device, group, application = request["device"], request["group"], request["application"]
        if request["by"] == "interface":
            for name in ("device", "group", "application"):
                if request[name] is not None:
                    given = parameters.as_given(request, name)
                    raise bad_parameter(name, given, "none with by=interface")
        if device is not None and device not in devices:
            raise Problem(404, f"no device {device} has been seen")
        matching = [
            one
            for one in devices
            if device in (None, one) and (group is None or group in documents.device_groups(one))
        ]
        return Selection(matching, device is None and group is None, application)

    def named(by: str, key: str | None) -> str | None:
        if key is None or by in ("group", "category", "interface"):
            return key
        return documents.device_name(key) if by == "device" else display_name(key)

    return [
        Route(
            "/usage",
            "usage",
            "What each device, group, application, category or interface used in a period, heaviest first.",
            answer,
            parameters=(
                parameters.choice("by", KINDS, KINDS[0], "What a row represents."),
                parameters.choice(
                    "period", list(PERIODS), None, "A period of the calendar; `month` without `from`."
                ),
                parameters.moment("at", "Any moment in the period; if absent, the last flush."),
                parameters.moment("from", "Start of the time, in place of `period`."),
                parameters.moment("to", "End of the time; if absent, the last flush. Only with `from`."),
                parameters.flag("previous", False, "Whether to put the period before beside each row."),
                parameters.flag(
                    "to_date", False, "Of the period before, only as much as has passed of the period."
                ),
                parameters.device(in_path=False),
                parameters.group(directory.group_names),
                parameters.text("application", "Only traffic of this application (its tag)."),
                *paging.parameters(sort_keys, LIMIT, period_schemas.USAGE_ROW),
            ),
            schema=period_schemas.USAGE,
            table=Table("usage", period_schemas.USAGE_ROW, ("key", "name")),
            cached=True,
            others={404: OtherResponse("No such device has been seen.")},
        )
    ]


def requested_period(request: Request, calendar: Calendar, now: int) -> Period:
    """The period that a request asks for.

    :param now: the time of the last flush, seconds since the epoch.
    :raises Problem: if the parameters contradict each other. They may name the future: it has traffic if the
        clock was set back.
    """
    since, until, at = request["from"], request["to"], request["at"]

    def wrong(name: str, expected: str) -> Problem:
        return bad_parameter(name, parameters.as_given(request, name), expected)

    if since is None:
        if until is not None:
            raise wrong("to", "'from' with it")
        if at is not None and at > now + LONGEST_S:
            raise wrong("at", "a time at most 100 years from now")
        return calendar.period(PERIODS[request["period"] or "month"], now if at is None else at)
    for name in ("period", "at"):
        if request[name] is not None:
            raise wrong(name, "either 'period' and 'at', or 'from' and 'to'")
    if since > now + LONGEST_S:
        raise wrong("from", "a time at most 100 years from now")
    end = max(now, since + 1) if until is None else until
    if not since < end <= since + LONGEST_S:
        raise wrong("to" if until is not None else "from", "a time after 'from', at most 100 years later")
    return Period(since, end)


def period_before(request: Request, calendar: Calendar, period: Period, now: int) -> Period:
    """The period of the same kind, or of the same length, that ends where ``period`` starts.

    :param now: seconds since the epoch. With ``to_date``, no more of the period before is taken than has
        passed of ``period``.
    """
    if request["from"] is None:
        before = calendar.period(PERIODS[request["period"] or "month"], period.start - 1)
    else:
        before = Period(period.start - (period.end - period.start), period.start)
    if request["to_date"] and now < period.end:
        return Period(before.start, min(before.start + max(now - period.start, 1), before.end))
    return before


def period_document(period: Period, covered: Period) -> Document:
    """The period that was asked for, and what its sums cover."""
    return {
        "start": rfc3339(period.start * 1000),
        "end": rfc3339(period.end * 1000),
        "covered_start": rfc3339(covered.start * 1000),
        "covered_end": rfc3339(covered.end * 1000),
    }


def bytes_document(share: Share) -> Document:
    """Bytes up and down, and the part of them that is local."""
    return share._asdict()


def row_document(row: Row, total: Share) -> Document:
    """A row.

    :param total: of the whole answer, for the row's share of the traffic that is not local.
    """
    whole = link_bytes(total)
    return {
        "key": row.key,
        "name": row.name,
        **bytes_document(row.used),
        "share": round(link_bytes(row.used) / whole, 4) if whole > 0 else None,
        "previous": None if row.previous is None else bytes_document(row.previous),
    }
