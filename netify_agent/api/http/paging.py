"""Sorted lists, a page at a time.

A cursor holds the sort value and the name of the last element of the page before, not its position. While
nothing changes, the pages together are the whole list, each element once. If rows move in between, an
element may come twice or not at all; none is out of order.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from netify_agent.api.http.parameters import choice, fields, limit
from netify_agent.api.http.problems import bad_parameter
from netify_agent.api.http.route import Document, Parameter, Request, Schema

_T = TypeVar("_T")

_CUT = 64  # characters of a name that a cursor holds: a name may be longer than a request
_MAX = (1 << 63) - 1  # of a number in a cursor: Redis counts up to this
EXPECTED = "'next' of the page before, with the same other parameters"

Value = int | str | None
Values = Callable[[_T], Value]  #: what an element is sorted by


class Place(NamedTuple):
    """Where a page ended.

    :ivar passed: how many elements with exactly this value and (cut) name were on the pages so far.
    """

    sort: str
    order: str
    value: Value
    name: str
    passed: int


@dataclass
class Page(Generic[_T]):
    """A part of a list.

    :ivar total: how many elements the list has.
    :ivar next: cursor of the page after; None at the end.
    """

    elements: list[_T]
    total: int
    next: str | None


def parameters(sorts: Iterable[str], default_limit: int | None, element: Schema) -> tuple[Parameter, ...]:
    """The parameters that every list has: what it may be sorted by (the first is the default)."""
    names = list(sorts)
    return (
        limit(default_limit),
        cursor(),
        choice("sort", names, names[0], "What to sort by; then by name, or by MAC address."),
        choice("order", ("asc", "desc"), None, "`desc` if absent, but `asc` where `sort` is `name`."),
        fields(element),
    )


def cursor() -> Parameter:
    """The position of the next page, read as a :class:`Place`."""
    return Parameter(
        "cursor",
        "Where to go on: `next` of the page before, with the same other parameters.",
        {"type": "string", "format": "cursor", "minLength": 1, "maxLength": 1024},
        read_cursor,
    )


def page(
    elements: Iterable[_T],
    request: Request,
    values: Mapping[str, Values[_T]],
    name: Callable[[_T], str],
) -> Page[_T]:
    """The requested part of ``elements``.

    :param values: what to sort by, by name; unknown values (None) come last in either order.
    :param name: a unique name of an element.
    :raises Problem: where the cursor is of another order.
    """
    sort = request["sort"]
    order = request["order"] or ("asc" if sort == "name" else "desc")
    backwards = order == "desc"

    # Names that are equal as far as a cursor holds them are ordered by the whole name.
    placed = [
        (_rank(_short(values[sort](element)), backwards), name(element)[:_CUT], name(element), element)
        for element in elements
    ]
    placed.sort(key=lambda one: one[1:3])
    placed.sort(key=lambda one: one[0], reverse=backwards)
    begin = 0
    place: Place | None = request["cursor"]
    if place is not None:
        if (place.sort, place.order) != (sort, order):
            raise bad_parameter("cursor", write_cursor(place), EXPECTED)
        where = _rank(place.value, backwards), place.name
        begin = sum(_before(one[:2], where, backwards) for one in placed)
        begin += min(sum(one[:2] == where for one in placed), place.passed)
    end = begin + (request["limit"] or len(placed))
    shown = [one[3] for one in placed[begin:end]]
    if end >= len(placed):
        return Page(shown, len(placed), None)
    last = placed[end - 1]
    passed = sum(one[:2] == last[:2] for one in placed[:end])
    after = Place(sort, order, _short(values[sort](last[3])), last[1], passed)
    return Page(shown, len(placed), write_cursor(after))


def chosen(element: Document, wanted: frozenset[str] | None) -> Document:
    """The keys of ``element`` that ``fields`` names, in their order; None: all."""
    return element if wanted is None else {key: element[key] for key in element if key in wanted}


_Rank = tuple[bool, int | str]


def _short(value: Value) -> Value:
    return value[:_CUT] if isinstance(value, str) else value


def _rank(value: Value, backwards: bool) -> _Rank:
    """The sort key of a value: unknown ones come last in either direction."""
    if value is None:
        return not backwards, 0
    return backwards, value


def _before(one: tuple[_Rank, str], other: tuple[_Rank, str], backwards: bool) -> bool:
    if one[0] == other[0]:
        return one[1] < other[1]
    return one[0] > other[0] if backwards else one[0] < other[0]


def write_cursor(place: Place) -> str:
    """The cursor that stands for a place."""
    packed = json.dumps(place, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def read_cursor(text: str) -> Place:
    """The place that a cursor stands for. Raises ValueError for a cursor that no answer has given."""
    try:
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        place = Place(*json.loads(packed.decode("utf-8", "surrogatepass")))
    except (ValueError, TypeError, RecursionError):
        raise ValueError(EXPECTED) from None
    sort, order, value, name, passed = place
    # Types first: nothing below may meet a nested value.
    if not (type(sort) is type(order) is type(name) is str and type(passed) is int and 0 <= passed <= _MAX):
        raise ValueError(EXPECTED)
    kind = str if sort == "name" else int
    if value is not None and (type(value) is not kind or (isinstance(value, int) and abs(value) > _MAX)):
        raise ValueError(EXPECTED)
    if write_cursor(place) != text:
        raise ValueError(EXPECTED)
    return place
