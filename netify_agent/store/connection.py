"""The only module that uses private attributes of redis-py (checked with 3.5.3 to 8.1)."""

from __future__ import annotations

import socket
from typing import Any, Protocol

import redis

from netify_agent.config.redis_url import Address


class Owner(Protocol):
    """Knows which Redis has the gateway's keys and accepts writes.

    :ivar generation: grows when the Redis found before is known to be the wrong one.
    """

    generation: int

    def find(self) -> Address:
        """Return its address. Raises :class:`~netify_agent.store.errors.NotFound`."""

    def note(self, error: BaseException) -> None:
        """Take note of an error reply."""


class _FollowsOwner:
    """Mixed into a connection of redis-py: connects to the owner, which it finds anew for each attempt.

    A pool calls ``connect`` whenever it hands out a connection. One that was made before the owner changed
    is closed and made again.
    """

    def __init__(self, *, owner: Owner, **options: Any) -> None:
        self.owner = owner
        self._generation = owner.generation
        super().__init__(**options)

    def connect(self) -> None:
        if self._generation != self.owner.generation:
            self.disconnect()  # type: ignore[attr-defined]
        super().connect()  # type: ignore[misc]

    def _connect(self) -> Any:
        self._generation = self.owner.generation
        self.host, self.port = self.owner.find()
        return super()._connect()  # type: ignore[misc]

    def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return super().read_response(*args, **options)  # type: ignore[misc]
        except redis.ResponseError as error:
            self.owner.note(error)
            raise


class OwnerConnection(_FollowsOwner, redis.Connection):
    """A plain connection to the owner."""


class OwnerSSLConnection(_FollowsOwner, redis.SSLConnection):
    """A TLS connection to the owner."""


def follow(pool: Any, owner: Owner) -> None:
    """Make all future connections of a pool of redis-py, made for one address, go to the owner."""
    is_tls = issubclass(pool.connection_class, redis.SSLConnection)
    pool.connection_class = OwnerSSLConnection if is_tls else OwnerConnection
    pool.connection_kwargs["owner"] = owner


def owner_of(connection_or_pool: Any) -> Any:
    """Return the owner that a connection or a pool follows; None for one Redis."""
    options = getattr(connection_or_pool, "connection_kwargs", {})
    return options.get("owner") or getattr(connection_or_pool, "owner", None)


def note(connection: Any, error: BaseException) -> None:
    """Tell the owner of an error that was read from the socket, past redis-py."""
    owner = owner_of(connection)
    if owner is not None:
        owner.note(error)


def socket_of(connection: Any) -> socket.socket:
    """The socket of a connected redis-py connection."""
    found: socket.socket = connection._sock
    return found
