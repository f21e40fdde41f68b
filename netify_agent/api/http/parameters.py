"""Parameters: what each kind may be, and the reading of a request's own.

Every one is read from its text by a function that says what was expected where the text is not that.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from netify_agent.api.http.problems import Problem, bad_parameter
from netify_agent.api.http.route import Parameter, Request, Schema
from netify_agent.netifyd.flow_record import OTHER_DEVICE

MAX_LIMIT = 10_000
_LONGEST_TEXT = 256  # characters
_MAC = re.compile(
    r"([0-9a-f]{2}[:-]){5}[0-9a-f]{2}|([0-9a-f]{4}\.){2}[0-9a-f]{4}|[0-9a-f]{12}", re.IGNORECASE
)
_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.[0-9]{1,9})?(Z|[ +-][0-9]{2}:[0-9]{2})"
)


def read(
    declared: Sequence[Parameter], query_string: str, path_arguments: Mapping[str, str]
) -> dict[str, Any]:
    """The values of a request's parameters, by name.

    :param query_string: as WSGI gives it: bytes above 127 are characters of Latin-1.
    :raises Problem: 400 that names the first one that is unknown, repeated, empty, no UTF-8 or wrong.
    """
    values = {}
    for parameter in declared:
        values[parameter.name] = parameter.default
        if parameter.in_path:
            values[parameter.name] = _value(parameter, path_arguments[parameter.name])
    if not query_string:
        return values
    of_query = {parameter.name: parameter for parameter in declared if not parameter.in_path}
    found = set()
    for name, text in parse_qsl(query_string, keep_blank_values=True, encoding="latin-1"):
        if name not in of_query:
            allowed = f"only {', '.join(of_query)}" if of_query else "no parameters"
            shown = name[:100].encode("latin-1").decode("utf-8", "replace")
            raise Problem(400, f"unknown parameter '{shown}': expected {allowed}", parameter=shown)
        if name in found:
            raise Problem(400, f"{name}: given more than once", parameter=name)
        found.add(name)
        try:
            text = text.encode("latin-1").decode()
        except UnicodeError:
            raise Problem(400, f"{name}: expected UTF-8, found other bytes", parameter=name) from None
        if not text:
            raise bad_parameter(name, "", "a value")
        values[name] = _value(of_query[name], text)
    return values


def as_given(request: Request, name: str) -> str:
    """The text of a query's parameter, to tell its client what was wrong with it."""
    query: str = request.environ["QUERY_STRING"]
    return dict(parse_qsl(query, errors="replace")).get(name, "")


def _value(parameter: Parameter, text: str) -> Any:
    try:
        return parameter.read(text)
    except ValueError as error:
        raise bad_parameter(parameter.name, text, str(error)) from None


# -- kinds -----------------------------------------------------------------------------------------


def whole(name: str, low: int, high: int, default: int | None, description: str) -> Parameter:
    """A whole number from ``low`` to ``high``."""

    def read_it(text: str) -> int:
        if not re.fullmatch("[0-9]{1,10}", text) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    schema = {"type": "integer", "minimum": low, "maximum": high}
    return Parameter(name, description, _with_default(schema, default), read_it, default)


def choice(name: str, values: Sequence[str], default: str | None, description: str) -> Parameter:
    """One of ``values``."""

    def read_it(text: str) -> str:
        if text not in values:
            raise ValueError(f"one of {', '.join(values)}")
        return text

    schema = {"type": "string", "enum": list(values)}
    return Parameter(name, description, _with_default(schema, default), read_it, default)


def flag(name: str, default: bool | None, description: str) -> Parameter:
    """``true`` or ``false``."""

    def read_it(text: str) -> bool:
        if text not in ("true", "false"):
            raise ValueError("true or false")
        return text == "true"

    return Parameter(name, description, _with_default({"type": "boolean"}, default), read_it, default)


def text(name: str, description: str, *, in_path: bool = False) -> Parameter:
    """Any text that is not too long."""

    def read_it(text: str) -> str:
        if len(text) > _LONGEST_TEXT:
            raise ValueError(f"at most {_LONGEST_TEXT} characters")
        return text

    schema = {"type": "string", "minLength": 1, "maxLength": _LONGEST_TEXT}
    return Parameter(name, description, schema, read_it, in_path=in_path)


