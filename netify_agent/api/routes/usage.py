"""``/applications``, ``/applications/<tag>``, ``/protocols`` and ``/categories``: who uses what."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from netify_agent.api.http import paging, parameters
from netify_agent.api.http.problems import Problem
from netify_agent.api.http.route import Document, OtherResponse, Request, Route, Table
from netify_agent.api.services import Services
from netify_agent.api.spec import schemas
from netify_agent.enrich.applications import display_name
from netify_agent.store.layout import COUNTER_NAMES
from netify_agent.store.query import retry_when_flushed
from netify_agent.store.rows import UsageRow
from netify_agent.store.usage_reader import UsageReader, UserRow

USERS_SHOWN = 10  # devices listed with each application, protocol and category
LIMIT = 100  # default length of a page


@dataclass
class Category:
    """The applications of one category. ``name`` is None for applications without a category."""

    name: str | None
    applications: list[UsageRow] = field(default_factory=list)

    def sum_of(self, counter: str) -> int:
        """Sum of one counter over the applications."""
        return sum(row.counters[counter] for row in self.applications)

    @property
    def total_bytes(self) -> int:
        """Bytes up and down together."""
        return sum(row.total_bytes for row in self.applications)

    @property
    def rates(self) -> list[int]:
        """Bits per second up and down."""
        return [sum(row.rates[index] for row in self.applications) for index in (0, 1)]

    def heaviest_users(self) -> list[tuple[str, int]]:
        """The :data:`USERS_SHOWN` devices with the most bytes, and these bytes."""
        bytes_by_device: Counter[str] = Counter()
        for row in self.applications:
            bytes_by_device.update(dict(row.users))
        return sorted(bytes_by_device.items(), key=lambda item: (-item[1], item[0]))[:USERS_SHOWN]


def routes(services: Services) -> list[Route]:
    """The routes of applications, protocols and categories."""
    documents = services.documents
    reader = UsageReader(services.reader)

    application_sort_keys: dict[str, paging.SortKey[UsageRow]] = {
        "bytes": lambda row: row.total_bytes,
        "rate": lambda row: sum(row.rates),
        "flows": lambda row: row.counters["flows"],
        "name": lambda row: display_name(row.name).casefold(),
        "last_seen": lambda row: row.last_seen,
    }
    protocol_sort_keys: dict[str, paging.SortKey[UsageRow]] = {
        "bytes": lambda row: row.total_bytes,
        "flows": lambda row: row.counters["flows"],
        "name": lambda row: row.name.casefold(),
    }
    category_sort_keys: dict[str, paging.SortKey[Category]] = {
        "bytes": lambda category: category.total_bytes,
        "rate": lambda category: sum(category.rates),
        "flows": lambda category: category.sum_of("flows"),
        "name": lambda category: category.name,
    }
    user_sort_keys: dict[str, paging.SortKey[UserRow]] = {
        "bytes": lambda row: row.total_bytes,
        "name": lambda row: (documents.device_name(row.device) or "").casefold() or None,
        "last_seen": lambda row: row.last_seen,
    }

    @retry_when_flushed
    def applications(request: Request) -> Document:
        snapshot = reader.applications()
        matching = [row for row in snapshot.rows if matches(request, row)]
        page = paging.page(matching, request, application_sort_keys, lambda row: row.name)
        if paging.is_requested("devices", request):
            read = reader.add_users_now if request["devices_by"] == "rate" else reader.add_application_users
            read(snapshot.flush, page.elements, USERS_SHOWN)
        elements = [documents.application_with_users(row) for row in page.elements]
        head = documents.head(snapshot.flush.at_ms)
        return paging.list_document(head, "applications", elements, page, request)

    def matches(request: Request, row: UsageRow) -> bool:
        """Whether an application passes the filters ``category`` and ``search``."""
        if request["category"] is not None and documents.category(row) != request["category"]:
            return False
        text = request["search"]
        return text is None or text in row.name.casefold() or text in display_name(row.name).casefold()

    @retry_when_flushed
    def protocols(request: Request) -> Document:
        snapshot = reader.protocols()
        page = paging.page(snapshot.rows, request, protocol_sort_keys, lambda row: row.name)
        if paging.is_requested("devices", request):
            reader.add_protocol_users(snapshot.flush, page.elements, USERS_SHOWN)
        elements = [documents.protocol_with_users(row) for row in page.elements]
        head = documents.head(snapshot.flush.at_ms)
        return paging.list_document(head, "protocols", elements, page, request)

    def application(request: Request) -> Document:
        snapshot = reader.application(request["tag"])
        if snapshot is None:
            raise Problem(404, f"no application '{request['tag']}' has been seen")
        group = request["group"]
        matching = [
            row for row in snapshot.users if group is None or group in documents.device_groups(row.device)
        ]
        page = paging.page(matching, request, user_sort_keys, lambda row: row.device)
        head = {
            **documents.head(snapshot.flush.at_ms),
            "application": documents.application(snapshot.application),
        }
        users = [documents.user(row) for row in page.elements]
        return paging.list_document(head, "devices", users, page, request)

    @retry_when_flushed
    def categories(request: Request) -> Document:
        snapshot = reader.applications()
        page = paging.page(
            by_category(snapshot.rows), request, category_sort_keys, lambda category: category.name or ""
        )
        if paging.is_requested("devices", request):
            rows = [row for category in page.elements for row in category.applications]
            reader.add_application_users(snapshot.flush, rows, None)
        elements = [category_document(category) for category in page.elements]
        head = documents.head(snapshot.flush.at_ms)
        return paging.list_document(head, "categories", elements, page, request)

    def by_category(rows: Iterable[UsageRow]) -> list[Category]:
        applications_by_name: defaultdict[str | None, list[UsageRow]] = defaultdict(list)
        for row in rows:
            applications_by_name[documents.category(row)].append(row)
        return [Category(name, applications) for name, applications in applications_by_name.items()]

    def category_document(category: Category) -> Document:
        rate_up, rate_down = category.rates
        return {
            "category": category.name,
            **{counter: category.sum_of(counter) for counter in COUNTER_NAMES.values()},
            "rate_up": rate_up,
            "rate_down": rate_down,
            "applications": [row.name for row in category.applications],
            "devices": documents.users(category.heaviest_users()),
        }

    return [
        Route(
            "/applications",
            "applications",
            "The gateway's applications, most bytes first, each with its ten heaviest devices.",
            applications,
            parameters=(
                *paging.parameters(application_sort_keys, LIMIT, schemas.USED_APPLICATION),
                parameters.text("category", "Only applications of this category (its name)."),
                parameters.search("name or tag"),
                parameters.choice(
                    "devices_by",
                    ("bytes", "rate"),
                    "bytes",
                    "Which ten devices: with the most bytes, or with the highest rate now.",
                ),
            ),
            schema=schemas.APPLICATIONS,
            table=Table("applications", schemas.USED_APPLICATION, ("tag", "name")),
            cached=True,
        ),
        Route(
            "/applications/<tag:path>",
            "application",
            "One application, and the devices that moved bytes with it, most bytes first.",
            application,
            parameters=(
                parameters.text("tag", "netifyd's tag of the application.", in_path=True),
                *paging.parameters(user_sort_keys, LIMIT, schemas.APPLICATION_USER),
                parameters.group(services.directory.group_names),
            ),
            schema=schemas.APPLICATION_USERS,
            table=Table("devices", schemas.APPLICATION_USER),
            cached=True,
            others={404: OtherResponse("No such application has been seen.")},
        ),
        Route(
            "/protocols",
            "protocols",
            "The gateway's protocols, most bytes first, each with its ten heaviest devices.",
            protocols,
            parameters=paging.parameters(protocol_sort_keys, LIMIT, schemas.USED_PROTOCOL),
            schema=schemas.PROTOCOLS,
            table=Table("protocols", schemas.USED_PROTOCOL, ("name",)),
            cached=True,
        ),
        Route(
            "/categories",
            "categories",
            "Categories of applications, most bytes first, each with its ten heaviest devices.",
            categories,
            parameters=paging.parameters(category_sort_keys, LIMIT, schemas.CATEGORY),
            schema=schemas.CATEGORIES,
            table=Table("categories", schemas.CATEGORY, ("category",)),
            cached=True,
        ),
    ]
