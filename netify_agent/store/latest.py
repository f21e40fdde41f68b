"""Which flush was the last one: asked for by every request, so known without asking Redis each time.

Redis tells a connection of ours when ``meta`` has changed (CLIENT TRACKING, Redis 6.0), in the same breath
in which the writer learns that it has; a look at that connection takes microseconds, a question to Redis
ten times that. Where tracking is not allowed, each request asks.
"""

from __future__ import annotations

import select
import threading
import time
from typing import Any

import redis

from netify_agent.store.client import Client
from netify_agent.store.connection import socket_of

TRUSTED_S = 1.0  # silence for so long may also be that of a Redis that hangs: then it is asked again
_TOO_LATE = "Timeout reading from socket"  # redis-py's own words
_CHANNEL = "__redis__:invalidate"  # fixed by Redis' documentation, "Client-side caching"


class LastFlush:
    """Number and time of the last flush. Thread-safe; raises what redis-py raises."""

    def __init__(self, client: Client, meta_key: str) -> None:
        self._client = client
        self._question = ("HMGET", meta_key, "seq", "at")
        self._lock = threading.Lock()  # guards the tracker
        self._tracker: _Tracker | None = None
        self._allowed = True
        self._hung = float("-inf")  # when Redis last did not answer in time

    def read(self) -> tuple[int, int]:
        """Its number, and our clock when it was taken (milliseconds since the epoch); 0 for none."""
        since = time.monotonic()
        with self._lock:
            if self._hung > since:  # who has waited for another's answer does not wait for one more
                raise redis.TimeoutError(_TOO_LATE)
            if self._tracker is not None:
                try:
                    return self._tracker.read()
                except redis.TimeoutError:
                    self._hung = time.monotonic()
                    self._drop()
                    raise
                except (redis.RedisError, OSError):
                    self._drop()  # Redis was restarted, perhaps: a connection of the pool knows what to do
        sequence, at_ms = self._client.execute_command(*self._question)
        if self._allowed and self._lock.acquire(blocking=False):
            try:
                self._tracker = self._tracker or _Tracker(self._client.connection_pool, self._question)
            except redis.ResponseError:
                self._allowed = False
            except (redis.RedisError, OSError):
                pass  # the next request tries again
            finally:
                self._lock.release()
        return int(sequence or 0), int(at_ms or 0)

    def _drop(self) -> None:
        if self._tracker is not None:
            self._tracker.close()
            self._tracker = None


class _Tracker:
    """Two connections: one asks, the other is told when the answer is no longer true."""

    def __init__(self, pool: Any, question: tuple[str, ...]) -> None:
        self._question = question
        self._known = 0, 0
        self._asked = float("-inf")
        self._told = pool.connection_class(**pool.connection_kwargs)
        self._asking = pool.connection_class(**pool.connection_kwargs)
        try:
            number = _ask(self._told, "CLIENT", "ID")
            _ask(self._told, "SUBSCRIBE", _CHANNEL)
            _ask(self._asking, "CLIENT", "TRACKING", "ON", "REDIRECT", number)
            self._arrived = select.poll()  # what redis-py itself does to look costs three times as much
            for connection in (self._told, self._asking):
                self._arrived.register(socket_of(connection), select.POLLIN)
        except BaseException:
            self.close()
            raise

    def read(self) -> tuple[int, int]:
        """The answer, asked for anew if it has changed or is not to be trusted any more."""
        now = time.monotonic()
        changed = False
        if self._arrived.poll(0):
            changed = self._asking.can_read(0)  # raises where it was cut: then nobody is told any more
            while self._told.can_read(0):
                self._told.read_response()
                changed = True
        if changed or now - self._asked >= TRUSTED_S:
            sequence, at_ms = _ask(self._asking, *self._question)
            self._known = int(sequence or 0), int(at_ms or 0)
            self._asked = now
        return self._known

    def close(self) -> None:
        """Hang up."""
        self._told.disconnect()
        self._asking.disconnect()


def _ask(connection: Any, *command: Any) -> Any:
    connection.send_command(*command)
    return connection.read_response()
