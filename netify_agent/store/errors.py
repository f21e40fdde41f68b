"""Explains errors of Redis, of a Redis Cluster and of Sentinels in one line."""

from __future__ import annotations

import re
from typing import NamedTuple

import redis

#: Pattern for an error of Redis (its code, or its text where redis-py strips the code), and the explanation.
_MEANINGS = (
    (r"LOADING|loading the dataset", "Redis is loading its data after a start (LOADING)"),
    (
        r"MISCONF|stop-writes-on-bgsave-error|unable to persist",
        "Redis refuses writes because it can't save to disk (MISCONF): see its log and the free space",
    ),
    (
        r"OOM |> .maxmemory.",
        "Redis is full and refuses writes (OOM): raise its maxmemory, or shorten 'history'",
    ),
    (
        r"READONLY|read only replica|readonly replica",
        "this Redis is a read-only replica (READONLY): redis.url must name the primary, or its Sentinels",
    ),
    (
        r"NOAUTH|Authentication required",
        "Redis requires a password (NOAUTH): set redis.password_file",
    ),
    (
        r"WRONGPASS|invalid password|invalid username-password",
        "Redis refuses the user name or the password (WRONGPASS)",
    ),
    (
        r"without any password configured|no password is set",
        "Redis has no password, but one is configured: remove redis.password_file",
    ),
    (
        r"NOPERM|no permissions",
        "Redis denies this user a command or a key (NOPERM): see netify-agent acl",
    ),
    (
        r"MASTERDOWN|Link with MASTER is down",
        "this Redis is a replica without its primary (MASTERDOWN): redis.url must name the primary, or its "
        "Sentinels",
    ),
    (
        r"protected mode",
        "Redis accepts this machine only with a password (DENIED, protected mode): set one, or bind and "
        "protected-mode, in redis.conf",
    ),
    (r"busy running a script", "Redis is busy with a script of another client (BUSY)"),
    (r"max number of clients", "Redis has no room for another connection: raise its maxclients"),
    (
        r"^Connection not ready",  # redis-py's words for a reply that comes before the first command
        "Redis refuses the connection before the first command: raise its maxclients, or see protected-mode "
        "in redis.conf",
    ),
    (r"NOREPLICAS", "Redis refuses writes because too few replicas are connected (NOREPLICAS)"),
    (
        r"certificate required|CERTIFICATE_REQUIRED|EOF occurred in violation of protocol",
        "Redis closed the TLS connection: it requires a client certificate (redis.tls.certificate)",
    ),
    (
        r"(Hostname|IP address) mismatch",
        "the certificate of Redis is not for the host in redis.url, or the address that a Sentinel or the "
        "cluster names (ssl_check_hostname)",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED",
        "the certificate of Redis is not trusted: set redis.tls.ca_file to the CA that signed it",
    ),
    (
        r"CLUSTERDOWN",
        "the Redis Cluster is down (CLUSTERDOWN): slots have no master, or this node is cut off",
    ),
    (
        r"TRYAGAIN",
        "the gateway's slot is being moved to another node of the Redis Cluster (TRYAGAIN): flushes wait "
        "until that is finished",
    ),
    (
        r"cluster support disabled",
        "this Redis is not a node of a cluster: redis.url must begin with redis:// or rediss://",
    ),
)

#: Exceptions of redis-py whose text lacks the code, which Redis sent first.
_CODES = {
    "MovedError": "MOVED",
    "AskError": "ASK",
    "TryAgainError": "TRYAGAIN",
    "ClusterDownError": "CLUSTERDOWN",
    "ReadOnlyError": "READONLY",
    "NoPermissionError": "NOPERM",
}


class NotFound(redis.ConnectionError):
    """No Redis was found that has the gateway's keys and accepts writes. The text explains why."""


class Redirect(NamedTuple):
    """A reply of a Redis Cluster that names another node.

    :ivar code: ``MOVED``: the node has the slot. ``ASK``: the slot is being moved there, and this key, if it
        exists, has already arrived.
    :ivar host: empty: the host of the node that replied.
    """

    code: str
    slot: int
    host: str
    port: int


def full_text(error: BaseException) -> str:
    """Return the text of an error as Redis sent it, with its code."""
    # redis-py puts the failed command of a pipeline, with its data, before the error.
    text = str(error).rpartition("of pipeline caused error: ")[2]
    code = _CODES.get(type(error).__name__, "")
    return text if code in text else f"{code} {text}"


def redirect_in(error: BaseException) -> Redirect | None:
    """Return the redirection that ``error`` is, if any."""
    match = re.search(r"\b(MOVED|ASK) ([0-9]{1,5}) (\S*):([0-9]{1,5})", full_text(error))
    return Redirect(match[1], int(match[2]), match[3], int(match[4])) if match else None


def reason(error: BaseException) -> str:
    """Explain an error of Redis in one line, without passwords or data."""
    if isinstance(error, NotFound):
        return str(error)
    text = full_text(error)
    redirect = redirect_in(error)
    if redirect is not None:
        place = f"{redirect.host}:{redirect.port}"
        if redirect.code == "ASK":
            return (
                f"slot {redirect.slot} of the Redis Cluster is being moved to {place} (ASK): flushes wait "
                "until that is finished; if no move is running: redis-cli --cluster fix"
            )
        return (
            f"slot {redirect.slot} of the Redis Cluster is at {place} (MOVED); redis.url must begin with "
            "redis+cluster:// or rediss+cluster://"
        )
    for pattern, meaning in _MEANINGS:
        if re.search(pattern, text):
            return meaning
    return " ".join(text.split())[:200] or type(error).__name__
