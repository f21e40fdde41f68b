from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import pytest

from netify_agent.enrich import reverse
from netify_agent.enrich.reverse import FAILURE_TTL, NAME_TTL, ReverseNames, reverse_name

IP = "192.168.1.2"


class Resolver:
    """A resolver with settable answers, and a cache before it on a settable clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.answer: str | Exception | None = "laptop.example.org"
        self.asked: list[str] = []
        self.changes: list[bool] = []
        self.finished = threading.Semaphore(0)
        self.cache = ReverseNames(resolve=self.resolve, clock=lambda: self.now, done=self.done)

    def resolve(self, ip: str) -> str | None:
        self.asked.append(ip)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def done(self, changed: bool) -> None:
        self.changes.append(changed)
        self.finished.release()

    def look_up(self, ip: str = IP) -> str | None:
        assert self.cache.start(ip)
        assert self.finished.acquire(timeout=10)
        return self.cache.name(ip)


@pytest.fixture
def resolver() -> Resolver:
    return Resolver()


def test_a_name_is_good_for_an_hour(resolver: Resolver) -> None:
    assert resolver.cache.name(IP) is None and resolver.cache.is_due(IP)
    assert resolver.look_up() == "laptop.example.org"
    resolver.now += NAME_TTL - 1
    assert not resolver.cache.is_due(IP)
    resolver.now += 1
    assert resolver.cache.is_due(IP)
    assert resolver.cache.name(IP) == "laptop.example.org"


def test_no_name_is_not_asked_for_again_for_ten_minutes(resolver: Resolver) -> None:
    resolver.answer = None
    assert resolver.look_up() is None
    resolver.now += FAILURE_TTL - 1
    assert not resolver.cache.is_due(IP)
    resolver.now += 1
    assert resolver.cache.is_due(IP)


def test_a_name_that_is_gone_is_forgotten(resolver: Resolver) -> None:
    resolver.look_up()
    resolver.answer = None
    assert resolver.look_up() is None
    assert resolver.changes == [True, True]


@pytest.mark.parametrize(
    "failure", [socket.herror(2, "Host name lookup failure"), TimeoutError(), UnicodeError()]
)
def test_a_resolver_out_of_order_costs_no_name(resolver: Resolver, failure: Exception) -> None:
    resolver.look_up()
    resolver.answer = failure
    assert resolver.look_up() == "laptop.example.org"
    assert resolver.changes == [True, False]
    resolver.now += FAILURE_TTL
    assert resolver.cache.is_due(IP)


@pytest.mark.parametrize("answer", ["a\x1b[31mb", "localhost", IP, "", "x" * 300, "\udcff"])
def test_a_hostile_or_empty_name_is_none(resolver: Resolver, answer: str) -> None:
    resolver.answer = answer
    assert resolver.look_up() is None


def test_one_lookup_at_a_time_and_nobody_waits_for_it() -> None:
    go = threading.Event()
    finished = threading.Event()

    def resolve(ip: str) -> str | None:
        go.wait(10)
        return "late"

    cache = ReverseNames(resolve=resolve, clock=lambda: 0.0, done=lambda changed: finished.set())
    assert cache.start(IP)
    assert cache.is_busy() and not cache.start("192.168.1.3")
    assert cache.name(IP) is None
    go.set()
    assert finished.wait(10)
    assert not cache.is_busy() and cache.name(IP) == "late"


def test_addresses_no_longer_of_interest_are_forgotten(resolver: Resolver) -> None:
    resolver.look_up()
    resolver.look_up("192.168.1.3")
    resolver.cache.keep_only({IP})
    assert resolver.cache.name(IP) and not resolver.cache.is_due(IP)
    assert resolver.cache.name("192.168.1.3") is None and resolver.cache.is_due("192.168.1.3")


def test_the_systems_resolver_is_asked() -> None:
    # What a machine calls its loopback, if anything, is its own affair.
    try:
        name = reverse_name("127.0.0.1")
    except OSError:
        pytest.skip("no resolver here")
    assert name is None or isinstance(name, str)


@pytest.mark.parametrize(("code", "raises"), [(1, False), (4, False), (2, True), (3, True)])
def test_no_such_name_is_an_answer_and_a_failure_is_not(
    monkeypatch: pytest.MonkeyPatch, code: int, raises: bool
) -> None:
    def fail(ip: str) -> None:
        raise socket.herror(code, "x")

    monkeypatch.setattr(socket, "gethostbyaddr", fail)
    if raises:
        with pytest.raises(OSError):
            reverse_name(IP)
    else:
        assert reverse_name(IP) is None


@pytest.mark.parametrize(
    ("wanted", "already", "expected"),
    [(True, None, "timeout:1 attempts:1"), (True, "timeout:3", "timeout:3"), (False, None, "None")],
)
def test_lookups_are_kept_short_where_they_are_wanted(
    wanted: bool, already: str | None, expected: str
) -> None:
    program = (
        "import os; from netify_agent.enrich import Directory;"
        f"Directory(vendors='', hosts=[], leases=[], reverse_dns={wanted}, categories='');"
        "print(os.environ.get('RES_OPTIONS'))"
    )
    environment = {key: value for key, value in os.environ.items() if key != "RES_OPTIONS"}
    if already:
        environment["RES_OPTIONS"] = already
    output = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert output.stdout.strip() == expected


def test_without_memory_for_a_thread_the_lookup_is_made_later(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(body: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(reverse, "start_thread", fails)
        assert not resolver.cache.start(IP)
    assert not resolver.cache.is_busy()
    assert resolver.cache.start(IP)
