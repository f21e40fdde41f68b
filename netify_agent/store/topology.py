"""Finds the Redis that accepts a gateway's writes: the master of a service, or the owner of a slot.

All keys of a gateway are in one slot, so one plain connection is enough. Each new connection finds its Redis
anew. Connections are closed when a reply says that they go to the wrong one.
"""

from __future__ import annotations

import binascii
import re
import time
from collections.abc import Iterable, Sequence
from typing import Any

import redis

from netify_agent.config.redis_url import Address
from netify_agent.store.errors import NotFound, full_text, reason, redirect_in

SLOTS = 16384
_SEARCH_S = 6.0  # no further server is asked after this time; an unreachable one takes up to 2 s
_SHOWN = 3  # servers whose answers an error lists


class _Search:
    """What the two kinds of search have in common.

    :ivar generation: see :class:`~netify_agent.store.connection.Owner`.
    """

    def __init__(self, addresses: Iterable[Address], connection_class: Any, options: dict[str, Any]) -> None:
        """Sends nothing yet.

        :param addresses: the servers to ask.
        :param connection_class: redis-py's class of connections; :param options: what it is made with, for
            a Redis of the topology.
        """
        self.generation = 0
        self._servers = list(addresses)  # replaced as a whole: other threads read it
        self._class = connection_class
        self._options = options

    def pool_of(self, address: Address) -> redis.ConnectionPool:
        """Return a new pool of connections to one Redis of the topology."""
        host, port = address
        return redis.ConnectionPool(self._class, **{**self._options, "host": host, "port": port})

    def _ask(self, address: Address, *command: str, **changed: Any) -> Any:
        """Send one command on a connection of its own. Raises RedisError."""
        host, port = address
        connection = self._class(**{**self._options, "host": host, "port": port, **changed})
        try:
            connection.connect()
            connection.send_command(*command)
            return connection.read_response()
        finally:
            connection.disconnect()

    def _prefer(self, address: Address) -> None:
        """Ask this server first."""
        self._servers = [address, *(other for other in self._servers if other != address)]

    def _avoid(self, address: Address) -> None:
        """Ask this server last."""
        self._servers = [*(other for other in self._servers if other != address), address]


class Sentinels(_Search):
    """Asks Sentinels for the master of a service."""

    def __init__(
        self, addresses: Iterable[Address], service: str, connection_class: Any, options: dict[str, Any]
    ) -> None:
        super().__init__(addresses, connection_class, options)
        self._service = service

    def find(self) -> Address:
        """Return the address of the master. It has confirmed with ROLE that it is one.

        :raises NotFound: no Sentinel answers, none knows the service, or there is no master.
        """
        end = time.monotonic() + _SEARCH_S
        silent: list[str] = []
        wrong: list[str] = []
        for sentinel in self._servers:
            try:
                named = self._ask_sentinel(sentinel)
            except redis.RedisError as error:
                silent.append(f"{_text(sentinel)}: {_reason_of_sentinel(error)}")
                self._avoid(sentinel)
            else:
                problem = self._problem(named)
                if named is not None and problem is None:
                    return named
                wrong.append(f"Sentinel {_text(sentinel)}: {problem}")
                self._avoid(sentinel)
            if time.monotonic() >= end:
                break
        if wrong:
            raise NotFound(_joined(wrong))
        raise NotFound(f"no Sentinel answers: {_joined(silent)}")

    def note(self, error: BaseException) -> None:
        """Find the master anew if a replica has answered."""
        if re.search("READONLY|read only replica|MASTERDOWN", full_text(error)):
            self.generation += 1

    def _ask_sentinel(self, sentinel: Address) -> Address | None:
        """Return the address of the master that a Sentinel names; None if it does not know the service."""
        command = "SENTINEL", "get-master-addr-by-name", self._service
        anonymous = {"username": None, "password": None, "db": 0}
        try:
            found = self._ask(sentinel, *command, **anonymous)
        except redis.RedisError as error:
            if not re.search("NOAUTH|Authentication required", full_text(error)):
                raise
            found = self._ask(sentinel, *command, db=0)
        return (found[0], int(found[1])) if found else None

    def _problem(self, named: Address | None) -> str | None:
        """Return why the Redis that a Sentinel names can't be used; None if it can."""
        if named is None:
            return f"it knows no service named '{self._service}'"
        try:
            role = self._ask(named, "ROLE", db=0)[0]
        except redis.RedisError as error:
            return f"the master of '{self._service}' is {_text(named)}: {reason(error)}"
        if role != "master":
            return f"the master of '{self._service}' is {_text(named)}, a replica: failover under way"
        return None


