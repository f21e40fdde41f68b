"""Connections to Redis: passwords, URLs, servers that do not answer."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from real_store import (
    LAPTOP,
    RealStore,
    counts,
    device_counts,
    everything,
)
from redis_topologies import Node
from support import WAIT_S, RedisServer, eventually, free_port

from netify_agent.store.client import StoreError, connect
from netify_agent.store.history_steps import HistorySteps
from netify_agent.store.reader import StoreReader
from netify_agent.store.writer import StoreWriter

# -- connections -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a Redis that wants a password, and knows a user ``ann``."""
    from support import short_directory

    port = free_port()
    options = "--port", str(port), "--bind", "127.0.0.1"
    with short_directory() as directory, RedisServer(directory, *options) as server:
        client = connect(server.url, None)
        client.execute_command("ACL", "SETUSER", "ann", "on", ">p@ss:w/rd%", "~*", "+@all")
        client.config_set("requirepass", "s3cret p@ss/%23")
        yield port


@pytest.mark.parametrize(
    ("credentials", "password"),
    [
        ("", "s3cret p@ss/%23"),
        (":s3cret%20p%40ss%2F%2523@", None),
        ("default:s3cret%20p%40ss%2F%2523@", None),
        ("ann:p%40ss%3Aw%2Frd%25@", None),
        ("ann@", "p@ss:w/rd%"),
        (":wrong@", "s3cret p@ss/%23"),
    ],
)
def test_a_password_is_taken_from_a_file_or_from_the_url(
    guarded: int, credentials: str, password: str | None
) -> None:
    StoreReader(connect(f"redis://{credentials}127.0.0.1:{guarded}/0", password), "gw1").ping()


@pytest.mark.parametrize(
    ("credentials", "password", "told"),
    [
        ("", None, "requires a password .NOAUTH."),
        ("", "hunter2", "refuses the user name or the password .WRONGPASS."),
        (":hunter2@", None, "refuses the user name or the password .WRONGPASS."),
        ("ann:hunter2@", None, "refuses the user name or the password .WRONGPASS."),
    ],
)
def test_a_wrong_password_is_one_clear_line_without_it(
    guarded: int, credentials: str, password: str | None, told: str
) -> None:
    client = connect(f"redis://{credentials}127.0.0.1:{guarded}/0", password)
    for call in (
        StoreReader(client, "gw1").ping,
        StoreWriter(client, "gw1", HistorySteps({300: 600}), 86400).claim,
    ):
        with pytest.raises(StoreError, match=told) as error:
            call()
        assert "\n" not in str(error.value)
        assert "hunter2" not in str(error.value)


def test_a_refused_connection_is_one_clear_line(directory: Path) -> None:
    port = free_port()
    for url, told in (
        (f"redis://:hunter2@127.0.0.1:{port}/0", "(?i)connect.*refused"),
        (f"unix://:hunter2@{directory}/none.sock?db=0", "(?i)connect.*no such file"),
    ):
        client = connect(url, None)
        for call in (
            StoreReader(client, "gw1").snapshot,
            StoreWriter(client, "gw1", HistorySteps({300: 600}), 86400).claim,
        ):
            with pytest.raises(StoreError, match=told) as error:
                call()
            assert "\n" not in str(error.value)
            assert "hunter2" not in str(error.value)


def failure(url: str) -> str:
    with pytest.raises(StoreError) as error:
        StoreReader(connect(url, None), "gw1").snapshot()
    return str(error.value)


def test_a_replica_without_its_primary_says_so(directory: Path) -> None:
    replica = Node(directory)
    replica.start()
    replica.ask("CONFIG", "SET", "replica-serve-stale-data", "no")
    replica.ask("REPLICAOF", "127.0.0.1", free_port())
    try:
        assert "replica without its primary (MASTERDOWN)" in failure(replica.url)
    finally:
        replica.kill()


def test_a_redis_without_room_for_a_connection_says_so(directory: Path) -> None:
    node = Node(directory)
    node.start()
    try:
        first = connect(node.url, None)
        first.config_set("maxclients", 1)
        assert "raise its maxclients" in failure(node.url)
        first.config_set("maxclients", 100)
    finally:
        node.kill()


def test_a_redis_that_runs_a_script_says_so(directory: Path) -> None:
    node = Node(directory, "--lua-time-limit", "1")
    node.start()
    try:
        endless = threading.Thread(target=run_forever, args=(node.url,))
        endless.start()
        eventually(lambda: "(BUSY)" in failure_or_none(node.url), "a script keeps Redis busy")
    finally:
        node.kill()
    endless.join()


def run_forever(url: str) -> None:
    with suppress(redis.RedisError):
        connect(url, None, timeout_s=WAIT_S).eval("while true do end", 0)


def failure_or_none(url: str) -> str:
    try:
        StoreReader(connect(url, None), "gw1").snapshot()
    except StoreError as error:
        return str(error)
    return ""


def test_a_redis_that_does_not_answer_times_out(directory: Path) -> None:
    path = directory / "mute.sock"
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(path))
        mute.listen()
        started = time.monotonic()
        with pytest.raises(StoreError, match=r"(?i)timeout"):
            StoreReader(connect(f"unix://{path}?db=0", None, timeout_s=0.2), "gw1").ping()
        assert time.monotonic() - started < 5


def test_the_database_of_the_url_is_used(shared_redis: RedisServer) -> None:
    connect(shared_redis.url, None).flushall()
    store = RealStore(shared_redis.url.replace("db=0", "db=3"), "gw1")
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 1, 2))
    assert everything(connect(shared_redis.url, None)) == {}
    assert set(device_counts(store)) == {LAPTOP}


def test_the_connection_recovers_after_a_restart_of_redis(redis_server: RedisServer) -> None:
    store = RealStore(redis_server.url, "gw1")
    store.flush(store.netifyd.flow("a"), store.netifyd.stats("a", 10, 20))
    redis_server.kill()
    store.feed(store.netifyd.stats("a", 10, 20))
    flush = store.take()
    for _ in range(2):
        with pytest.raises(StoreError):
            store.writer.apply(flush)
        with pytest.raises(StoreError):
            store.reader.snapshot()
    redis_server.start()
    eventually(lambda: store.reader.snapshot().flush.sequence == 1, "the data is back")
    store.writer.apply(flush)
    assert device_counts(store) == {LAPTOP: counts(20, 40, 2, 2, 1)}
