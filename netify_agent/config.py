"""The settings of the agent: ``/etc/netify-agent.yaml`` to typed, validated, frozen dataclasses.

Each section is a class that says of each key what is allowed and what it is when absent. It must not know
how YAML is walked (that is ``schema``) nor what anyone does with a setting.
"""

import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

import yaml

from netify_agent import schema
from netify_agent.schema import ConfigError, Expected, Problem, Refused, parsed, reads, section

__all__ = [
    "ConfigError",
    "DeviceSettings",
    "Endpoint",
    "NameSettings",
    "NetifydSettings",
    "RedisSettings",
    "Resolution",
    "Settings",
    "WebSettings",
    "load",
    "parse",
]

_MAX_FILE_BYTES = 1 << 20
_MAX_SOCKET_PATH_BYTES = 107  # unix(7): sun_path is 108 bytes and ends in a NUL
_UNIT_S = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_MAX_DURATION_S = 36500 * 86400
_MAX_RESOLUTIONS = 6
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")  # of a host name; '_' stands in container networks' names


@dataclass(frozen=True)
class Endpoint:
    """A stream socket: ``path`` if unix, ``host`` (a v6 address without brackets) and ``port`` if tcp."""

    scheme: Literal["unix", "tcp"]
    path: str = ""
    host: str = ""
    port: int = 0

    @classmethod
    def from_url(cls, url: str, shape: str = "unix:///path or tcp://host:port") -> "Endpoint":
        """Read ``unix:///path`` or ``tcp://host:port``. Raises Expected, a ValueError, saying ``shape``."""
        if url.startswith("unix:///"):
            return cls("unix", path=_socket_path(url[len("unix://") :]))
        match = re.fullmatch(r"tcp://(?:\[([^]]*:[^]]*)]|([^]:[]+)):([0-9]{1,5})", url)
        if not match or not (host := _host(match[1] or match[2])):
            raise Expected(shape)
        if not 1 <= int(match[3]) <= 65535:
            raise Expected(f"{shape} with a port from 1 to 65535")
        return cls("tcp", host=host, port=int(match[3]))

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix://{self.path}"
        return f"tcp://[{self.host}]:{self.port}" if ":" in self.host else f"tcp://{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether this is a tcp endpoint that only this machine can reach."""
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


def _host(text: str) -> str:
    """An address or host name in its one spelling; empty if it is neither."""
    if not re.fullmatch(r"[A-Za-z0-9_.:%-]{1,253}", text):
        return ""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        name = text.lower()
    labels = name.split(".")
    # A last label of digits is a mistyped IPv4 address (RFC 3696 section 2), at which resolvers guess.
    if labels[-1].isdigit() or not all(_LABEL.fullmatch(label) for label in labels):
        return ""
    return name


def _socket_path(path: str) -> str:
    if path.endswith("/") or len(path.encode()) > _MAX_SOCKET_PATH_BYTES:
        raise Expected(f"a socket path of at most {_MAX_SOCKET_PATH_BYTES} bytes that names no directory")
    return path


def _listen(text: str) -> Endpoint:
    url = text if text.startswith("unix:") else f"tcp://{text}"
    return Endpoint.from_url(url, "host:port, [v6]:port or unix:///path")


def _host_header(text: str) -> str:
    host = _host(text[1:-1] if text.startswith("[") and text.endswith("]") else text)
    if not host:
        raise Expected("a host name or address without a port")
    return host


def _absolute_path(text: str) -> str:
    if not text.startswith("/"):
        raise Expected("an absolute path")
    return text


_path = parsed(_absolute_path)


def _redis_url(text: str) -> str:
    """Check a URL as ``from_url`` of redis-py 3.5.3 to 8.1 reads it."""
    shape = Expected("redis://host:port/db, rediss://host:port/db or unix:///path?db=0")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise shape from None
    if not text.startswith(("redis://", "rediss://", "unix://")) or re.search(r"[\s#]", text):
        raise shape
    if url.query and not re.fullmatch(r"db=[0-9]{1,6}", url.query):
        raise Expected("nothing but db=<number> after the '?' of the URL")
    if url.scheme == "unix":
        if url.netloc.rpartition("@")[2] or not url.path.startswith("/"):
            raise shape
        _socket_path(url.path)
    elif port == 0 or not _host(url.hostname or "") or not re.fullmatch(r"(/[0-9]{0,6})?", url.path):
        raise shape
    elif url.path.strip("/") and url.query:
        raise Expected("one number of a database, not one in the path and one after the '?'")
    return text


def _log_level(text: str) -> str:
    if text not in ("debug", "info", "warning", "error"):
        raise Expected("debug, info, warning or error")
    return text


