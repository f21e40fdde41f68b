"""The settings of the agent: reads ``/etc/netify-agent.yaml`` into validated, frozen dataclasses.

Each section is a class that declares its keys: the allowed values and the default. This module knows neither
how YAML is parsed (see ``yaml_reader``) nor how a setting is used.
"""

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import yaml

from netify_agent.config import device_types, redis_url, secrets, types, yaml_reader
from netify_agent.config.alerts import Alerts, read_alerts
from netify_agent.config.calendar import Calendar, load_zone
from netify_agent.config.consistency import conflict_of
from netify_agent.config.fleet import FleetSettings, read_fleet
from netify_agent.config.notify import Receivers, read_receivers
from netify_agent.config.plans import Plans, alerts_of, read_plans
from netify_agent.config.types import Endpoint, Resolution
from netify_agent.config.yaml_reader import ConfigError, parsed, reads, section

__all__ = [
    "ConfigError",
    "DeviceSettings",
    "Endpoint",
    "FleetSettings",
    "MetricsSettings",
    "NameSettings",
    "NetifydSettings",
    "RedisSettings",
    "RedisTlsSettings",
    "Resolution",
    "Settings",
    "TlsSettings",
    "WebSettings",
    "load",
    "parse",
]

_path = parsed(types.absolute_path)
_redis_url = parsed(redis_url.redis_url, secret=True)
_no_path = yaml_reader.optional(_path)


def _host_name() -> str:
    """Return the host name, with characters that are invalid in a gateway name replaced by '-'."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:63] or "gateway"


def _gateway(node: yaml.Node) -> str:
    return _host_name() if yaml_reader.is_null(node) else parsed(types.plain_name)(node)


_V4_SOCKET = (Endpoint("unix", path="/var/run/netifyd/netifyd.sock"),)
# Addresses in the examples of the vendor's schema of sink-socket.
_V5_SOCKETS = (
    Endpoint("unix", path="/var/run/netifyd/flows.sock"),
    Endpoint("unix", path="/var/run/netifyd/netify-sink.sock"),
)

_interfaces = yaml_reader.list_of(parsed(types.interface))


@dataclass(frozen=True)
class InterfaceSettings:
    """Which of netifyd's interfaces count: names, ``role:lan`` or ``role:wan``.

    With both empty, an external interface does not count if the same netifyd watches an internal one.
    """

    include: tuple[str, ...] = field(default=(), metadata=reads(_interfaces))
    exclude: tuple[str, ...] = field(default=(), metadata=reads(_interfaces))


def _include_or_exclude(interfaces: InterfaceSettings) -> yaml_reader.Conflict | None:
    if not interfaces.include or not interfaces.exclude:
        return None
    return yaml_reader.Conflict(("include", "exclude"), "expected one of include and exclude, found both")


@dataclass(frozen=True)
class NetifydSettings:
    """The endpoints of netifyd, and limits on the memory for its data."""

    endpoints: tuple[Endpoint, ...] = field(
        default=_V4_SOCKET,
        metadata=reads(yaml_reader.list_of(parsed(types.netifyd_endpoint), least=1)),
    )
    token_file: str | None = field(default=None, metadata=reads(_no_path))
    # The largest record of netifyd 4.4.5, its definitions, has 18,704 bytes; this is 56 times that.
    max_record_bytes: int = field(
        default=1 << 20, metadata=reads(yaml_reader.integer(4096, 64 << 20), "max_record")
    )
    interfaces: InterfaceSettings = field(
        default=InterfaceSettings(), metadata=reads(section(InterfaceSettings, _include_or_exclude))
    )
    max_flows: int = field(default=200_000, metadata=reads(yaml_reader.integer(1000, 10_000_000)))

    @property
    def fallbacks(self) -> tuple[Endpoint, ...]:
        """Sockets to try if the default endpoint does not stream: the usual ones of v5."""
        return _V5_SOCKETS if self.endpoints == _V4_SOCKET else ()

    def tokens(self) -> tuple[str, ...]:
        """Read the tokens for POSTs; if empty, none is required. Raises ConfigError."""
        if self.token_file is None:
            return ()
        with secrets.problems_of("netifyd.token_file"):
            return secrets.tokens(self.token_file)


def _safe_sinks(netifyd: NetifydSettings) -> yaml_reader.Conflict | None:
    """Check for HTTP endpoints that are open to the network without tokens, or share an address."""
    keys, taken = ("endpoints", "token_file"), set()
    for endpoint in netifyd.endpoints:
        if endpoint.scheme != "http":
            continue
        if not endpoint.is_loopback and netifyd.token_file is None:
            text = f"expected a loopback address, as there is no netifyd.token_file, found '{endpoint}'"
            return yaml_reader.Conflict(keys, text)
        if (endpoint.host, endpoint.port) in taken:
            text = f"expected a port of its own for each http:// endpoint, found '{endpoint}'"
            return yaml_reader.Conflict(keys, text)
        taken.add((endpoint.host, endpoint.port))
    return None


@dataclass(frozen=True)
class RedisTlsSettings:
    """PEM files for ``rediss://``: a CA to trust instead of the system's, and the client certificate."""

    ca_file: str | None = field(default=None, metadata=reads(_no_path))
    certificate: str | None = field(default=None, metadata=reads(_no_path))
    key: str | None = field(default=None, metadata=reads(_no_path))


