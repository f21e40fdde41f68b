"""``/history`` and ``/<device>/history``: traffic in the past, by periods of the calendar."""

from __future__ import annotations

from netify_agent.api.http import parameters
from netify_agent.api.http.problems import Problem, bad_parameter
from netify_agent.api.http.route import Document, OtherResponse, Parameter, Request, Route, Table
from netify_agent.api.services import Services
from netify_agent.api.spec import schemas
from netify_agent.config.calendar import DAY_S, Calendar, Period
from netify_agent.config.settings import Resolution
from netify_agent.store.layout import GATEWAY

MAX_BUCKETS = 2000  # in one answer, until the last flush
_AHEAD_S = 100 * 366 * DAY_S  # what is later than this after the last flush is not looked for
_TABLE = Table("buckets", schemas.BUCKET, ("start",), expanded_by="applications")


def routes(services: Services) -> list[Route]:
    """The routes of the history of the gateway and of a device."""
    resolutions = {resolution.name: resolution for resolution in services.settings.history}
    documents, reader = services.documents, services.reader
    history = services.history
    calendar = history.steps.calendar

    def of_device(request: Request) -> Document:
        device, resolution = request["device"], resolutions[request["resolution"]]
        periods, until = periods_of(request, resolution, calendar)
        if not reader.knows(device):
            raise Problem(404, f"no device {device} has been seen")
        applications = request["applications"]
        buckets = history.buckets(device, resolution.step_s, periods, until=until, applications=applications)
        return documents.history(device, resolution.step_s, buckets, applications=applications)

    def of_gateway(request: Request) -> Document:
        resolution = resolutions[request["resolution"]]
        periods, until = periods_of(request, resolution, calendar)
        applications = request["applications"]
        buckets = history.buckets(GATEWAY, resolution.step_s, periods, until=until, applications=applications)
        return documents.history(None, resolution.step_s, buckets, applications=applications)

    return [
        Route(
            "/history",
            "history",
            "The gateway's traffic in buckets, oldest first. Buckets without traffic are left out.",
            of_gateway,
            parameters=tuple(parameters_of(list(resolutions))),
            schema=schemas.HISTORY,
            table=_TABLE,
            cached=True,
        ),
        Route(
            "/<device>/history",
            "device_history",
            "A device's traffic in buckets, oldest first. Buckets without traffic are left out.",
            of_device,
            parameters=(parameters.device(), *parameters_of(list(resolutions))),
            schema=schemas.DEVICE_HISTORY,
            table=_TABLE,
            cached=True,
            others={404: OtherResponse("No such device has been seen.")},
        ),
    ]


def parameters_of(names: list[str]) -> list[Parameter]:
    """The parameters of a history with resolutions of these names."""
    return [
        parameters.choice("resolution", names, names[0], "Length of a bucket."),
        parameters.moment("from", f"Start; if absent, all that is kept, at most {MAX_BUCKETS:,} buckets."),
        parameters.moment("to", "End; if absent, the last flush. Buckets that touch the range are included."),
        parameters.flag("applications", False, "Whether to list the applications of each bucket, by tag."),
    ]


def periods_of(request: Request, resolution: Resolution, calendar: Calendar) -> tuple[list[Period], int]:
    """The buckets that touch the requested range, and the end of the range, seconds since the epoch.

    Buckets that have expired are left out, and those that begin after the last flush: there may be many, and
    none has traffic unless the clock was set back.

    :raises Problem: if ``from`` is after ``to``, or the range has more than :data:`MAX_BUCKETS` buckets until
        the last flush.
    """
    step = resolution.step_s
    now = request.at_ms // 1000
    to = now if request["to"] is None else min(request["to"], now + _AHEAD_S)
    last = min(to, now)
    since = last - (MAX_BUCKETS - 1) * step if request["from"] is None else request["from"]
    given = parameters.as_given(request, "from")
    if request["to"] is not None and since > request["to"]:
        raise bad_parameter("from", given, "a time that is not after 'to'")
    since = max(since, now - resolution.keep_s - step, 0)
    if since > to:
        return [], to
    since, last = calendar.period(step, since).start, max(since, last)
    many = last - since > (MAX_BUCKETS + 2) * (step + DAY_S * (step >= DAY_S))
    periods = [] if many else calendar.periods(step, since, last + 1)
    if many or len(periods) > MAX_BUCKETS:
        if request["from"] is not None:
            raise bad_parameter("from", given, f"a time that makes at most {MAX_BUCKETS} buckets")
        periods = periods[-MAX_BUCKETS:]
    return periods, to + 1
