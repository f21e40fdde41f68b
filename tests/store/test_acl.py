"""The user of ``netify-agent acl``: it suffices for the agent, and reaches no other keys."""

from __future__ import annotations

import pytest
import redis
from store_book import LAPTOP, Book, counts, device_counts
from support import RedisServer

from netify_agent.cli import main
from netify_agent.store.acl import COMMANDS
from netify_agent.store.client import connect


def test_the_user_may_use_the_keys_of_its_gateway_and_no_others(
    redis_server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["acl", "gw1"]) == 0
    admin = connect(redis_server.url, None)
    admin.execute_command(*capsys.readouterr().out.split(), ">s3cr3t")
    admin.hset("netify:{gw2}:meta", "seq", 1)
    url = redis_server.url.replace("unix://", "unix://netify-agent-gw1:s3cr3t@")
    book = Book(url, "gw1")
    book.flush(book.netifyd.flow("a"), book.netifyd.stats("a", 10, 20))
    assert device_counts(book) == {LAPTOP: counts(10, 20, 1, 1, 1)}
    book.writer.release()
    assert admin.execute_command("ACL", "LOG") == []
    keyless = {"ping", "time", "multi", "exec", "unwatch", "info"}
    for command in COMMANDS - keyless:
        arity = abs(admin.execute_command("COMMAND", "INFO", command)[command]["arity"])
        single = redis.Redis(connection_pool=book.client.connection_pool).client()
        with single as one, pytest.raises(redis.RedisError) as refused:
            one.connection.send_command(command, "netify:{gw2}:meta", *["1"] * (arity - 2))
            one.connection.read_response()
        assert type(refused.value).__name__ == "NoPermissionError", command
    for other in ("FLUSHALL", "KEYS *", "CONFIG GET *", "ACL LIST"):
        with pytest.raises(redis.ResponseError, match=r"(?i)no permissions|NOPERM"):
            book.client.execute_command(*other.split())
