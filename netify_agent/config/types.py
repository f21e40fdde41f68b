"""Parsers for single values of the configuration: endpoints, hosts, paths, durations, resolutions.

A parser converts text and raises ``Expected`` for invalid text. This module knows no keys.
"""

import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import yaml

from netify_agent.config import calendar, yaml_reader
from netify_agent.config.calendar import MONTH_S
from netify_agent.config.yaml_reader import Expected, Problem, Refused, parsed

_MAX_SOCKET_PATH_BYTES = 107  # unix(7): sun_path is 108 bytes and ends in a NUL
_UNIT_S = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_MAX_DURATION_S = 36500 * 86400
_MAX_RESOLUTIONS = 6
_RATE = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,3}))? ?(bit|kbit|Mbit|Gbit)/s")
_RATE_UNITS = {"bit": 1, "kbit": 1000, "Mbit": 10**6, "Gbit": 10**9}
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")  # of a host name; container networks use '_'


@dataclass(frozen=True)
class Endpoint:
    """An address to connect to or to listen on.

    ``path`` of a unix socket; ``host`` (a v6 address without brackets) and ``port`` of tcp; all three of
    http, whose ``path`` is that of the URL.
    """

    scheme: Literal["unix", "tcp", "http"]
    path: str = ""
    host: str = ""
    port: int = 0

    @classmethod
    def from_url(cls, url: str, shape: str = "unix:///path or tcp://host:port") -> "Endpoint":
        """Read ``unix:///path`` or ``tcp://host:port``. Raises Expected with ``shape``."""
        if url.startswith("unix:///"):
            return cls("unix", path=socket_path(url[len("unix://") :]))
        match = re.fullmatch(r"tcp://(?:\[([^]]*:[^]]*)]|([^]:[]+)):([0-9]{1,5})", url)
        if not match or not (host := host_name(match[1] or match[2])):
            raise Expected(shape)
        if not 1 <= int(match[3]) <= 65535:
            raise Expected(f"{shape} with a port from 1 to 65535")
        return cls("tcp", host=host, port=int(match[3]))

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    @property
    def family(self) -> socket.AddressFamily:
        """The address family of a tcp or http endpoint."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def is_loopback(self) -> bool:
        """Whether this is a tcp or http endpoint on a loopback address."""
        if self.scheme == "unix":
            return False
        if self.host == "localhost":
            return True
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return (getattr(address, "ipv4_mapped", None) or address).is_loopback


@dataclass(frozen=True)
class Resolution:
    """History in buckets of ``step_s`` seconds, each kept for ``keep_s`` seconds.

    ``name`` is the step in its largest whole unit: ``5m``, also where ``300s`` was written.
    """

    step_s: int
    keep_s: int
    name: str


def host_name(text: str) -> str:
    """Return an address or host name in canonical form; empty if it is neither."""
    if not re.fullmatch(r"[A-Za-z0-9_.:%-]{1,253}", text):
        return ""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        name = text.lower()
    labels = name.split(".")
    # A last label of digits is a mistyped IPv4 address (RFC 3696 section 2), which resolvers interpret
    # differently.
    if labels[-1].isdigit() or not all(_LABEL.fullmatch(label) for label in labels):
        return ""
    return name


def socket_path(path: str) -> str:
    """Check the path of a Unix socket; returns it. Raises Expected."""
    if path.endswith("/") or len(path.encode()) > _MAX_SOCKET_PATH_BYTES:
        raise Expected(f"a socket path of at most {_MAX_SOCKET_PATH_BYTES} bytes that names no directory")
    return path


_NOT_NETIFYD = {
    "https": "http:// on a loopback address (put a TLS proxy before it for netifyd on another machine)",
    "udp": "unix:// or tcp:// (records that UDP loses can't be asked for again)",
    "ws": "tcp://, as netifyd's sink-socket offers it too",
    "wss": "tcp://, as netifyd's sink-socket offers it too",
    "mqtt": "unix:// or tcp:// of netifyd's sink-socket, or http:// for its sink-http",
    "mqtts": "unix:// or tcp:// of netifyd's sink-socket, or http:// for its sink-http",
}


def netifyd_endpoint(text: str) -> Endpoint:
    """Read the endpoint of a netifyd: unix or tcp, or http for its HTTP sink. Raises Expected."""
    shape = "unix:///path, tcp://host:port or http://host:port/path"
    scheme, _, rest = text.partition("://")
    if scheme in _NOT_NETIFYD:
        raise Expected(_NOT_NETIFYD[scheme])
    if scheme != "http":
        return Endpoint.from_url(text, shape)
    address, _, path = rest.partition("/")
    if not re.fullmatch(r"[A-Za-z0-9._~/-]{0,200}", path):
        raise Expected(shape)
    place = Endpoint.from_url(f"tcp://{address}", shape)
    return Endpoint("http", path=f"/{path}", host=place.host, port=place.port)


def listen(text: str) -> Endpoint:
    """Read an address to listen on: ``host:port``, ``[v6]:port`` or ``unix:///path``. Raises Expected."""
    url = text if text.startswith("unix:") else f"tcp://{text}"
    return Endpoint.from_url(url, "host:port, [v6]:port or unix:///path")


