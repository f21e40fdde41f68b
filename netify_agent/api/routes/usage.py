"""``/applications``, ``/applications/<tag>``, ``/protocols`` and ``/categories``: who uses what."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from netify_agent.api.documents import volume
from netify_agent.api.http import paging, parameters
from netify_agent.api.http.problems import Problem
from netify_agent.api.http.route import Document, OtherResponse, Request, Route
from netify_agent.api.services import Services
from netify_agent.api.spec import schemas
from netify_agent.enrich.applications import display_name
from netify_agent.store.layout import COUNTER_NAMES
from netify_agent.store.rows import UsedRow
from netify_agent.store.usage_reader import Select, UsageReader, User

USERS_SHOWN = 10  # devices named with each application, protocol and category
LIMIT = 100  # elements of a page, where a request does not say

_Read = Callable[[int | None, Select], tuple[int, list[UsedRow]]]


@dataclass
class Category:
    """Applications of one category."""

    name: str | None
    applications: list[UsedRow] = field(default_factory=list)

    def sum_of(self, counter: str) -> int:
        """Of one counter."""
        return sum(row.counters[counter] for row in self.applications)

    @property
    def rates(self) -> list[int]:
        """Bits per second up and down."""
        return [sum(row.rates[index] for row in self.applications) for index in (0, 1)]


def routes(services: Services) -> list[Route]:
    """The routes of applications, protocols and categories."""
    documents = services.documents
    usage = UsageReader(services.reader)

    applications_by: dict[str, paging.Values[UsedRow]] = {
        "bytes": volume,
        "rate": lambda row: sum(row.rates),
        "flows": lambda row: row.counters["flows"],
        "name": lambda row: display_name(row.name).casefold(),
        "last_seen": lambda row: row.last_seen,
    }
    protocols_by: dict[str, paging.Values[UsedRow]] = {
        "bytes": volume,
        "flows": lambda row: row.counters["flows"],
        "name": lambda row: row.name.casefold(),
    }
    categories_by: dict[str, paging.Values[Category]] = {
        "bytes": lambda row: row.sum_of("bytes_up") + row.sum_of("bytes_down"),
        "rate": lambda row: sum(row.rates),
        "flows": lambda row: row.sum_of("flows"),
        "name": lambda row: row.name,
    }
    users_by: dict[str, paging.Values[User]] = {
        "bytes": volume,
        "name": lambda row: (documents.device_name(row.device) or "").casefold() or None,
        "last_seen": lambda row: row.last_seen,
    }

    def rows(
        read: _Read,
        request: Request,
        values: dict[str, paging.Values[UsedRow]],
        fits: Callable[[UsedRow], bool],
        document: Callable[[UsedRow], Document],
        name: str,
    ) -> Document:
        """A page of applications or protocols, under ``name``."""
        page: paging.Page[UsedRow] = paging.Page([], 0, None)

        def select(found: list[UsedRow]) -> Sequence[UsedRow]:
            nonlocal page
            page = paging.page(filter(fits, found), request, values, lambda row: row.name)
            return page.elements

        wanted = request["fields"]
        at_ms, told = read(USERS_SHOWN if wanted is None or "devices" in wanted else 0, select)
        elements = [paging.chosen(document(row), wanted) for row in told]
        return {**documents.head(at_ms), name: elements, "total": page.total, "next": page.next}

    def applications(request: Request) -> Document:
        def fits(row: UsedRow) -> bool:
            if request["category"] is not None and documents.category(row) != request["category"]:
                return False
            text = request["search"]
            return text is None or text in row.name.casefold() or text in display_name(row.name).casefold()

        return rows(
            usage.applications, request, applications_by, fits, documents.used_application, "applications"
        )

    def protocols(request: Request) -> Document:
        return rows(usage.protocols, request, protocols_by, lambda row: True, documents.protocol, "protocols")

    def application(request: Request) -> Document:
        found = usage.application(request["tag"])
        if found is None:
            raise Problem(404, f"no application '{request['tag']}' has been seen")
        at_ms, row, users = found
        page = paging.page(users, request, users_by, lambda user: user.device)
        return {
            **documents.head(at_ms),
            "application": documents.application(row),
            "devices": [paging.chosen(documents.user(user), request["fields"]) for user in page.elements],
            "total": page.total,
            "next": page.next,
        }

    def categories(request: Request) -> Document:
        page: paging.Page[Category] = paging.Page([], 0, None)

        def select(found: list[UsedRow]) -> Sequence[UsedRow]:
            nonlocal page
            by_name: defaultdict[str | None, list[UsedRow]] = defaultdict(list)
            for row in found:
                by_name[documents.category(row)].append(row)
            every = [Category(name, of_it) for name, of_it in by_name.items()]
            page = paging.page(every, request, categories_by, lambda category: category.name or "")
            return [row for category in page.elements for row in category.applications]

        wanted = request["fields"]
        at_ms, _ = usage.applications(None if wanted is None or "devices" in wanted else 0, select)
        elements = [paging.chosen(category(one), wanted) for one in page.elements]
        return {**documents.head(at_ms), "categories": elements, "total": page.total, "next": page.next}

    def category(of: Category) -> Document:
        bytes_of: Counter[str] = Counter()
        for row in of.applications:
            bytes_of.update(dict(row.users))
        heaviest = sorted(bytes_of.items(), key=lambda pair: (-pair[1], pair[0]))[:USERS_SHOWN]
        rate_up, rate_down = of.rates
        return {
            "category": of.name,
            **{counter: of.sum_of(counter) for counter in COUNTER_NAMES.values()},
            "rate_up": rate_up,
            "rate_down": rate_down,
            "applications": [row.name for row in of.applications],
            "devices": documents.users(heaviest),
        }

    return [
        Route(
            "/applications",
            "applications",
            "The gateway's applications, most bytes first, each with the ten devices that moved most.",
            applications,
            parameters=(
                *paging.parameters(applications_by, LIMIT, schemas.USED_APPLICATION),
                parameters.text("category", "Only applications of the category of this name."),
                parameters.search("name or tag"),
            ),
            schema=schemas.APPLICATIONS,
            cached=True,
        ),
        Route(
            "/applications/<tag:path>",
            "application",
            "One application, and the devices that moved bytes with it, most bytes first.",
            application,
            parameters=(
                parameters.text("tag", "netifyd's tag of the application.", in_path=True),
                *paging.parameters(users_by, LIMIT, schemas.APPLICATION_USER),
            ),
            schema=schemas.APPLICATION_USERS,
            cached=True,
            others={404: OtherResponse("No such application has been seen.")},
        ),
        Route(
            "/protocols",
            "protocols",
            "The gateway's protocols, most bytes first, each with the ten devices that moved most.",
            protocols,
            parameters=paging.parameters(protocols_by, LIMIT, schemas.USED_PROTOCOL),
            schema=schemas.PROTOCOLS,
            cached=True,
        ),
        Route(
            "/categories",
            "categories",
            "Categories of applications, most bytes first, each with the ten devices that moved most.",
            categories,
            parameters=paging.parameters(categories_by, LIMIT, schemas.CATEGORY),
            schema=schemas.CATEGORIES,
            cached=True,
        ),
    ]
