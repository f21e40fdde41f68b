"""The store's own MULTI/EXEC, against a real Redis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from support import RedisServer

from netify_agent.store.client import connect
from netify_agent.store.layout import COUNTERS
from netify_agent.store.transaction import Sent, Transaction, repeat


@pytest.fixture
def client(shared_redis: RedisServer) -> Any:
    found = connect(shared_redis.url, None)
    found.flushall()
    return found


@pytest.fixture
def pipe(client: Any) -> Iterator[Any]:
    """A pipeline that has a key under WATCH, as a flush has it."""
    with client.pipeline(transaction=True) as found:
        found.watch("watched")
        yield found


def done(transaction: Transaction) -> list[tuple[str, str, str]]:
    transaction.commit()
    return transaction.refused()


def test_each_command_does_what_its_name_says(client: Any, pipe: Any) -> None:
    client.zadd("scores", {"low": -5, "gone": 1, "high": 9})
    client.hset("hash", mapping={"kept": "1", "dropped": "1"})
    client.set("old", "x")
    with Transaction(pipe.connection) as transaction:
        transaction.grow_rows("row", {"netflix": [7, 0, -2], "zoë": [1]})
        transaction.grow("row", [0, 0])
        transaction.hincrby("row", "own", 4)
        transaction.hset("hash", mapping={"text": "zoë", "number": 3})
        transaction.hsetnx("hash", "kept", "2")
        transaction.hdel("hash", "dropped")
        transaction.sadd("set", 1, "two")
        transaction.zadd("scores", {"high": 1, "new": 2}, nx=True)
        transaction.zadd("scores", {"new": 3})
        transaction.add_scores("low", {"scores": -7, "others": 3})
        transaction.zrem("scores", "gone")
        transaction.zadd("ranked", {"a": 1, "b": 2, "c": 3})
        transaction.zremrangebyscore("ranked", "-inf", 2)
        transaction.expire("row", 2_000_000_000)
        transaction.delete("old")
        assert done(transaction) == []
    assert client.hgetall("row") == {
        f"{COUNTERS[0]}:netflix": "7",
        f"{COUNTERS[2]}:netflix": "-2",
        f"{COUNTERS[0]}:zoë": "1",
        "own": "4",
    }
    assert client.hgetall("hash") == {"kept": "1", "text": "zoë", "number": "3"}
    assert client.smembers("set") == {"1", "two"}
    assert client.zrange("scores", 0, -1, withscores=True) == [("low", -12), ("new", 3), ("high", 9)]
    assert client.zrange("ranked", 0, -1) == ["c"]
    assert client.zscore("others", "low") == 3
    assert client.ttl("row") > 1_000_000_000
    assert not client.exists("old")


def test_more_commands_than_any_buffer_holds_are_one_transaction(client: Any, pipe: Any) -> None:
    """Replies that are strings, ZINCRBY's, are cut by the reads at every place."""
    with Transaction(pipe.connection) as transaction:
        for number in range(20_000):
            transaction.add_scores(f"member {number % 7}", {"scores": -number})
            transaction.grow_rows("row", {f"{number % 100}": [1, 2, 3]})
        for number in range(20_000):
            transaction.add_scores(f"member {number % 7}", {"scores": 3 * number, "others": number})
        assert transaction.count == 120_000
        assert done(transaction) == []
    assert sum(map(int, client.hgetall("row").values())) == 120_000
    for key, each in ("scores", 2), ("others", 1):
        scores = client.zrange(key, 0, -1, withscores=True)
        assert sum(score for _, score in scores) == each * sum(range(20_000))
    assert pipe.get("after") is None  # the connection goes on with the next reply


def test_commands_that_redis_refuses_are_named_although_the_others_are_done(client: Any, pipe: Any) -> None:
    client.set("text", "x")
    with Transaction(pipe.connection) as transaction:
        transaction.add_scores("minus", {"scores": -1})
        transaction.grow("row", [1, 2])
        transaction.grow("text", [1, 2])
        transaction.hset("row", mapping={"a": 1})
        transaction.zadd("text", {"a": 1})
        refused = done(transaction)
    assert [(name, key) for name, key, _ in refused] == [("HINCRBY", "text")] * 2 + [("ZADD", "text")]
    assert all(why.startswith("WRONGTYPE") for _, _, why in refused)
    assert client.hgetall("row") == {COUNTERS[0]: "1", COUNTERS[1]: "2", "a": "1"}


def test_nothing_is_done_if_a_watched_key_has_changed(client: Any, pipe: Any) -> None:
    client.set("watched", "by another")
    with pytest.raises(redis.WatchError), Transaction(pipe.connection) as transaction:
        transaction.hset("row", mapping={"a": 1})
        done(transaction)
    assert not client.exists("row")


def test_nothing_is_done_if_one_command_can_not_be_queued(client: Any, pipe: Any) -> None:
    with (
        pytest.raises(redis.ResponseError, match="wrong number of arguments"),
        Transaction(pipe.connection) as transaction,
    ):
        transaction.hset("row", mapping={"a": 1})
        transaction.hset("row", mapping={})
        done(transaction)
    assert not client.exists("row")


def test_a_transaction_that_is_given_up_on_the_way_leaves_nothing_behind(client: Any) -> None:
    """Neither data, although most of it was sent already, nor a connection in the middle of a MULTI."""
    with pytest.raises(ZeroDivisionError), client.pipeline(transaction=True) as pipe:
        pipe.watch("watched")
        with Transaction(pipe.connection) as transaction:
            for number in range(20_000):
                transaction.hset("row", mapping={f"field {number}": number})
            raise ZeroDivisionError
    assert not client.exists("row")
    assert client.set("other", "x") is True


def test_a_redis_that_is_gone_is_an_error_of_redis_py(redis_server: RedisServer) -> None:
    client = connect(redis_server.url, None)
    with client.pipeline(transaction=True) as pipe:
        pipe.watch("watched")
        redis_server.kill()
        with pytest.raises(redis.ConnectionError), Transaction(pipe.connection) as transaction:
            for number in range(20_000):
                transaction.hset("row", mapping={f"field {number}": number})
            done(transaction)


def test_text_that_is_no_text_is_replaced(client: Any, pipe: Any) -> None:
    with Transaction(pipe.connection) as transaction:
        transaction.hset("row", mapping={"cut\ud800off": "\udcff"})
        transaction.grow_rows("row", {"\udc80": [1]})
        done(transaction)
    assert client.hgetall("row") == {"cut?off": "?", f"{COUNTERS[0]}:?": "1"}


def test_a_transaction_can_be_sent_again_as_it_was(client: Any) -> None:
    def again(sent: Sent) -> list[str]:
        with client.pipeline(transaction=True) as pipe:
            pipe.watch("watched")
            return repeat(pipe.connection, sent)

    with client.pipeline(transaction=True) as pipe:
        pipe.watch("watched")
        with Transaction(pipe.connection) as transaction:
            for number in range(20_000):
                transaction.grow_rows("row", {f"{number}": [number + 1]})
                transaction.add_scores("member", {"scores": 1})
            sent = transaction.commit()
            assert transaction.refused() == []
    assert sent.size < 400_000
    assert again(sent) == []
    assert client.hget("row", f"{COUNTERS[0]}:19999") == "40000"
    assert client.zscore("scores", "member") == 40_000
    client.set("scores", "spoiled") and client.delete("row")
    refused = again(sent)
    assert len(refused) == 20_000
    assert refused[0].startswith("WRONGTYPE")
    assert client.hlen("row") == 20_000
