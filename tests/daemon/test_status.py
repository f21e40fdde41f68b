"""What the agent says of its own state: the line for systemctl, and when it is ready."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from records import flow_record, status_record
from support import StandIn, eventually, framed

from netify_agent.accounting.accountant import Accountant
from netify_agent.api.exposition import Exposition
from netify_agent.config.settings import Endpoint, Settings
from netify_agent.daemon.metrics import expose
from netify_agent.daemon.status import Status, about
from netify_agent.netifyd.listener import Listener, ListenerLimits
from netify_agent.store.client import connect
from netify_agent.store.flusher import FlusherStatus
from netify_agent.store.reader import StoreReader

AGGREGATOR_REPORT = {
    "log_time_end": 1772738467,
    "log_time_start": 1772738452,
    "stats": [
        {
            "application_id": "10472.netify.amazon-alexa",
            "download": 4230,
            "local_ip": "192.0.2.142",
            "local_mac": "02:00:00:c3:29:6c",
            "packets": 11,
            "protocol_id": 196,
            "upload": 1477,
        }
    ],
}


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (9, "9"), (10, "10+"), (19, "10+"), (337, "300+"), (99_999, "90000+")]
)
def test_counts_are_rounded_down_to_their_first_digit(count: int, text: str) -> None:
    assert about(count) == text


@pytest.mark.parametrize(
    ("sent", "advice"),
    [
        (None, "netifyd v5 streams to the socket of its sink-socket plugin"),
        (AGGREGATOR_REPORT, "send 'stream-flows' and 'stream-stats' of netify-proc-core"),
        ({"a": 1, "b\x1b": 2}, "found objects without 'type' (their keys: a, b.)"),
        (
            {"type": "log\x1b", "text": "a"},
            "found records of the type 'log\ufffd', which netifyd does not send",
        ),
    ],
    ids=["netifyd 5's API socket", "aggregator", "other JSON", "other JSON with a type"],
)
def test_a_peer_that_sends_no_record_is_unready_over_all_its_connections(
    netifyd: StandIn, directory: Path, caplog: pytest.LogCaptureFixture, sent: object, advice: str
) -> None:
    caplog.set_level("INFO")
    accountant, lock, stop = Accountant(1000), threading.Lock(), threading.Event()
    listener = Listener(
        Endpoint("unix", path=str(netifyd.path)),
        accountant,
        lock,
        1 << 20,
        limits=ListenerLimits(patience_s=0.2),
    )
    reader = StoreReader(connect(f"unix://{directory}/none?db=0", None), "gw1")
    writing = FlusherStatus(error=None)
    status = Status(Settings(), writing, accountant, reader)
    status.listeners = [listener.status]

    def ready() -> bool:
        out = Exposition()
        expose(status, out, redis_up=True)
        reason = status.checks(ask_redis=False)["netifyd"]
        exposed = b"netify_agent_ready 1\n" in out.body()
        assert exposed == (reason is None)
        assert reason is None or (advice in reason and advice in status.line())
        return reason is None

    thread = threading.Thread(target=listener.run, args=(stop, lambda: None))
    thread.start()
    try:
        for _ in range(3):
            netifyd.accept()
            if sent is not None:
                netifyd.send(json.dumps(sent).encode() + b"\n")
            connections = listener.status.connections
            eventually(lambda: listener.status.error, "patience is over")
            assert not ready()
            eventually(lambda before=connections: listener.status.connections > before, "the next connection")
            assert not ready()
        assert len(caplog.records) == 1
        netifyd.accept()
        netifyd.drop()  # those that were given up
        while not listener.status.records:
            netifyd.accept()
            netifyd.send(framed(status_record(), flow_record("a" * 40)))
            threading.Event().wait(0.05)
        eventually(ready, "a record makes it ready")
    finally:
        stop.set()
        thread.join()
