"""One way to open a connection to Redis, with the limits that keep a thread from hanging on it."""

from __future__ import annotations

from typing import Any

import redis

Client = Any  #: a redis.Redis; the library's own type hints differ from release to release
TIMEOUT_S = 5.0  # for a reply; Redis 7.0 took 0.2 s for a flush of 1,000 devices with 10 applications each
CONNECT_TIMEOUT_S = 2.0


class StoreError(Exception):
    """Redis could not be reached or refused; the message says which, where and why."""


class StoreRefused(StoreError):
    """Waiting can't help: another agent writes this gateway, or the data is of a newer version."""


def connect(url: str, password: str | None) -> Client:
    """Prepare a client (nothing is sent yet).

    :param url: ``redis://``, ``rediss://`` or ``unix://``.
    :param password: overrides one in the URL.
    :returns: a client that answers text and never repeats a command by itself: redis-py 6 and later
        would, and a repeated flush would count twice.
    """
    options: dict[str, Any] = {
        "decode_responses": True,
        "encoding_errors": "replace",
        "socket_timeout": TIMEOUT_S,
    }
    if not url.startswith("unix:"):
        options["socket_connect_timeout"] = CONNECT_TIMEOUT_S
    try:
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError:  # redis-py 3.5 (Ubuntu 22.04) repeats nothing, but must be told to unquote a URL
        options["decode_components"] = True
    else:
        options["retry"] = Retry(NoBackoff(), 0)
    if int(redis.__version__.partition(".")[0]) >= 5:
        options["protocol"] = 2  # RESP3 has nothing for us, and its HELLO hides that a password is missing
    client = redis.Redis.from_url(url, **options)
    if password is not None:
        # Not an option of from_url: redis-py 3.5 lets the URL's absent password win over it.
        client.connection_pool.connection_kwargs["password"] = password
    return client


def reason(error: Exception) -> str:
    """One line that says why Redis did not do as asked: neither a password nor data are in it."""
    # redis-py names the command of a pipeline that failed, with all that it was to write.
    text = str(error).rpartition("of pipeline caused error: ")[2]
    return " ".join(text.split())[:200] or type(error).__name__


def as_store_error(error: redis.RedisError, gateway: str) -> StoreError:
    """What the writer of ``gateway`` raises for ``error``: trying again can't cure a key of a wrong type."""
    if "WRONGTYPE" in str(error):
        return StoreRefused(
            f"keys of gateway '{gateway}' in Redis are not netify-agent's: use another database or name"
        )
    if isinstance(error, redis.WatchError):
        return StoreError("interrupted on the way; the next attempt finds out what arrived")
    return StoreError(reason(error))
