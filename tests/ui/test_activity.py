"""Flows and risks are those of the API, and the filters work."""

from __future__ import annotations

from typing import Any

from figures import ROWS, get, sizes, wait_for_equal
from pages import OpenView, address
from playwright.sync_api import Page
from support import Daemon


def flows(daemon: Daemon, query: str) -> list[list[Any]]:
    return sorted(
        [flow["host"] or flow["other_ip"] or "–", *sizes(flow)]
        for flow in get(daemon, f"/flows?limit=40&{query}")["flows"]
    )


def shown_flows(page: Page, scope: str = "main") -> list[list[Any]]:
    return sorted([row["name"], *row["figures"]] for row in page.evaluate(ROWS, scope))


def test_flows_are_filtered_by_device_application_state_and_risk(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "activity")
    page.get_by_label("State").select_option(label="Live")
    wait_for_equal(lambda: shown_flows(page), lambda: flows(home, "active=true"), "the live flows")
    page.get_by_label("Device").select_option(label="anna-laptop")
    mac = "a8:7c:f8:10:42:d1"
    wait_for_equal(
        lambda: shown_flows(page), lambda: flows(home, f"active=true&device={mac}"), "the flows of a device"
    )
    page.get_by_label("Application").select_option(label="Zoom")
    query = f"active=true&device={mac}&application=netify.zoom"
    wait_for_equal(lambda: shown_flows(page), lambda: flows(home, query), "the flows of an application")
    page.get_by_label("Risk").select_option(label="Any risk")
    page.get_by_text("No flows match these filters").wait_for()
    assert f"device={mac.replace(':', '%3A')}" in address(page)


def test_the_risks_page_names_every_risk(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "risks")
    wait_for_equal(lambda: shown_flows(page), lambda: flows(home, "min_risk=1"), "the flows with a risk")
    names = {risk["name"] for flow in get(home, "/flows?min_risk=1")["flows"] for risk in flow["risks"]}
    assert len(names) >= 3
    assert set(page.locator(".risk-name").all_inner_texts()) == names
    # Each type has its own severity, not the sum that its flows have.
    severities = {
        risk["name"]: risk["severity"].capitalize()
        for flow in get(home, "/flows?min_risk=1")["flows"]
        for risk in flow["risks"]
    }
    assert severities["Unsafe protocol"] == "Low"
    levels = page.locator(".risks .level").all_inner_texts()
    assert dict(zip(page.locator(".risk-name").all_inner_texts(), levels, strict=True)) == severities
    # Names are text: they are read without a mouse.
    assert "Expired certificate" in page.locator("td .risk-cell").first.inner_text()
    assert page.locator("td [title*=certificate]").count() == 0
    assert page.locator("td .risk").first.inner_text().startswith("High 1")
    assert page.locator(".risks").get_by_role("link", name="axis-door-1").first.is_visible()