def _key_with_certificate(tls: RedisTlsSettings) -> yaml_reader.Conflict | None:
    if tls.key is None or tls.certificate is not None:
        return None
    return yaml_reader.Conflict(("key", "certificate"), "expected redis.tls.certificate as well, found none")


@dataclass(frozen=True, repr=False)
class RedisSettings:
    """The connection to Redis. ``url`` may contain a password; display ``safe_url`` instead."""

    url: str = field(default="redis://127.0.0.1:6379/0", metadata=reads(_redis_url))
    password_file: str | None = field(default=None, metadata=reads(_no_path))
    tls: RedisTlsSettings = field(
        default=RedisTlsSettings(), metadata=reads(section(RedisTlsSettings, _key_with_certificate))
    )

    @property
    def safe_url(self) -> str:
        """The URL without user name and password, for display."""
        scheme, _, rest = self.url.partition("://")
        _, at, place = rest.rpartition("@")
        return f"{scheme}://{'***@' if at else ''}{place}"

    def password(self) -> str | None:
        """Read ``password_file`` without its line end; None if it is not set. Raises ConfigError."""
        if self.password_file is None:
            return None
        with secrets.problems_of("redis.password_file"):
            return secrets.password(self.password_file)

    def __repr__(self) -> str:
        return f"RedisSettings(url={self.safe_url!r}, password_file={self.password_file!r}, tls={self.tls!r})"


@dataclass(frozen=True)
class TlsSettings:
    """The PEM files of HTTPS, both or none: the certificate with its chain, and its private key."""

    certificate: str | None = field(default=None, metadata=reads(_no_path))
    key: str | None = field(default=None, metadata=reads(_no_path))


def both_or_none(tls: TlsSettings) -> yaml_reader.Conflict | None:
    """Check that a certificate has a key, and a key a certificate."""
    if (tls.certificate is None) == (tls.key is None):
        return None
    given, absent = ("certificate", "key") if tls.key is None else ("key", "certificate")
    return yaml_reader.Conflict((given, absent), f"expected web.tls.{absent} as well, found none")


@dataclass(frozen=True)
class WebSettings:
    """The address of the REST API, and the access rules.

    ``hosts`` are names (in lower case) and addresses (without brackets), ``cors_origins`` are spelled as
    browsers do.
    """

    listen: Endpoint = field(
        default=Endpoint("tcp", host="127.0.0.1", port=7000), metadata=reads(parsed(types.listen))
    )
    threads: int = field(default=4, metadata=reads(yaml_reader.integer(1, 64)))
    hosts: tuple[str, ...] = field(default=(), metadata=reads(yaml_reader.list_of(parsed(types.host_header))))
    allow_unauthenticated: bool = field(default=False, metadata=reads(yaml_reader.boolean))
    tokens_file: str | None = field(default=None, metadata=reads(_no_path))
    tls: TlsSettings = field(default=TlsSettings(), metadata=reads(section(TlsSettings, both_or_none)))
    cors_origins: tuple[str, ...] = field(
        default=(), metadata=reads(yaml_reader.list_of(parsed(types.origin)))
    )

    @property
    def tokens_path(self) -> str | None:
        """The file of tokens: ``tokens_file``, else systemd's credential ``tokens``; None without both."""
        return self.tokens_file or secrets.credential("tokens")

    def tokens(self) -> tuple[str, ...]:
        """Read the tokens for requests; if empty, none is required. Raises ConfigError."""
        path = self.tokens_path
        if path is None:
            return ()
        with secrets.problems_of("web.tokens_file"):
            return secrets.tokens(path)


