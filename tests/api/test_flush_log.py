"""The flush log: what changed since a flush, or nothing if that is unknown; and who waits for the next."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import pytest
from support import WAIT_S

from netify_agent.api.flush_log import FlushLog, Span


def applied(flushes: FlushLog, sequence: int, *changed: str, moving: Iterable[str] = ()) -> None:
    flushes.applied(sequence, sequence * 1000, changed, moving)


def test_what_changed_since_any_of_them_is_known() -> None:
    flushes = FlushLog()
    assert flushes.latest is None
    assert flushes.since(0) is None
    for sequence, device in enumerate(("a", "b", "a", "c"), 7):
        applied(flushes, sequence, device)
    assert flushes.latest == Span(10, 9000, 10_000, frozenset("c"))
    assert flushes.since(9) == flushes.latest
    assert flushes.since(7) == Span(10, 7000, 10_000, frozenset("abc"))
    assert flushes.since(10) == Span(10, 10_000, 10_000, frozenset())


@pytest.mark.parametrize("sequence", [0, 6, 11, 1 << 62])
def test_a_flush_that_we_did_not_see_is_not_known(sequence: int) -> None:
    """Not even the one before our first: what it had left moving is at rest now, and nobody told."""
    flushes = FlushLog()
    assert not flushes.is_known(sequence)
    for known in range(7, 11):
        applied(flushes, known, "a")
    assert flushes.since(sequence) is None
    assert not flushes.is_known(sequence)


def test_a_device_that_comes_to_rest_has_changed() -> None:
    flushes = FlushLog()
    applied(flushes, 1, "a", moving="a")
    applied(flushes, 2)
    applied(flushes, 3)
    assert flushes.since(1) == Span(3, 1000, 3000, frozenset("a"))
    assert flushes.since(2) == Span(3, 2000, 3000, frozenset())


def test_the_number_of_flushes_is_bounded() -> None:
    flushes = FlushLog(max_flushes=5)
    for sequence in range(1, 11):
        applied(flushes, sequence, "a")
    assert [flushes.since(sequence) is not None for sequence in range(1, 11)] == [False] * 5 + [True] * 5


def test_the_number_of_names_is_bounded_but_the_latest_flush_is_kept() -> None:
    flushes = FlushLog(max_names=10)
    for sequence in range(1, 5):
        applied(flushes, sequence, *(f"{sequence} {number}" for number in range(4)))
    assert flushes.since(2) is None
    assert flushes.since(3) is not None
    applied(flushes, 5, *map(str, range(100)))
    assert flushes.since(4) is None
    assert flushes.latest is not None
    assert len(flushes.latest.devices) == 100


def test_numbers_that_redis_lost_are_not_mistaken_for_those_given_again() -> None:
    """Redis lost flushes 5 to 8: another 5 follows. Who got to the lost 6 must not go on from the new one."""
    flushes = FlushLog()
    for sequence in range(1, 9):
        applied(flushes, sequence, "a")
    generation = flushes.generation
    applied(flushes, 5, "b")
    assert not flushes.wait(8, 0, generation, WAIT_S)  # who follows is sent away
    for sequence in range(6, 12):
        applied(flushes, sequence, "b")
    assert [sequence for sequence in range(13) if flushes.is_known(sequence)] == [9, 10, 11]
    assert flushes.since(5) == Span(11, 5000, 11_000, frozenset("b"))  # who was told of the new 5 goes on


def test_who_waits_is_woken_by_a_flush_by_being_sent_away_and_by_the_end() -> None:
    flushes = FlushLog()
    results: list[bool] = []

    def waiting(sequence: int | None) -> threading.Thread:
        generation = flushes.generation
        thread = threading.Thread(
            target=lambda: results.append(flushes.wait(sequence, 0, generation, WAIT_S))
        )
        thread.start()
        return thread

    thread = waiting(None)
    applied(flushes, 1, "a")
    thread.join(WAIT_S)
    thread = waiting(1)
    flushes.send_away()
    thread.join(WAIT_S)
    thread = waiting(1)
    flushes.close()
    thread.join(WAIT_S)
    assert results == [True, False, False]
    assert not flushes.wait(1, 0, flushes.generation, WAIT_S)  # nobody may come any more
