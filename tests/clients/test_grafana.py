"""The Grafana dashboard: its form, and what a real Prometheus answers to each of its expressions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from gateway import CONTRIB, Gateway
from prometheus import Prometheus

DASHBOARD = json.loads((CONTRIB / "grafana" / "netify-agent.json").read_text())
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
VARIABLES = {
    "$__rate_interval": "30s",
    "$__range": "1h",
    "$instance": ".*",
    "$device": ".*",
    "$job": ".*",
}


def targets() -> Iterator[tuple[str, dict[str, Any]]]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target


EACH = pytest.mark.parametrize(
    ("title", "target"), list(targets()), ids=[f"{title}-{target['refId']}" for title, target in targets()]
)


def filled(expression: str) -> str:
    """With values for the dashboard's variables."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


def test_it_belongs_to_no_one_installation() -> None:
    assert DASHBOARD["id"] is None
    assert "uid" not in DASHBOARD
    assert all("id" not in panel for panel in DASHBOARD["panels"])
    sources = [part["datasource"] for panel in DASHBOARD["panels"] if "targets" in panel for part in [panel]]
    assert all(source == SOURCE for source in sources)
    assert all(target["datasource"] == SOURCE for _, target in targets())
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables.pop("datasource")["type"] == "datasource"
    assert all(variable["datasource"] == SOURCE for variable in variables.values())
    assert variables.keys() | {"__rate_interval", "__range"} == {name[1:] for name in VARIABLES}


def test_no_panel_covers_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        columns = range(place["x"], place["x"] + place["w"])
        cells = {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


@EACH
def test_each_expression_gives_series(
    gateway: Gateway, scraper: Prometheus, title: str, target: dict[str, Any]
) -> None:
    found = scraper.query(filled(target["expr"]))
    assert found
    for name in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
        assert any(labels.get(name) for labels, _ in found), name


def test_each_variable_has_values(scraper: Prometheus) -> None:
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            assert asked
            assert any(labels.get(asked[2]) for labels, _ in scraper.query(filled(asked[1])))