@dataclass(frozen=True)
class CalendarSettings:
    """Where days, weeks and months begin; see :class:`~netify_agent.config.calendar.Calendar`."""

    timezone: str = field(default="local", metadata=reads(parsed(types.time_zone)))
    month_starts_on: int = field(default=1, metadata=reads(yaml_reader.integer(1, 31)))
    week_starts_on: int = field(default=0, metadata=reads(parsed(types.weekday)))

    @cached_property
    def calendar(self) -> Calendar:
        """The calendar. :func:`load` reads its zone from the system, once, so that it cannot fail later.

        :raises LookupError: if the system has no such zone.
        """
        return Calendar(*load_zone(self.timezone), self.month_starts_on, self.week_starts_on)


@dataclass(frozen=True)
class MetricsSettings:
    """How many devices and applications ``/metrics`` lists individually."""

    devices: int = field(default=100, metadata=reads(yaml_reader.integer(0, 10_000)))
    applications: int = field(default=100, metadata=reads(yaml_reader.integer(0, 10_000)))


_device_names = yaml_reader.mapping_of(
    parsed(device_types.device, any_scalar=True),
    parsed(device_types.device_name),
    "addresses with names, such as 192.0.2.7: printer",
    device_types.MAX_NAMES,
)
#: Name of each group to its members: MAC addresses, networks and patterns of names.
_groups = yaml_reader.mapping_of(
    parsed(device_types.new_group),
    yaml_reader.list_of(parsed(device_types.group_member, any_scalar=True)),
    "groups with lists of their members",
    device_types.MAX_GROUPS,
)


@dataclass(frozen=True)
class DeviceSettings:
    """Which devices have a row, and for how long.

    ``forget_after_s`` is in seconds; ``by_ip`` are networks and MAC addresses whose hosts go by IP address;
    ``names`` are display names by MAC or IP address, which override all other sources.
    """

    max: int = field(default=10_000, metadata=reads(yaml_reader.integer(1, 100_000)))
    forget_after_s: int = field(
        default=400 * 86400, metadata=reads(parsed(types.duration(86400)), "forget_after")
    )
    by_ip: tuple[str, ...] = field(
        default=(), metadata=reads(yaml_reader.list_of(parsed(device_types.host_by_ip, any_scalar=True)))
    )
    names: Mapping[str, str] = field(default_factory=dict, metadata=reads(_device_names))


@dataclass(frozen=True)
class NameSettings:
    """The sources of names of devices, vendors and categories; any file may be missing."""

    vendors: str = field(default="/usr/share/ieee-data", metadata=reads(_path))
    hosts: tuple[str, ...] = field(default=("/etc/hosts",), metadata=reads(yaml_reader.list_of(_path)))
    ethers: tuple[str, ...] = field(default=("/etc/ethers",), metadata=reads(yaml_reader.list_of(_path)))
    leases: tuple[str, ...] = field(
        default=(
            "/var/lib/misc/dnsmasq.leases",
            "/var/lib/dhcp/dhcpd.leases",
            "/var/lib/dhcp/dhcpd6.leases",
            "/var/lib/kea/kea-leases4.csv",
            "/var/lib/kea/kea-leases6.csv",
            "/var/lib/systemd/network/dhcp-server-lease/*",
            "/opt/AdGuardHome/data/leases.json",
        ),
        metadata=reads(yaml_reader.list_of(_path)),
    )
    reverse_dns: bool = field(default=False, metadata=reads(yaml_reader.boolean))
    categories: str = field(default="/etc/netify.d/netify-categories.json", metadata=reads(_path))


