"""Messages of one gateway that come at once."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest
from support import WAIT_S

from netify_agent.api.http.problems import Problem
from netify_agent.fleet.ingest import Ingest


class SlowSink:
    """Applies a message until ``go`` is set."""

    def __init__(self) -> None:
        self.entered, self.go = threading.Event(), threading.Event()

    def apply(self, gateway: str, data: bytes) -> str:
        self.entered.set()
        assert gateway != "slow" or self.go.wait(WAIT_S)
        return "1" * 32


class NoCopies:
    """Has no copy of any gateway, so that there is nothing to summarise."""

    def open(self, gateway: str) -> None:
        return None


def post() -> dict[str, Any]:
    return {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "1", "wsgi.input": io.BytesIO(b"x")}


def test_one_message_of_a_gateway_is_applied_at_a_time() -> None:
    sink: Any = SlowSink()
    copies: Any = NoCopies()
    ingest = Ingest(sink, copies, copies)
    first = threading.Thread(target=ingest.answer, args=("slow", post()))
    first.start()
    try:
        assert sink.entered.wait(WAIT_S)
        with pytest.raises(Problem) as refused:
            ingest.answer("slow", post())
        assert refused.value.status == 503 and "Retry-After" in refused.value.headers
        assert ingest.answer("other", post()).status == 200
    finally:
        sink.go.set()
        first.join(WAIT_S)
    assert ingest.answer("slow", post()).status == 200
