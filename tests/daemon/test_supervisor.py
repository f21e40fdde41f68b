"""Promises of the process: signals, exit codes, what systemd is told, what a broken part leads to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from records import account
from service_manager import ServiceManager, command, run_dying
from support import WAIT_S, Daemon, RedisServer, StandIn, eventually

from netify_agent import __version__
from netify_agent.daemon.liveness import Liveness
from netify_agent.daemon.supervisor import EX_STORE_TAKEN
from netify_agent.daemon.worker import Worker
from netify_agent.store.client import connect
from netify_agent.store.layout import Keys


@contextmanager
def patched(daemon: Daemon, code: str, manager: ServiceManager, watchdog_us: int) -> Iterator[Path]:
    """The daemon as a process in which ``code`` was run first; its log."""
    script = (
        f"import sys, threading, time\n{code}\n"
        "from netify_agent.config.settings import load\n"
        "from netify_agent.daemon import journal\n"
        "from netify_agent.daemon.supervisor import Supervisor, SupervisorLimits\n"
        "journal.set_up('info')\n"
        f"path = {str(daemon.config)!r}\n"
        "sys.exit(Supervisor(path, load(path), limits=SupervisorLimits(listener_s=6.0)).run())\n"
    )
    with daemon.log.open("wb") as file:
        environment = {**os.environ, **manager.environment, "WATCHDOG_USEC": str(watchdog_us)}
        daemon.process = subprocess.Popen([sys.executable, "-c", script], stderr=file, env=environment)
    yield daemon.log


def reload(daemon: Daemon, manager: ServiceManager) -> None:
    """Reload the configuration; return when systemd was told so."""
    before = manager.count("RELOADING=1")
    daemon.signal(signal.SIGHUP)
    eventually(lambda: manager.count("RELOADING=1") > before, "the reload")


def test_sigterm_flushes_what_is_in_memory_and_exits_0(
    directory: Path, redis_server: RedisServer, netifyd: StandIn
) -> None:
    daemon = Daemon(directory, redis_server.url, f"unix://{netifyd.path}", interval=3600)
    daemon.start()
    account(netifyd, daemon)
    assert daemon.stop() == 0
    daemon.start()
    assert daemon.get("/")[1]["totals"]["bytes_down"] == 1000
    assert daemon.stop() == 0


def test_sigint_stops_as_sigterm_does(daemon: Daemon) -> None:
    daemon.start()
    daemon.signal(signal.SIGINT)
    assert eventually(lambda: daemon.exited() is not None, "it exits")
    assert daemon.exited() == 0


def test_a_stop_that_can_not_flush_says_so_and_exits_1(
    daemon: Daemon, netifyd: StandIn, redis_server: RedisServer
) -> None:
    daemon.start()
    account(netifyd, daemon)
    redis_server.kill()
    assert daemon.stop() == 1
    assert "stopping without the last flush" in daemon.log.read_text()


def test_many_signals_at_once_neither_block_nor_crash(daemon: Daemon) -> None:
    daemon.start()
    end = time.monotonic() + 5
    while time.monotonic() < end:
        daemon.signal(signal.SIGHUP)
        time.sleep(0.0015)
    assert daemon.stop() == 0


def test_systemd_is_told_of_start_progress_reload_and_stop(
    daemon: Daemon, netifyd: StandIn, manager: ServiceManager
) -> None:
    daemon.start({**manager.environment, "WATCHDOG_USEC": "300000"})
    eventually(lambda: manager.count("READY=1") == 1, "READY")
    eventually(lambda: manager.count("WATCHDOG=1") >= 3, "the watchdog is fed")
    account(netifyd, daemon)
    eventually(lambda: any("Redis takes flushes" in line for line in manager.statuses()), "a status line")
    daemon.signal(signal.SIGHUP)
    eventually(lambda: manager.count("READY=1") == 2, "READY after the reload")
    assert manager.told.index("RELOADING=1") < len(manager.told) - 1 - manager.told[::-1].index("READY=1")
    assert any(line.startswith("MONOTONIC_USEC=") for line in manager.told)
    assert daemon.stop() == 0
    eventually(lambda: manager.count("STOPPING=1") == 1, "STOPPING")


def test_the_status_line_says_what_is_wrong(
    daemon: Daemon, redis_server: RedisServer, netifyd: StandIn, manager: ServiceManager
) -> None:
    netifyd.close()
    daemon.start(manager.environment)
    eventually(lambda: any("no such socket" in line for line in manager.statuses()), "the missing socket")
    redis_server.kill()
    eventually(lambda: any("redis:" in line for line in manager.statuses()), "the missing Redis")


def test_the_watchdog_is_not_fed_while_a_thread_is_stuck(daemon: Daemon, manager: ServiceManager) -> None:
    """The daemon's own code with one body wedged."""
    wedge = (
        "from netify_agent.netifyd.listener import Listener\n"
        "Listener.run = lambda self, stop, progress: threading.Event().wait()\n"
    )
    with patched(daemon, wedge, manager, 300_000) as log:
        eventually(lambda: "no progress: listener" in log.read_text(), "the stuck thread is named")
        reload(daemon, manager)  # what was sent before has arrived then
        fed, begun = manager.count("WATCHDOG=1"), time.monotonic()
        while time.monotonic() < begun + 3 * 0.3:
            reload(daemon, manager)  # the main thread is at work
        assert manager.count("WATCHDOG=1") == fed > 0