def host_header(text: str) -> str:
    """Read a host name or address that clients may use in requests. Raises Expected."""
    host = host_name(text[1:-1] if text.startswith("[") and text.endswith("]") else text)
    if not host:
        raise Expected("a host name or address without a port")
    return host


def origin(text: str) -> str:
    """Read a web page's origin as browsers write it, without a default port (RFC 6454 section 6.2).

    Raises Expected, also for ``*`` and ``null``, which match every page.
    """
    match = re.fullmatch(r"(https?)://(?:\[([^]]*:[^]]*)]|([^]:[/]+))(?::([0-9]{1,5}))?/?", text.lower())
    host = host_name(match[2] or match[3]) if match else ""
    if not match or not host or not 1 <= int(match[4] or 1) <= 65535:
        raise Expected("an origin of web pages such as https://grafana.example.net")
    port = f":{int(match[4])}" if match[4] and int(match[4]) != {"http": 80, "https": 443}[match[1]] else ""
    return f"{match[1]}://[{host}]{port}" if ":" in host else f"{match[1]}://{host}{port}"


def absolute_path(text: str) -> str:
    """Read an absolute path. Raises Expected for a relative one."""
    if not text.startswith("/"):
        raise Expected("an absolute path")
    return text


LOG_LEVELS = ("debug", "info", "warning", "error")


WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def collector_url(text: str) -> str:
    """Read the URL of a collector: ``https://host[:port][/path]``, or ``http://`` to a loopback address.

    Returns it without a slash at its end. Raises Expected.
    """
    match = re.fullmatch(r"(https?)://(\[[^]]*:[^]]*]|[^]:[/?#@]+)(?::([0-9]{1,5}))?((?:/[!-~]*)?)", text)
    host = host_name(match[2].strip("[]")) if match else ""
    if not match or not host or not 1 <= int(match[3] or 1) <= 65535 or set("?#") & set(match[4]):
        raise Expected("a URL such as https://collector.example.net")
    if match[1] == "http" and not Endpoint("tcp", host=host).is_loopback:
        raise Expected("a URL that begins with https, as its host is no loopback address")
    return text.rstrip("/")


def weekday(text: str) -> int:
    """Read the English name of a weekday; returns 0 for Monday to 6. Raises Expected."""
    if text.lower() not in WEEKDAYS:
        raise Expected("a weekday such as monday")
    return WEEKDAYS.index(text.lower())


def time_zone(text: str) -> str:
    """Check that the system knows a time zone, an IANA name or ``local``. Raises Expected."""
    try:
        calendar.load_zone(text)
    except LookupError as error:
        raise Expected(str(error.args[0])) from None
    return text


