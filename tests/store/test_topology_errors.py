"""What is said if no Redis can be used: one line that names the cause, without a password."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from real_store import HISTORY
from redis_topologies import Node, RedisCluster, SentinelService
from support import eventually, free_port

from netify_agent.store.client import StoreError, connect
from netify_agent.store.reader import StoreReader
from netify_agent.store.topology import SLOTS, slot_of
from netify_agent.store.writer import StoreWriter

SLOT = slot_of("gw1")


def failure(url: str) -> str:
    """Return the error of a read, after a check that a write has one as well, and that both are clean."""
    said = []
    for call in (
        StoreReader(connect(url, None, gateway="gw1"), "gw1").snapshot,
        StoreWriter(connect(url, None, gateway="gw1"), "gw1", HISTORY, 86400).claim,
    ):
        with pytest.raises(StoreError) as error:
            call()
        said.append(str(error.value))
        assert "\n" not in said[-1]
        assert "hunter2" not in said[-1]
    return said[0]


@pytest.fixture
def node(directory: Path) -> Iterator[Node]:
    """A node that belongs to no cluster yet."""
    with Node(directory, "--cluster-enabled", "yes", "--cluster-node-timeout", "1000") as made:
        yield made


@pytest.fixture
def single(directory: Path) -> Iterator[Node]:
    """A Redis that is neither a Sentinel nor a node."""
    with Node(directory) as made:
        yield made


def test_servers_that_do_not_answer_are_named() -> None:
    places = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    said = failure(f"redis+sentinel://ann:hunter2@{','.join(places)}/netify/0")
    assert said.startswith("no Sentinel answers: ")
    assert "refused" in said and all(place in said for place in places)
    said = failure(f"redis+cluster://ann:hunter2@{','.join(places)}")
    assert said.startswith("no node of the Redis Cluster takes flushes: ")
    assert "refused" in said and all(place in said for place in places)


def test_a_service_that_no_sentinel_knows_is_named(service: SentinelService) -> None:
    url = service.url.replace("/netify/", "/other/")
    assert failure(url).startswith(
        f"Sentinel {service.sentinels[0].place}: it knows no service named 'other'"
    )


@pytest.mark.parametrize("topology", ["service", "cluster"])
def test_a_wrong_password_is_said_of_the_redis_that_refuses_it(
    request: pytest.FixtureRequest, topology: str
) -> None:
    made: SentinelService | RedisCluster = request.getfixturevalue(topology)
    said = failure(made.url.replace("://", "://ann:hunter2@"))
    assert "Redis refuses the user name or the password (WRONGPASS)" in said
    if isinstance(made, SentinelService):
        assert f"the master of 'netify' is 127.0.0.1:{made.master_port()}: " in said


def test_a_url_of_another_topology_is_told_apart(single: Node) -> None:
    assert "this is no Sentinel: redis.url must begin with redis://" in failure(
        f"redis+sentinel://{single.place}/netify/0"
    )
    assert "this Redis is not a node of a cluster" in failure(f"redis+cluster://{single.place}")


def test_a_slot_without_an_owner_is_named_and_a_cluster_that_is_down(node: Node) -> None:
    url = f"redis+cluster://{node.place}"
    assert f"{node.place}: slot {SLOT} of 'gw1' has no owner" in failure(url)
    node.ask("CLUSTER", "ADDSLOTS", SLOT)
    assert "the Redis Cluster is down (CLUSTERDOWN)" in failure(url)
    node.ask("CLUSTER", "ADDSLOTS", *(slot for slot in range(SLOTS) if slot != SLOT))
    reader = StoreReader(connect(url, None, gateway="gw1"), "gw1")

    def answers() -> bool:
        with suppress(StoreError):
            return reader.last_flush().sequence == 0
        return False

    eventually(answers, "the same client finds the cluster up")


def test_a_node_of_a_cluster_needs_a_url_of_a_cluster(cluster: RedisCluster) -> None:
    other = next(one for one in cluster.masters() if one is not cluster.owner(SLOT))
    assert "redis.url must begin with redis+cluster:// or rediss+cluster://" in failure(other.url)
