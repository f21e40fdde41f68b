"""Sorts lists and cuts them into pages.

A cursor holds where a page ended: the sort value and the name of its last element, not an offset. Without
a flush in between, the pages together are the whole list, each element once. An element whose sort value
changes between two requests may be repeated or skipped; each page is still in order.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from netify_agent.api.http.parameters import choice, fields, limit
from netify_agent.api.http.problems import bad_parameter
from netify_agent.api.http.route import Document, Parameter, Request, Schema

_T = TypeVar("_T")

_MAX = (1 << 63) - 1  # of a number in a cursor: Redis counts up to this
_MAX_NAME = 64  # characters of a name in a cursor; longer names are cut, so that a URL can hold the cursor
EXPECTED = "'next' of the page before, with the same other parameters"

Value = int | str | None
SortKey = Callable[[_T], Value]  #: returns the value to sort an element by; None if unknown


class Cursor(NamedTuple):
    """Where a page ended.

    :ivar sort: name of the sort key.
    :ivar order: ``asc`` or ``desc``.
    :ivar value: sort value of the last element, cut.
    :ivar name: name of the last element, cut.
    :ivar passed: how many elements with this value and this name were on this and earlier pages: 1, unless
        cut names coincide.
    """

    sort: str
    order: str
    value: Value
    name: str
    passed: int


@dataclass
class Page(Generic[_T]):
    """A part of a list.

    :ivar total: number of elements on all pages.
    :ivar next: cursor of the next page; None on the last.
    """

    elements: list[_T]
    total: int
    next: str | None


def parameters(sort_keys: Iterable[str], default_limit: int | None, element: Schema) -> tuple[Parameter, ...]:
    """The parameters of every list.

    :param sort_keys: names of the sort keys, the default first.
    :param default_limit: default length of a page; None: no limit.
    :param element: schema of an element, for ``fields``.
    """
    names = list(sort_keys)
    return (
        limit(default_limit),
        cursor_parameter(),
        choice("sort", names, names[0], "What to sort by; ties by name or MAC address."),
        choice("order", ("asc", "desc"), None, "`desc` if absent, but `asc` where `sort` is `name`."),
        fields(element),
    )


def cursor_parameter() -> Parameter:
    """``cursor``, read as a :class:`Cursor`."""
    return Parameter(
        "cursor",
        "`next` of the previous page; all other parameters must be the same.",
        {"type": "string", "format": "cursor", "minLength": 1, "maxLength": 1024},
        decode_cursor,
    )


def page(
    elements: Iterable[_T],
    request: Request,
    sort_keys: Mapping[str, SortKey[_T]],
    name: Callable[[_T], str],
) -> Page[_T]:
    """Sort a list and return the requested page.

    :param request: has the parameters ``sort``, ``order``, ``limit`` and ``cursor``.
    :param sort_keys: by name; elements with an unknown value (None) come last in either order.
    :param name: returns an element's unique name, which breaks ties.
    :raises Problem: if the cursor belongs to another sort key or order.
    """
    sort = request["sort"]
    order = request["order"] or ("asc" if sort == "name" else "desc")
    descending = order == "desc"

    sort_key = sort_keys[sort]
    placed = [
        ((_rank(_cut(sort_key(element)), descending), name(element)[:_MAX_NAME]), element)
        for element in sorted(elements, key=name)
    ]
    placed.sort(key=lambda item: item[0][0], reverse=descending)  # stable: ties stay in order of the name
    places = [place for place, _ in placed]
    begin = 0
    cursor: Cursor | None = request["cursor"]
    if cursor is not None:
        if (cursor.sort, cursor.order) != (sort, order):
            raise bad_parameter("cursor", encode_cursor(cursor), EXPECTED)
        previous = _rank(cursor.value, descending), cursor.name
        begin = sum(_is_before(place, previous, descending) for place in places)
        begin += min(places.count(previous), cursor.passed)
    end = begin + (request["limit"] or len(placed))
    on_page = [element for _, element in placed[begin:end]]
    if end >= len(placed):
        return Page(on_page, len(placed), None)
    last = places[end - 1]
    value = _cut(sort_key(on_page[-1]))
    next_cursor = Cursor(sort, order, value, last[1], passed=places[:end].count(last))
    return Page(on_page, len(placed), encode_cursor(next_cursor))


def is_requested(key: str, request: Request) -> bool:
    """Whether the elements of an answer are to have a key: ``fields`` names it or is absent."""
    return request["fields"] is None or key in request["fields"]


def with_fields(elements: list[Document], request: Request) -> list[Document]:
    """The elements, each with the keys that ``fields`` names, in the elements' own order."""
    if request["fields"] is None:
        return elements
    return [{key: element[key] for key in element if key in request["fields"]} for element in elements]


def list_document(
    head: Document, name: str, elements: list[Document], page: Page[Any], request: Request
) -> Document:
    """The answer with one page of a list.

    :param head: what precedes the list.
    :param name: key of the list.
    :param elements: documents of the elements of ``page``.
    """
    return {**head, name: with_fields(elements, request), "total": page.total, "next": page.next}


_Rank = tuple[bool, int | str]
_Place = tuple[_Rank, str]  # rank of the sort value, and the cut name


def _cut(value: Value) -> Value:
    if isinstance(value, str):
        return value[:_MAX_NAME]
    return None if value is None else max(min(value, _MAX), -_MAX)


def _rank(value: Value, descending: bool) -> _Rank:
    """A sortable stand-in for a sort value: None ranks last in either order."""
    if value is None:
        return not descending, 0
    return descending, value


def _is_before(one: _Place, other: _Place, descending: bool) -> bool:
    if one[0] == other[0]:
        return one[1] < other[1]
    return one[0] > other[0] if descending else one[0] < other[0]


def encode_cursor(cursor: Cursor) -> str:
    """The text of a cursor."""
    packed = json.dumps(cursor, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode_cursor(text: str) -> Cursor:
    """The cursor in a text. Raises ValueError for a text that :func:`encode_cursor` does not produce."""
    try:
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        cursor = Cursor(*json.loads(packed.decode("utf-8", "surrogatepass")))
    except (ValueError, TypeError, RecursionError):
        raise ValueError(EXPECTED) from None
    sort, order, value, name, passed = cursor
    # Types first: nothing below may meet a nested value.
    if not (type(sort) is type(order) is type(name) is str and type(passed) is int and 0 <= passed <= _MAX):
        raise ValueError(EXPECTED)
    kind = str if sort == "name" else int
    if value is not None and (type(value) is not kind or (isinstance(value, int) and abs(value) > _MAX)):
        raise ValueError(EXPECTED)
    if encode_cursor(cursor) != text:
        raise ValueError(EXPECTED)
    return cursor