def search(where: str) -> Parameter:
    """Text that an element must have somewhere, read without regard to case."""
    any_text = text("search", f"Only what has this in its {where}, in either case.")
    return replace(any_text, read=lambda wanted: str(any_text.read(wanted)).casefold())


def moment(name: str, description: str) -> Parameter:
    """A time, read as seconds since the epoch: that number, or RFC 3339."""
    schema = {
        "type": "string",
        "anyOf": [{"format": "date-time", "pattern": _RFC3339_SHAPE}, {"pattern": "^[0-9]{1,11}$"}],
    }
    return Parameter(name, description, schema, _moment)


#: What a client writes; JSON Schema's ``date-time`` also knows leap seconds, which Python does not.
_RFC3339_SHAPE = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)


def _moment(text: str) -> int:
    if re.fullmatch("[0-9]{1,11}", text):
        return int(text)
    try:
        match = _RFC3339.fullmatch(text.upper())
        if match is None:
            raise ValueError("no RFC 3339")
        zone = match[2].replace("Z", "+00:00").replace(" ", "+")  # a query's '+' means a blank
        return int(datetime.fromisoformat(match[1] + zone).timestamp())
    except (ValueError, OverflowError):
        raise ValueError("RFC 3339 (2026-11-23T20:55:00Z) or seconds since the epoch") from None


def device(name: str = "device", *, in_path: bool = True) -> Parameter:
    """A device in any spelling, read as the store's name of it."""
    schema = {
        "type": "string",
        "anyOf": [
            {"pattern": "^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$"},
            {"pattern": r"^([0-9A-Fa-f]{4}\.){2}[0-9A-Fa-f]{4}$"},
            {"pattern": "^[0-9A-Fa-f]{12}$"},
            {"format": "ipv4"},
            {"format": "ipv6"},
            {"const": OTHER_DEVICE},
        ],
    }
    description = (
        "MAC address with colons, dashes, dots or nothing between, in either case; "
        "or the IP address of a device without one; "
        f"`{OTHER_DEVICE}` for all that have no room in the device table"
    )
    return Parameter(name, description, schema, device_name, in_path=in_path)


def device_name(text: str) -> str:
    """The store's name of the device that a client means. Raises ValueError for what is no device."""
    if text == OTHER_DEVICE:
        return text
    if _MAC.fullmatch(text):
        digits = re.sub(r"[^0-9a-f]", "", text.lower())
        return ":".join(digits[index : index + 2] for index in range(0, 12, 2))
    try:
        # netifyd writes addresses as the C library does; Python's ipaddress does since 3.13 only.
        family = socket.AF_INET6 if ":" in text else socket.AF_INET
        return socket.inet_ntop(family, socket.inet_pton(family, text))
    except (OSError, ValueError):
        raise ValueError("a MAC address, or the IP address of a device without one") from None


# -- of lists --------------------------------------------------------------------------------------


def limit(default: int | None) -> Parameter:
    """How many elements a page has at most."""
    told = "" if default else "; all of them if absent"
    return whole("limit", 1, MAX_LIMIT, default, f"How many at most{told}.")


def fields(element: Schema) -> Parameter:
    """Which keys of ``element`` are wanted, read as a set; None: all of them."""
    known = list(element["properties"])

    def read_it(text: str) -> frozenset[str]:
        wanted = text.split(",")
        if not set(wanted) <= set(known) or len(set(wanted)) < len(wanted):
            raise ValueError(f"some of {', '.join(known)}, each once, with commas between")
        return frozenset(wanted)

    schema = {
        "type": "array",
        "items": {"type": "string", "enum": known},
        "minItems": 1,
        "uniqueItems": True,
    }
    return Parameter("fields", "Which keys to give, with commas between; all if absent.", schema, read_it)


def _with_default(schema: Schema, default: object) -> Schema:
    return schema if default is None else {**schema, "default": default}
