"""The user of ``netify-agent acl``: it suffices for the agent, and reaches no other keys."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from real_store import LAPTOP, RealStore, counts, device_counts
from redis_topologies import RedisCluster, SentinelService, SlotMove
from support import RedisServer

from netify_agent.cli import main
from netify_agent.store.acl import COMMANDS, rule
from netify_agent.store.client import connect
from netify_agent.store.topology import slot_of


def raw(client: Any, *command: str) -> Any:
    """Return a reply as it is: redis-py makes objects of some, other ones in each release."""
    with redis.Redis(connection_pool=client.connection_pool).client() as single:
        single.connection.send_command(*command)
        return single.connection.read_response()


def test_the_user_may_use_the_keys_of_its_gateway_and_no_others(
    redis_server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["acl", "gw1"]) == 0
    admin = connect(redis_server.url, None)
    admin.execute_command(*capsys.readouterr().out.split(), ">s3cr3t")
    admin.hset("netify:{gw2}:meta", "seq", 1)
    url = redis_server.url.replace("unix://", "unix://netify-agent-gw1:s3cr3t@")
    store = RealStore(url, "gw1")
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 10, 20))
    assert device_counts(store) == {LAPTOP: counts(10, 20, 1, 1, 1)}
    store.writer.release()
    assert admin.execute_command("ACL", "LOG") == []
    keyless = {"ping", "time", "multi", "exec", "unwatch", "info"}
    for command in COMMANDS - keyless:
        arity = abs(raw(admin, "COMMAND", "INFO", command)[0][1])
        with pytest.raises(redis.RedisError) as refused:
            raw(store.client, command, "netify:{gw2}:meta", *["1"] * (arity - 2))
        assert type(refused.value).__name__ == "NoPermissionError", command
    for other in ("FLUSHALL", "KEYS *", "CONFIG GET *", "ACL LIST"):
        with pytest.raises(redis.ResponseError, match=r"(?i)no permissions|NOPERM"):
            store.client.execute_command(*other.split())


@pytest.mark.parametrize("topology", ["service", "cluster"])
def test_the_user_suffices_where_the_owner_must_be_found(
    request: pytest.FixtureRequest, topology: str
) -> None:
    made: SentinelService | RedisCluster = request.getfixturevalue(topology)
    stores = [node for node in made.nodes if not node.is_sentinel]
    for node in stores:
        node.ask("ACL", "LOG", "RESET")
        node.ask("ACL", "SETUSER", *rule("gw-acl").split(), ">s3cr3t")
    url = made.url.replace("://", "://netify-agent-gw-acl:s3cr3t@")
    store = RealStore(url.replace("/netify/0", "/netify/1"), "gw-acl")  # SELECT
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 10, 20))
    if isinstance(made, RedisCluster):
        source = made.owner(slot_of("gw-acl"))
        move = SlotMove(made, slot_of("gw-acl"), next(one for one in made.masters() if one is not source))
        move.begin()
        move.move(move.keys())
        assert device_counts(store) == {LAPTOP: counts(10, 20, 1, 1, 1)}  # ASKING
        move.end()
    store.flush(store.netifyd.stats("a", 10, 20))
    assert device_counts(store) == {LAPTOP: counts(20, 40, 2, 2, 1)}
    assert [entry for node in stores for entry in node.ask("ACL", "LOG")] == []
    for node in stores:
        node.ask("ACL", "DELUSER", "netify-agent-gw-acl")
