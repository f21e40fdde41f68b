"""``/`` and ``/<device>``: the gateway with its devices, and one device."""

from __future__ import annotations

from netify_agent.api.documents import rfc3339
from netify_agent.api.encoded_applications import EncodedApplications
from netify_agent.api.http import paging, parameters
from netify_agent.api.http.problems import Problem, bad_parameter
from netify_agent.api.http.route import JSON, Document, OtherResponse, Request, Route, Table
from netify_agent.api.routes import dashboard, flows
from netify_agent.api.services import Services
from netify_agent.api.spec import schemas
from netify_agent.store.flow_reader import FlowReader
from netify_agent.store.query import FlushStamp, retry_when_flushed
from netify_agent.store.reader import NetworkSnapshot
from netify_agent.store.rows import DeviceRow

MAX_SINCE = 100  # devices whose live flows one request may read
_IDENTITY = ("mac", "ip", "name")  # stand before each row of a device's applications in CSV


def routes(services: Services) -> list[Route]:
    """The routes of the network and of one device."""
    documents, reader = services.documents, services.reader
    flow_reader = FlowReader(reader)
    encoded = EncodedApplications(documents, services.flush_log)

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
            addresses=any(request[name] is not None for name in ("search", "group"))
            or request["sort"] == "name",
            users_of=request["application"],
        )
        at_ms = snapshot.flush.at_ms
        matching = [row for row in snapshot.devices if matches(request, row, at_ms)]
        page = paging.page(matching, request, sort_keys, lambda row: row.name)
        devices = elements(request, snapshot, page.elements)
        if request["since"] and paging.is_requested("applications", request):
            add_since(page.elements, devices, snapshot.flush)
        return paging.list_document(documents.network(snapshot), "devices", devices, page, request)

    def add_since(rows: list[DeviceRow], devices: list[Document], flush: FlushStamp) -> None:
        """Add ``since`` to the applications of devices."""
        for row, document in zip(rows, devices, strict=True):
            started = flow_reader.started(row.name, flush) if row.application_rates else {}
            for application in document["applications"]:
                application["since"] = rfc3339(started.get(application["tag"]))

    def elements(request: Request, snapshot: NetworkSnapshot, rows: list[DeviceRow]) -> list[Document]:
        """The elements of ``devices``. In JSON without ``since``, the applications are encoded already."""
        at_ms = snapshot.flush.at_ms
        plain = request.media_type != JSON or request["since"]
        if plain or not paging.is_requested("applications", request):
            reader.add_details(snapshot, rows, applications=paging.is_requested("applications", request))
            return [documents.device(row, at_ms, snapshot.categories) for row in rows]
        known = encoded.known(snapshot.flush, snapshot.categories)
        lists = encoded.unchanged(known)
        missing = [row for row in rows if row.name not in lists]
        for row, applications in reader.details(snapshot, rows, missing):
            lists[row.name] = encoded.encode(known, applications)
            encoded.keep(known, row.name, lists[row.name])
        return [{**documents.device_alone(row, at_ms), "applications": lists[row.name]} for row in rows]

    def matches(request: Request, row: DeviceRow, at_ms: int) -> bool:
        """Whether a device passes the filters ``active``, ``group`` and ``search``."""
        if request["active"] is not None and documents.is_active(row, at_ms) != request["active"]:
            return False
        if request["search"] is None and request["group"] is None:
            return True
        identity = documents.identity(row)
        if request["group"] is not None and request["group"] not in identity["groups"]:
            return False
        if request["search"] is None:
            return True
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
                parameters.group(services.directory.group_names),
                parameters.search("name, vendor, MAC address or IP addresses"),
                parameters.flag(
                    "since", False, f"Whether to add the key `since`; needs a `limit` of at most {MAX_SINCE}."
                ),
            ),
            schema=schemas.NETWORK,
            table=Table("devices", schemas.DEVICE, _IDENTITY),
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
            table=Table(None, schemas.ONE_DEVICE, _IDENTITY),
            cached=True,
            others={404: OtherResponse("No such device has been seen.")},
        ),
    ]
