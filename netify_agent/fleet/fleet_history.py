"""``/history`` of a fleet: the traffic of many gateways together, in buckets.

A record of a gateway counts in the bucket that contains its middle. Days and months of gateways in other time
zones therefore count in the bucket of the same date.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netify_agent.api.documents import bucket_document, rfc3339
from netify_agent.api.http import parameters
from netify_agent.api.http.csv_table import with_csv
from netify_agent.api.http.problems import bad_parameter
from netify_agent.api.http.route import Document, Request, Route, Table
from netify_agent.api.routes import history
from netify_agent.api.services import Services
from netify_agent.api.spec import schemas
from netify_agent.config.calendar import DAY_S, Calendar
from netify_agent.config.types import DEFAULT_HISTORY
from netify_agent.fleet.fleet_sums import FleetSums, matching, pattern
from netify_agent.fleet.overview import View
from netify_agent.store.history_reader import Bucket
from netify_agent.store.history_record import add_shares, add_volumes
from netify_agent.store.layout import GATEWAY

MAX_BUCKETS = 200_000  # of all gateways together, in one request
_APPLICATIONS = 10  # a bucket with applications counts as so many
_UTC = Calendar()
#: What is kept longest is for each gateway to say.
RESOLUTIONS = {one.name: replace(one, keep_s=100 * 366 * DAY_S) for one in DEFAULT_HISTORY}

HISTORY = schemas.record(
    "FleetHistory",
    {
        "generated_at": schemas.TIME_OR_NULL,
        "resolution": schemas.POSITIVE,
        "gateways": schemas.POSITIVE,
        "left_out": schemas.listing(schemas.TEXT, description="Gateways that do not keep this resolution."),
        "buckets": schemas.listing(schemas.BUCKET),
    },
)


def route(view: View, sums: FleetSums, max_buckets: int = MAX_BUCKETS) -> Route:
    """The route of the history; ``max_buckets``: of all gateways together."""

    def answer(request: Request) -> Document:
        resolution, applications = RESOLUTIONS[request["resolution"]], request["applications"]
        step = resolution.step_s
        rows = matching(view.rows, request["gateways"])
        periods, _ = history.periods_of(request, resolution, _UTC)
        most = max(max_buckets // (max(len(rows), 1) * (_APPLICATIONS if applications else 1)), 1)
        if len(periods) > most and request["from"] is not None:
            expected = f"a time that makes at most {most} buckets of each of {len(rows)} gateways"
            raise bad_parameter("from", parameters.as_given(request, "from"), expected)
        periods = periods[-most:]

        def read(services: Services) -> list[Bucket] | None:
            if step not in services.history.steps.keep_s:
                return None
            return services.history.buckets(GATEWAY, step, periods, applications=applications)

        question = ("history", step, applications, *periods[:1], *periods[-1:])
        parts = sums.parts(rows, question, read, size=size_of)
        found: dict[int, Bucket] = {}
        for _, buckets in parts:
            for bucket in buckets or ():
                had = found.get(bucket.start)
                if had is None:
                    found[bucket.start] = bucket._replace(applications=dict(bucket.applications))
                else:
                    add_shares(had.applications, bucket.applications)
                    found[bucket.start] = had._replace(volume=add_volumes(had.volume, bucket.volume))
        return {
            "generated_at": rfc3339(request.at_ms) if request.at_ms else None,
            "resolution": step,
            "gateways": sum(buckets is not None for _, buckets in parts),
            "left_out": [row.gateway for row, buckets in parts if buckets is None],
            "buckets": [bucket_document(found[start], applications=applications) for start in sorted(found)],
        }

    return with_csv(
        Route(
            "/history",
            "history",
            "The traffic of the gateways that the token may see in buckets, by UTC, oldest first.",
            answer,
            parameters=(*history.parameters_of(list(RESOLUTIONS)), pattern()),
            schema=HISTORY,
            table=Table("buckets", schemas.BUCKET, ("start",), expanded_by="applications"),
            cached=True,
        )
    )


def size_of(buckets: Sequence[Bucket] | None) -> int:
    """Buckets and their applications."""
    return sum(1 + len(bucket.applications) for bucket in buckets or ())
