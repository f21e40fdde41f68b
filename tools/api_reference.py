"""The part of docs/api.md that is made from the declarations: every path with its parameters and statuses.

``python tools/api_reference.py docs/api.md`` writes it anew; a test tells when that was forgotten.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from netify_agent.api.flush_log import FlushLog
from netify_agent.api.http.route import Parameter, Route
from netify_agent.api.routes.all_routes import all_routes
from netify_agent.api.services import Services
from netify_agent.api.spec.openapi import COMMON, openapi_path, statuses
from netify_agent.config.settings import Settings
from netify_agent.enrich import Directory
from netify_agent.store.client import connect
from netify_agent.store.reader import StoreReader

BEGIN = "<!-- made by python tools/api_reference.py: do not edit below -->"
END = "<!-- end of what is made -->"


def rewritten(text: str) -> str:
    """``text`` of docs/api.md with its made part as the declarations have it. ValueError without marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"no '{BEGIN}' ... '{END}'")
    return f"{before}{BEGIN}\n{reference(default_routes())}{END}{after}"


def default_routes() -> list[Route]:
    """The routes as the default configuration has them, of parts that are not to be asked."""
    settings = Settings(gateway="gw1")
    reader = StoreReader(connect(settings.redis.url, None), settings.gateway)
    directory = Directory(vendors="", hosts=[], leases=[], reverse_dns=False, categories="")
    return all_routes(
        Services(settings, reader, directory, dict, dict, dict, FlushLog(), lambda out, up: None)
    )


def reference(routes: Sequence[Route]) -> str:
    """Markdown that tells of each of ``routes``."""
    return "\n".join(_section(route) for route in routes)


def _section(route: Route) -> str:
    lines = [f"\n### `GET {openapi_path(route)}`", route.summary, ""]
    if route.parameters:
        lines += ["| parameter | may be | default | meaning |", "| --- | --- | --- | --- |"]
        lines += [_row(parameter) for parameter in route.parameters] + [""]
    title = (route.schema or {}).get("title")
    body = f"`{route.media_type}`, schema `{title}`" if title else f"`{route.media_type}`"
    of_redirect = [303] if route.page else []
    of_etag = [304] if route.cached or route.lasting else []
    own = [status for status in statuses(route) if status not in COMMON]
    codes = [200, *of_redirect, *of_etag, *own]
    lines.append(f"Answer: {body}. Statuses: {', '.join(str(code) for code in codes)}.\n")
    return "\n".join(lines)


def _row(parameter: Parameter) -> str:
    schema = parameter.schema
    default = schema.get("default")
    told = "" if default is None else f"`{str(default).lower()}`"
    meaning = parameter.description.replace("|", "\\|")
    return f"| `{parameter.name}` | {_kind(parameter)} | {told} | {meaning} |"


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
    """Write the file that is named on the command line."""
    path = Path(sys.argv[1])
    path.write_text(rewritten(path.read_text()))


if __name__ == "__main__":
    main()
