"""The dashboard at a collector: the list of gateways, and the dashboard of one of them with a way back."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import scene
from axe_playwright_python.sync_playwright import Axe
from collector_run import ADMIN, GATEWAYS, TENANT, CollectorRun
from conftest import own_redis, running
from figures import STATS, wait_for_equal
from pages import OpenView, address
from playwright.sync_api import Page, Route
from real_store import RealStore
from support import Daemon, RedisServer, StandIn, eventually
from test_pictures import SCREENSHOTS

from netify_agent.store.client import connect
from netify_agent.store.summaries import Summaries

HOUR_S = 3600


class Fleet:
    """A collector with three gateways: gw1 is online, gw2 was heard of an hour ago, branch-1 never.

    :ivar base: the collector's origin.
    :ivar gateway: the agent of gw1.
    """

    def __init__(self, collector: CollectorRun, redis: RedisServer, gateway: Daemon) -> None:
        self.collector = collector
        self.base = collector.url
        self.redis = redis
        self.gateway = gateway

    def get(self, path: str, token: str = ADMIN) -> Any:
        status, document = self.collector.get(path, token)
        assert status == 200, document
        return document

    def row(self, name: str) -> dict[str, Any]:
        (found,) = [one for one in self.get("/gateways")["gateways"] if one["gateway"] == name]
        return dict(found)


def forwarding(directory: Path, name: str, url: str) -> dict[str, Any]:
    """The settings of an agent that forwards to a collector."""
    token = directory / "token"
    token.write_text(GATEWAYS[name] + "\n")
    fleet = {"url": url, "token_file": str(token), "interval": 1}
    return {
        "gateway": name,
        "interval": 2,
        "fleet": fleet,
        "calendar": {"timezone": "UTC"},
        "plans": {"uplink": {"limit": "20 GB", "per": "month"}},
        "alerts": {"risky": scene.ALERTS["risky"]},
    }


def silence(redis: RedisServer, gateway: str, by_s: int) -> None:
    """Make the latest message of a gateway older."""
    summaries = Summaries(connect(redis.url, None))
    summary = json.loads(summaries.read([gateway])[gateway])
    summary["received"] -= by_s * 1000
    summaries.put(gateway, json.dumps(summary))


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with ExitStack() as stack:
        directory, redis = stack.enter_context(own_redis())
        collector = CollectorRun(directory, redis.url)
        collector.start()
        stack.callback(collector.stop)
        agents, senders = {}, {}
        for name in ("gw1", "gw2"):
            own, store = stack.enter_context(own_redis())
            store = RealStore(store.url, name)
            scene.simulate(store, devices=8, hours=2)
            store.writer.release()
            netifyd = StandIn(own / "netifyd.sock")
            stack.callback(netifyd.close)
            senders[name] = scene.HomeTraffic(netifyd)
            senders[name].start()
            settings = forwarding(own, name, collector.url)
            agents[name] = stack.enter_context(running(own, store, netifyd.path, **settings))
            stack.callback(senders[name].stop)
        found = Fleet(collector, redis, agents["gw1"])
        for name in agents:
            eventually(lambda name=name: found.row(name)["state"] == "online", f"{name} has sent")
        senders["gw2"].stop()
        agents["gw2"].stop()
        silence(redis, "gw2", HOUR_S)
        yield found


def sign_in(page: Page, token: str = ADMIN) -> None:
    page.get_by_role("textbox", name="Access token").fill(token)
    page.keyboard.press("Enter")
    page.locator("#health[data-state=ok]").wait_for()


def opened(fleet: Fleet, open_view: OpenView, view: str = "", token: str = ADMIN, **options: Any) -> Page:
    """The fleet's dashboard after the token was given."""
    page = open_view(fleet, view, **options)  # type: ignore[arg-type]
    sign_in(page, token)
    page.locator("tbody th").first.wait_for()
    return page


ROWS = """() => [...document.querySelectorAll('tbody tr:not(.space)')].map((row) => [
    row.querySelector('.name').textContent, row.cells[1].querySelector('span span').textContent,
    ...[...row.querySelectorAll('data')].filter((figure) => figure.offsetParent).map((figure) =>
        figure.hasAttribute('value') ? Number(figure.value) : null)])"""


def shown_row(row: dict[str, Any]) -> list[Any]:
    words = {"online": "Online", "silent": "Silent", "new": "Nothing received yet"}
    devices = [row["devices"]] if row["active"] is None else [row["active"], row["devices"]]
    month = row["month"] or {"bytes_down": None, "bytes_up": None}
    return [
        *(row["gateway"], words[row["state"]], row["rate_down"], row["rate_up"]),
        *(*devices, month["bytes_down"], month["bytes_up"]),
    ]