def _text_of_file(path: str) -> str:
    """The UTF-8 text of a file of at most 1 MiB. Raises ConfigError, never showing the content."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{path}: can't be read: {reason}") from None
    if len(data) > _MAX_FILE_BYTES:
        raise ConfigError(f"{path}: expected at most {_MAX_FILE_BYTES} bytes, found more")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: expected UTF-8, found other bytes") from None


def _gateway_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,63}", text):
        raise Expected("a name of 1 to 63 letters, digits, '.', '_' and '-'")
    return text


def _host_name() -> str:
    """The host name; what can't stand in a gateway's name becomes '-', so that the defaults always work."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:63] or "gateway"


def _gateway(node: yaml.Node) -> str:
    return _host_name() if schema.is_null(node) else parsed(_gateway_name)(node)


def _spell(seconds: int) -> str:
    """A duration in its largest whole unit."""
    unit = next(unit for unit, unit_s in _UNIT_S.items() if seconds % unit_s == 0)
    return f"{seconds // _UNIT_S[unit]}{unit}"


def _duration(least_s: int) -> Callable[[str], int]:
    """A parser of ``<number>s|m|h|d`` of at least ``least_s`` seconds."""

    def parse_duration(text: str) -> int:
        match = re.fullmatch(r"([0-9]{1,12})([smhd])", text)
        seconds = int(match[1]) * _UNIT_S[match[2]] if match else 0
        if not least_s <= seconds <= _MAX_DURATION_S:
            limits = f"{_spell(least_s)} to {_spell(_MAX_DURATION_S)}"
            raise Expected(f"a duration such as 90s, 5m, 1h or 31d, from {limits}")
        return seconds

    return parse_duration


_DEFAULT_HISTORY = (
    Resolution(300, 2 * 86400, "5m"),
    Resolution(3600, 31 * 86400, "1h"),
    Resolution(86400, 400 * 86400, "1d"),
)


def _history(node: yaml.Node) -> tuple[Resolution, ...]:
    """Resolutions by step, each a multiple of the shortest, whose buckets thus lie within one of each."""
    if schema.is_null(node):
        return _DEFAULT_HISTORY
    given, problems = schema.pairs(node, "resolutions with how long each is kept, such as 5m: 2d")
    if not 1 <= len(given) <= _MAX_RESOLUTIONS:
        text = f"expected 1 to {_MAX_RESOLUTIONS} resolutions, found {len(given)}"
        problems.append(Problem(schema.line_of(node), text))
    read = parsed(_duration(60))
    found: dict[int, tuple[Resolution, yaml.Node]] = {}
    for key, (key_node, keep_node) in given.items():
        try:
            step_s = read(key_node)
            keep_s = parsed(_duration(step_s))(keep_node)
            if step_s in found:
                raise schema.refusal(key_node, f"each resolution once ({_spell(step_s)})", " again")
            found[step_s] = Resolution(step_s, keep_s, _spell(step_s)), key_node
        except Refused as refused:
            problems += [problem.under(schema.key_shown(key)) for problem in refused.problems]
    for step_s, (resolution, key_node) in found.items():
        if step_s % min(found):
            wrong = schema.refusal(key_node, f"a multiple of the shortest resolution, {_spell(min(found))}")
            problems += [problem.under(resolution.name) for problem in wrong.problems]
    if problems:
        raise Refused(*problems)
    return tuple(found[step_s][0] for step_s in sorted(found))


@dataclass(frozen=True)
class NetifydSettings:
    """Where netifyd is, and how much of what it says is held in memory."""

    endpoints: tuple[Endpoint, ...] = field(
        default=(Endpoint("unix", path="/var/run/netifyd/netifyd.sock"),),
        metadata=reads(schema.list_of(parsed(Endpoint.from_url), least=1)),
    )
    # The largest record of netifyd 4.4.5, its definitions, has 18,704 bytes: this is 56 times as much.
    max_record_bytes: int = field(
        default=1 << 20, metadata=reads(schema.integer(4096, 64 << 20), "max_record")
    )
    max_flows: int = field(default=200_000, metadata=reads(schema.integer(1000, 10_000_000)))


