"""What the last flush was is known without asking, and never wrongly."""

from __future__ import annotations

import signal
import threading

import pytest
from storing import Book
from support import RedisServer

from netify_agent.store import latest
from netify_agent.store.client import StoreError, connect
from netify_agent.store.reader import StoreReader


@pytest.fixture
def book(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Book:
    """Of a Redis of its own; what it does not say in the test is never asked for."""
    monkeypatch.setattr(latest, "TRUSTED_S", float("inf"))
    return Book(redis_server.url, "gw1")


def questions(book: Book) -> int:
    """How often Redis was asked for the last flush; the writer asks once for each."""
    calls = book.client.info("commandstats").get("cmdstat_hmget", {}).get("calls", 0)
    return int(calls) - book.sequence


def test_a_flush_is_seen_at_once_and_silence_costs_no_question(book: Book) -> None:
    assert book.reader.last_flush() == (0, 0)
    for number in range(1, 300):
        flush = book.flush()
        assert book.reader.last_flush() == (number, flush.at_ms)
    before = questions(book)
    for _ in range(100):
        assert book.reader.last_flush() == (299, flush.at_ms)
    assert questions(book) == before


def test_silence_is_not_trusted_for_long(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    book.reader.last_flush()
    monkeypatch.setattr(latest, "TRUSTED_S", 0.0)
    before = questions(book)
    for _ in range(10):
        book.reader.last_flush()
    assert questions(book) == before + 10


def test_many_threads_see_the_same(book: Book) -> None:
    book.flush()
    seen: list[tuple[int, int]] = []

    def look() -> None:
        seen.extend(book.reader.last_flush() for _ in range(200))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {sequence for sequence, _ in seen} == {1}
    assert len(seen) == 1600


def test_a_redis_that_is_gone_is_noticed_at_once_and_found_again(
    book: Book, redis_server: RedisServer
) -> None:
    book.flush()
    assert [book.reader.last_flush()[0] for _ in range(3)] == [1, 1, 1]
    redis_server.kill()
    for _ in range(3):
        with pytest.raises(StoreError):
            book.reader.last_flush()
    redis_server.start()
    assert [book.reader.last_flush()[0] for _ in range(3)] == [1, 1, 1]
    book.client.hset(book.reader.keys.meta, mapping={"seq": 7, "at": 8})
    assert book.reader.last_flush() == (7, 8)


def test_who_waits_for_a_redis_that_hangs_waits_once(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Book(redis_server.url, "gw1").reader
    reader.last_flush()
    reader.last_flush()
    asked: list[object] = []
    monkeypatch.setattr(reader.client, "execute_command", lambda *command: asked.append(command))
    monkeypatch.setattr(latest, "TRUSTED_S", 0.0)
    failed: list[str] = []
    together = threading.Barrier(4)

    def look() -> None:
        together.wait()
        try:
            reader.last_flush()
        except StoreError as error:
            failed.append(str(error))

    redis_server.signal(signal.SIGSTOP)
    try:
        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        redis_server.signal(signal.SIGCONT)
    assert failed == ["Timeout reading from socket"] * 4
    assert asked == []


@pytest.mark.parametrize("which", ["normal", "pubsub"])
def test_a_connection_that_is_cut_costs_no_answer(book: Book, which: str) -> None:
    book.flush()
    book.reader.last_flush()
    book.reader.last_flush()
    book.client.execute_command("CLIENT", "KILL", "TYPE", which, "SKIPME", "yes")
    for number in range(2, 5):
        book.client.hset(book.reader.keys.meta, mapping={"seq": number, "at": 1})
        assert book.reader.last_flush() == (number, 1)


def test_a_user_who_may_not_track_asks_each_time(book: Book, redis_server: RedisServer) -> None:
    book.flush()
    book.client.execute_command("ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@all", "-client")
    url = redis_server.url.replace("unix://", "unix://reader:secret@")
    reader = StoreReader(connect(url, None), "gw1")
    before = questions(book)
    assert [reader.last_flush()[0] for _ in range(10)] == [1] * 10
    assert questions(book) == before + 10
    flush = book.flush()
    assert reader.last_flush() == (2, flush.at_ms)
