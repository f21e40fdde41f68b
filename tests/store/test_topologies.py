"""The promises of the store hold with Sentinels and with a cluster, while masters die and slots move."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from flusher_rig import IMPATIENT, Rig
from real_store import LAPTOP, PHONE, RealStore, check_entries, counts, device_counts, everything
from redis_topologies import Node, RedisCluster, SentinelService, SlotMove
from support import WAIT_S, eventually

from netify_agent.store.client import StoreError, StoreRefused
from netify_agent.store.topology import slot_of

SLOT = slot_of("gw1")
PATIENT = replace(IMPATIENT, kept_flushes=5000)
WAITS = "(ASK): flushes wait until that is finished"


class Deployment:
    """What the tests do to both topologies.

    :ivar url: for redis.url.
    """

    def __init__(self, made: RedisCluster | SentinelService) -> None:
        self.url = made.url
        self._made = made

    def owner(self) -> Node:
        if isinstance(self._made, RedisCluster):
            return self._made.owner(SLOT)
        port = self._made.master_port()
        return next(node for node in self._made.nodes if node.port == port)

    def replica(self) -> Node:
        """The one replica of the owner."""
        replica = self.owner().replication()["slave0"]
        return next(node for node in self._made.nodes if node.port == int(replica["port"]))

    def fail_over(self) -> None:
        """Ask for a failover in which both nodes live, and wait for its end."""
        before, after = self.owner(), self.replica()
        if isinstance(self._made, RedisCluster):
            self._fail_over_to(after)
        else:
            eventually(self._start_failover, "a Sentinel starts the failover")
        eventually(lambda: self.owner() is after, f"{after.place} replaces {before.place}")
        # Until a Sentinel demotes it, the old master takes flushes, which are then lost.
        eventually(lambda: before.role() == "slave", f"{before.place} follows")

    def _fail_over_to(self, replica: Node) -> None:
        """Make ``replica`` the master of its shard.

        Redis drops a manual failover after 5 s without a message (CLUSTER_MF_TIMEOUT of its cluster.c), for
        example when the other masters have just voted for this shard. A new command starts another one.
        """
        end = time.monotonic() + WAIT_S
        while replica.role() != "master" and time.monotonic() < end:
            replica.ask("CLUSTER", "FAILOVER")
            again = time.monotonic() + 6
            while replica.role() != "master" and time.monotonic() < again:
                time.sleep(0.02)

    def _start_failover(self) -> bool:
        assert isinstance(self._made, SentinelService)
        with suppress(Exception):
            return bool(self._made.sentinels[0].ask("SENTINEL", "FAILOVER", self._made.service))
        return False

    def replicated(self) -> None:
        """Wait until the replica has what the owner has."""
        assert self.owner().ask("WAIT", 1, 60_000)

    def mend(self) -> None:
        """Undo what a test did, also one that failed, so that the next one finds all nodes."""
        for node in self._made.nodes:
            if node.is_sentinel:
                continue
            if not node.runs:
                node.start()
            node.client.config_set("masterauth", "")


@pytest.fixture(params=["sentinel", "cluster"])
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    made = Deployment(request.getfixturevalue({"sentinel": "service"}.get(request.param, "cluster")))
    yield made
    made.mend()


def both(long: str) -> pytest.MarkDecorator:
    """Run a test on both topologies; on ``long``, where it takes a quarter of a minute, as a long test."""
    kinds = [
        pytest.param(kind, marks=[pytest.mark.long] if kind == long else [])
        for kind in ("sentinel", "cluster")
    ]
    return pytest.mark.parametrize("deployment", kinds, indirect=True)


class Traffic:
    """Feeds a rig without a pause, and knows the totals."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._stop = threading.Event()
        self._sent = 0
        rig.feed(rig.netifyd.flow("a"), rig.netifyd.flow("b", PHONE))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.005) and self._rig.runs:  # the rig ends first if the test fails
            self._sent += 1
            records = [self._rig.netifyd.stats("a", 10, 20), self._rig.netifyd.stats("b", 1, 2)]
            name = f"n{self._sent}"
            records += [self._rig.netifyd.flow(name, application=f"netify.app{self._sent % 50}")]
            records += [self._rig.netifyd.stats(name, 3, 4), self._rig.netifyd.purge(name)]
            self._rig.feed(*records)

    def end(self) -> None:
        """Stop, and check that Redis holds exactly what was fed."""
        self._stop.set()
        self._thread.join()
        self._rig.flush()
        rows = {row.name: row.counters for row in self._rig.snapshot().devices}
        sent = self._sent
        expected = counts(13 * sent, 24 * sent, 2 * sent, 2 * sent, 1 + sent)
        assert rows == {LAPTOP: expected, PHONE: counts(sent, 2 * sent, sent, sent, 1)}
        assert self._rig.writer.status.inconsistency is None
        assert self._rig.writer.status.lost == 0


