"""Kinds of parameters, and the parsing of a request's parameters.

Each kind has a schema for the OpenAPI document and a function that converts the text. The function raises
ValueError with what was expected.
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
    """Parse the parameters of a request.

    :param declared: the route's parameters.
    :param query_string: from WSGI: bytes above 127 appear as Latin-1 characters.
    :param path_arguments: texts of the parameters in the path, by name.
    :returns: values by name; the default for an absent parameter.
    :raises Problem: 400 that names the first parameter that is unknown, repeated, empty, not UTF-8 or wrong.
    """
    values = {}
    for parameter in declared:
        values[parameter.name] = parameter.default
        if parameter.in_path:
            values[parameter.name] = _value(parameter, path_arguments[parameter.name])
    if not query_string:
        return values
    allowed = {parameter.name: parameter for parameter in declared if not parameter.in_path}
    seen = set()
    for name, text in parse_qsl(query_string, keep_blank_values=True, encoding="latin-1"):
        if name not in allowed:
            expected = f"only {', '.join(allowed)}" if allowed else "no parameters"
            shown = name[:100].encode("latin-1").decode("utf-8", "replace")
            raise Problem(400, f"unknown parameter '{shown}': expected {expected}", parameter=shown)
        if name in seen:
            raise Problem(400, f"{name}: given more than once", parameter=name)
        seen.add(name)
        try:
            text = text.encode("latin-1").decode()
        except UnicodeError:
            raise Problem(400, f"{name}: expected UTF-8, found other bytes", parameter=name) from None
        if not text:
            raise bad_parameter(name, "", "a value")
        values[name] = _value(allowed[name], text)
    return values


def as_given(request: Request, name: str) -> str:
    """The text of a query parameter, for an error message."""
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

    def parse(text: str) -> int:
        if not re.fullmatch("[0-9]{1,10}", text) or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    schema = {"type": "integer", "minimum": low, "maximum": high}
    return Parameter(name, description, _with_default(schema, default), parse, default)


def choice(name: str, values: Sequence[str], default: str | None, description: str) -> Parameter:
    """One of ``values``."""

    def parse(text: str) -> str:
        if text not in values:
            raise ValueError(f"one of {', '.join(values)}")
        return text

    schema = {"type": "string", "enum": list(values)}
    return Parameter(name, description, _with_default(schema, default), parse, default)


def flag(name: str, default: bool | None, description: str) -> Parameter:
    """``true`` or ``false``."""

    def parse(text: str) -> bool:
        if text not in ("true", "false"):
            raise ValueError("true or false")
        return text == "true"

    return Parameter(name, description, _with_default({"type": "boolean"}, default), parse, default)


def text(name: str, description: str, *, in_path: bool = False) -> Parameter:
    """Any text of at most 256 characters."""

    def parse(text: str) -> str:
        if len(text) > _LONGEST_TEXT:
            raise ValueError(f"at most {_LONGEST_TEXT} characters")
        return text

    schema = {"type": "string", "minLength": 1, "maxLength": _LONGEST_TEXT}
    return Parameter(name, description, schema, parse, in_path=in_path)


def search(where: str) -> Parameter:
    """``search``: text that an element must contain, case-insensitive; ``where`` says in which keys."""
    any_text = text("search", f"Only elements with this text in their {where}, case-insensitive.")
    return replace(any_text, read=lambda value: str(any_text.read(value)).casefold())


def moment(name: str, description: str) -> Parameter:
    """A time in RFC 3339 or in seconds since the epoch, read as the latter."""
    schema = {
        "type": "string",
        "anyOf": [{"format": "date-time", "pattern": _RFC3339_SHAPE}, {"pattern": "^[0-9]{1,11}$"}],
    }
    return Parameter(name, description, schema, _moment)


#: JSON Schema's ``date-time`` also allows leap seconds, which Python does not support.
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
        zone = match[2].replace("Z", "+00:00").replace(" ", "+")  # '+' in a query is a blank
        return int(datetime.fromisoformat(match[1] + zone).timestamp())
    except (ValueError, OverflowError):
        raise ValueError("RFC 3339 (2026-11-23T20:55:00Z) or seconds since the epoch") from None


def device(name: str = "device", *, in_path: bool = True) -> Parameter:
    """A device by MAC or IP address in any common spelling, read as its name in the store."""
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
        "MAC address with colons, dashes, dots or no separators, in either case; "
        "the IP address of a device without one; "
        f"or `{OTHER_DEVICE}` for all devices without a row of their own"
    )
    return Parameter(name, description, schema, device_name, in_path=in_path)


def group(names: Sequence[str], what: str = "devices") -> Parameter:
    """``group``: only ``what`` of one of the groups ``names``."""

    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(f"one of {', '.join(names)}" if names else "no group, as none is configured")
        return text

    schema: Schema = {"enum": list(names)} if names else {"not": {}}
    description = f"Only {what} of this group of the configuration."
    return Parameter("group", description, {"type": "string", **schema}, parse)


def device_name(text: str) -> str:
    """The name in the store of a device that a client names.

    :param text: a MAC address with colons, dashes, dots or no separators, in either case; or an IP address.
    :raises ValueError: for anything else.
    """
    if text == OTHER_DEVICE:
        return text
    if _MAC.fullmatch(text):
        digits = re.sub(r"[^0-9a-f]", "", text.lower())
        return ":".join(digits[index : index + 2] for index in range(0, 12, 2))
    try:
        # netifyd formats addresses with inet_ntop; Python's ipaddress formats mapped IPv4 that way from 3.13.
        family = socket.AF_INET6 if ":" in text else socket.AF_INET
        return socket.inet_ntop(family, socket.inet_pton(family, text))
    except (OSError, ValueError):
        raise ValueError("a MAC address, or the IP address of a device without one") from None


# -- for lists -------------------------------------------------------------------------------------


def limit(default: int | None) -> Parameter:
    """``limit``: maximum length of a page; ``default`` None: all elements."""
    absent = "" if default else "; all elements if absent"
    return whole("limit", 1, MAX_LIMIT, default, f"Maximum number of elements{absent}.")


def fields(element: Schema) -> Parameter:
    """``fields``: the keys of ``element`` to return, read as a set; None if absent."""
    known = list(element["properties"])

    def parse(text: str) -> frozenset[str]:
        keys = text.split(",")
        if not set(keys) <= set(known) or len(set(keys)) < len(keys):
            raise ValueError(f"some of {', '.join(known)}, each once, with commas between")
        return frozenset(keys)

    schema = {
        "type": "array",
        "items": {"type": "string", "enum": known},
        "minItems": 1,
        "uniqueItems": True,
    }
    return Parameter("fields", "Keys to return, separated by commas; all if absent.", schema, parse)


def _with_default(schema: Schema, default: object) -> Schema:
    return schema if default is None else {**schema, "default": default}
