"""Reads /metrics for tests."""

from __future__ import annotations

from pathlib import Path

from api_server import Scene
from prometheus_client.parser import text_string_to_metric_families

Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]


CODE = Path(__file__).parents[1] / "netify_agent"


DOCS = Path(__file__).parents[1] / "docs/api.md"


def scrape(scene: Scene) -> Samples:
    """Samples by name and labels; what Prometheus would refuse fails the test."""
    answer = scene.ask("/metrics")
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parsed(answer.body.decode())


def parsed(text: str) -> Samples:
    """The samples of a body."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        assert family.type in ("counter", "gauge"), family.name
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in found.setdefault(sample.name, {}), sample
            found[sample.name][labels] = sample.value
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name][tuple(sorted(labels.items()))]


def values(samples: Samples, name: str, label: str) -> set[str]:
    """The values of a label."""
    return {dict(labels)[label] for labels in samples.get(name, ())}
