"""Groups of devices, and what marks a device: a randomised MAC address, and that it is new."""

from __future__ import annotations

from figures import get
from pages import OpenView, address
from playwright.sync_api import Page
from support import Daemon, eventually


def rows(page: Page) -> list[str]:
    return sorted(page.locator("main > .page > .sheet tbody .name").all_inner_texts())


def members(daemon: Daemon, group: str) -> list[str]:
    return sorted(device["name"] for device in get(daemon, f"/?group={group}")["devices"])


def test_devices_are_filtered_by_group(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "devices")
    page.get_by_label("Group").select_option("kids")
    eventually(lambda: rows(page) == members(home, "kids") != [], "the devices of the group")
    assert address(page).endswith("#/devices?group=kids")
    page.reload()
    eventually(lambda: rows(page) == members(home, "kids"), "a reload shows the same")
    assert page.get_by_label("Group").locator("option").all_inner_texts() == [
        *("All groups", "backup", "kids", "work")
    ]
    page.get_by_label("Group").select_option(label="All groups")
    assert "group" not in address(page)


def test_a_group_without_devices_matches_nothing(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "devices?group=nobody")
    page.get_by_text("No devices match these filters").wait_for()
    assert page.get_by_label("Group").input_value() == "nobody"


def test_without_groups_there_is_no_filter(network: Daemon, open_view: OpenView) -> None:
    page = open_view(network, "devices")
    page.locator("tbody .name").first.wait_for()
    assert not page.get_by_label("Group").is_visible()


def test_rows_and_pages_of_devices_name_their_groups(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "devices")
    row = page.locator("tbody tr").filter(has_text="192.168.1.10")
    assert row.locator(".below").inner_text() == "Synology Incorporated · 192.168.1.10 · work · backup"
    page.goto(f"{home.base}/ui/#/devices/00:11:32:aa:04:19")
    page.locator(".identity").get_by_role("link", name="work").click()
    eventually(lambda: rows(page) == members(home, "work"), "the link leads to the group")


def test_flows_are_filtered_by_group(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "activity?active=true")
    page.get_by_label("Group").select_option("work")

    def shown() -> set[str]:
        return set(page.locator("td.device .name").all_inner_texts())

    def expected() -> set[str]:
        flows = get(home, "/flows?active=true&limit=500&group=work")["flows"]
        return {str(flow["device_name"]) for flow in flows}

    eventually(lambda: shown() == expected() != set(), "the flows of the group")


def test_randomised_addresses_are_marked(home: Daemon, open_view: OpenView) -> None:
    page = open_view(home, "devices")
    page.locator("tbody .name").first.wait_for()
    marked = page.locator("tbody tr").filter(has_text="Randomised MAC").locator(".name")
    randomised = [device["name"] for device in get(home, "/")["devices"] if device["randomized"]]
    assert sorted(marked.all_inner_texts()) == sorted(randomised) == ["Pixel-8", "annas-iPhone"]
    page.goto(f"{home.base}/ui/#/devices/da:a1:19:4b:60:e3")
    page.locator(".identity").get_by_text("da:a1:19:4b:60:e3 (randomised)").wait_for()


def test_devices_of_the_last_24_hours_are_marked_as_new(
    home: Daemon, network: Daemon, open_view: OpenView
) -> None:
    page = open_view(network, "devices")
    page.locator(".badge:visible").first.wait_for()
    assert page.locator(".badge:visible").count() == page.locator("tbody .name").count()
    page = open_view(home, "devices")
    page.locator("tbody .name").first.wait_for()
    assert page.locator(".badge:visible").count() == 0
