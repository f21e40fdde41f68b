"""What is reported of threads: which kinds there are, and which make no progress."""

from __future__ import annotations

from support import eventually

from netify_agent.daemon.liveness import Liveness


def test_a_kind_of_thread_makes_progress_while_all_of_them_do() -> None:
    liveness = Liveness()
    names = ("web", 1000.0), ("listener tcp://a:1", 1000.0), ("listener tcp://b:1", 0.01)
    owners = [object() for _ in names]
    for owner, (name, limit_s) in zip(owners, names, strict=True):
        liveness.register(owner, name, limit_s)
    eventually(lambda: liveness.stuck() == ["listener tcp://b:1"], "one is overdue")
    assert liveness.checks() == {"web": None, "listener": "no progress"}
    liveness.remove(owners[2])
    assert liveness.checks() == {"web": None, "listener": None}


def test_a_thread_that_ends_takes_no_other_of_its_name_along() -> None:
    """A reload that moves the API starts the new web thread before it stops the old one."""
    liveness = Liveness()
    old, new = object(), object()
    liveness.register(old, "web", 1000.0)
    liveness.register(new, "web", 0.01)
    liveness.remove(old)
    liveness.progress(old)  # its last report comes late
    eventually(lambda: liveness.stuck() == ["web"], "the new one is still watched")