def test_gateways_with_problems_come_first_with_the_figures_of_the_api(
    fleet: Fleet, open_view: OpenView
) -> None:
    page = opened(fleet, open_view)

    def expected() -> list[list[Any]]:
        return [shown_row(fleet.row(name)) for name in ("gw2", "branch-1", "gw1")]

    wait_for_equal(lambda: page.evaluate(ROWS), expected, "the gateways, the worst first")
    assert page.locator("main .lead").inner_text() == "3 gateways: 1 silent, 1 that sent nothing yet"

    def totals() -> dict[str, list[int]]:
        sums = fleet.get("/gateways?limit=1")["totals"]
        return {
            "Online": [1, 3],
            "Active devices": [sums["active"], sums["devices"]],
            "Download now": [sums["rate_down"]],
            "Upload now": [sums["rate_up"]],
        }

    wait_for_equal(lambda: page.evaluate(STATS), totals, "the sums")
    open_view.expect_errors(page)  # the API answers 401 without a token


def test_a_line_has_alerts_and_the_fullest_plan(fleet: Fleet, open_view: OpenView) -> None:
    page = opened(fleet, open_view, width=1440)
    eventually(lambda: fleet.row("gw1")["alerts"]["critical"] == 2, "alerts fire")
    row = page.locator("tbody tr").filter(has_text="gw1")
    row.get_by_text("2 critical").wait_for()
    plan = fleet.row("gw1")["plan"]
    assert plan["plan"] == "uplink"
    eventually(
        lambda: f"{int(100 * fleet.row('gw1')['plan']['share'])}%" in row.inner_text(), "the plan's share"
    )
    page.goto(f"{fleet.base}/gateways/gw1/ui/#/usage")
    page.locator(".plans li").get_by_text("uplink").wait_for()
    open_view.expect_errors(page)


def test_a_silent_gateway_keeps_its_last_values_greyed_and_dated(fleet: Fleet, open_view: OpenView) -> None:
    page = opened(fleet, open_view)
    row = page.locator("tbody tr").filter(has_text="gw2")
    assert "Last message 1 h ago" in row.inner_text()
    month = row.locator("data").last
    assert int(month.get_attribute("value") or 0) > 0
    style = "(node) => getComputedStyle(node).fontStyle"
    assert month.evaluate(style) == "italic"
    online = page.locator("tbody tr").filter(has_text="gw1")
    assert online.locator("data").last.evaluate(style) == "normal"
    open_view.expect_errors(page)


def test_a_row_opens_the_gateway_s_dashboard_with_a_way_back(fleet: Fleet, open_view: OpenView) -> None:
    page = opened(fleet, open_view)
    page.locator("tbody").get_by_role("link", name="gw1").click()
    page.wait_for_url(f"{fleet.base}/gateways/gw1/ui/")
    page.locator(".ranking li").first.wait_for()
    eventually(lambda: page.locator("#health").inner_text() == "Online", "the token is known")
    assert page.locator("#gateway").inner_text() == "gw1"
    views = page.get_by_role("navigation", name="Views").get_by_role("link").all_inner_texts()
    assert [view.strip() for view in views] == ["Fleet", "Overview", "Usage", "Devices", "Applications"]

    def expected() -> dict[str, list[int]]:
        network = fleet.get("/gateways/gw1/?limit=1")
        return {
            "Download now": [network["totals"]["rate_down"]],
            "Upload now": [network["totals"]["rate_up"]],
            "Active devices": [network["active"], network["total"]],
        }

    wait_for_equal(lambda: page.evaluate(STATS), expected, "the figures of the copy")
    for view in ("usage", "devices", "applications"):
        page.goto(f"{fleet.base}/gateways/gw1/ui/#/{view}")
        page.locator("tbody th a").first.wait_for()
        assert page.locator("#banner").is_hidden()
    for view in ("devices", "applications"):
        page.goto(f"{fleet.base}/gateways/gw1/ui/#/{view}")
        page.locator("main > .page > .sheet tbody th a").first.click()
        page.locator(".plot path[d^=M]").first.wait_for(state="attached")
        assert page.locator("#banner").is_hidden()
    page.get_by_role("link", name="Fleet").click()
    page.get_by_role("heading", level=1, name="Fleet").wait_for()
    # Nothing was requested that a collector does not have.
    wrong = ("/status", "/events", "/flows", "/alerts")
    assert [url for url in open_view.log(page).urls if url.split("?")[0].endswith(wrong)] == []
    open_view.expect_errors(page)


