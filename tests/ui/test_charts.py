"""Charts: reading and zooming with mouse, finger and keyboard; their table; colours; what is not known."""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import pytest
from pages import OpenView, address
from playwright.sync_api import Page, Route
from support import Daemon, eventually

from netify_agent.config.calendar import DAY_S, Calendar

TV = "devices/e8:5b:5b:31:7a:02"
SUMS = "() => [...document.querySelectorAll('.readout data')].map((figure) => Number(figure.value))"


def drawn(page: Page) -> dict[str, float]:
    page.locator(".plot path[d^=M]").first.wait_for(state="attached")
    box = page.locator(".plot").bounding_box()
    assert box
    return dict(box)


def test_a_tap_holds_the_readout(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "", 390)
    box = drawn(page)
    page.locator(".plot").scroll_into_view_if_needed()
    for kind in ("pointerdown", "pointerup", "pointerleave"):
        page.locator(".plot").dispatch_event(
            kind, {"pointerType": "touch", "clientX": box["x"] + box["width"] / 2, "clientY": box["y"] + 50}
        )
    assert re.search(r"\d\d:\d\d – \d\d:\d\d", page.locator(".readout").inner_text())
    page.locator(".plot").dispatch_event("pointerleave", {"pointerType": "mouse"})
    assert "Last 24 hours" in page.locator(".readout").inner_text()


def test_dragging_selects_a_period_down_to_five_minutes(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, f"{TV}?range=day")
    box = drawn(page)
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + 50)
    page.mouse.up()
    page.wait_for_url(re.compile(r"from=\d+&to=\d+"))
    assert page.locator("[data-current]").count() == 1
    buckets = home.get(f"/{TV[8:]}/history?resolution=5m&from={int(time.time()) - 7200}")[1]["buckets"]
    start = datetime.fromisoformat(buckets[-2]["start"].replace("Z", "+00:00"))
    begin = int(start.timestamp())
    page.goto(f"{home.base}/ui/#/{TV}?from={begin}&to={begin + 300}")
    page.get_by_text("Data per 5 minutes").wait_for()

    expected = [buckets[-2][side] for side in ("bytes_down", "bytes_up")]
    assert expected > [0, 0]
    eventually(lambda: page.evaluate(SUMS) == expected, "the readout shows the sums of five minutes")
    assert page.get_by_role("slider").get_attribute("aria-valuemax") == "0"


def test_the_keyboard_selects_a_period(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "?range=day")
    drawn(page)
    slider = page.get_by_role("slider")
    slider.press("End")
    slider.press("Shift+ArrowLeft")
    slider.press("Shift+ArrowLeft")
    slider.press("Enter")
    page.wait_for_url(re.compile(r"from=(\d+)&to=(\d+)"))
    begin, end = (int(text) for text in re.findall(r"=(\d+)", address(page)))
    assert end - begin == 3 * 900


def test_a_time_from_and_to_can_be_typed(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, TV)
    page.get_by_text("Custom").click()
    page.get_by_label("From").fill("2026-11-20T10:00")
    page.get_by_label("To", exact=True).fill("2026-11-20T13:30")
    page.get_by_role("button", name="Show", exact=True).click()
    page.wait_for_url(re.compile(r"from=1795165200&to=1795177800"))  # in Berlin
    page.get_by_role("link", name="Hour", exact=True).click()
    page.get_by_text("Last hour", exact=True).wait_for()
    assert "from=" not in address(page)


def test_the_table_beside_a_chart_has_its_figures(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "?period=month")
    drawn(page)
    page.get_by_text("Show as table").click()
    cells = """() => [...document.querySelectorAll('.as-table tbody tr')].map((row) =>
        [...row.querySelectorAll('data')].map((figure) => Number(figure.value)))"""

    def expected() -> list[list[int]]:
        begin = home.get("/usage?limit=1")[1]["period"]["start"]
        buckets = home.get(f"/history?resolution=1d&from={begin}")[1]["buckets"]
        return [[bucket["bytes_down"], bucket["bytes_up"]] for bucket in reversed(buckets)]

    eventually(
        lambda: page.evaluate(cells) == expected(), "a row for each day, and none for the days to come"
    )


