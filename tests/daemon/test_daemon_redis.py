"""The daemon while Redis is killed, absent, loading or evicting keys."""

from __future__ import annotations

import random
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import redis
from daemon_answers import ALL_WELL, both_directions
from real_store import check_entries
from records import flow_record, stats_record, status_record
from service_manager import command
from support import (
    WAIT_S,
    Daemon,
    RedisServer,
    StandIn,
    eventually,
    framed,
    free_port,
)

from netify_agent.store.client import connect


def test_repeated_kills_of_redis_lose_and_repeat_nothing(
    daemon: Daemon, netifyd: StandIn, redis_server: RedisServer
) -> None:
    daemon.start()
    netifyd.accept()
    netifyd.send(framed(status_record(), flow_record("a" * 40)))
    chance = random.Random(1)
    sent = 0
    for _ in range(6):
        for _ in range(chance.randint(1, 400)):
            sent += 1000
            netifyd.send(framed(stats_record("a" * 40, 1000, sent)))
        time.sleep(chance.random())  # so that the kill meets flushes at any stage
        redis_server.kill()
        sent += 1000
        netifyd.send(framed(stats_record("a" * 40, 1000, sent)))
        redis_server.start()
    eventually(lambda: daemon.records() == sent // 1000 + 2, "every record is read")
    eventually(lambda: daemon.get("/readyz")[0] == 200, "the agent is well again")
    daemon.flushed()
    assert both_directions(daemon.get("/")[1])[0] == sent
    assert daemon.stop() == 0
    check_entries(connect(redis_server.url, None), "gw1")


def test_redis_absent_at_the_start_costs_nothing(
    daemon: Daemon, netifyd: StandIn, redis_server: RedisServer
) -> None:
    redis_server.kill()
    daemon.start()
    netifyd.accept()
    netifyd.send(framed(status_record(), flow_record("a" * 40), stats_record("a" * 40, 1000, 1000)))
    eventually(lambda: daemon.records() == 3, "netifyd is read without Redis")
    code, problem = daemon.get("/")
    assert (code, problem["status"]) == (503, 503)
    assert daemon.get("/readyz")[0] == 503
    redis_server.start()
    eventually(lambda: daemon.get("/readyz")[0] == 200, "the agent finds Redis")
    daemon.flushed()
    assert both_directions(daemon.get("/")[1]) == (1000, {"02:00:00:00:00:01": 1000})


def test_sentinels_that_do_not_answer_are_named_everywhere_without_the_password(
    daemon: Daemon, netifyd: StandIn
) -> None:
    place = f"127.0.0.1:{free_port()}"
    daemon.settings["redis"] = {"url": f"redis+sentinel://ann:hunter2@{place}/netify/0"}
    daemon.write_config()
    daemon.start()
    said = f"no Sentinel answers: {place}: "
    eventually(lambda: said in str(daemon.get("/readyz")[1]["checks"]["redis"]), "/readyz says so")
    status = str(daemon.get("/status")[1])
    assert said in status
    done = command("check", "--config", str(daemon.config))
    assert done.returncode == 1
    assert f"WRONG redis: redis+sentinel://***@{place}/netify/0: {said}" in done.stdout
    eventually(lambda: f"retrying: {said}" in daemon.log.read_text(), "the log says so")
    log = daemon.log.read_text()
    for text in (status, done.stdout, done.stderr, log):
        assert "hunter2" not in text


class LoadingRedis(RedisServer):
    """It has started as soon as it listens: it answers nothing but errors while it loads its data."""

    def answers(self) -> bool:
        return self.socket.exists()


def test_redis_that_is_loading_is_named_and_waited_for(
    directory: Path, netifyd: StandIn, redis_server: RedisServer
) -> None:
    client = connect(redis_server.url, None)
    with client.pipeline(transaction=False) as pipe:
        for number in range(20_000):
            pipe.set(f"filler:{number}", "")
        pipe.execute()
    redis_server.kill()
    # 60 s. Redis answers LOADING after each 1,000 keys.
    loading = LoadingRedis(directory, "--key-load-delay", "3000")
    loading.start()
    daemon = Daemon(directory, loading.url, f"unix://{netifyd.path}")
    try:
        daemon.start()
        netifyd.accept()
        netifyd.send(framed(status_record(), flow_record("a" * 40), stats_record("a" * 40, 1000, 1000)))
        eventually(lambda: daemon.records() == 3, "netifyd is read meanwhile")
        said = "Redis is loading its data after a start (LOADING)"
        eventually(lambda: daemon.get("/readyz")[1]["checks"]["redis"] == said, "loading is named")
        assert "retrying: Redis is loading its data" in daemon.log.read_text()
        loading.kill()
        redis_server.start()  # without the delay
        eventually(lambda: daemon.get("/readyz")[0] == 200, "the agent finds Redis loaded")
        daemon.flushed()
        assert both_directions(daemon.get("/")[1]) == (1000, {"02:00:00:00:00:01": 1000})
        assert daemon.stop() == 0
    finally:
        daemon.kill()
        loading.kill()


def test_keys_evicted_by_redis_are_reported(
    daemon: Daemon, netifyd: StandIn, redis_server: RedisServer
) -> None:
    daemon.start()
    netifyd.accept()
    records = [status_record()]
    for number in range(50):
        records.append(flow_record(f"{number:040x}", local_mac=f"02:00:00:00:01:{number:02x}"))
        records.append(stats_record(f"{number:040x}", 1000, 1000))
    netifyd.send(framed(*records))
    eventually(lambda: daemon.records() == len(records), "every record is read")
    for _ in range(2):  # the audit reads at least 25 devices after each flush
        daemon.flushed()
    assert daemon.get("/readyz") == (200, {"status": "ready", "checks": ALL_WELL})
    client = connect(redis_server.url, None)
    client.config_set("maxmemory-policy", "allkeys-random")
    half = client.dbsize() // 2
    while client.dbsize() > half:
        client.config_set("maxmemory", client.info("memory")["used_memory"] - 2000)
        with suppress(redis.ResponseError):
            client.execute_command("SET", "filler", "")  # Redis evicts before a write
    client.config_set("maxmemory", 0)

    def told() -> bool:
        code, readiness = daemon.get("/readyz")
        return code == 503 and str(readiness["checks"]["sums"]).startswith("keys in Redis were lost")

    eventually(told, "the loss is told")
    daemon.flushed()
    assert daemon.log.read_text().count("keys in Redis were lost") == 1
    assert daemon.get("/status")[1]["flushes"]["inconsistency"]
    with urllib.request.urlopen(f"{daemon.base}/metrics", timeout=WAIT_S) as answer:
        assert b"\nnetify_agent_sums_agree 0\n" in answer.read()