def plain_name(text: str) -> str:
    """Read the name of a gateway, an alert or a receiver: a part of Redis keys. Raises Expected."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,63}", text):
        raise Expected("a name of 1 to 63 letters, digits, '.', '_' and '-'")
    return text


def _spell(seconds: int) -> str:
    """Format a duration in its largest whole unit."""
    if seconds == MONTH_S:
        return "1mo"
    unit = next(unit for unit, unit_s in _UNIT_S.items() if seconds % unit_s == 0)
    return f"{seconds // _UNIT_S[unit]}{unit}"


def duration(least_s: int, *, with_years: bool = False) -> Callable[[str], int]:
    """Return a parser of ``<number>s|m|h|d`` of at least ``least_s`` seconds.

    :param with_years: accept ``y`` too: 365 days.
    """
    units = {**_UNIT_S, "y": 365 * calendar.DAY_S} if with_years else _UNIT_S

    def parse_duration(text: str) -> int:
        match = re.fullmatch(r"([0-9]{1,12})([a-z])", text)
        seconds = int(match[1]) * units.get(match[2], 0) if match else 0
        if match is None or not least_s <= seconds <= _MAX_DURATION_S:
            limits = f"{_spell(least_s)} to {_spell(_MAX_DURATION_S)}"
            raise Expected(f"a duration such as 90s, 5m, 1h or 31d, from {limits}")
        return seconds

    return parse_duration


def _step(text: str) -> int:
    """Read the length of a bucket: a duration, or ``1mo``. Raises Expected."""
    return MONTH_S if text == "1mo" else duration(60)(text)


DEFAULT_HISTORY = (
    Resolution(300, 2 * 86400, "5m"),
    Resolution(3600, 31 * 86400, "1h"),
    Resolution(86400, 400 * 86400, "1d"),
    Resolution(MONTH_S, 5 * 365 * 86400, "1mo"),
)


def history(node: yaml.Node) -> tuple[Resolution, ...]:
    """Check resolutions by step: each must be a multiple of the next shorter one. Raises Refused."""
    if yaml_reader.is_null(node):
        return DEFAULT_HISTORY
    given, problems = yaml_reader.pairs(node, "resolutions with how long each is kept, such as 5m: 2d")
    if not 1 <= len(given) <= _MAX_RESOLUTIONS:
        text = f"expected 1 to {_MAX_RESOLUTIONS} resolutions, found {len(given)}"
        problems.append(Problem(yaml_reader.line_of(node), text))
    read = parsed(_step)
    found: dict[int, tuple[Resolution, yaml.Node]] = {}
    for key, (key_node, keep_node) in given.items():
        try:
            step_s = read(key_node)
            keep_s = parsed(duration(step_s, with_years=True))(keep_node)
            if step_s in found:
                raise yaml_reader.refusal(key_node, f"each resolution once ({_spell(step_s)})", " again")
            found[step_s] = Resolution(step_s, keep_s, _spell(step_s)), key_node
        except Refused as refused:
            problems += [problem.under(yaml_reader.key_shown(key)) for problem in refused.problems]
    ordered = sorted(found)
    for shorter_s, step_s in pairwise(ordered):
        # Months are whole days, so what divides a day divides them.
        if (calendar.DAY_S if step_s == MONTH_S else step_s) % shorter_s:
            resolution, key_node = found[step_s]
            wrong = yaml_reader.refusal(
                key_node, f"a multiple of the next shorter resolution, {_spell(shorter_s)}"
            )
            problems += [problem.under(resolution.name) for problem in wrong.problems]
    if problems:
        raise Refused(*problems)
    return tuple(found[step_s][0] for step_s in sorted(found))


def bit_rate(text: str) -> int:
    """Read a rate such as ``2.5 Mbit/s``; returns bit/s. Raises Expected, also for fractions of a bit."""
    match = _RATE.fullmatch(text)
    fraction = (match[2] or "") if match else ""
    thousandths = int(match[1] + fraction.ljust(3, "0")) * _RATE_UNITS[match[3]] if match else 0
    if thousandths <= 0 or thousandths % 1000:
        raise Expected("a rate such as 500 kbit/s, 2.5 Mbit/s or 1 Gbit/s")
    return thousandths // 1000


def interface(text: str) -> str:
    """Read the name of a network interface, or ``role:lan`` or ``role:wan``. Raises Expected."""
    if text.startswith("role:"):
        role = text.lower()
        if role not in ("role:lan", "role:wan"):
            raise Expected("role:lan or role:wan")
        return role
    if not re.fullmatch(r"[!-.0-~]{1,15}", text):
        raise Expected("the name of an interface (1 to 15 characters), role:lan or role:wan")
    return text