# -- nothing changes for the store -----------------------------------------------------------------


def test_a_store_is_written_claimed_and_read(deployment: Deployment) -> None:
    store = RealStore(deployment.url, "gw1")
    said = store.netifyd
    store.flush(said.flow("a"), said.stats("a", 10, 20), said.flow("b", PHONE), said.stats("b", 1, 2))
    flush = store.flush(said.stats("a", 1, 2), said.purge("b"))
    before = everything(store.client)
    store.writer.apply(flush)
    assert everything(store.client) == before
    assert device_counts(store) == {LAPTOP: counts(11, 22, 2, 2, 1), PHONE: counts(1, 2, 1, 1, 1)}
    check_entries(store.client, "gw1")
    again = RealStore(deployment.url, "gw1")
    assert again.restored.sequence == 2
    with pytest.raises(StoreRefused, match="another netify-agent writes"):
        store.flush(said.stats("a", 1, 2))


def test_all_keys_are_in_one_slot_whatever_the_gateways_name(cluster: RedisCluster) -> None:
    """A transaction over two slots would be refused (CROSSSLOT)."""
    for gateway in ("gw1", "a.b-c_D", "x" * 63):
        store = RealStore(cluster.url, gateway, forget_after_s=86400)
        said = store.netifyd
        store.flush(said.flow("old", PHONE), said.stats("old", 1, 2), at_ms=1_000)
        risks = {"risks": {"ndpi_risk_score": 10, "risks": [46]}}
        store.flush(said.flow("b", **risks), said.stats("b", 1, 2))
        store.flush(said.purge("b"))
        slot = slot_of(gateway)
        keys = [key for node in cluster.masters() for key in node.client.scan_iter(f"*{gateway}*")]
        assert len(keys) > 20
        assert {cluster.nodes[0].ask("CLUSTER", "KEYSLOT", key) for key in keys} == {slot}


# -- failover --------------------------------------------------------------------------------------


@both(long="sentinel")
def test_a_failover_with_both_nodes_alive_loses_nothing(
    deployment: Deployment, rigs: Callable[..., Rig]
) -> None:
    rig = rigs(deployment.url, limits=PATIENT).start()
    traffic = Traffic(rig)
    rig.flush()
    deployment.fail_over()
    traffic.end()


@both(long="sentinel")
def test_the_master_is_killed_while_flushes_run(deployment: Deployment, rigs: Callable[..., Rig]) -> None:
    rig = rigs(deployment.url, limits=PATIENT).start()
    traffic = Traffic(rig)
    rig.flush()
    killed, heir = deployment.owner(), deployment.replica()
    killed.kill()
    eventually(lambda: heir.role() == "master", "the replica takes over")
    traffic.end()
    assert rig.writer.status.error is None


def test_flushes_that_the_replica_never_got_are_repeated_after_the_failover(
    deployment: Deployment, rigs: Callable[..., Rig]
) -> None:
    """Replication is asynchronous: Redis has acknowledged these flushes, and a failover loses them."""
    rig = rigs(deployment.url, limits=PATIENT).start()
    rig.feed(rig.netifyd.flow("a"), rig.netifyd.stats("a", 1, 1))
    rig.flush()
    deployment.replicated()
    killed, heir = deployment.owner(), deployment.replica()
    heir.client.config_set("masterauth", "wrong")  # so that it can't connect again
    killed.ask("CLIENT", "KILL", "TYPE", "replica")
    eventually(lambda: heir.replication().get("master_link_status") == "down", "the link is cut")
    rig.feed(rig.netifyd.stats("a", 10, 20))
    rig.flush()
    killed.kill()
    eventually(lambda: heir.role() == "master", "the replica takes over")
    rig.feed(rig.netifyd.stats("a", 100, 200))
    rig.flush()
    assert rig.writer.status.repeated > 0
    assert rig.writer.status.lost == 0
    assert [row.counters for row in rig.snapshot().devices] == [counts(111, 221, 3, 3, 1)]