class Cluster(_Search):
    """Asks nodes of a Redis Cluster for the owner of the gateway's slot."""

    def __init__(
        self, addresses: Iterable[Address], gateway: str, connection_class: Any, options: dict[str, Any]
    ) -> None:
        super().__init__(addresses, connection_class, options)
        self._gateway = gateway
        self.slot = slot_of(gateway)

    def find(self) -> Address:
        """Return the address of the slot's owner. It has confirmed with CLUSTER SLOTS that it is the owner.

        Nodes are asked until one names itself.

        :raises NotFound: no node answers, none has the slot, or its owner can't be reached.
        """
        end = time.monotonic() + _SEARCH_S
        problems: list[str] = []
        waiting, asked = list(self._servers), set()
        named_by: dict[Address, Address] = {}
        while waiting and time.monotonic() < end:
            node = waiting.pop(0)
            if node in asked:
                continue
            asked.add(node)
            try:
                owner = self._ask_node(node)
            except redis.RedisError as error:
                role = ""
                if node in named_by:
                    role = f" (has slot {self.slot} according to {_text(named_by[node])})"
                problems.append(f"{_text(node)}{role}: {reason(error)}")
                self._avoid(node)
                continue
            if owner is None:
                problems.append(f"{_text(node)}: slot {self.slot} of '{self._gateway}' has no owner")
                self._avoid(node)
            elif owner == node:
                self._prefer(node)
                return node
            else:
                named_by.setdefault(owner, node)
                waiting.insert(0, owner)
        problems.sort(key=lambda problem: "has slot" not in problem and "has no owner" not in problem)
        raise NotFound(f"no node of the Redis Cluster takes flushes: {_joined(problems)}")

    def note(self, error: BaseException) -> None:
        """Find the owner anew if the slot has moved, or if the node is cut off from the cluster."""
        redirect = redirect_in(error)
        if redirect is not None and redirect.code == "MOVED":
            if redirect.host:
                self._prefer((redirect.host, redirect.port))
            self.generation += 1
        elif "CLUSTERDOWN" in full_text(error):
            self._servers = [*self._servers[1:], self._servers[0]]
            self.generation += 1

    def _ask_node(self, node: Address) -> Address | None:
        """Return the slot's owner according to ``node``, or None. Adds the nodes that it knows."""
        owner = None
        known: list[Address] = []
        for first, last, *members in self._ask(node, "CLUSTER", "SLOTS"):
            # A node that does not know its own host, or another's, leaves it out.
            addresses = [(member[0] or node[0], int(member[1])) for member in members]
            known += addresses
            if first <= self.slot <= last and addresses:
                owner = addresses[0]
        new = [address for address in known if address not in self._servers]
        if new:
            self._servers = [*self._servers, *dict.fromkeys(new)]
        return owner


def slot_of(gateway: str) -> int:
    """Return the slot of a gateway's keys: CRC16 of their hash tag, as the cluster specification says."""
    return binascii.crc_hqx(gateway.encode(), 0) % SLOTS


def _reason_of_sentinel(error: redis.RedisError) -> str:
    text = full_text(error)
    if "unknown command" in text:
        return "this is no Sentinel: redis.url must begin with redis:// or rediss://"
    if re.search("NOAUTH|WRONGPASS|Authentication required|invalid (username-)?password|NOPERM", text):
        return "the Sentinel refuses the user name or the password, those for Redis"
    return reason(error)


def _text(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _joined(problems: Sequence[str]) -> str:
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return "; ".join(problems[:_SHOWN]) + more
