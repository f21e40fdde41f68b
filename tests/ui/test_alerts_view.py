"""The Alerts page: active alerts first, the resolved ones, and whether notifications arrived."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from figures import get
from pages import OpenView, address
from playwright.sync_api import Page, Route
from support import Daemon, RedisServer, StandIn, eventually


def cells(page: Page, panel: str) -> list[list[str]]:
    """The text of the visible cells of a table, by row."""
    rows = page.locator(".panel").filter(has_text=panel).locator("tbody tr:not(.space)")
    return [
        [" ".join(cell.split()) for cell in row.locator("th:visible, td:visible").all_inner_texts()]
        for row in rows.all()
    ]


def test_active_alerts_come_first_and_say_who_was_told(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "alerts")
    page.locator(".notified").get_by_text("delivered").first.wait_for()
    active = get(home, "/alerts?active=true")["alerts"]
    assert [one["alert"] for one in active] == ["risky", "risky"]
    assert sorted(page.locator(".risks .risk-name").all_inner_texts()) == sorted(
        one["summary"] for one in active
    )
    first = page.locator(".risks li").first
    assert first.locator(".notified").inner_text().split() == ["phone:", "delivered", "away:", "waiting"]
    assert first.locator(".level").inner_text() == "Critical"
    assert page.locator("main .lead").inner_text() == "2 active alerts, 1 resolved"
    device = str(first.get_by_role("link").get_attribute("href")).removeprefix("#/devices/")
    assert unquote(device) in {one["device"] for one in active}


def test_resolved_alerts_are_the_history(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "alerts", width=1440)
    (resolved,) = get(home, "/alerts?active=false")["alerts"]
    eventually(lambda: cells(page, "Resolved"), "the history")
    (row,) = cells(page, "Resolved")
    assert row[0] == f"{resolved['summary']} busy"
    assert row[1:3] == ["Warning", "phone: delivered away: waiting"]
    page.get_by_role("button", name="Lasted").click()
    assert address(page).endswith("#/alerts?sort=-lasted")


def test_the_name_of_a_resolved_alert_is_not_cut_on_a_phone(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "alerts", width=390)
    name = page.locator(".panel").filter(has_text="Resolved").locator("tbody .name")
    name.wait_for()
    assert name.evaluate(
        "(node) => [node.scrollWidth - node.clientWidth, node.scrollHeight - node.clientHeight]"
    ) == [0, 0]


def test_phones_show_whether_a_resolved_alert_was_told(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "alerts", width=390)
    eventually(lambda: cells(page, "Resolved"), "the history")
    (row,) = cells(page, "Resolved")
    assert row[0].endswith("busy Warning phone: delivered away: waiting")
    error = page.locator(".panel").filter(has_text="Receivers").get_by_text("Connection refused")
    assert error.evaluate("(node) => node.scrollWidth - node.clientWidth") == 0


def test_receivers_say_what_is_wrong(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "alerts")
    eventually(lambda: cells(page, "Receivers"), "the receivers")
    away, phone = cells(page, "Receivers")
    states = {one["name"]: one for one in get(home, "/status")["receivers"]}
    assert away[:3] == ["away Connection refused", str(states["away"]["waiting"]), "0"]
    assert phone[:3] == ["phone OK", "0", str(states["phone"]["sent"])]


def test_the_navigation_counts_active_alerts(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home)
    link = page.get_by_role("link", name="Alerts 2 active")
    link.wait_for()
    page.route("**/status", lambda route: None)  # no further status
    link.click()
    # The page needs no status but the one that the page before has read.
    page.locator(".panel").get_by_text("Connection refused").wait_for()
    page.unroute_all(behavior="ignoreErrors")


def test_without_alerts_the_page_says_how_to_configure_them(network: Daemon, open_view: OpenView) -> None:
    page = open_view(network, "alerts")
    page.get_by_text("No alerts are configured").wait_for()
    assert not page.locator("#active-alerts").is_visible()
    assert not page.locator(".panel").first.is_visible()


def test_an_agent_without_alerts_has_no_page_of_them(network: Daemon, open_view: OpenView) -> None:
    def without(route: Route) -> None:
        response = route.fetch()
        status = {name: value for name, value in response.json().items() if name != "alerts"}
        route.fulfill(response=response, json=status)

    page = open_view(network)
    link = page.get_by_role("navigation").get_by_role("link", name="Alerts")
    assert link.is_visible()
    page.route("**/status", without)
    page.reload()
    page.locator("#health[data-state=ok]").wait_for()
    link.wait_for(state="hidden")
    page.unroute_all(behavior="ignoreErrors")


def test_an_alert_about_redis_is_shown_without_redis(
    directory: Path, redis_server: RedisServer, netifyd: StandIn, open_view: OpenView
) -> None:
    alerts = {"health": {"kind": "health", "for": "1s", "checks": ["redis"]}}
    daemon = Daemon(directory, redis_server.url, f"unix://{netifyd.path}", alerts=alerts)
    daemon.start()
    try:
        page = open_view(daemon, "alerts")
        page.get_by_text("No active alerts").wait_for()
        redis_server.kill()
        page.locator(".risks .risk-name").wait_for()
        page.locator("#active-alerts").get_by_text("1").wait_for()
        assert page.get_by_text("No receiver", exact=True).is_visible()
        open_view.expect_errors(page)
    finally:
        daemon.stop()
