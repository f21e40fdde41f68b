"""``/`` and ``/<device>``: the gateway with its devices, and one of them."""

from __future__ import annotations

from collections.abc import Sequence

from netify_agent.api.documents import volume
from netify_agent.api.http import paging, parameters
from netify_agent.api.http.problems import Problem
from netify_agent.api.http.route import Document, OtherResponse, Request, Route
from netify_agent.api.routes import dashboard as pages
from netify_agent.api.routes import flows
from netify_agent.api.services import Services
from netify_agent.api.spec import schemas
from netify_agent.store.flow_reader import FlowReader
from netify_agent.store.rows import DeviceRow, NetworkSnapshot


def routes(services: Services) -> list[Route]:
    """The routes of the network and of one device."""
    documents, reader = services.documents, services.reader
    flow_reader = FlowReader(reader)

    def name(row: DeviceRow) -> str | None:
        known = documents.identity(row)["name"]
        return None if known is None else str(known).casefold()

    values: dict[str, paging.Values[DeviceRow]] = {
        "bytes": volume,
        "rate": lambda row: sum(row.rates),
        "flows": lambda row: row.counters["flows"],
        "name": name,
        "first_seen": lambda row: row.first_seen,
        "last_seen": lambda row: row.last_seen,
    }

    def network(request: Request) -> Document:
        page: paging.Page[DeviceRow] = paging.Page([], 0, None)

        def select(snapshot: NetworkSnapshot) -> Sequence[DeviceRow]:
            nonlocal page
            rows = [row for row in snapshot.devices if fits(request, snapshot, row)]
            page = paging.page(rows, request, values, lambda row: row.name)
            return page.elements

        wanted = request["fields"]
        narrowed = any(request[one] is not None for one in ("limit", "cursor", "active", "search"))
        snapshot = reader.snapshot(
            select if narrowed else None,
            applications=wanted is None or "applications" in wanted,
            addresses=request["search"] is not None or request["sort"] == "name",
            users_of=request["application"],
        )
        rows = snapshot.devices if narrowed else select(snapshot)
        devices = [paging.chosen(documents.device(snapshot, row), wanted) for row in rows]
        return {**documents.network(snapshot), "devices": devices, "total": page.total, "next": page.next}

    def fits(request: Request, snapshot: NetworkSnapshot, row: DeviceRow) -> bool:
        """Whether a device is among those that a request asks for."""
        if request["active"] is not None and documents.is_active(snapshot, row) != request["active"]:
            return False
        if request["search"] is None:
            return True
        known = documents.identity(row)
        texts = known["name"], known["vendor"], known["mac"], *known["ips"]
        return any(request["search"] in text.casefold() for text in texts if text)

    def device(request: Request) -> Document:
        wanted = request["fields"]
        found = reader.device(
            request["device"],
            applications=wanted is None or "applications" in wanted,
            protocols=wanted is None or "protocols" in wanted,
        )
        if found is None:
            raise Problem(404, f"no device {request['device']} has been seen")
        risky = flow_reader.risks(request["device"]) if wanted is None or "risks" in wanted else []
        return paging.chosen({**documents.one_device(*found), "risks": flows.risks(risky)}, wanted)

    return [
        Route(
            "/",
            "network",
            "The gateway and every device with its applications, most bytes first.",
            network,
            parameters=(
                *paging.parameters(values, None, schemas.DEVICE),
                parameters.flag("active", None, "Only devices that are active, or only those that are not."),
                parameters.text(
                    "application", "Only devices that moved bytes with this application (its tag)."
                ),
                parameters.search("name, vendor, MAC or one of the IP addresses"),
            ),
            schema=schemas.NETWORK,
            cached=True,
            page=pages.FROM_TOP,
        ),
        Route(
            "/<device>",
            "device",
            "One device: an element of `devices`, with its protocols and the risks of its flows beside it.",
            device,
            parameters=(parameters.device(), parameters.fields(schemas.ONE_DEVICE)),
            schema=schemas.any_fields(schemas.ONE_DEVICE),
            cached=True,
            others={404: OtherResponse("No such device has been seen.")},
        ),
    ]
