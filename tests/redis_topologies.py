"""Real Sentinels and a real Redis Cluster, on ports of the loopback interface, for tests."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis
from support import ServerProcess, eventually, free_port

from netify_agent.config.settings import TlsSettings
from netify_agent.store.topology import SLOTS

#: A master that is silent for this long is replaced. A busy machine may give a process no turn for a second.
NODE_TIMEOUT_MS = 3000
_HOST = "127.0.0.1"


def _node_port() -> int:
    """A port that is free, as is the one for the bus of a cluster, which is 10000 higher."""
    while True:
        port = free_port()
        with socket.socket() as bus, suppress(OSError):
            bus.bind((_HOST, port + 10_000))
            return port


def _secure(tls: TlsSettings) -> dict[str, Any]:
    """Options of redis-py for a server with this certificate."""
    files = {"ssl_ca_certs": tls.certificate, "ssl_certfile": tls.certificate, "ssl_keyfile": tls.key}
    return {"ssl": True, **files}


class Node(ServerProcess):
    """A redis-server, or a Sentinel, on a TCP port. Its files are in a directory of its own."""

    def __init__(
        self, directory: Path, *options: str, sentinel: str = "", tls: TlsSettings | None = None
    ) -> None:
        """``tls``: a certificate that is its own CA. Clients need TLS and the same certificate."""
        self.port = _node_port()
        self.address = _HOST, self.port
        self.is_sentinel = bool(sentinel)
        self.place = f"{_HOST}:{self.port}"
        self.url = f"redis://{self.place}/0"
        path = directory / str(self.port)
        path.mkdir()
        config = path / "redis.conf"
        config.write_text(sentinel.replace("PORT", str(self.port)))
        command = ["redis-server", str(config)]
        if sentinel:
            command += ["--sentinel"]
        else:
            command += ["--dir", str(path), "--bind", _HOST, "--logfile", "redis.log", "--save", ""]
        plain_port, secure = (self.port, {}) if tls is None else (0, _secure(tls))
        command += ["--port", str(plain_port), *options]
        if tls is not None:
            command += ["--tls-port", str(self.port), "--tls-replication", "yes", "--tls-cluster", "yes"]
            command += ["--tls-cert-file", tls.certificate or "", "--tls-key-file", tls.key or ""]
            command += ["--tls-ca-cert-file", tls.certificate or ""]
        self.client = redis.Redis(_HOST, self.port, decode_responses=True, **secure)
        super().__init__(*command)

    def answers(self) -> bool:
        with suppress(redis.ConnectionError, redis.BusyLoadingError):
            return bool(self.ask("PING"))
        return False

    def ask(self, *command: Any) -> Any:
        return self.client.execute_command(*command)

    def replication(self) -> dict[str, Any]:
        """INFO replication; empty if there is no answer: a node closes connections when its role changes."""
        with suppress(redis.ConnectionError, redis.BusyLoadingError):
            return dict(self.client.info("replication"))
        return {}

    def role(self) -> str | None:
        """``master`` or ``slave``; None if there is no answer."""
        return self.replication().get("role")

    def has_replica(self) -> bool:
        """Whether it is a master, and its one replica is connected."""
        found = self.replication()
        replica = found.get("slave0", {})
        return found.get("role") == "master" and replica.get("state") == "online"


class SentinelService:
    """A master, a replica and three Sentinels that know them as ``service``."""

    def __init__(self, directory: Path, *, service: str = "netify", tls: TlsSettings | None = None) -> None:
        self.master = Node(directory, tls=tls)
        self.replica = Node(directory, "--replicaof", _HOST, str(self.master.port), tls=tls)
        self.sentinels = [
            Node(
                directory,
                sentinel=(
                    f"bind {_HOST}\ndir {directory}\nlogfile {directory}/sentinel-PORT.log\n"
                    f"sentinel monitor {service} {_HOST} {self.master.port} 2\n"
                    f"sentinel down-after-milliseconds {service} {NODE_TIMEOUT_MS}\n"
                    f"sentinel failover-timeout {service} 6000\n"
                ),
                tls=tls,
            )
            for _ in range(3)
        ]
        self.nodes = [self.master, self.replica, *self.sentinels]
        places = ",".join(sentinel.place for sentinel in self.sentinels)
        self.service = service
        self.url = f"{'rediss' if tls else 'redis'}+sentinel://{places}/{service}/0"

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        eventually(self.master.has_replica, "the replica is connected")
        for sentinel in self.sentinels:
            eventually(lambda s=sentinel: self._knows_all(s), "the Sentinels know each other and the replica")

    def settle(self) -> None:
        """Wait until all Sentinels name one master, which has its replica."""
        eventually(self._is_settled, "all Sentinels name one master, which has its replica")

    def _is_settled(self) -> bool:
        named = {self.master_port(sentinel) for sentinel in self.sentinels}
        masters = [node for node in (self.master, self.replica) if node.port in named]
        return len(named) == 1 and masters[0].has_replica()

    def _knows_all(self, sentinel: Node) -> bool:
        reply = sentinel.client.sentinel_masters()[self.service]
        return reply["num-other-sentinels"] == 2 and reply["num-slaves"] == 1

    def master_port(self, sentinel: Node | None = None) -> int:
        """The port of the master according to a Sentinel; None: the first one."""
        found = (sentinel or self.sentinels[0]).ask("SENTINEL", "get-master-addr-by-name", self.service)
        return int(found[1])

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()


class RedisCluster:
    """Masters, each with a replica."""

    def __init__(self, directory: Path, *, masters: int = 3, tls: TlsSettings | None = None) -> None:
        self._masters = masters
        cluster = ["--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS)]
        cluster += ["--cluster-replica-validity-factor", "0"]
        self.nodes = [Node(directory, *cluster, tls=tls) for _ in range(2 * masters)]
        places = ",".join(node.place for node in self.nodes[:masters])
        self.url = f"{'rediss' if tls else 'redis'}+cluster://{places}"

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        masters, replicas = self.nodes[: self._masters], self.nodes[self._masters :]
        for index, node in enumerate(masters):
            first, last = SLOTS * index // len(masters), SLOTS * (index + 1) // len(masters) - 1
            node.ask("CLUSTER", "ADDSLOTS", *range(first, last + 1))
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        for node in self.nodes[1:]:
            node.ask("CLUSTER", "MEET", *self.nodes[0].address)
        for node in self.nodes:
            eventually(lambda n=node: self._known(n) == len(self.nodes), "all nodes know each other")
        for master, replica in zip(masters, replicas, strict=True):
            replica.ask("CLUSTER", "REPLICATE", self.id_of(master))
        for node in self.nodes:
            eventually(lambda n=node: self.state(n) == "ok", "the cluster is up")
            eventually(lambda n=node: len(self.slots(n)) == self._masters, "all nodes know all masters")
        self.settle()

    def settle(self) -> None:
        """Wait until all nodes agree on the owners of slots, each of which has its replica."""
        eventually(self._is_settled, "all nodes agree, and each master has its replica")

    def _is_settled(self) -> bool:
        views = {self._owners(node) for node in self.nodes}
        if len(views) != 1 or any(self.state(node) != "ok" for node in self.nodes):
            return False
        ports = {port for _, _, port in next(iter(views))}
        owners = [node for node in self.nodes if node.port in ports]
        masters = [node for node in self.nodes if node.role() == "master"]
        return owners == masters and all(node.has_replica() for node in owners)

    def _owners(self, node: Node) -> tuple[tuple[int, int, int], ...]:
        """First slot, last slot and port of their master, according to a node."""
        return tuple(sorted((first, last, master[1]) for first, last, master, *_ in self.slots(node)))

    def _known(self, node: Node) -> int:
        text = self._raw(node, "CLUSTER", "NODES")
        return sum("handshake" not in line for line in text.splitlines())

    @staticmethod
    def _raw(node: Node, *command: str) -> Any:
        """Return a reply as it is: redis-py makes objects of some."""
        pool = node.client.connection_pool
        connection = pool.connection_class(**pool.connection_kwargs)
        try:
            connection.connect()
            connection.send_command(*command)
            return connection.read_response()
        finally:
            connection.disconnect()

    def id_of(self, node: Node) -> str:
        return str(self._raw(node, "CLUSTER", "MYID"))

    def state(self, node: Node) -> str:
        return str(self._raw(node, "CLUSTER", "INFO")).partition("cluster_state:")[2].split()[0]

    def slots(self, node: Node) -> list[Any]:
        return list(self._raw(node, "CLUSTER", "SLOTS"))

    def owner(self, slot: int) -> Node:
        """The owner of a slot, once all nodes that run agree on it."""
        owner: Node = eventually(lambda: self._agreed_owner(slot), f"all nodes know the owner of slot {slot}")
        return owner

    def _agreed_owner(self, slot: int) -> Node | None:
        ports = set()
        for node in (one for one in self.nodes if one.runs):
            with suppress(redis.ConnectionError):
                found = [port for first, last, port in self._owners(node) if first <= slot <= last]
                ports.add(found[0] if found else 0)
        return next((one for one in self.nodes if {one.port} == ports), None)

    def masters(self) -> list[Node]:
        return [node for node in self.nodes if node.runs and node.role() == "master"]

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()


class SlotMove:
    """The move of a slot to another master, step by step, as ``redis-cli --cluster reshard`` does it."""

    def __init__(self, cluster: RedisCluster, slot: int, target: Node) -> None:
        self._cluster, self._slot = cluster, slot
        self.source, self.target = cluster.owner(slot), target

    def begin(self) -> None:
        ids = self._cluster.id_of(self.source), self._cluster.id_of(self.target)
        self.target.ask("CLUSTER", "SETSLOT", self._slot, "IMPORTING", ids[0])
        self.source.ask("CLUSTER", "SETSLOT", self._slot, "MIGRATING", ids[1])

    def keys(self) -> list[str]:
        """The keys that are still at the source."""
        return list(self._cluster._raw(self.source, "CLUSTER", "GETKEYSINSLOT", str(self._slot), "100000"))

    def move(self, keys: list[str]) -> None:
        if keys:
            self.source.ask("MIGRATE", *self.target.address, "", 0, 5000, "KEYS", *keys)

    def end(self) -> None:
        target = self._cluster.id_of(self.target)
        for node in (self.target, self.source, *self._cluster.masters()):
            node.ask("CLUSTER", "SETSLOT", self._slot, "NODE", target)

    def whole(self) -> None:
        self.begin()
        while keys := self.keys():
            self.move(keys)
        self.end()