@dataclass(frozen=True, repr=False)
class RedisSettings:
    """Where Redis is. ``url`` may hold a password: show ``safe_url`` instead."""

    url: str = field(default="redis://127.0.0.1:6379/0", metadata=reads(parsed(_redis_url, secret=True)))
    password_file: str | None = field(default=None, metadata=reads(schema.optional(_path)))

    @property
    def safe_url(self) -> str:
        """The URL without user and password, for people."""
        scheme, _, rest = self.url.partition("://")
        _, at, place = rest.rpartition("@")
        return f"{scheme}://{'***@' if at else ''}{place}"

    def password(self) -> str | None:
        """The content of ``password_file`` less its line end, None if that is not set. Raises ConfigError."""
        if self.password_file is None:
            return None
        try:
            password = _text_of_file(self.password_file).rstrip("\r\n")
        except ConfigError as error:
            raise ConfigError(f"redis.password_file: {error}") from None
        if not password:
            raise ConfigError(
                f"redis.password_file: {self.password_file}: expected a password, found nothing"
            )
        return password

    def __repr__(self) -> str:
        return f"RedisSettings(url={self.safe_url!r}, password_file={self.password_file!r})"


@dataclass(frozen=True)
class WebSettings:
    """Where the REST API listens; ``hosts`` are names (in lower case) and addresses (without brackets)."""

    listen: Endpoint = field(
        default=Endpoint("tcp", host="127.0.0.1", port=7000), metadata=reads(parsed(_listen))
    )
    threads: int = field(default=4, metadata=reads(schema.integer(1, 64)))
    hosts: tuple[str, ...] = field(default=(), metadata=reads(schema.list_of(parsed(_host_header))))
    allow_unauthenticated: bool = field(default=False, metadata=reads(schema.boolean))


@dataclass(frozen=True)
class DeviceSettings:
    """How long a device that is no longer seen is remembered, in seconds."""

    forget_after_s: int = field(default=400 * 86400, metadata=reads(parsed(_duration(86400)), "forget_after"))


@dataclass(frozen=True)
class NameSettings:
    """Where names of devices, vendors and categories come from; any of these files may be missing."""

    vendors: str = field(default="/usr/share/ieee-data", metadata=reads(_path))
    hosts: tuple[str, ...] = field(default=("/etc/hosts",), metadata=reads(schema.list_of(_path)))
    leases: tuple[str, ...] = field(
        default=(
            "/var/lib/misc/dnsmasq.leases",
            "/var/lib/dhcp/dhcpd.leases",
            "/var/lib/kea/kea-leases4.csv",
            "/var/lib/systemd/network/dhcp-server-lease/*",
        ),
        metadata=reads(schema.list_of(_path)),
    )
    reverse_dns: bool = field(default=False, metadata=reads(schema.boolean))
    categories: str = field(default="/etc/netify.d/netify-categories.json", metadata=reads(_path))


def _one_password(redis: RedisSettings) -> schema.Conflict | None:
    if redis.password_file is None or urlsplit(redis.url).password is None:
        return None
    return schema.Conflict(("password_file", "url"), "expected one password, found one in redis.url too")


def _no_open_door(web: WebSettings) -> schema.Conflict | None:
    if web.listen.scheme == "unix" or web.listen.is_loopback or web.allow_unauthenticated:
        return None
    found = str(web.listen)[len("tcp://") :]
    text = (
        "expected a loopback address or a unix socket, as there is no authentication"
        f" (to listen here nevertheless, set web.allow_unauthenticated: true), found '{found}'"
    )
    return schema.Conflict(("listen", "allow_unauthenticated"), text)


@dataclass(frozen=True)
class Settings:
    """Everything that can be configured. The flush interval ``interval_s`` is in seconds."""

    gateway: str = field(default_factory=_host_name, metadata=reads(_gateway))
    interval_s: int = field(default=15, metadata=reads(schema.integer(1, 3600), "interval"))
    log_level: str = field(default="info", metadata=reads(parsed(_log_level)))
    netifyd: NetifydSettings = field(default=NetifydSettings(), metadata=reads(section(NetifydSettings)))
    redis: RedisSettings = field(
        default=RedisSettings(), metadata=reads(section(RedisSettings, _one_password))
    )
    web: WebSettings = field(default=WebSettings(), metadata=reads(section(WebSettings, _no_open_door)))
    history: tuple[Resolution, ...] = field(default=_DEFAULT_HISTORY, metadata=reads(_history))
    devices: DeviceSettings = field(default=DeviceSettings(), metadata=reads(section(DeviceSettings)))
    names: NameSettings = field(default=NameSettings(), metadata=reads(section(NameSettings)))


def parse(text: str, source: str) -> Settings:
    """Read settings from YAML text; ``source`` names it in errors. Raises ConfigError with all problems."""
    return schema.read_document(text, source, section(Settings))


def load(path: str | None) -> Settings:
    """Read settings from a file; None gives the defaults. Raises ConfigError with all problems."""
    return Settings() if path is None else parse(_text_of_file(path), path)
