"""Records that describe a flow, of v5 and of v3: the last by arrival says what the flow is."""

from __future__ import annotations

from typing import Any

import pytest

from netify_agent.accounting.accountant import Accountant

MAC = "02:00:00:00:50:11"
FLOW = {
    "local_mac": MAC,
    "local_ip": "192.0.2.11",
    "local_port": 40000,
    "other_ip": "203.0.113.5",
    "other_mac": "02:00:00:00:00:ff",
    "other_port": 443,
    "other_type": "remote",
    "ip_protocol": 6,
    "first_seen_at": 1_772_738_467_573,
    "last_seen_at": 1_772_738_467_673,
}
STATUS = {"type": "agent_status", "timestamp": 1_772_738_467, "uptime": 0, "flow_count": 0}


def described(kind: str, digest: str, application: str, *earlier: str, **more: Any) -> dict[str, Any]:
    """With counters, as v5 sends them."""
    counters = {"local_bytes": 6583, "other_bytes": 7, "local_packets": 9, "other_packets": 1}
    named = {"detected_application_name": application, "detected_protocol_name": "QUIC"}
    flow = {
        "digest": digest,
        "digest_prev": list(earlier),
        **FLOW,
        **counters,
        "total_bytes": 0,
        **named,
        **more,
    }
    return {"type": kind, "interface": "br-lan", "internal": True, "flow": flow}


def counted(digest: str, *earlier: str, kind: str = "flow_stats", **more: Any) -> dict[str, Any]:
    flow = {
        "digest": digest,
        "digest_prev": list(earlier),
        "last_seen_at": 1_772_738_482_573,
        "local_bytes": 10_000,
        "other_bytes": 200_000,
        "local_packets": 10,
        "other_packets": 20,
        "total_bytes": 210_000,
        "total_packets": 30,
    }
    return {"type": kind, "flow": flow, **more}


def rows(*records: dict[str, Any]) -> dict[tuple[str | None, str], tuple[int, int]]:
    accountant = Accountant(1000)
    accountant.restore({}, {})
    accountant.feed([STATUS, *records], "unix:///n")
    assert not accountant.rejected
    assert not accountant.records["unknown"]
    accountant.close_batch(0)
    batch = accountant.finish_batch()
    assert batch is not None
    counts = batch.counted
    return {
        (key.device, key.application): (row.bytes_up, row.bytes_down)
        for key, row in counts.items()
        if row.bytes_up or row.bytes_down
    }


STABLE, FIRST, SECOND, THIRD = ("9" * 40, "1" * 40, "2" * 40, "3" * 40)


@pytest.mark.parametrize(
    "records",
    [
        [
            described("flow", FIRST, "Unknown", STABLE),
            described("flow_dpi_update", SECOND, "netify.google", STABLE, FIRST),
            described("flow_dpi_complete", THIRD, "netify.youtube", STABLE, FIRST, SECOND),
            counted(THIRD, STABLE, FIRST, SECOND),
        ],
        [
            described("flow", FIRST, "Unknown", STABLE),
            counted(FIRST, STABLE),
            described("flow_dpi_complete", THIRD, "netify.youtube", STABLE, FIRST, SECOND),
        ],
        [
            described("flow_dpi_complete", THIRD, "netify.youtube", STABLE, FIRST),
            counted(THIRD, STABLE, FIRST),
        ],
        [
            counted(THIRD, STABLE, FIRST),
            described("flow_dpi_complete", THIRD, "netify.youtube", STABLE, FIRST),
        ],
        [
            described("flow_dpi_complete", FIRST, "Unknown"),
            described("flow_dpi_update", FIRST, "netify.youtube"),
            counted(FIRST),
        ],
    ],
    ids=[
        "all three",
        "counters between",
        "NethSecurity: the last alone",
        "counters first",
        "last by arrival",
    ],
)
def test_the_last_description_counts_and_its_own_counters_do_not(records: list[dict[str, Any]]) -> None:
    assert rows(*records) == {(MAC, "netify.youtube"): (10_000, 200_000)}


def test_what_v3_says_in_another_way_is_no_reason_to_reject() -> None:
    told = described("flow", FIRST, "netify.google-chat", detection_guessed=1, local_origin=1, ip_nat=0)
    del told["flow"]["digest_prev"]
    told["flow"] |= {"detected_service": 17, "ct_id": 1, "ct_mark": 2}
    purge = counted(FIRST, kind="flow_purge", reason="terminated")
    assert rows({**STATUS, "agent_version": 3.05}, told, purge) == {
        (MAC, "netify.google-chat"): (10_000, 200_000)
    }