# -- a slot moves ----------------------------------------------------------------------------------


def _other(cluster: RedisCluster) -> Node:
    """A master that does not have the slot."""
    owner = cluster.owner(SLOT)
    return next(node for node in cluster.masters() if node is not owner)


@pytest.fixture
def home(cluster: RedisCluster) -> Deployment:
    return Deployment(cluster)


def test_a_slot_moves_while_flushes_and_reads_run(
    home: Deployment, cluster: RedisCluster, rigs: Callable[..., Rig]
) -> None:
    rig = rigs(home.url, limits=PATIENT).start()
    traffic = Traffic(rig)
    rig.flush()
    for _ in range(2):  # there and back
        move = SlotMove(cluster, SLOT, _other(cluster))
        move.begin()
        while keys := move.keys():
            move.move(keys[:5])
            snapshot = rig.snapshot()  # reads go on
            total = snapshot.gateway.counters["bytes_up"]
            assert total == sum(row.counters["bytes_up"] for row in snapshot.devices)
        eventually(lambda: WAITS in str(rig.writer.status.error), "flushes wait")  # with TRYAGAIN before
        assert rig.snapshot().gateway.counters["bytes_up"] >= total
        move.end()
        rig.flush()
        assert cluster.owner(SLOT) is move.target
    traffic.end()


def test_reads_during_a_move_are_whole_and_complete(home: Deployment, cluster: RedisCluster) -> None:
    """Keys are read where they are. A missing key is missing at both nodes."""
    store = RealStore(home.url, "gw1")
    said = store.netifyd
    store.flush(said.flow("a"), said.stats("a", 10, 20), said.flow("b", PHONE), said.stats("b", 1, 2))
    expected, status = store.snapshot(), store.reader.meta()
    move = SlotMove(cluster, SLOT, _other(cluster))
    move.begin()
    keys = sorted(move.keys(), key=lambda key: key.endswith(":meta"))
    meta_first = [keys[-1], *keys[:-1]]
    for part in (meta_first[:1], meta_first[1:6], meta_first[6:]):
        assert store.snapshot() == expected
        assert store.reader.last_flush().sequence == 1
        assert store.reader.meta() == status
        assert store.reader.left_out() == expected.forgotten
        assert store.reader.knows(PHONE) and not store.reader.knows("nobody")
        move.move(part)
    assert store.snapshot() == expected
    for write in (lambda: store.writer.apply(store.take()), store.writer.claim, store.writer.release):
        with pytest.raises(StoreError, match=r"\((ASK|TRYAGAIN)\)"):
            write()
    assert store.snapshot() == expected
    move.end()
    assert store.snapshot() == expected
    store.sequence -= 1
    store.flush(said.stats("a", 1, 1))
    assert device_counts(store)[LAPTOP] == counts(11, 21, 2, 2, 1)


def test_a_node_without_the_slot_is_left_at_once(home: Deployment, cluster: RedisCluster) -> None:
    """A move between two flushes costs no failed flush and no failed request."""
    store = RealStore(home.url, "gw1")
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 10, 20))
    SlotMove(cluster, SLOT, _other(cluster)).whole()
    assert store.reader.last_flush().sequence == 1
    assert store.reader.meta()["seq"] == "1"
    store.flush(store.netifyd.stats("a", 10, 20))
    assert device_counts(store)[LAPTOP] == counts(20, 40, 2, 2, 1)
    SlotMove(cluster, SLOT, _other(cluster)).whole()
    store.writer.release()
    rival: Any = RealStore(home.url, "gw1").restored
    assert rival.sequence == 2
