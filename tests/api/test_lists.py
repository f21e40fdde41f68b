"""Lists: pages, order, filters, chosen keys; each asked for over a real socket."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from typing import Any

import pytest
from api_server import LISTS, Scene, assert_problem, emptied, served
from hypothesis import example, given
from hypothesis import strategies as st
from real_store import NETFLIX
from support import RedisServer

from netify_agent.api.encoded_applications import EncodedApplications
from netify_agent.api.http import paging
from netify_agent.api.http.route import Request

SORTS = {
    "/": ["bytes", "rate", "flows", "name", "first_seen", "last_seen"],
    "/applications": ["bytes", "rate", "flows", "name", "last_seen"],
    f"/applications/{NETFLIX}": ["bytes", "name", "last_seen"],
    "/protocols": ["bytes", "flows", "name"],
    "/categories": ["bytes", "rate", "flows", "name"],
}
CASES = [(path, sort, order) for path, sorts in SORTS.items() for sort in sorts for order in ("asc", "desc")]


def element_name(element: dict[str, Any]) -> str:
    for key in ("mac", "device", "tag", "category", "name"):
        if element.get(key) is not None:
            return str(element[key])
    return str(element.get("ip"))


def sorted_by(element: dict[str, Any], sort: str) -> Any:
    if sort == "bytes":
        return element["bytes_up"] + element["bytes_down"]
    if sort == "rate":
        return element["rate_up"] + element["rate_down"]
    return element["category" if sort == "name" and "category" in element and "tag" not in element else sort]


# -- pages -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "sort", "order"), CASES)
@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_pages_together_are_the_whole_list_each_element_once(
    large: Scene, path: str, sort: str, order: str, limit: int
) -> None:
    query, name = f"sort={sort}&order={order}", LISTS[path]
    whole = large.get(f"{path}?{query}&limit=10000")
    assert (whole["total"], whole["next"]) == (len(whole[name]), None)
    told: list[Any] = []
    cursor = ""
    while True:
        page = large.get(f"{path}?{query}&limit={limit}{cursor}")
        assert page["total"] == whole["total"]
        assert len(page[name]) == limit or page["next"] is None
        told += page[name]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert told == whole[name]


@pytest.mark.parametrize(("path", "sort", "order"), CASES)
def test_lists_are_in_the_order_that_is_asked_for_and_ties_by_name(
    large: Scene, path: str, sort: str, order: str
) -> None:
    elements = large.get(f"{path}?sort={sort}&order={order}&limit=10000")[LISTS[path]]
    values = [sorted_by(element, sort) for element in elements]
    known = [value for value in values if value is not None]
    folded = [value.casefold() if isinstance(value, str) else value for value in known]
    assert folded == sorted(folded, reverse=order == "desc")
    assert values[: len(known)] == known  # what is not known comes last
    for first, second in pairwise(elements):
        if sorted_by(first, sort) == sorted_by(second, sort):
            assert element_name(first) < element_name(second)


def test_without_parameters_lists_go_by_bytes_and_names_from_a_to_z(large: Scene) -> None:
    for path, name in LISTS.items():
        everything = large.get(path)
        assert everything[name] == large.get(f"{path}?sort=bytes&order=desc")[name]
        by_name = large.get(f"{path}?sort=name")[name]
        assert by_name == large.get(f"{path}?sort=name&order=asc")[name]


def test_the_network_gives_everything_and_other_lists_a_hundred(large: Scene) -> None:
    network = large.get("/")
    assert (len(network["devices"]), network["total"], network["next"]) == (40, 40, None)
    paths = large.get("/openapi.json")["paths"]
    for path in ("/applications", "/applications/{tag}", "/protocols", "/categories"):
        (limit,) = (one for one in paths[path]["get"]["parameters"] if one["name"] == "limit")
        assert (limit["schema"]["default"], limit["schema"]["maximum"]) == (100, 10_000)


def test_a_page_shows_its_elements_as_the_whole_network_does(large: Scene) -> None:
    whole = large.get("/")
    page = large.get("/?limit=3&cursor=" + large.get("/?limit=5")["next"])
    assert page["devices"] == whole["devices"][5:8]
    assert page["totals"] == whole["totals"]


def commands(scene: Scene, path: str) -> list[str]:
    """The commands, with their key, that one answer sends to Redis; a flush precedes it."""
    scene.store.flush()
    with scene.store.client.monitor() as monitor:
        scene.get(path)
        scene.store.client.echo("done")
        found = []
        while not (command := monitor.next_command()["command"]).startswith("ECHO"):
            found.append(command)
    return found


@pytest.mark.parametrize(
    ("query", "expected"), [("limit=3", 3), ("limit=3&fields=mac", 0), ("fields=mac,name", 0), ("", 40)]
)
def test_a_page_of_devices_reads_no_applications_of_others(
    large: Scene, monkeypatch: pytest.MonkeyPatch, query: str, expected: int
) -> None:
    monkeypatch.setattr(EncodedApplications, "unchanged", lambda *_: {})  # of earlier answers
    read = commands(large, f"/?{query}")
    assert sum(command.endswith(":applications") for command in read) == expected


def test_a_device_reads_only_what_is_wanted_of_it(large: Scene) -> None:
    read = commands(large, "/02:00:00:00:01:01?fields=name")
    assert not [command for command in read if command.endswith((":applications", ":protocols"))]
    assert len(read) < 12


# -- cursors ---------------------------------------------------------------------------------------


def a_cursor(*parts: Any) -> str:
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    "cursor",
    [
        *("x", "-", "!!!!", "AAAA", "%20", "é", a_cursor(), a_cursor("bytes", "desc", 1, "x")),
        *(a_cursor("bytes", "desc", "1", "x", 1), a_cursor("bytes", "desc", 1.5, "x", 1)),
        *(a_cursor("bytes", "desc", True, "x", 1), a_cursor("bytes", "desc", 1, None, 1)),
        *(a_cursor("bytes", "asc", 1, "x", 1), a_cursor("name", "asc", "1", "x", 1)),
        *(a_cursor("bytes", "desc", 1, "x", "1"), a_cursor("bytes", "desc", 1, "x", 1) + "="),
        *(a_cursor("bytes", "desc", 1, "x", 1, 1), a_cursor({}, [], 1, "x", 1), "W" * 600),
        base64.urlsafe_b64encode(b"[" * 600).decode(),
    ],
)
def test_a_cursor_that_no_answer_gave_is_refused(scene: Scene, path: str, cursor: str) -> None:
    answer = scene.ask(f"{path}?cursor={cursor.replace('é', '%C3%A9')}")
    assert_problem(answer, 400)
    assert answer.json["parameter"] == "cursor"
    assert "cursor: expected 'next' of the page before" in answer.json["detail"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**200),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
CURSOR_PARTS = [
    st.sampled_from(["bytes", "name", "last_seen", "rate", None]) | JSON_VALUES,
    st.sampled_from(["asc", "desc"]) | JSON_VALUES,
    JSON_VALUES,
    st.just("x") | JSON_VALUES,
    st.sampled_from([0, 1, -1, 1 << 62, 1 << 70]) | JSON_VALUES,
]


@given(st.tuples(*CURSOR_PARTS).map(list) | JSON_VALUES, st.sampled_from(["/", "/applications", "/flows"]))
@example(["bytes", "desc", 1, "x", -1], "/")
@example(["last_seen", "desc", 1 << 70, "x", 0], "/flows")
@example([json.loads("[" * 300 + "]" * 300), "desc", 1, "x", 1], "/")
def test_whatever_a_cursor_holds_is_an_answer_or_a_400(scene: Scene, content: Any, path: str) -> None:
    encoded = base64.urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode()).decode()
    answer = scene.ask(f"{path}?limit=2&cursor={encoded.rstrip('=')}")
    assert answer.status in (200, 400), answer.body


def test_a_cursor_of_another_order_is_refused(large: Scene) -> None:
    cursor = large.get("/?limit=5")["next"]
    for query in ("sort=name", "order=asc", "sort=rate"):
        answer = large.ask(f"/?limit=5&cursor={cursor}&{query}")
        assert_problem(answer, 400)
        assert answer.json["parameter"] == "cursor"


def test_a_cursor_goes_on_where_its_element_stood_though_that_is_gone(large: Scene) -> None:
    first = large.get("/?limit=5&sort=name&search=192.168.3.1")
    rest = large.get(f"/?limit=50&sort=name&search=192.168.3.1&cursor={first['next']}")
    without = large.get(f"/?limit=50&sort=name&search=192.168.3.10&cursor={first['next']}")
    assert len(first["devices"]) + len(rest["devices"]) == first["total"] == 11
    names = [device["mac"] for device in rest["devices"]]
    assert [device["mac"] for device in without["devices"]] == [
        name for name in names if name == "02:00:00:00:01:0a"
    ]


def test_names_that_are_longer_than_a_cursor_have_pages_too(shared_redis: RedisServer) -> None:
    with emptied(shared_redis.url) as scene:
        said = scene.store.netifyd
        for number in range(5):
            name = "x" * 100 + str(number)
            scene.store.feed(said.flow(f"d{number}", application=name), said.stats(f"d{number}", 1, 1))
        scene.store.flush()
        with served(scene):
            for sort in ("bytes", "name"):
                told: list[str] = []
                cursor = ""
                for _ in range(5):
                    page = scene.get(f"/applications?limit=1&sort={sort}{cursor}")
                    told += [row["tag"][-1] for row in page["applications"]]
                    cursor = f"&cursor={page['next']}"
                assert (told, page["next"]) == (["0", "1", "2", "3", "4"], None)


def test_numbers_that_no_cursor_holds_are_paged_by_name() -> None:
    """A collector sums up the histories of gateways, which may say what they want."""
    elements = {"a": 1 << 90, "b": 5, "c": 1 << 80, "d": -(1 << 90)}
    found, cursor = [], None
    while not found or cursor:
        known = cursor and paging.decode_cursor(cursor)
        request = Request({"sort": "bytes", "order": None, "limit": 1, "cursor": known}, {})
        page = paging.page(elements, request, {"bytes": elements.__getitem__}, str)
        found += page.elements
        cursor = page.next
    assert found == ["a", "c", "b", "d"]
