"""The Grafana dashboard: its structure, and each expression on a real Prometheus."""

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
    """The expression with values for the dashboard's variables."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


def test_the_dashboard_can_be_imported_anywhere() -> None:
    assert DASHBOARD["id"] is None
    assert "uid" not in DASHBOARD
    assert all("id" not in panel for panel in DASHBOARD["panels"])
    assert all(panel["datasource"] == SOURCE for panel in DASHBOARD["panels"] if "targets" in panel)
    assert all(target["datasource"] == SOURCE for _, target in targets())
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables.pop("datasource")["type"] == "datasource"
    assert all(variable["datasource"] == SOURCE for variable in variables.values())
    assert variables.keys() | {"__rate_interval", "__range"} == {name[1:] for name in VARIABLES}


def test_no_panels_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        columns = range(place["x"], place["x"] + place["w"])
        cells = {(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells


@EACH
def test_every_expression_returns_series(
    gateway: Gateway, scraper: Prometheus, title: str, target: dict[str, Any]
) -> None:
    found = scraper.query(filled(target["expr"]))
    assert found
    for name in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
        assert any(labels.get(name) for labels, _ in found), name


def test_every_variable_has_values(scraper: Prometheus) -> None:
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            query = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            assert query
            assert any(labels.get(query[2]) for labels, _ in scraper.query(filled(query[1])))
