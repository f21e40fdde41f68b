"""``/flows``: live and recently ended flows. Also the risks of a device, for ``/<device>``."""

from __future__ import annotations

from collections.abc import Mapping

from netify_agent.api.documents import rfc3339
from netify_agent.api.http import paging, parameters
from netify_agent.api.http.problems import bad_parameter
from netify_agent.api.http.route import Document, Request, Route, Table
from netify_agent.api.services import Services
from netify_agent.api.spec import schemas
from netify_agent.enrich import Directory
from netify_agent.enrich.risks import risk_name, risk_severity
from netify_agent.netifyd.flow_record import Details
from netify_agent.store.flow_reader import FlowFilter, FlowPosition, FlowReader, FlowRow, RiskRow

LIMIT = 100  # default length of a page
MAX_SCORE = 65535
_MAX_MS = 1 << 43  # a time in a cursor, milliseconds since the epoch: year 2248

#: Names of IANA protocol numbers; other protocols are given by number.
_TRANSPORTS = {
    1: "icmp",
    2: "igmp",
    6: "tcp",
    17: "udp",
    41: "ipv6",
    47: "gre",
    50: "esp",
    51: "ah",
    58: "icmpv6",
    132: "sctp",
}
#: Stands for the details of a flow that netifyd never described.
_NO_DETAILS = Details(None, None, None, None, None, None, None, None, None, None, ())


def routes(services: Services) -> list[Route]:
    """The route of flows."""
    documents, directory = services.documents, services.directory
    reader = FlowReader(services.reader)

    def flows(request: Request) -> Document:
        group = request["group"]
        filters = FlowFilter(
            request["device"],
            request["application"],
            request["active"],
            request["min_risk"],
            None if group is None else frozenset(directory.members(group)),
        )
        page = reader.page(filters, request["limit"], _position(request["cursor"]))
        devices = {device: documents.identity(row) for device, row in page.devices.items()}
        elements = [_flow(directory, row, devices, page.categories) for row in page.rows]
        following = _cursor(page.rows[-1]) if page.more and page.rows else None
        listed = paging.Page(page.rows, page.total, following)
        return paging.list_document(documents.head(page.flush.at_ms), "flows", elements, listed, request)

    return [
        Route(
            "/flows",
            "flows",
            "Live flows and flows that ended within the last hour, latest first.",
            flows,
            parameters=(
                parameters.limit(LIMIT),
                paging.cursor_parameter(),
                parameters.choice("sort", ("last_seen",), "last_seen", "What to sort by; ties by digest."),
                parameters.choice("order", ("desc",), "desc", "Latest first."),
                parameters.fields(schemas.FLOW),
                parameters.device("device", in_path=False),
                parameters.group(directory.group_names, "flows with a device"),
                parameters.text("application", "Only flows of this application (its tag)."),
                parameters.flag("active", None, "Only live flows, or only ended ones."),
                parameters.whole("min_risk", 0, MAX_SCORE, 0, "Only flows with at least this risk score."),
            ),
            schema=schemas.FLOWS,
            table=Table("flows", schemas.FLOW, ("digest", "endpoint", "device", "device_name")),
            cached=True,
        )
    ]


def risks(rows: list[RiskRow]) -> list[Document]:
    """The ``risks`` of ``GET /<mac>``."""
    return [
        {
            **_risk(row.risk),
            "flows": row.flows,
            "score": row.score,
            "last_seen": rfc3339(row.last_seen or None),
        }
        for row in rows
    ]


def _risk(risk: int) -> Document:
    return {"id": risk, "name": risk_name(risk), "severity": risk_severity(risk)}


def _position(cursor: paging.Cursor | None) -> FlowPosition | None:
    """The position of the last flow of the previous page. Raises Problem for a cursor of another list."""
    if cursor is None:
        return None
    seen = cursor.value
    if (cursor.sort, cursor.order) != ("last_seen", "desc") or not (
        isinstance(seen, int) and 0 <= seen < _MAX_MS
    ):
        raise bad_parameter("cursor", paging.encode_cursor(cursor), paging.EXPECTED)
    return FlowPosition(seen, cursor.name)


def _cursor(row: FlowRow) -> str:
    return paging.encode_cursor(paging.Cursor("last_seen", "desc", row.state.last_seen, row.flow_id, 0))


def _flow(
    directory: Directory, row: FlowRow, devices: Mapping[str, Document], categories: Mapping[str, int]
) -> Document:
    """An element of ``flows``. Up and down are seen from the local side.

    :param devices: device to its identity.
    :param categories: application to netifyd's category id; 0 if it has none.
    """
    state, details = row.state, row.details or _NO_DETAILS
    device, application = state.key.device, state.key.application
    peer = state.peer.device if state.peer else None
    name, category = directory.application(application, categories[application] or None)
    transport = details.transport
    return {
        "digest": row.digest,
        "endpoint": row.state.source,
        "device": device,
        "device_name": devices[device]["name"] if device else None,
        "groups": devices[device]["groups"] if device else [],
        "peer": peer,
        "peer_name": devices[peer]["name"] if peer else None,
        "interface": details.interface,
        "ip_version": details.ip_version,
        "transport": _TRANSPORTS.get(transport, str(transport)) if transport else None,
        "local_ip": details.local_ip,
        "local_port": details.local_port,
        "other_ip": details.other_ip,
        "other_port": details.other_port,
        "other_type": details.other_type,
        "local_origin": details.local_origin,
        "host": details.host,
        "application": application,
        "application_name": name,
        "category": category,
        "protocol": state.key.protocol,
        "risk_score": state.risk,
        "risks": [_risk(risk) for risk in details.risks],
        "first_seen": rfc3339(state.first_seen or None),
        "last_seen": rfc3339(state.last_seen or None),
        "active": row.active,
        "bytes_up": state.bytes_up,
        "bytes_down": state.bytes_down,
        "packets_up": state.packets_up,
        "packets_down": state.packets_down,
    }
