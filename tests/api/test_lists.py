"""Lists: pages, order, filters, chosen keys; each asked for over a real socket."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from api_server import Scene, a_small_network, assert_problem, emptied, served
from hypothesis import example, given
from hypothesis import strategies as st
from store_book import LAPTOP, NETFLIX, PHONE, TUNNEL, YOUTUBE
from support import RedisServer

LISTS = {
    "/": "devices",
    "/applications": "applications",
    f"/applications/{NETFLIX}": "devices",
    "/protocols": "protocols",
    "/categories": "categories",
}
SORTS = {
    "/": ["bytes", "rate", "flows", "name", "first_seen", "last_seen"],
    "/applications": ["bytes", "rate", "flows", "name", "last_seen"],
    f"/applications/{NETFLIX}": ["bytes", "name", "last_seen"],
    "/protocols": ["bytes", "flows", "name"],
    "/categories": ["bytes", "rate", "flows", "name"],
}
CASES = [(path, sort, order) for path, sorts in SORTS.items() for sort in sorts for order in ("asc", "desc")]


@pytest.fixture(scope="module")
def small(shared_redis: RedisServer) -> Iterator[Scene]:
    with a_small_network(shared_redis.url) as scene:
        yield scene


@pytest.fixture(scope="module")
def large(shared_redis: RedisServer) -> Iterator[Scene]:
    """Forty devices, with equal counters among them, and as many applications, protocols and categories."""
    with emptied(shared_redis.url, "gw-large") as scene:
        said = scene.book.netifyd
        records = []
        for number in range(40):
            mac, digest = f"02:00:00:00:01:{number:02x}", f"d{number}"
            fields: dict[str, Any] = {
                "local_ip": f"192.168.3.{number}",
                "detected_protocol_name": f"P{number % 7}",
                "category": {"application": number % 5},
                "first_seen_at": 1_700_000_000_000 + number % 3,
            }
            records.append(said.flow(digest, mac, f"netify.app-{number % 13}", **fields))
            records.append(said.stats(digest, number % 4, 100 * (number % 6)))
            records.append(said.flow(f"n{number}", mac, NETFLIX))
            records.append(said.stats(f"n{number}", 1 + number % 3, 10))
        scene.book.flush(*records, elapsed_ms=15_000)
        with served(scene):
            yield scene


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
    scene.book.flush()
    with scene.book.client.monitor() as monitor:
        scene.get(path)
        scene.book.client.echo("done")
        found = []
        while not (command := monitor.next_command()["command"]).startswith("ECHO"):
            found.append(command)
    return found


@pytest.mark.parametrize(
    ("query", "expected"), [("limit=3", 3), ("limit=3&fields=mac", 0), ("fields=mac,name", 0), ("", 40)]
)
def test_a_page_of_devices_reads_no_applications_of_others(large: Scene, query: str, expected: int) -> None:
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
def test_a_cursor_that_no_answer_gave_is_refused(small: Scene, path: str, cursor: str) -> None:
    answer = small.ask(f"{path}?cursor={cursor.replace('é', '%C3%A9')}")
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
def test_whatever_a_cursor_holds_is_an_answer_or_a_400(small: Scene, content: Any, path: str) -> None:
    encoded = base64.urlsafe_b64encode(json.dumps(content, separators=(",", ":")).encode()).decode()
    answer = small.ask(f"{path}?limit=2&cursor={encoded.rstrip('=')}")
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
        said = scene.book.netifyd
        for number in range(5):
            name = "x" * 100 + str(number)
            scene.book.feed(said.flow(f"d{number}", application=name), said.stats(f"d{number}", 1, 1))
        scene.book.flush()
        with served(scene):
            for sort in ("bytes", "name"):
                told: list[str] = []
                cursor = ""
                for _ in range(5):
                    page = scene.get(f"/applications?limit=1&sort={sort}{cursor}")
                    told += [row["tag"][-1] for row in page["applications"]]
                    cursor = f"&cursor={page['next']}"
                assert (told, page["next"]) == (["0", "1", "2", "3", "4"], None)


# -- filters and fields ----------------------------------------------------------------------------


def found(scene: Scene, query: str) -> list[str]:
    answer = scene.get(f"/?{query}")
    assert answer["total"] == len(answer["devices"])
    return [device["mac"] or device["ip"] for device in answer["devices"]]


def test_devices_are_found_by_what_they_are_called(small: Scene) -> None:
    assert found(small, "search=LAPT") == [LAPTOP]
    assert found(small, "search=00:01") == [LAPTOP]
    assert found(small, "search=192.168.1.11") == [PHONE]
    assert found(small, "search=10.8") == [TUNNEL]
    assert found(small, "search=02:00:00:00:00") == [LAPTOP, PHONE]
    assert found(small, "search=nobody") == []


def test_devices_are_found_by_the_application_that_they_use(small: Scene) -> None:
    assert found(small, f"application={NETFLIX}") == [LAPTOP, TUNNEL, PHONE]
    assert found(small, f"application={YOUTUBE}") == [LAPTOP]
    assert found(small, f"application={NETFLIX}&search=laptop") == [LAPTOP]
    assert found(small, "application=netify.nothing") == []


def test_devices_are_found_by_whether_they_are_active(shared_redis: RedisServer) -> None:
    with emptied(shared_redis.url) as scene:
        said = scene.book.netifyd
        scene.book.flush(said.flow("a"), said.stats("a", 1, 1), at_ms=1_700_000_000_000)
        scene.book.flush(said.flow("b", PHONE), said.stats("b", 1, 1), at_ms=1_700_000_061_000)
        with served(scene):
            assert found(scene, "active=true") == [PHONE]
            assert found(scene, "active=false") == [LAPTOP]
            assert found(scene, "") == [LAPTOP, PHONE]


def test_applications_are_found_by_name_tag_and_category(small: Scene) -> None:
    def tags(query: str) -> list[str]:
        answer = small.get(f"/applications?{query}")
        return [row["tag"] for row in answer["applications"]]

    assert tags("search=youtube") == [YOUTUBE]
    assert tags("search=NETIFY.") == [YOUTUBE, NETFLIX]
    assert tags("category=streaming-media") == []
    small.book.client.hset(small.parts.reader.keys.categories, NETFLIX, 29)
    small.book.flush()
    try:
        assert tags("category=streaming-media") == [NETFLIX]
    finally:
        small.book.client.hset(small.parts.reader.keys.categories, NETFLIX, 7)
        small.book.flush()


@pytest.mark.parametrize("path", [*LISTS, f"/{LAPTOP}"])
def test_chosen_keys_come_in_their_own_order(small: Scene, path: str) -> None:
    whole = small.get(path)
    (element, *_) = whole[LISTS[path]] if path in LISTS else [whole]
    keys = list(element)
    for wanted in (keys[::-1], keys[:1], keys[1:3], keys[-1:]):
        told = small.get(f"{path}?fields={','.join(wanted)}")
        (chosen, *_) = told[LISTS[path]] if path in LISTS else [told]
        assert chosen == {key: element[key] for key in keys if key in wanted}
        assert list(chosen) == [key for key in keys if key in wanted]
    for wrong in ("colour", f"{keys[0]},", f"{keys[0]},colour", f"{keys[0]},{keys[0]}", f" {keys[0]}", ","):
        answer = small.ask(f"{path}?fields={wrong.replace(' ', '%20')}")
        assert_problem(answer, 400)
        assert answer.json["parameter"] == "fields"
        assert keys[0] in answer.json["detail"]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    ("query", "parameter", "expected"),
    [
        *((f"limit={text}", "limit", "a whole number from 1 to 10000") for text in ("0", "10001", "x", "-1")),
        *((f"limit={text}", "limit", "a whole number from 1 to 10000") for text in ("1.0", "+1", "%D9%A1")),
        ("limit=", "limit", "a value"),
        ("sort=colour", "sort", "one of bytes, "),
        ("sort=BYTES", "sort", "one of bytes, "),
        ("order=up", "order", "one of asc, desc"),
        ("limit=1&limit=2", "limit", "more than once"),
    ],
)
def test_what_a_list_does_not_understand_is_named(
    small: Scene, path: str, query: str, parameter: str, expected: str
) -> None:
    answer = small.ask(f"{path}?{query}")
    assert_problem(answer, 400)
    assert answer.json["parameter"] == parameter
    assert expected in answer.json["detail"]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [("active=yes", "active"), ("search=" + "x" * 257, "search"), ("application=", "application")],
)
def test_filters_that_can_not_be_are_refused(small: Scene, query: str, parameter: str) -> None:
    answer = small.ask(f"/?{query}")
    assert_problem(answer, 400)
    assert answer.json["parameter"] == parameter


# -- what the lists hold ---------------------------------------------------------------------------


def test_an_application_is_told_with_all_its_users(small: Scene) -> None:
    answer = small.get(f"/applications/{NETFLIX}")
    assert list(answer) == [
        *("gateway", "generated_at", "interval", "application", "devices", "total", "next")
    ]
    (own,) = (row for row in small.get("/applications")["applications"] if row["tag"] == NETFLIX)
    del own["devices"]
    assert answer["application"] == own
    for user in answer["devices"]:
        device = small.get(f"/{user['device']}")
        (row,) = (row for row in device["applications"] if row["tag"] == NETFLIX)
        shared = ("bytes_up", "bytes_down", "packets_up", "packets_down", "flows", "rate_up", "rate_down")
        for key in (*shared, "first_seen", "last_seen"):
            assert user[key] == row[key]
        assert user["name"] == device["name"]
    assert [user["device"] for user in answer["devices"]] == [LAPTOP, TUNNEL, PHONE]


def test_an_application_never_seen_is_not_found(small: Scene) -> None:
    for tag in ("netify.nothing", "x/y", "%C3%A9"):
        answer = small.ask(f"/applications/{tag}")
        assert_problem(answer, 404)
        assert "no application '" in answer.json["detail"]
    answer = small.ask("/applications/" + "x" * 257)
    assert_problem(answer, 400)
    assert answer.json["parameter"] == "tag"


def test_protocols_add_up_to_the_gateway_and_name_their_users(small: Scene) -> None:
    answer = small.get("/protocols")
    totals = small.get("/")["totals"]
    for counter in ("bytes_up", "bytes_down", "packets_up", "packets_down", "flows"):
        assert sum(row[counter] for row in answer["protocols"]) == totals[counter]
    users = [(user["device"], user["bytes"]) for user in answer["protocols"][0]["devices"]]
    assert answer["protocols"][0]["name"] == "HTTP/S"
    assert users == [(LAPTOP, 331_545), (TUNNEL, 450), (PHONE, 33)]


def test_categories_add_up_to_the_gateway_and_name_their_users(large: Scene) -> None:
    categories = large.get("/categories")["categories"]
    applications = {row["tag"]: row for row in large.get("/applications?limit=10000")["applications"]}
    totals = large.get("/")["totals"]
    for counter, total in totals.items():
        if not counter.startswith("rate"):
            assert sum(row[counter] for row in categories) == total
    for category in categories:
        rows = [applications[tag] for tag in category["applications"]]
        assert {row["category"] for row in rows} == {category["category"]}
        assert category["bytes_up"] == sum(row["bytes_up"] for row in rows)
        assert category["rate_down"] == sum(row["rate_down"] for row in rows)
        amounts = [user["bytes"] for user in category["devices"]]
        assert amounts == sorted(amounts, reverse=True)
        assert 0 < len(amounts) <= 10
    assert sorted(tag for row in categories for tag in row["applications"]) == sorted(applications)


def test_history_of_the_gateway_is_that_of_its_devices(small: Scene) -> None:
    answer = small.get("/history?resolution=5m&applications=true")
    assert list(answer) == ["gateway", "resolution", "buckets"]
    (bucket,) = answer["buckets"]
    totals = small.get("/")["totals"]
    for counter in ("bytes_up", "bytes_down", "packets_up", "packets_down"):
        assert bucket[counter] == totals[counter]
    assert sum(row["bytes_up"] for row in bucket["applications"]) == totals["bytes_up"]
    assert_problem(small.ask("/history?resolution=7m"), 400)
    assert small.ask("/history", If_None_Match=small.ask("/history").headers["ETag"]).status == 304


def test_an_empty_store_has_empty_lists(shared_redis: RedisServer) -> None:
    with emptied(shared_redis.url) as scene, served(scene):
        for path, name in LISTS.items():
            if "netflix" not in path:
                answer = scene.get(path)
                assert (answer[name], answer["total"], answer["next"]) == ([], 0, None)
                assert answer["generated_at"] is None
        assert scene.get("/history")["buckets"] == []
        assert scene.ask(f"/applications/{NETFLIX}").status == 404
