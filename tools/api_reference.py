"""Generates the reference section of docs/api.md from the declared routes.

Usage: ``python tools/api_reference.py docs/api.md``. A test fails if the section is out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from netify_agent.api.flush_log import FlushLog
from netify_agent.api.http.route import Parameter, Route
from netify_agent.api.routes.route_table import route_table
from netify_agent.api.services import Services
from netify_agent.api.spec.openapi import COMMON, openapi_path, statuses
from netify_agent.config.settings import Settings
from netify_agent.enrich import Directory
from netify_agent.store.client import connect
from netify_agent.store.flusher import FlusherStatus
from netify_agent.store.reader import StoreReader

BEGIN = "<!-- made by python tools/api_reference.py: do not edit below -->"
END = "<!-- end of what is made -->"


def rewritten(text: str) -> str:
    """The text of docs/api.md with its reference section generated anew.

    :raises ValueError: if the marks around the section are missing.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"no '{BEGIN}' ... '{END}'")
    return f"{before}{BEGIN}\n{reference(default_routes())}{END}{after}"


def default_routes() -> list[Route]:
    """The routes of the default configuration. They are only declared; calling them is not possible."""
    settings = Settings(gateway="gw1")
    reader = StoreReader(connect(settings.redis.url, None), settings.gateway)
    directory = Directory(vendors="", hosts=[], leases=[], reverse_dns=False, categories="")
    return route_table(
        Services(
            settings,
            reader,
            directory,
            dict,
            dict,
            dict,
            FlushLog(),
            FlusherStatus(),
            lambda out, redis_up: None,
        )
    )


def reference(routes: Sequence[Route]) -> str:
    """Markdown with a section for each route."""
    return "\n".join(_section(route) for route in routes)


def _section(route: Route) -> str:
    lines = [f"\n### `GET {openapi_path(route)}`", route.summary, ""]
    if route.parameters:
        lines += ["| parameter | may be | default | meaning |", "| --- | --- | --- | --- |"]
        lines += [_row(parameter) for parameter in route.parameters] + [""]
    title = (route.schema or {}).get("title")
    body = f"`{route.media_type}`, schema `{title}`" if title else f"`{route.media_type}`"
    codes = [200]
    if route.page:
        codes.append(303)
    if route.cached or route.lasting:
        codes.append(304)
    codes += [status for status in statuses(route) if status not in COMMON]
    lines.append(f"Answer: {body}. Statuses: {', '.join(str(code) for code in codes)}.\n")
    return "\n".join(lines)


def _row(parameter: Parameter) -> str:
    schema = parameter.schema
    default = schema.get("default")
    shown = "" if default is None else f"`{str(default).lower()}`"
    meaning = parameter.description.replace("|", "\\|")
    return f"| `{parameter.name}` | {_kind(parameter)} | {shown} | {meaning} |"


def _kind(parameter: Parameter) -> str:
    schema = parameter.schema
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema["type"] == "integer":
        return f"{schema['minimum']} to {schema['maximum']}"
    if schema["type"] == "boolean":
        return "`true`, `false`"
    if schema["type"] == "array":
        return "some of " + ", ".join(f"`{value}`" for value in schema["items"]["enum"])
    if "maxLength" in schema:
        return f"text, at most {schema['maxLength']} characters"
    return "text"


def main() -> None:
    """Update the file named on the command line."""
    path = Path(sys.argv[1])
    path.write_text(rewritten(path.read_text()))


if __name__ == "__main__":
    main()
