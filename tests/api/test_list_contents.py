"""Filters and fields of lists, and what the lists contain."""

from __future__ import annotations

import pytest
from api_server import LISTS, Scene, assert_problem, emptied, served
from real_store import LAPTOP, NETFLIX, PHONE, TUNNEL, YOUTUBE
from support import RedisServer

# -- filters and fields ----------------------------------------------------------------------------


def found(scene: Scene, query: str) -> list[str]:
    answer = scene.get(f"/?{query}")
    assert answer["total"] == len(answer["devices"])
    return [device["mac"] or device["ip"] for device in answer["devices"]]


def test_devices_are_found_by_what_they_are_called(scene: Scene) -> None:
    assert found(scene, "search=LAPT") == [LAPTOP]
    assert found(scene, "search=00:01") == [LAPTOP]
    assert found(scene, "search=192.168.1.11") == [PHONE]
    assert found(scene, "search=10.8") == [TUNNEL]
    assert found(scene, "search=02:00:00:00:00") == [LAPTOP, PHONE]
    assert found(scene, "search=nobody") == []


def test_devices_are_found_by_the_application_that_they_use(scene: Scene) -> None:
    assert found(scene, f"application={NETFLIX}") == [LAPTOP, TUNNEL, PHONE]
    assert found(scene, f"application={YOUTUBE}") == [LAPTOP]
    assert found(scene, f"application={NETFLIX}&search=laptop") == [LAPTOP]
    assert found(scene, "application=netify.nothing") == []


def test_devices_are_found_by_whether_they_are_active(shared_redis: RedisServer) -> None:
    with emptied(shared_redis.url) as scene:
        said = scene.store.netifyd
        scene.store.flush(said.flow("a"), said.stats("a", 1, 1), at_ms=1_700_000_000_000)
        scene.store.flush(said.flow("b", PHONE), said.stats("b", 1, 1), at_ms=1_700_000_061_000)
        with served(scene):
            assert found(scene, "active=true") == [PHONE]
            assert found(scene, "active=false") == [LAPTOP]
            assert found(scene, "") == [LAPTOP, PHONE]


def test_active_devices_are_counted_whatever_is_listed(shared_redis: RedisServer) -> None:
    with emptied(shared_redis.url) as scene:
        said = scene.store.netifyd
        scene.store.flush(said.flow("a"), said.stats("a", 1, 1), at_ms=1_700_000_000_000)
        scene.store.flush(
            *(said.flow("b", PHONE), said.stats("b", 1, 1), said.flow("c", TUNNEL), said.stats("c", 1, 1)),
            at_ms=1_700_000_061_000,
        )
        with served(scene):
            for query in ("", "?limit=1", "?active=false", "?search=nobody"):
                assert scene.get(f"/{query}")["active"] == 2


def test_an_application_says_since_when_a_device_uses_it(shared_redis: RedisServer) -> None:
    with emptied(shared_redis.url) as scene:
        said = scene.store.netifyd
        scene.store.flush(
            *(said.flow("old", first_seen_at=1_700_000_000_000), said.stats("old", 1, 10)),
            *(said.flow("new", first_seen_at=1_700_000_900_000), said.stats("new", 1, 10)),
            *(said.flow("ended", first_seen_at=1_699_999_000_000), said.stats("ended", 1, 10)),
            said.stats("ended", 0, 0, "flow_purge"),
            *(
                said.flow("past", application=YOUTUBE),
                said.stats("past", 1, 1),
                said.stats("past", 0, 0, "flow_purge"),
            ),
            elapsed_ms=15_000,
        )
        with served(scene):
            (device,) = scene.get("/?since=true&limit=1")["devices"]
            since = {row["tag"]: row["since"] for row in device["applications"]}
            assert since == {NETFLIX: "2023-11-14T22:13:20.000Z", YOUTUBE: None}
            scene.store.flush(
                said.stats("old", 0, 0, "flow_purge"), said.stats("new", 1, 1), elapsed_ms=15_000
            )
            (device,) = scene.get("/?since=true&limit=100")["devices"]
            assert device["applications"][0]["since"] == "2023-11-14T22:28:20.000Z"
            assert "since" not in scene.get("/?limit=1")["devices"][0]["applications"][0]


@pytest.mark.parametrize("query", ["since=true", "since=true&limit=101"])
def test_since_needs_a_limit(scene: Scene, query: str) -> None:
    answer = scene.ask(f"/?{query}")
    assert_problem(answer, 400)
    assert answer.json["parameter"] == "since"


def test_the_devices_of_an_application_are_those_that_use_it_now(shared_redis: RedisServer) -> None:
    with emptied(shared_redis.url) as scene:
        said = scene.store.netifyd
        scene.store.flush(
            *(said.flow("a"), said.stats("a", 5000, 5000), said.flow("b", PHONE), said.stats("b", 100, 100)),
            elapsed_ms=15_000,
        )
        scene.store.flush(
            said.stats("b", 40, 60), said.flow("c", TUNNEL), said.stats("c", 0, 150), elapsed_ms=15_000
        )
        with served(scene):

            def users(query: str) -> list[tuple[str, int]]:
                (row,) = scene.get(f"/applications?{query}")["applications"]
                return [(user["device"], user["bytes"]) for user in row["devices"]]

            assert users("") == [(LAPTOP, 10_000), (PHONE, 300), (TUNNEL, 150)]
            assert users("devices_by=rate") == [(TUNNEL, 150), (PHONE, 300)]