def test_the_dashboard_of_a_silent_gateway_says_so(fleet: Fleet, open_view: OpenView) -> None:
    page = opened(fleet, open_view)
    page.goto(f"{fleet.base}/gateways/gw2/ui/")
    page.get_by_role("heading", level=1, name="Gateway silent").wait_for()
    page.get_by_role("alert").filter(has_text="This gateway sends nothing.").wait_for()
    assert page.locator(".stat data.down").first.inner_text() == "–"
    page.goto(f"{fleet.base}/gateways/branch-1/ui/")
    page.get_by_role("heading", level=1, name="Nothing received yet").wait_for()
    open_view.expect_errors(page)


def test_search_state_and_sort_are_in_the_address(fleet: Fleet, open_view: OpenView) -> None:
    page = opened(fleet, open_view)
    page.get_by_role("searchbox").fill("gw")
    names = page.locator("tbody .name")
    eventually(lambda: names.all_inner_texts() == ["gw2", "gw1"], "two gateways")
    page.get_by_role("button", name="Gateway", exact=True).click()
    page.mouse.move(0, 0)
    assert names.all_inner_texts() == ["gw1", "gw2"]
    page.get_by_label("State").select_option("silent")
    assert names.all_inner_texts() == ["gw2"]
    assert address(page).endswith("#/?q=gw&sort=name&state=silent")
    page.reload()
    eventually(lambda: names.all_inner_texts() == ["gw2"], "a reload shows the same")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8"))))
    assert [row["gateway"] for row in rows] == ["gw2"]
    page.get_by_role("searchbox").fill("none such")
    page.get_by_text("No gateways match these filters").wait_for()
    open_view.expect_errors(page)


def test_a_reader_finds_its_own_gateways_only(fleet: Fleet, open_view: OpenView) -> None:
    page = opened(fleet, open_view, token=TENANT)
    assert page.locator("tbody .name").all_inner_texts() == ["gw2", "branch-1"]
    page.goto(f"{fleet.base}/gateways/gw1/ui/")
    page.get_by_role("heading", level=1, name="Gateway not found").wait_for()
    open_view.expect_errors(page)


def test_a_collector_that_is_gone_is_reported(fleet: Fleet, open_view: OpenView) -> None:
    page = opened(fleet, open_view)
    page.context.set_offline(True)
    page.get_by_role("alert").filter(has_text="The collector is unreachable.").wait_for()
    assert page.locator("tbody .name").count() == 3  # the last known figures stay
    page.context.set_offline(False)
    page.locator("#health[data-state=ok]").wait_for()
    open_view.expect_errors(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1440])
def test_the_fleet_fits_and_has_no_accessibility_violation(
    fleet: Fleet, open_view: OpenView, width: int, scheme: str
) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page = opened(fleet, open_view, width=width, scheme=scheme)
    for name, path in {
        "fleet": "ui/#/",
        "fleet-gateway": "gateways/gw1/ui/#/",
        "fleet-silent": "gateways/gw2/ui/#/devices",
    }.items():
        page.goto(f"{fleet.base}/{path}")
        page.locator("tbody th, .ranking li").first.wait_for()
        page.locator("#health:not([data-state=wait])").wait_for()
        page.screenshot(
            path=SCREENSHOTS / f"{name}-{width}-{scheme}.png", full_page=True, animations="disabled"
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        found = Axe().run(page).response["violations"]
        assert [(rule["id"], [node["html"] for node in rule["nodes"]][:3]) for rule in found] == [], name
    open_view.expect_errors(page)


def test_a_gateway_whose_clock_is_wrong_comes_after_the_silent_ones(
    fleet: Fleet, open_view: OpenView
) -> None:
    def with_skew(route: Route) -> None:
        response = route.fetch()
        document = response.json()
        for row in document.get("gateways", []):  # none without a token
            row["clock_skew"] = {"gw1": -7200, "gw2": 3}.get(row["gateway"])
        route.fulfill(response=response, json=document)

    page = open_view(fleet)  # type: ignore[arg-type]
    page.route("**/gateways?*clock_skew*", with_skew)
    sign_in(page)
    page.get_by_text("1 silent, 1 with a wrong clock, 1 that sent nothing yet").wait_for()
    assert page.locator("tbody .name").all_inner_texts() == ["gw2", "gw1", "branch-1"]
    assert page.locator("tbody tr").filter(has_text="Clock 2 h slow").locator(".name").inner_text() == "gw1"
    assert page.locator("tbody").get_by_text("Clock").locator("visible=true").count() == 1
    page.unroute_all(behavior="wait")
    open_view.expect_errors(page)