@pytest.mark.parametrize(
    ("zone", "name"),
    [("Europe/Berlin", r"\w{3},? \d+ \w{3,4}"), ("Asia/Kathmandu", r".*(19:15|20:15) – .*(19:15|20:15)")],
)
def test_days_are_those_of_the_gateway(home: Daemon, open_view: OpenView, zone: str, name: str) -> None:
    """The browser is in Berlin. Days that do not begin at its midnight are shown with their times."""
    at_now = int(time.time())
    periods = Calendar(zone, ZoneInfo(zone)).periods(DAY_S, at_now - 30 * DAY_S, at_now + 1)
    buckets = [
        {
            **{side: datetime.fromtimestamp(moment, timezone.utc).isoformat() for side, moment in sides},
            "bytes_down": number,
            "bytes_up": 1,
            "packets_down": 1,
            "packets_up": 1,
        }
        for number, period in enumerate(periods, 100)
        if number % 7 or number == 100 + len(periods) - 1  # some days have no traffic
        for sides in [period._asdict().items()]
    ]

    def answer(route: Route) -> None:
        route.fulfill(json={**route.fetch().json(), "buckets": buckets})

    page = open_view(home, "?range=day")
    drawn(page)
    page.route("**/history?resolution=1d*", answer)
    page.goto(f"{home.base}/ui/#/?from={periods[0].start}&to={periods[-1].end}")
    page.get_by_text("Data per day", exact=True).wait_for()
    assert page.locator(".unit").inner_text() == "Data per day"
    page.get_by_text("Show as table").click()
    read = """() => [...document.querySelectorAll('.as-table tbody tr')].map((row) =>
        [row.cells[0].textContent, row.querySelector('data') && Number(row.querySelector('data').value)])"""
    last = 100 + len(periods) - 1
    expected = [number if number % 7 or number == last else None for number in range(last, 99, -1)]
    eventually(lambda: [value for _, value in page.evaluate(read)] == expected, "a row for each day")
    assert all(re.fullmatch(name + "(, so far)?", row) for row, _ in page.evaluate(read))
    page.unroute_all(behavior="wait")


def test_an_application_keeps_its_colour(home: Daemon, open_view: OpenView) -> None:
    colours = """() => Object.fromEntries([...document.querySelectorAll('.legend li')].map((item) =>
        [item.querySelector('bdi').textContent,
         getComputedStyle(item.querySelector('.swatch')).backgroundColor]))"""
    fills = """() => ['--down-fill', '--up-fill'].map((name) => {
        const probe = document.createElement('i');
        document.body.append(probe);
        probe.style.color = `var(${name})`;
        return getComputedStyle(probe).color;
    })"""
    page = open_view(home, f"{TV}?range=day")
    page.locator(".legend li").nth(2).wait_for()
    of_day = page.evaluate(colours)
    assert len(set(of_day.values())) == len(of_day) == 3
    assert not set(of_day.values()) & set(page.evaluate(fills))
    page.get_by_role("link", name="Month", exact=True).click()
    page.locator(".readout").get_by_text("This month", exact=True).wait_for()
    eventually(lambda: page.evaluate(colours).items() >= of_day.items(), "the colours of a month")
    page.goto(f"{home.base}/ui/#/{TV}?range=hour")
    page.get_by_text("Last hour", exact=True).wait_for()
    eventually(
        lambda: (shown := page.evaluate(colours)) and shown.items() <= of_day.items(),
        "the colours of an hour",
    )


def test_a_chart_names_its_unit_and_marks_the_running_bar(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "?range=day")
    drawn(page)
    assert page.locator(".unit").inner_text() == "Data per 15 minutes"
    page.locator(".plot path.running").first.wait_for(state="attached")
    page.get_by_role("slider").press("End")
    assert page.locator(".readout").inner_text().partition("\n")[0].endswith("so far")
    page.get_by_role("slider").press("ArrowLeft")
    assert "so far" not in page.locator(".readout").inner_text()


def test_no_data_is_not_drawn_as_zero(network: Daemon, open_view: OpenView) -> None:
    """The agent has two hours of history: before it, nothing was measured."""
    page = open_view(network, "?range=day")
    drawn(page)
    page.locator(".plot path.unknown").wait_for(state="attached")
    page.get_by_role("slider").press("Home")
    assert "No data" in page.locator(".readout").inner_text()
    page.get_by_role("slider").press("End")
    assert "No data" not in page.locator(".readout").inner_text()
    busiest = network.get("/?limit=1")[1]["devices"][0]
    page.goto(f"{network.base}/ui/#/devices/{busiest['mac'] or busiest['ip']}?range=day")
    page.locator(".legend li").first.wait_for()
    page.get_by_role("slider").press("Home")
    assert "No data" in page.locator(".readout").inner_text()


def test_the_curves_of_devices_are_kept_fresh(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "devices")
    page.clock.install(time=time.time())
    page.reload()
    page.clock.run_for(1000)
    page.locator(".spark[d*=L]").nth(9).wait_for(state="attached")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.clock.run_for(61_000)  # now they are a minute old

    def has_read_again() -> bool:
        page.clock.run_for(300)  # longer steps would open more event streams than the agent takes
        return any("/history?" in url for url in requests)

    eventually(has_read_again, "the curves are read again")
