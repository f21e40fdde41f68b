"""``/`` and ``/<device>``: the gateway with its devices, and one device."""

from __future__ import annotations

from netify_agent.api.documents import rfc3339
from netify_agent.api.http import paging, parameters
from netify_agent.api.http.problems import Problem, bad_parameter
from netify_agent.api.http.route import Document, OtherResponse, Request, Route
from netify_agent.api.routes import dashboard, flows
from netify_agent.api.services import Services
from netify_agent.api.spec import schemas
from netify_agent.store.flow_reader import FlowReader
from netify_agent.store.query import FlushStamp, retry_when_flushed
from netify_agent.store.rows import DeviceRow

MAX_SINCE = 100  # devices whose live flows one request may read


def routes(services: Services) -> list[Route]:
    """The routes of the network and of one device."""
    documents, reader = services.documents, services.reader
    flow_reader = FlowReader(reader)

    def display_name(row: DeviceRow) -> str | None:
        name = documents.identity(row)["name"]
        return None if name is None else str(name).casefold()

    sort_keys: dict[str, paging.SortKey[DeviceRow]] = {
        "bytes": lambda row: row.total_bytes,
        "rate": lambda row: sum(row.rates),
        "flows": lambda row: row.counters["flows"],
        "name": display_name,
        "first_seen": lambda row: row.first_seen,
        "last_seen": lambda row: row.last_seen,
    }

    @retry_when_flushed
    def network(request: Request) -> Document:
        if request["since"] and not 0 < (request["limit"] or 0) <= MAX_SINCE:
            raise bad_parameter("since", "true", f"a 'limit' of at most {MAX_SINCE} with it")
        snapshot = reader.snapshot(
            addresses=request["search"] is not None or request["sort"] == "name",
            users_of=request["application"],
        )
        at_ms = snapshot.flush.at_ms
        matching = [row for row in snapshot.devices if matches(request, row, at_ms)]
        page = paging.page(matching, request, sort_keys, lambda row: row.name)
        reader.add_details(snapshot, page.elements, applications=paging.is_requested("applications", request))
        devices = [documents.device(row, at_ms, snapshot.categories) for row in page.elements]
        if request["since"] and paging.is_requested("applications", request):
            add_since(page.elements, devices, snapshot.flush)
        return paging.list_document(documents.network(snapshot), "devices", devices, page, request)

    def add_since(rows: list[DeviceRow], devices: list[Document], flush: FlushStamp) -> None:
        """Add ``since`` to the applications of devices."""
        for row, document in zip(rows, devices, strict=True):
            started = flow_reader.started(row.name, flush) if row.application_rates else {}
            for application in document["applications"]:
                application["since"] = rfc3339(started.get(application["tag"]))

    def matches(request: Request, row: DeviceRow, at_ms: int) -> bool:
        """Whether a device passes the filters ``active`` and ``search``."""
        if request["active"] is not None and documents.is_active(row, at_ms) != request["active"]:
            return False
        if request["search"] is None:
            return True
        identity = documents.identity(row)
        texts = identity["name"], identity["vendor"], identity["mac"], *identity["ips"]
        return any(request["search"] in text.casefold() for text in texts if text)

    @retry_when_flushed
    def device(request: Request) -> Document:
        snapshot = reader.device(
            request["device"],
            applications=paging.is_requested("applications", request),
            protocols=paging.is_requested("protocols", request),
        )
        if snapshot is None:
            raise Problem(404, f"no device {request['device']} has been seen")
        risks = []
        if paging.is_requested("risks", request):
            risks = flow_reader.risks(request["device"], snapshot.flush)
        document = {**documents.device_in_detail(snapshot), "risks": flows.risks(risks)}
        return paging.with_fields([document], request)[0]

    return [
        Route(
            "/",
            "network",
            "The gateway and every device with its applications, most bytes first.",
            network,
            parameters=(
                *paging.parameters(sort_keys, None, schemas.DEVICE),
                parameters.flag("active", None, "Only active devices, or only inactive ones."),
                parameters.text(
                    "application", "Only devices that moved bytes with this application (its tag)."
                ),
                parameters.search("name, vendor, MAC address or IP addresses"),
                parameters.flag(
                    "since", False, f"Whether to add the key `since`; needs a `limit` of at most {MAX_SINCE}."
                ),
            ),
            schema=schemas.NETWORK,
            cached=True,
            page=dashboard.FROM_TOP,
        ),
        Route(
            "/<device>",
            "device",
            "One device: an element of `devices` with its protocols and the risks of its flows.",
            device,
            parameters=(parameters.device(), parameters.fields(schemas.ONE_DEVICE)),
            schema=schemas.any_fields(schemas.ONE_DEVICE),
            cached=True,
            others={404: OtherResponse("No such device has been seen.")},
        ),
    ]
