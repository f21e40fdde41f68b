"""``/history`` and ``/<device>/history``: which buckets a request asks for, and the answer."""

from __future__ import annotations

from netify_agent.api import parameters, schemas
from netify_agent.api.declarations import Asked, Document, Other, Parameter, Route
from netify_agent.api.parts import Parts
from netify_agent.api.problems import Problem, bad_parameter
from netify_agent.config import Resolution
from netify_agent.store.layout import GATEWAY

MAX_BUCKETS = 2000  # of one history answer


def routes(parts: Parts) -> list[Route]:
    """The routes of the gateway's history and of a device's."""
    resolutions = {resolution.name: resolution for resolution in parts.settings.history}
    answers, reader = parts.answers, parts.reader

    def of_device(asked: Asked) -> Document:
        device, resolution = asked["device"], resolutions[asked["resolution"]]
        starts = wanted(asked, resolution)
        if not reader.knows(device):
            raise Problem(404, f"no device {device} has been seen")
        buckets = reader.history(device, resolution.step_s, starts)
        return answers.history(device, resolution.step_s, buckets, applications=asked["applications"])

    def of_gateway(asked: Asked) -> Document:
        resolution = resolutions[asked["resolution"]]
        buckets = reader.history(GATEWAY, resolution.step_s, wanted(asked, resolution))
        return answers.history(None, resolution.step_s, buckets, applications=asked["applications"])

    return [
        Route(
            "/history",
            "history",
            "The gateway's past in steps, oldest first. Steps without traffic are left out.",
            of_gateway,
            parameters=tuple(_parameters(list(resolutions))),
            schema=schemas.HISTORY,
            cached=True,
        ),
        Route(
            "/<device>/history",
            "device_history",
            "A device's past in steps, oldest first. Steps without traffic are left out.",
            of_device,
            parameters=(parameters.device(), *_parameters(list(resolutions))),
            schema=schemas.DEVICE_HISTORY,
            cached=True,
            others={404: Other("No such device has been seen.")},
        ),
    ]


def _parameters(names: list[str]) -> list[Parameter]:
    return [
        parameters.choice("resolution", names, names[0], "How long a step is."),
        parameters.moment("from", f"Begin; all that is kept if absent, {MAX_BUCKETS:,} steps at most."),
        parameters.moment("to", "End; the last flush if absent. Every step that touches the range is told."),
        parameters.flag("applications", False, "Whether to give the applications of each step, by tag."),
    ]


def wanted(asked: Asked, resolution: Resolution) -> range:
    """Starts of the buckets that a request asks for, seconds since the epoch. Raises Problem."""
    step = resolution.step_s
    now = asked.at_ms // 1000
    to = now if asked["to"] is None else asked["to"]
    since = to - (MAX_BUCKETS - 1) * step if asked["from"] is None else asked["from"]
    given = parameters.as_given(asked, "from")
    if asked["to"] is not None and since > to:
        raise bad_parameter("from", given, "a time that is not after 'to'")
    earliest = now - resolution.keep_s
    starts = range(max(since, earliest - step) // step * step, min(to, now) + 1, step)
    if len(starts) > MAX_BUCKETS:
        raise bad_parameter("from", given, f"a time that makes at most {MAX_BUCKETS} buckets")
    return starts
