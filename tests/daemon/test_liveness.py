"""What is told of threads: which kinds there are, and which make no progress."""

from __future__ import annotations

from support import eventually

from netify_agent.daemon.liveness import Liveness


def test_a_kind_of_thread_makes_progress_while_all_of_them_do() -> None:
    liveness = Liveness()
    for name, limit_s in (("web", 1000.0), ("listener tcp://a:1", 1000.0), ("listener tcp://b:1", 0.01)):
        liveness.register(name, limit_s)
    eventually(lambda: liveness.stuck() == ["listener tcp://b:1"], "one is overdue")
    assert liveness.checks() == {"web": None, "listener": "no progress"}
    liveness.forget("listener tcp://b:1")
    assert liveness.checks() == {"web": None, "listener": None}
