from __future__ import annotations

from collections import defaultdict

import pytest
from support import CAPTURES

from netify_agent.enrich.risks import SEVERITIES, risk_name, risk_severity
from netify_agent.netifyd.framing import RecordReader


@pytest.mark.parametrize(
    ("risk", "name"),
    [
        (10, "Server addressed by IP address instead of name"),
        (36, "Outdated TLS version"),
        (46, "No response (traffic in one direction only)"),
        (58, "Obfuscated traffic"),
        (59, "Risk number 59 of netifyd"),
        (65535, "Risk number 65535 of netifyd"),
    ],
)
def test_a_risk_has_a_name(risk: int, name: str) -> None:
    assert risk_name(risk) == name


@pytest.mark.parametrize(
    ("risk", "severity"),
    [(46, "low"), (35, "medium"), (25, "high"), (44, "severe"), (34, None), (59, None)],
)
def test_a_risk_has_the_severity_that_ndpi_gives_it(risk: int, severity: str | None) -> None:
    assert risk_severity(risk) == severity


def test_severities_agree_with_the_scores_that_netifyd_reports() -> None:
    """netifyd 4.4.5 reported these scores for flows with a single risk."""
    scores = dict(zip(SEVERITIES, (10, 50, 100, 150), strict=True))
    for risk, score in {9: 10, 16: 50, 25: 100, 27: 100, 35: 50, 36: 100, 39: 100, 42: 10, 46: 10}.items():
        assert scores[str(risk_severity(risk))] == score


def test_names_of_risks_are_unique_and_short() -> None:
    names = [risk_name(risk) for risk in range(1, 60)]
    assert len(set(names)) == len(names)
    assert all(name.isprintable() and len(name) < 50 for name in names)


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="the captures are not part of the project")
def test_a_recorded_stream_numbers_risks_as_netifyd_does_not_as_ndpi_does() -> None:
    """In nDPI's numbering 10 would be a certificate, 25 HTTP and 36 a password."""
    reader = RecordReader(1 << 20)
    flows = defaultdict(list)
    for record in reader.feed((CAPTURES / "live-4.4.5.raw").read_bytes()):
        if record["type"] == "flow":
            for risk in record["flow"]["risks"].get("risks", ()):
                flows[risk].append(record["flow"])

    def protocols(risk: int) -> set[str]:
        return {flow["detected_protocol_name"] for flow in flows[risk]}

    assert all(flow["host_server_name"].replace(".", "").isdigit() for flow in flows[10])
    assert protocols(25) == {"SSH"}
    versions = {flow["ssl"]["version"] for flow in flows[36] if "ssl" in flow}
    assert versions <= {"0x0300", "0x0301", "0x0302"}  # up to TLS 1.1
    assert {"VNC", "TeamViewer"} < protocols(4)
