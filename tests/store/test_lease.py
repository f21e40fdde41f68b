"""Who may write a gateway's store: two agents with one name, crashes, other machines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from real_store import HISTORY
from support import RedisServer, eventually

from netify_agent.accounting.batch import Batch
from netify_agent.store.client import StoreError, StoreTaken, connect
from netify_agent.store.layout import Keys
from netify_agent.store.lease import Holder, Lease, boot_id
from netify_agent.store.writer import Flush, Rewound, StoreWriter

HERE = Holder.this_process()
ELSEWHERE = replace(HERE, host="gw-b", boot="0" * 32)


@pytest.fixture
def url(shared_redis: RedisServer) -> str:
    connect(shared_redis.url, None).flushall()
    return shared_redis.url


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """Another process of this machine."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def started(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def writer(url: str, holder: Holder, length_s: float = 600.0) -> StoreWriter:
    return StoreWriter(connect(url, None), "gw1", HISTORY, 86400, lease=Lease(length_s, holder))


def flush(store: StoreWriter, sequence: int) -> None:
    store.apply(Flush(sequence, Batch(0), 1_700_000_000_000, 1000))


@pytest.mark.parametrize("end", ["running", "suspended", "zombie", "gone", "PID used again"])
def test_a_process_of_this_machine_keeps_its_store_as_long_as_it_lives(
    url: str, sleeper: subprocess.Popen[bytes], end: str
) -> None:
    holder = replace(HERE, pid=sleeper.pid, started=started(sleeper.pid) - (end == "PID used again"))
    first = writer(url, holder)
    first.claim()
    flush(first, 1)
    if end == "suspended":
        sleeper.send_signal(signal.SIGSTOP)
    elif end in ("zombie", "gone"):
        sleeper.kill()
        if end == "gone":
            sleeper.wait()
        else:
            os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    second = writer(url, HERE)
    if end in ("running", "suspended"):
        with pytest.raises(StoreTaken, match=rf"'gw1' .*\(host {HERE.host}, PID {sleeper.pid}\): give each"):
            second.claim()
        flush(first, 2)
    else:
        assert second.claim().sequence == 1
        with pytest.raises(StoreTaken, match=rf"\(host {HERE.host}, PID {os.getpid()}\)"):
            flush(first, 2)


@pytest.mark.parametrize(
    "other", [ELSEWHERE, replace(HERE, namespace="pid:[1]"), replace(ELSEWHERE, boot="")]
)
def test_another_machine_or_container_is_waited_for_until_its_lease_runs_out(url: str, other: Holder) -> None:
    first = writer(url, other, 0.5)
    first.claim()
    second = writer(url, HERE)

    def claimed() -> bool:
        try:
            return second.claim().sequence == 0
        except StoreTaken:
            raise
        except StoreError as error:
            assert f"last written by a netify-agent on host {other.host}, PID" in str(error)
            return False

    assert not claimed()
    eventually(claimed, "the lease runs out")
    with pytest.raises(StoreTaken):
        flush(first, 1)


def test_a_redis_that_comes_back_with_the_state_of_a_dead_agent_is_not_another_agent_s(
    url: str, sleeper: subprocess.Popen[bytes]
) -> None:
    client, meta = connect(url, None), Keys("gw1").meta
    dead = replace(HERE, pid=sleeper.pid, started=started(sleeper.pid))
    for holder in (dead, replace(ELSEWHERE, host="older")):
        before = writer(url, holder)
        if holder is not dead:
            client.hset(meta, "lease", 0)
        before.claim()
        flush(before, 1 if holder is dead else 2)
        if holder is dead:
            older = client.hgetall(meta)
    sleeper.kill()
    sleeper.wait()
    client.hset(meta, "lease", 0)
    ours = writer(url, HERE)
    assert ours.claim().sequence == 2
    sent = ours.apply(Flush(3, Batch(0), 1_700_000_000_000, 1000))
    client.hset(meta, mapping=older)
    with pytest.raises(Rewound):
        flush(ours, 4)
    ours.repeat(2, sent)
    assert client.hget(meta, "writer") == ours.lease.writer


def test_another_machine_that_writes_while_it_is_waited_for_keeps_its_store(url: str) -> None:
    first = writer(url, ELSEWHERE)
    first.claim()
    second = writer(url, HERE)
    with pytest.raises(StoreError):
        second.claim()
    flush(first, 1)
    with pytest.raises(StoreTaken, match="host gw-b"):
        second.claim()
    flush(first, 2)


def test_a_renewal_within_the_same_millisecond_is_seen_by_the_number_of_its_flush() -> None:
    lease, other = Lease(600, HERE), Lease(600, ELSEWHERE)
    meta = {name: str(value) for name, value in other.fields(1_700_000_000_000).items()}
    with pytest.raises(StoreError, match="taken over when the lease"):
        lease.check({**meta, "seq": "1"}, 1_700_000_000_000, "gw1")
    with pytest.raises(StoreError, match="taken over when the lease"):
        lease.check({**meta, "seq": "1"}, 1_700_000_000_000, "gw1")
    with pytest.raises(StoreTaken):
        lease.check({**meta, "seq": "2"}, 1_700_000_000_000, "gw1")


def test_a_lease_is_judged_by_redis_clock_alone(url: str) -> None:
    first = writer(url, ELSEWHERE, 100.0)
    first.claim()
    client, meta = connect(url, None), Keys("gw1").meta
    now_ms = client.time()[0] * 1000
    client.hset(meta, "renewed", now_ms - 99_000)
    with pytest.raises(StoreError):
        writer(url, HERE).claim()
    client.hset(meta, "renewed", now_ms - 101_000)
    writer(url, HERE).claim()


def test_a_lease_that_was_released_is_nobody_s(url: str) -> None:
    first = writer(url, ELSEWHERE)
    first.claim()
    first.release()
    second = writer(url, HERE)
    second.claim()
    first.release()  # too late: it is another's
    flush(second, 1)
    assert int(connect(url, None).hget(Keys("gw1").meta, "lease")) > 0


@pytest.mark.parametrize("text", [None, "", "x", "[]", "{}", '["a", "b", "c", 0, 1]', '["a", "b", 1, 2, 3]'])
def test_a_store_of_a_version_without_leases_is_taken_over(url: str, text: str | None) -> None:
    client, meta = connect(url, None), Keys("gw1").meta
    client.hset(
        meta, mapping={"schema": 2, "seq": 7, "writer": "somebody", **({"holder": text} if text else {})}
    )
    assert writer(url, HERE).claim().sequence == 7


def test_a_kernel_s_boot_id_comes_from_the_unit_where_the_file_is_hidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NETIFY_AGENT_BOOT_ID", HERE.boot)
    assert boot_id("/nonexistent") == boot_id() == HERE.boot