def test_the_watchdog_is_fed_during_a_slow_reload(daemon: Daemon, manager: ServiceManager) -> None:
    slow = (
        "from netify_agent.netifyd.listener import Listener\n"
        "def run(self, stop, progress):\n"
        "    while not stop.wait(0.05):\n"
        "        progress()\n"
        "    time.sleep(4)\n"
        "Listener.run = run\n"
    )
    with patched(daemon, slow, manager, 3_000_000) as log:
        eventually(lambda: manager.count("READY=1"), "READY")
        daemon.settings["netifyd"]["max_record"] = 8192
        daemon.write_config()
        begun = time.monotonic()
        daemon.signal(signal.SIGHUP)
        eventually(lambda: "configuration reloaded" in log.read_text(), "the reload")
        ended = time.monotonic()
        assert ended - begun > 3
        fed = [begun, *(moment for moment in manager.fed if begun < moment < ended), ended]
        assert max(later - earlier for earlier, later in pairwise(fed)) < 2.5


def test_the_process_ends_if_a_thread_dies(daemon: Daemon) -> None:
    done = run_dying(daemon, "netify_agent.netifyd.listener", "Listener")
    assert done.returncode == 1
    assert "listener" in done.stderr
    assert "the sky is falling" in done.stderr


# -- one gateway name, one agent -------------------------------------------------------------------


def test_a_second_agent_of_the_same_name_stops_and_the_first_goes_on(
    daemon: Daemon, directory: Path, redis_server: RedisServer, netifyd: StandIn
) -> None:
    daemon.start()
    account(netifyd, daemon)
    assert daemon.process is not None
    (directory / "second").mkdir()
    second = Daemon(directory / "second", redis_server.url, f"unix://{directory}/none.sock")
    done = command("run", "--config", str(second.config))
    assert done.returncode == EX_STORE_TAKEN
    other = f"host {socket.gethostname()}, PID {daemon.process.pid}"
    assert f"another netify-agent writes to gateway 'gw1' in this Redis ({other})" in done.stderr
    daemon.flushed()
    assert daemon.get("/")[1]["totals"]["bytes_down"] == 1000
    assert daemon.stop() == 0


