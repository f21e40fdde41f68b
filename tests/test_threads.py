"""Threads are started also where memory is short: nobody waits for ever for one that never begins."""

from __future__ import annotations

import threading

import pytest
from support import eventually

from netify_agent.threads import start_thread


def test_the_thread_runs_beside_the_caller() -> None:
    go_on, ran = threading.Event(), threading.Event()

    def body() -> None:
        go_on.wait()
        ran.set()

    start_thread(body)
    assert not ran.is_set()
    go_on.set()
    eventually(ran.is_set, "the thread runs")


def test_a_thread_that_dies_before_it_begins_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="did not begin"):
        start_thread(lambda: None, begin_s=0.01, create=lambda body, arguments: 1)


def test_a_thread_that_cannot_be_created_is_an_error() -> None:
    def create(body: object, arguments: object) -> None:
        raise RuntimeError("can't start new thread")

    with pytest.raises(RuntimeError, match="can't start new thread"):
        start_thread(lambda: None, create=create)