def consistent_redis(redis: RedisSettings) -> yaml_reader.Conflict | None:
    """Check for two passwords, and for files of TLS without TLS."""
    url = redis_url.read(redis.url)
    if redis.password_file is not None and url.has_password:
        text = "expected one password, found one in redis.url too"
        return yaml_reader.Conflict(("password_file", "url"), text)
    if redis.tls != RedisTlsSettings() and not url.is_tls:
        text = f"expected a redis.url that begins with rediss, found '{redis.safe_url}'"
        return yaml_reader.Conflict(("tls", "url"), text)
    return None


def _safe_web(web: WebSettings) -> yaml_reader.Conflict | None:
    if web.listen.scheme == "unix" and web.tls.certificate is not None:
        text = f"expected no TLS on a Unix socket, found web.listen: {web.listen}"
        return yaml_reader.Conflict(("tls", "listen"), text)
    if (
        web.listen.scheme == "unix"
        or web.listen.is_loopback
        or web.allow_unauthenticated
        or web.tokens_path is not None
    ):
        return None
    found = str(web.listen)[len("tcp://") :]
    text = (
        "expected a loopback address or a unix socket, as there are no tokens (to listen here, set"
        f" web.tokens_file; or, to answer without tokens, web.allow_unauthenticated: true), found '{found}'"
    )
    return yaml_reader.Conflict(("listen", "allow_unauthenticated", "tokens_file"), text)


@dataclass(frozen=True)
class Settings:
    """The whole configuration. The flush interval ``interval_s`` is in seconds."""

    gateway: str = field(default_factory=_host_name, metadata=reads(_gateway))
    interval_s: int = field(default=15, metadata=reads(yaml_reader.integer(1, 3600), "interval"))
    log_level: str = field(default="info", metadata=reads(parsed(yaml_reader.one_of(*types.LOG_LEVELS))))
    netifyd: NetifydSettings = field(
        default=NetifydSettings(), metadata=reads(section(NetifydSettings, _safe_sinks))
    )
    redis: RedisSettings = field(
        default=RedisSettings(), metadata=reads(section(RedisSettings, consistent_redis))
    )
    web: WebSettings = field(default=WebSettings(), metadata=reads(section(WebSettings, _safe_web)))
    metrics: MetricsSettings = field(default=MetricsSettings(), metadata=reads(section(MetricsSettings)))
    history: tuple[Resolution, ...] = field(default=types.DEFAULT_HISTORY, metadata=reads(types.history))
    calendar: CalendarSettings = field(
        default_factory=CalendarSettings, metadata=reads(section(CalendarSettings))
    )
    devices: DeviceSettings = field(default=DeviceSettings(), metadata=reads(section(DeviceSettings)))
    names: NameSettings = field(default=NameSettings(), metadata=reads(section(NameSettings)))
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict, metadata=reads(_groups))
    plans: Plans = field(default_factory=dict, metadata=reads(read_plans))
    fleet: FleetSettings = field(default=FleetSettings(), metadata=reads(read_fleet))
    alerts: Alerts = field(default_factory=dict, metadata=reads(read_alerts))
    notify: Receivers = field(default_factory=dict, metadata=reads(read_receivers))

    @property
    def watched(self) -> Alerts:
        """All alerts by name: those of ``alerts:``, and one for each threshold of each plan."""
        return {**self.alerts, **alerts_of(self.plans)}


def _consistent(settings: Settings) -> yaml_reader.Conflict | None:
    return conflict_of(
        settings.alerts, settings.plans, set(settings.groups), set(settings.notify), settings.history
    )


def parse(text: str, source: str) -> Settings:
    """Read settings from YAML text; ``source`` names it in errors. Raises ConfigError with all problems."""
    return yaml_reader.read_document(text, source, section(Settings, _consistent))


def load(path: str | None) -> Settings:
    """Read settings from a file; None gives the defaults. Raises ConfigError with all problems."""
    settings = Settings() if path is None else parse(secrets.text_of_file(path), path)
    try:
        settings.calendar.calendar  # noqa: B018 (reads the zone)
    except LookupError as error:
        problem = f"calendar.timezone: expected {error.args[0]}"
        raise ConfigError(f"{path}: {problem}" if path else problem) from None
    return settings
