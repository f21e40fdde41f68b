"""``/`` and ``/<device>``: the gateway with its devices, and one of them."""

from __future__ import annotations

from collections.abc import Sequence

from netify_agent.api import flows, pages, paging, parameters, schemas
from netify_agent.api.answers import volume
from netify_agent.api.declarations import Asked, Document, Other, Route
from netify_agent.api.parts import Parts
from netify_agent.api.problems import Problem
from netify_agent.store.flows import FlowReader
from netify_agent.store.rows import DeviceRow, Picture


def routes(parts: Parts) -> list[Route]:
    """The routes of the network and of one device."""
    answers, reader = parts.answers, parts.reader
    flow_reader = FlowReader(reader)

    def name(row: DeviceRow) -> str | None:
        known = answers.identity(row)["name"]
        return None if known is None else str(known).casefold()

    values: dict[str, paging.Values[DeviceRow]] = {
        "bytes": volume,
        "rate": lambda row: sum(row.rates),
        "flows": lambda row: row.counters["flows"],
        "name": name,
        "first_seen": lambda row: row.first_seen,
        "last_seen": lambda row: row.last_seen,
    }

    def network(asked: Asked) -> Document:
        page: paging.Page[DeviceRow] = paging.Page([], 0, None)

        def select(picture: Picture) -> Sequence[DeviceRow]:
            nonlocal page
            rows = [row for row in picture.devices if fits(asked, picture, row)]
            page = paging.page(rows, asked, values, lambda row: row.name)
            return page.elements

        wanted = asked["fields"]
        narrowed = any(asked[one] is not None for one in ("limit", "cursor", "active", "search"))
        picture = reader.picture(
            select if narrowed else None,
            applications=wanted is None or "applications" in wanted,
            addresses=asked["search"] is not None or asked["sort"] == "name",
            users_of=asked["application"],
        )
        rows = picture.devices if narrowed else select(picture)
        devices = [paging.chosen(answers.device(picture, row), wanted) for row in rows]
        return {**answers.network(picture), "devices": devices, "total": page.total, "next": page.next}

    def fits(asked: Asked, picture: Picture, row: DeviceRow) -> bool:
        """Whether a device is among those that a request asks for."""
        if asked["active"] is not None and answers.is_active(picture, row) != asked["active"]:
            return False
        if asked["search"] is None:
            return True
        known = answers.identity(row)
        texts = known["name"], known["vendor"], known["mac"], *known["ips"]
        return any(asked["search"] in text.casefold() for text in texts if text)

    def device(asked: Asked) -> Document:
        wanted = asked["fields"]
        found = reader.device(
            asked["device"],
            applications=wanted is None or "applications" in wanted,
            protocols=wanted is None or "protocols" in wanted,
        )
        if found is None:
            raise Problem(404, f"no device {asked['device']} has been seen")
        risky = flow_reader.risks(asked["device"]) if wanted is None or "risks" in wanted else []
        return paging.chosen({**answers.one_device(*found), "risks": flows.risks(risky)}, wanted)

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
            page=pages.ROOT,
        ),
        Route(
            "/<device>",
            "device",
            "One device: an element of `devices`, with its protocols and the risks of its flows beside it.",
            device,
            parameters=(parameters.device(), parameters.fields(schemas.ONE_DEVICE)),
            schema=schemas.any_fields(schemas.ONE_DEVICE),
            cached=True,
            others={404: Other("No such device has been seen.")},
        ),
    ]