def test_systemd_does_not_restart_an_agent_whose_store_is_taken() -> None:
    unit = (Path(__file__).parents[2] / "systemd" / "netify-agent.service").read_text()
    [codes] = [line for line in unit.splitlines() if line.startswith("RestartPreventExitStatus=")]
    assert str(EX_STORE_TAKEN) in codes.partition("=")[2].split()
    assert "Environment=NETIFY_AGENT_BOOT_ID=%b" in unit.splitlines()


def test_the_store_of_a_killed_agent_is_taken_over_at_once(daemon: Daemon) -> None:
    daemon.settings["interval"] = 3600  # its lease is good for three hours
    daemon.write_config()
    daemon.start()
    eventually(lambda: daemon.get("/status")[1]["flushes"]["flushes"], "the store is opened")
    daemon.kill()
    daemon.start()
    eventually(lambda: daemon.get("/status")[1]["flushes"]["flushes"], "the first flush")
    assert daemon.stop() == 0


def test_an_agent_that_was_suspended_and_finds_its_store_taken_stops_for_good(
    daemon: Daemon, directory: Path, redis_server: RedisServer
) -> None:
    daemon.start()
    daemon.flushed()
    daemon.signal(signal.SIGSTOP)
    client, meta = connect(redis_server.url, None), Keys("gw1").meta
    assert int(client.hget(meta, "lease")) > 0
    # As if the agent were suspended on another machine for longer than its lease.
    client.hset(meta, mapping={"renewed": 0, "holder": '["gw-b", "0", "pid:[1]", 1, 1]'})
    (directory / "second").mkdir()
    second = Daemon(directory / "second", redis_server.url, f"unix://{directory}/none.sock")
    second.start()
    try:
        second.flushed()
        daemon.signal(signal.SIGCONT)
        eventually(lambda: daemon.exited() is not None, "the first one stops")
        assert daemon.exited() == EX_STORE_TAKEN
        assert "another netify-agent writes to gateway 'gw1'" in daemon.log.read_text()
    finally:
        assert second.stop() == 0


def test_a_wrong_configuration_is_refused_at_the_start_with_exit_code_78(tmp_path: Path) -> None:
    config = tmp_path / "a.yaml"
    config.write_text("interval: 0\nweb: {listen: '127.0.0.1:70000'}\n")
    done = command("run", "--config", str(config))
    assert done.returncode == 78
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{config}:1: interval: expected")
    assert lines[1].startswith(f"{config}:2: web.listen: expected")


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    done = command("run", "--config", str(tmp_path / "none.yaml"))
    assert done.returncode == 78
    assert f"{tmp_path}/none.yaml: can't be read: No such file or directory" in done.stderr


def test_a_port_that_is_taken_ends_the_start_with_one_clear_line(daemon: Daemon) -> None:
    with socket.create_server(("127.0.0.1", daemon.port)):
        done = command("run", "--config", str(daemon.config))
    assert done.returncode == 1
    assert f"web.listen: can't listen on tcp://127.0.0.1:{daemon.port}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_unreadable_password_file_is_named(daemon: Daemon) -> None:
    daemon.settings["redis"]["password_file"] = "/nonexistent/password"
    daemon.write_config()
    done = command("run", "--config", str(daemon.config))
    assert done.returncode == 1
    assert "/nonexistent/password" in done.stderr


def test_version_is_the_package_s() -> None:
    assert command("version").stdout == f"netify-agent {__version__}\n"


def test_a_wrong_command_line_exits_2() -> None:
    assert command("dance").returncode == 2
    assert command().returncode == 2


def test_a_worker_that_returns_without_a_stop_has_died() -> None:
    liveness = Liveness()
    worker = Worker("brief", lambda stop, progress: None, liveness, 10)
    eventually(lambda: worker.died, "it is noticed")
    lasting = Worker("lasting", lambda stop, progress: (stop.wait(), None)[1], liveness, 10)
    assert not lasting.died
    assert lasting.stop(WAIT_S)
    assert not lasting.died
