"""The URL of Redis: which topology, which addresses, and the plain URL that redis-py reads.

``redis://``, ``rediss://`` and ``unix://`` name one Redis. ``redis+sentinel://`` names Sentinels and a
service, ``redis+cluster://`` names nodes of a Redis Cluster. With ``rediss``, all connections use TLS.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

from netify_agent.config import types
from netify_agent.config.yaml_reader import Expected

Address = tuple[str, int]  #: host (a v6 address without brackets) and port

_SINGLE = "redis://host:port/db, rediss://host:port/db or unix:///path?db=0"
_SENTINEL = "redis+sentinel://host:port,host:port/service/db"
_CLUSTER = "redis+cluster://host:port,host:port"
_TLS_PARAMETERS = {
    "ssl_ca_certs": r"/.+",
    "ssl_certfile": r"/.+",
    "ssl_keyfile": r"/.+",
    "ssl_cert_reqs": "required|optional|none",
    "ssl_check_hostname": "true|false",
}


@dataclass(frozen=True, repr=False)
class RedisUrl:
    """A valid URL, taken apart. Do not show ``plain``: it may contain a password.

    :ivar topology: what the URL names.
    :ivar plain: the URL itself for one Redis. Otherwise a ``redis://`` or ``rediss://`` URL of the first
        address, with the user, password, database and TLS parameters for every Redis.
    :ivar addresses: the Sentinels, or nodes of the cluster; empty for one Redis.
    :ivar service: the service's name at the Sentinels, else empty.
    """

    topology: Literal["single", "sentinel", "cluster"]
    plain: str
    addresses: tuple[Address, ...] = ()
    service: str = ""

    @property
    def has_password(self) -> bool:
        """Whether the URL contains a password."""
        return urlsplit(self.plain).password is not None

    @property
    def is_tls(self) -> bool:
        """Whether connections use TLS."""
        return self.plain.startswith("rediss:")


def read(text: str) -> RedisUrl:
    """Read a URL as ``from_url`` of redis-py 3.5.3 to 8.1 does, or one of Sentinels or a cluster.

    :raises Expected: if it is invalid.
    """
    scheme, _, rest = text.partition("://")
    user_info, at, place = rest.rpartition("@")
    if re.search("sentinel|cluster", scheme) and not re.fullmatch(r"rediss?\+(sentinel|cluster)", scheme):
        raise Expected(_SENTINEL if "sentinel" in scheme else _CLUSTER)
    if re.fullmatch(r"rediss?(\+(sentinel|cluster))?|unix", scheme) and at and not rest.startswith("/"):
        raw = re.search(r"[#/?\s]", user_info)
        if raw:
            raise Expected(
                f"'{raw[0]}' in the password as %{ord(raw[0]):02X} (percent-encoded), or redis.password_file"
            )
    plain, plus, kind = scheme.partition("+")
    if not plus:
        _check_single(text, scheme)
        return RedisUrl("single", text)
    return _read_many(kind, plain, user_info + at, place)


def redis_url(text: str) -> str:
    """Check a URL; returns it unchanged. Raises Expected."""
    read(text)
    return text


def _read_many(kind: str, scheme: str, user_info: str, place: str) -> RedisUrl:
    """Read what follows ``scheme+kind://user_info``."""
    location, question, query = place.partition("?")
    hosts, _, path = location.partition("/")
    shape = Expected(_SENTINEL if kind == "sentinel" else _CLUSTER)
    if re.search(r"[\s#]", place):
        raise shape
    addresses = tuple(_address(one, kind) for one in hosts.split(","))
    if len(set(addresses)) != len(addresses):
        raise Expected("each host:port once")
    service, database = "", path
    if kind == "sentinel":
        service, slash, database = path.partition("/")
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", service):
            raise Expected(f"the name of the service after the addresses, {_SENTINEL}")
        if not re.fullmatch(r"[0-9]{1,6}" if slash else "", database):
            raise shape
    elif database not in ("", "0"):
        raise Expected("no database but 0: a Redis Cluster has no other")
    host, port = addresses[0]
    written = f"[{host}]" if ":" in host else host
    plain = f"{scheme}://{user_info}{written}:{port}/{database or 0}{question}{query}"
    _check_query(query, bool(question), {}, scheme)
    if kind == "sentinel":
        return RedisUrl("sentinel", plain, addresses, service)
    return RedisUrl("cluster", plain, addresses)


def _address(text: str, kind: str) -> Address:
    shape = _SENTINEL if kind == "sentinel" else _CLUSTER
    endpoint = types.Endpoint.from_url(f"tcp://{text}", f"{shape}, each address")
    return endpoint.host, endpoint.port


def _check_single(text: str, scheme: str) -> None:
    shape = Expected(_SINGLE)
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise shape from None
    if scheme not in ("redis", "rediss", "unix") or re.search(r"[\s#]", text):
        raise shape
    query = _check_query(url.query, bool(url.query), {"db": "[0-9]{1,6}"}, scheme)
    if url.scheme == "unix":
        if url.netloc.rpartition("@")[2] or not url.path.startswith("/"):
            raise shape
        types.socket_path(url.path)
    elif port == 0 or not (types.host_name(url.hostname or "") and re.fullmatch("(/[0-9]{0,6})?", url.path)):
        raise shape
    elif url.path.strip("/") and "db" in query:
        raise Expected("one number of a database, not one in the path and one after the '?'")


def _check_query(text: str, given: bool, allowed: dict[str, str], scheme: str) -> dict[str, str]:
    """Return the parameters after the '?'; ``allowed``: name to pattern, besides those of TLS."""
    pairs = parse_qsl(text, keep_blank_values=True)
    query = dict(pairs)
    allowed = {**allowed, **(_TLS_PARAMETERS if scheme == "rediss" else {})}
    wrong = any(
        name not in allowed or not re.fullmatch(allowed[name], value) for name, value in query.items()
    )
    if wrong or len(pairs) != len(query) or given != bool(query):
        known = ["db=<number>"] if "db" in allowed else []
        if scheme == "rediss":
            known += ["ssl_ca_certs=/<path>", "ssl_certfile=", "ssl_keyfile=", "ssl_cert_reqs=required"]
            known[-1] += " and ssl_check_hostname=true"
        if not known:
            raise Expected("nothing after the '?' of the URL")
        raise Expected(f"nothing but {', '.join(known)} after the '?' of the URL")
    return query
