"""Lists as CSV (RFC 4180): which columns a table has, and its encoding.

A route declares a :class:`~netify_agent.api.http.route.Table`; columns, parameters and the OpenAPI document
are derived from the JSON Schema of its elements. The first line names the columns. A column has the name
that its value has in the JSON answer; ``previous.bytes_up`` is ``bytes_up`` in the object ``previous``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from netify_agent.api.http.negotiation import quality
from netify_agent.api.http.parameters import MAX_LIMIT, choice
from netify_agent.api.http.problems import Problem
from netify_agent.api.http.route import JSON, Document, Parameter, Route, Schema, Table

CSV = "text/csv"
CONTENT_TYPE = "text/csv; charset=utf-8; header=present"  # RFC 7111 and RFC 4180, section 3
FORMATS = ("json", "csv")

#: First characters of a text that a spreadsheet program may take for a formula: OWASP, "CSV injection".
_ACTIVE = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

_Path = tuple[str, ...]  # keys from an element to a value


# -- declaration -----------------------------------------------------------------------------------


def with_csv(route: Route) -> Route:
    """``route`` with the parameters ``format`` and ``rows``, if it has a table."""
    if route.table is None:
        return route
    added = [choice("format", FORMATS, None, "Media type of the answer; if absent, `Accept` decides.")]
    if nested := _row_choices(route.table):
        text = (
            "CSV only: the nested list whose elements are the rows, "
            f"each after `{'`, `'.join(route.table.identity)}` or `fields` of the element that it belongs to."
        )
        added.append(choice("rows", nested, None, text))
    return replace(route, parameters=(*route.parameters, *added))


def declared(route: Route, media_type: str) -> Sequence[Parameter]:
    """The parameters of a request. A CSV file has no default limit but the highest one.

    A spreadsheet program asks for no further page.
    """
    if media_type != CSV:
        return route.parameters
    return [
        replace(one, default=MAX_LIMIT) if one.name == "limit" and one.default is not None else one
        for one in route.parameters
    ]


def _row_choices(table: Table) -> list[str]:
    return [] if table.expanded_by is not None else [key for key, _ in _nested(table.element)]


# -- negotiation -----------------------------------------------------------------------------------


def prefers_csv(accept: str) -> bool:
    """Whether a client prefers CSV to JSON."""
    return quality(accept, CSV) > quality(accept, JSON)


def media_type(route: Route, query: str, accept: str) -> str:
    """The media type of the answer.

    If ``format`` is given, it alone decides, so that a link to a file works in every client.

    :raises Problem: 406 if ``Accept`` excludes every media type of the route.
    """
    table = route.table
    if table is not None and (given := given_format(query)) is not None:
        return CSV if given == "csv" else route.media_type
    if table is not None and prefers_csv(accept):
        return CSV
    if not quality(accept, route.media_type):
        allowed = route.media_type if table is None else f"{route.media_type} or {CSV}"
        raise Problem(406, f"Accept: expected what allows {allowed}, found '{accept[:100]}'")
    return route.media_type


def given_format(query: str) -> str | None:
    """The parameter ``format`` of a query; None if it is absent."""
    if "format" not in query:
        return None
    return dict(parse_qsl(query, keep_blank_values=True, encoding="latin-1")).get("format")


# -- rows ------------------------------------------------------------------------------------------


def prepared(table: Table, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values of a request's parameters, changed so that the document has the cells of the table.

    Where elements have ``fields``, only what becomes a cell is read from the store.
    """
    if "fields" not in values:
        return values
    rows = values.get("rows")
    columns = set(_columns_of(table, values))
    return {**values, "fields": frozenset(columns if rows is None else {*columns, rows})}


def encode(table: Table, values: Mapping[str, Any], document: Document) -> bytes:
    """The rows of a document, below a line with the names of the columns. UTF-8, lines end with CRLF.

    :param values: of the request's parameters, from :func:`prepared`.
    """
    elements = [document] if table.key is None else document[table.key]
    rows = _rows_key(table, values)
    own = _paths(table.element, _columns_of(table, values), elements)
    names = [".".join(path) for path in own]
    if rows is None:
        lines: Iterable[list[Any]] = ([_at(element, path) for path in own] for element in elements)
    else:
        schema = dict(_nested(table.element))[rows]
        inner = [element for outer in elements for element in outer[rows]]
        theirs = _paths(schema, list(schema["properties"]), inner)
        names += [".".join((rows, *path)) for path in theirs]
        lines = _nested_lines(elements, rows, own, theirs)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(names)
    for line in lines:
        writer.writerow([_cell(value) for value in line])
    return text.getvalue().encode("utf-8", "replace")


def _nested_lines(
    elements: Iterable[Document], rows: str, own: Sequence[_Path], theirs: Sequence[_Path]
) -> Iterator[list[Any]]:
    for element in elements:
        first = [_at(element, path) for path in own]
        for inner in element[rows]:
            yield first + [_at(inner, path) for path in theirs]


def _rows_key(table: Table, values: Mapping[str, Any]) -> str | None:
    """Key of the nested list whose elements are the rows; None: the rows are the list's own elements."""
    if table.expanded_by is not None:
        return table.expanded_by if values[table.expanded_by] else None
    rows: str | None = values.get("rows")
    return rows


def _columns_of(table: Table, values: Mapping[str, Any]) -> list[str]:
    """The keys of an element that become columns: those that ``fields`` names, else all.

    Before the columns of a nested list, only the ``identity`` stands by default: counters would be repeated
    in each of its rows, and a sum over the column would be wrong.
    """
    nested = {key for key, _ in _nested(table.element)}
    keys = [key for key in table.element["properties"] if key not in nested]
    fields = values.get("fields")
    if fields is not None and any(key in fields for key in keys):
        return [key for key in keys if key in fields]
    if fields is None and _rows_key(table, values) is None:
        return keys
    return list(table.identity)


def _nested(element: Schema) -> Iterator[tuple[str, Schema]]:
    """The keys of an element that hold lists of objects, with the schema of these objects."""
    for key, schema in element["properties"].items():
        items = schema.get("items", {})
        if "properties" in items:
            yield key, items


def _paths(element: Schema, keys: Sequence[str], elements: Sequence[Document]) -> list[_Path]:
    """The columns of some keys. An optional key that no element has is no column."""
    required = element.get("required", ())
    paths: list[_Path] = []
    for key in keys:
        schema = element["properties"][key]
        if key not in required and not any(key in one for one in elements):
            continue
        if "properties" in schema:
            inner = [one[key] for one in elements if one.get(key) is not None]
            paths += [(key, *path) for path in _paths(schema, list(schema["properties"]), inner)]
        elif "properties" not in schema.get("items", {}):
            paths.append((key,))
    return paths


def _at(element: Any, path: _Path) -> Any:
    """The value at ``path``; None if an object on the way is missing or None."""
    for key in path:
        if element is None:
            return None
        element = element.get(key)
    return element


def _cell(value: Any) -> Any:
    """The text of a cell for a value of JSON."""
    if isinstance(value, str):
        value = value.replace("\0", "?")  # csv of Python 3.10 can't write it
        return "'" + value if value.startswith(_ACTIVE) else value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return _cell(" ".join(str(item) for item in value))
    return value  # a number, or None, which csv writes as an empty cell