def test_applications_are_found_by_name_tag_and_category(scene: Scene) -> None:
    def tags(query: str) -> list[str]:
        answer = scene.get(f"/applications?{query}")
        return [row["tag"] for row in answer["applications"]]

    assert tags("search=youtube") == [YOUTUBE]
    assert tags("search=NETIFY.") == [YOUTUBE, NETFLIX]
    assert tags("category=streaming-media") == []
    scene.store.client.hset(scene.parts.reader.keys.categories, NETFLIX, 29)
    scene.store.flush()
    try:
        assert tags("category=streaming-media") == [NETFLIX]
    finally:
        scene.store.client.hset(scene.parts.reader.keys.categories, NETFLIX, 7)
        scene.store.flush()


@pytest.mark.parametrize("path", [*LISTS, f"/{LAPTOP}"])
def test_chosen_keys_come_in_their_own_order(scene: Scene, path: str) -> None:
    whole = scene.get(path)
    (element, *_) = whole[LISTS[path]] if path in LISTS else [whole]
    keys = list(element)
    for wanted in (keys[::-1], keys[:1], keys[1:3], keys[-1:]):
        told = scene.get(f"{path}?fields={','.join(wanted)}")
        (chosen, *_) = told[LISTS[path]] if path in LISTS else [told]
        assert chosen == {key: element[key] for key in keys if key in wanted}
        assert list(chosen) == [key for key in keys if key in wanted]
    for wrong in ("colour", f"{keys[0]},", f"{keys[0]},colour", f"{keys[0]},{keys[0]}", f" {keys[0]}", ","):
        answer = scene.ask(f"{path}?fields={wrong.replace(' ', '%20')}")
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
    scene: Scene, path: str, query: str, parameter: str, expected: str
) -> None:
    answer = scene.ask(f"{path}?{query}")
    assert_problem(answer, 400)
    assert answer.json["parameter"] == parameter
    assert expected in answer.json["detail"]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [("active=yes", "active"), ("search=" + "x" * 257, "search"), ("application=", "application")],
)
def test_filters_that_can_not_be_are_refused(scene: Scene, query: str, parameter: str) -> None:
    answer = scene.ask(f"/?{query}")
    assert_problem(answer, 400)
    assert answer.json["parameter"] == parameter


# -- what the lists hold ---------------------------------------------------------------------------


def test_an_application_is_told_with_all_its_users(scene: Scene) -> None:
    answer = scene.get(f"/applications/{NETFLIX}")
    assert list(answer) == [
        *("gateway", "generated_at", "interval", "application", "devices", "total", "next")
    ]
    (own,) = (row for row in scene.get("/applications")["applications"] if row["tag"] == NETFLIX)
    del own["devices"]
    assert answer["application"] == own
    for user in answer["devices"]:
        device = scene.get(f"/{user['device']}")
        (row,) = (row for row in device["applications"] if row["tag"] == NETFLIX)
        shared = ("bytes_up", "bytes_down", "packets_up", "packets_down", "flows", "rate_up", "rate_down")
        for key in (*shared, "first_seen", "last_seen"):
            assert user[key] == row[key]
        assert user["name"] == device["name"]
    assert [user["device"] for user in answer["devices"]] == [LAPTOP, TUNNEL, PHONE]


def test_an_application_never_seen_is_not_found(scene: Scene) -> None:
    for tag in ("netify.nothing", "x/y", "%C3%A9"):
        answer = scene.ask(f"/applications/{tag}")
        assert_problem(answer, 404)
        assert "no application '" in answer.json["detail"]
    answer = scene.ask("/applications/" + "x" * 257)
    assert_problem(answer, 400)
    assert answer.json["parameter"] == "tag"


def test_protocols_add_up_to_the_gateway_and_name_their_users(scene: Scene) -> None:
    answer = scene.get("/protocols")
    totals = scene.get("/")["totals"]
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


def test_history_of_the_gateway_is_that_of_its_devices(scene: Scene) -> None:
    answer = scene.get("/history?resolution=5m&applications=true")
    assert list(answer) == ["gateway", "resolution", "buckets"]
    (bucket,) = answer["buckets"]
    totals = scene.get("/")["totals"]
    for counter in ("bytes_up", "bytes_down", "packets_up", "packets_down"):
        assert bucket[counter] == totals[counter]
    assert sum(row["bytes_up"] for row in bucket["applications"]) == totals["bytes_up"]
    assert_problem(scene.ask("/history?resolution=7m"), 400)
    assert scene.ask("/history", If_None_Match=scene.ask("/history").headers["ETag"]).status == 304


def test_an_empty_store_has_empty_lists(shared_redis: RedisServer) -> None:
    with emptied(shared_redis.url) as scene, served(scene):
        for path, name in LISTS.items():
            if "netflix" not in path:
                answer = scene.get(path)
                assert (answer[name], answer["total"], answer["next"]) == ([], 0, None)
                assert answer["generated_at"] is None
        assert scene.get("/history")["buckets"] == []
        assert scene.ask(f"/applications/{NETFLIX}").status == 404
