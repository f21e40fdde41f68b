"""What the accounting tells of single flows: what they are, and which are over; each for the right one."""

from __future__ import annotations

from typing import Any

from reference_store import (
    MAC,
    NETFLIX,
    OTHER,
    OTHER_IP,
    T0,
    YOUTUBE,
    ReferenceStore,
    flow,
    purge,
    stats,
    status,
)

from netify_agent.netifyd.flow_record import UNDESCRIBED, Key


def named(digest: str, host: str, app: str = NETFLIX, **fields: Any) -> dict[str, Any]:
    return flow(digest, app, host_server_name=host, **fields)


def hosts(store: ReferenceStore) -> dict[str, str | None]:
    return {digest: details.host for digest, details in store.details.items()}


def test_a_described_flow_is_told_once_and_its_counters_after_that(store: ReferenceStore) -> None:
    first = store.feed(named("a", "x.example"), stats("a", 10, 20, 30)).flush()
    later = store.feed(stats("a", 1, 2, 33)).flush()

    assert first.details["a"].host == "x.example"
    assert (later.details, later.placed, later.ended) == ({}, set(), {})
    assert store.flows["a"].bytes_up == 11


def test_a_flow_that_ends_is_shown_with_its_last_counters(store: ReferenceStore) -> None:
    store.feed(named("a", "x.example"), stats("a", 10, 20, 30)).flush()
    store.feed(purge("a", 1, 2, 33, at=T0 + 5)).flush()

    ended = store.ended["a"]
    assert (ended.bytes_up, ended.bytes_down, ended.last_seen) == (11, 22, T0 + 5)
    assert hosts(store) == {"a": "x.example"}


def test_a_flow_that_lives_within_one_interval_is_shown(store: ReferenceStore) -> None:
    batch = store.feed(named("a", "x.example"), purge("a", 1, 2, 3)).flush()

    assert (batch.flows, batch.placed) == ({}, set())
    assert batch.ended["a"].key == Key(MAC, NETFLIX, "HTTP/S", "br0")
    assert batch.details["a"].host == "x.example"


def test_a_flow_that_was_never_described_is_shown_as_that(store: ReferenceStore) -> None:
    store.feed(stats("a", 1, 2, 3), purge("b", 1, 2, 3)).flush()

    assert store.flows["a"].key == store.ended["b"].key == UNDESCRIBED
    assert hosts(store) == {}


def test_a_description_after_the_end_is_of_the_flow_that_ended(store: ReferenceStore) -> None:
    store.feed(purge("a", 10, 20, 30)).flush()
    batch = store.feed(named("a", "x.example")).flush()

    assert batch.ended["a"].key == Key(MAC, NETFLIX, "HTTP/S", "br0")
    assert hosts(store) == {"a": "x.example"}


def test_a_refinement_is_told_and_moves_the_flow(store: ReferenceStore) -> None:
    store.feed(named("a", "x.example", "Unknown"), stats("a", 10, 20, 30)).flush()
    batch = store.feed(named("a", "y.example", YOUTUBE)).flush()

    assert batch.placed == {"a"}
    assert hosts(store) == {"a": "y.example"}


def test_a_risk_that_changes_moves_the_flow(store: ReferenceStore) -> None:
    risky = {"risks": {"ndpi_risk_score": 60, "risks": [16, 46]}}
    store.feed(flow("a"), stats("a", 10, 20, 30)).flush()
    assert store.feed(flow("a")).flush().placed == set()

    batch = store.feed(flow("a", **risky)).flush()
    assert batch.placed == {"a"}
    assert batch.details["a"].risks == (16, 46)
    assert store.flows["a"].risk == 60
    assert store.crash().feed(stats("a", 1, 2, 33)).flush().flows["a"] == store.flows["a"]
    assert store.flows["a"].risk == 60


def test_another_life_of_a_digest_takes_the_place_of_the_one_before(store: ReferenceStore) -> None:
    store.feed(named("a", "x.example"), purge("a", 10, 20, 30)).flush()
    assert store.ended.keys() == {"a"}

    batch = store.feed(named("a", "y.example", born=T0 + 5), stats("a", 1, 2, 3, at=T0 + 6)).flush()
    assert batch.placed == {"a"}
    assert (store.ended, store.flows["a"].bytes_up) == ({}, 1)
    assert hosts(store) == {"a": "y.example"}


def test_another_life_that_is_not_described_yet_is_shown_as_the_one_before(store: ReferenceStore) -> None:
    risky = {"risks": {"ndpi_risk_score": 60, "risks": [16]}}
    store.feed(named("a", "x.example", **risky), purge("a", 10, 20, 30)).flush()
    store.feed(stats("a", 1, 2, 3, at=T0 + 6)).flush()

    assert (store.ended, store.flows["a"].risk) == ({}, 60)
    assert hosts(store) == {"a": "x.example"}


def test_a_flow_that_was_let_go_is_shown_as_over_until_it_comes_back(store: ReferenceStore) -> None:
    store = ReferenceStore(max_flows=1).connect(status())
    store.feed(named("a", "x.example"), stats("a", 10, 20, 30), named("b", "y.example")).flush()
    assert (store.flows.keys(), store.ended.keys()) == ({"b"}, {"a"})

    store.feed(stats("a", 1, 2, 33)).flush()
    assert (store.flows.keys(), store.ended.keys()) == ({"a"}, {"b"})
    assert hosts(store) == {"a": "x.example", "b": "y.example"}


def test_a_flow_goes_on_as_what_it_was_under_a_digest_that_nothing_describes(store: ReferenceStore) -> None:
    store.feed(named("a", "x.example", digest_prev=[]), stats("a", 10, 20, 30)).flush()
    batch = store.feed(stats("b", 1, 2, 33, digest_prev=["a"])).flush()

    assert (batch.replaced, batch.placed) == ({"b": ["a"]}, {"b"})
    assert hosts(store) == {"b": "x.example"}
    assert (store.flows.keys(), store.ended) == ({"b"}, {})


def test_the_same_within_one_interval_and_over_several_digests(store: ReferenceStore) -> None:
    store.feed(named("a", "x.example", digest_prev=[]), stats("a", 10, 20, 30)).flush()
    store.feed(stats("b", 1, 2, 33, digest_prev=["a"]), named("c", "y.example", digest_prev=[]))
    batch = store.feed(
        stats("d", 0, 0, 33, digest_prev=["b"]), stats("e", 0, 0, 0, digest_prev=["c"])
    ).flush()

    assert batch.replaced == {"d": ["a"]}
    assert hosts(store) == {"d": "x.example", "e": "y.example"}


def test_a_flow_that_goes_back_to_an_earlier_digest_keeps_what_it_is(store: ReferenceStore) -> None:
    store.feed(named("a", "x.example", digest_prev=[]), stats("a", 10, 20, 30)).flush()
    store.feed(stats("b", 1, 2, 33, digest_prev=["a"]), stats("a", 1, 2, 36, digest_prev=["b"]))
    batch = store.feed(stats("a", 1, 2, 39)).flush()

    assert batch.replaced == {}
    assert (store.flows.keys(), hosts(store)) == ({"a"}, {"a": "x.example"})


def test_a_flow_that_is_over_takes_its_place_along_to_its_new_digest(store: ReferenceStore) -> None:
    store.feed(named("a", "x.example", digest_prev=[]), purge("a", 10, 20, 30)).flush()
    store.feed(named("b", "y.example", YOUTUBE, digest_prev=["a"])).flush()

    assert (store.flows, store.ended.keys()) == ({}, {"b"})
    assert hosts(store) == {"b": "y.example"}
    assert store.ended["b"].key.application == YOUTUBE

    store.feed(named("c", "x.example", digest_prev=[]), purge("c", 10, 20, 30))
    store.feed(named("d", "y.example", YOUTUBE, digest_prev=["c"])).flush()
    assert (store.flows, store.ended.keys(), store.details.keys()) == ({}, {"b", "d"}, {"b", "d"})


def test_two_entries_that_turn_out_to_be_one_flow_are_one(store: ReferenceStore) -> None:
    risky = {"risks": {"ndpi_risk_score": 60, "risks": [16]}, "digest_prev": []}
    store.feed(named("a", "x.example", **risky), stats("a", 10, 20, 30), stats("b", 1, 2, 33)).flush()
    store.feed(stats("b", 1, 2, 36, digest_prev=["a"])).flush()
    assert (store.flows.keys(), store.ended, hosts(store)) == ({"b"}, {}, {"b": "x.example"})
    assert store.flows["b"].risk == 60

    store.feed(named("c", "y.example"), stats("c", 1, 2, 39)).flush()
    store.feed(stats("c", 1, 2, 42, digest_prev=["b"]), named("c", "y.example", digest_prev=["a", "b"]))
    store.feed(stats("c", 1, 2, 45)).flush()
    assert (store.flows.keys(), store.ended, hosts(store)) == ({"c"}, {}, {"c": "y.example"})

    store.feed(named("d", "better.example"), stats("d", 1, 2, 48), named("c", "z.example"))
    store.feed(stats("d", 1, 2, 51, digest_prev=["c"])).flush()
    assert (store.flows.keys(), store.ended, hosts(store)) == ({"d"}, {}, {"d": "better.example"})


def test_a_digest_that_an_earlier_life_had_does_not_show_that_one(store: ReferenceStore) -> None:
    store.feed(named("a", "x.example", digest_prev=[]), stats("a", 10, 20, 30)).flush()
    store.feed(named("b", "old.example", born=T0 - 50), purge("b", 1, 2, 3, at=T0 - 40))
    store.feed(stats("a", 1, 2, 33, at=T0 + 4), stats("b", 1, 2, 36, at=T0 + 5, digest_prev=["a"])).flush()

    assert (store.flows.keys(), hosts(store)) == ({"b"}, {"b": "x.example"})


def test_flows_of_a_netifyd_that_restarted_are_over(store: ReferenceStore) -> None:
    store.feed(named("a", "x.example"), stats("a", 10, 20, 30)).flush()
    store.connect(status(5, at=T0 + 60_000)).flush()

    assert (store.flows, store.ended.keys(), hosts(store)) == ({}, {"a"}, {"a": "x.example"})


def test_flows_of_a_netifyd_that_restarted_while_the_agent_was_away_are_over(store: ReferenceStore) -> None:
    store.feed(named("a", "x.example"), stats("a", 10, 20, 30)).flush()
    store.crash(restore=False).connect(status(5, at=T0 + 60_000)).restore()
    store.flush()

    assert (store.flows, store.ended.keys(), hosts(store)) == ({}, {"a"}, {"a": "x.example"})


def test_a_flow_that_is_described_before_the_store_is_read_is_shown_once(store: ReferenceStore) -> None:
    store.feed(named("a", "x.example", digest_prev=[]), stats("a", 10, 20, 30)).flush()
    for digest, previous in (("a", []), ("b", ["a"])):
        store.crash(restore=False).connect(status(160))
        store.feed(named(digest, "y.example", YOUTUBE, digest_prev=previous), stats(digest, 1, 2, 33))
        store.restore()
        store.flush()
        assert (store.flows.keys(), store.ended) == ({digest}, {})
        assert hosts(store) == {digest: "y.example"}


def test_what_waits_for_a_redis_that_is_away_is_bounded() -> None:
    store = ReferenceStore(max_shown=3)
    store.feed(named("z", "z.example", digest_prev=[])).flush()
    for number in range(20):
        first, second = f"a{number}", f"b{number}"
        store.feed(named(first, "x.example", digest_prev=[]), named(second, "y.example", digest_prev=[first]))
        store.feed(purge(second, 1, 2, 3))
    store.feed(named("b17", "late.example", digest_prev=["a17"]))
    batch = store.take(300)

    assert list(batch.ended) == ["b18", "b19", "b17"]
    assert batch.details.keys() == batch.ended.keys()
    assert (batch.flows, batch.placed, batch.replaced) == ({}, set(), {})


def test_both_sides_of_a_local_flow_are_told(store: ReferenceStore) -> None:
    store.feed(flow("a", other_type="local", other_ip=OTHER_IP), stats("a", 10, 20, 30)).flush()

    state = store.flows["a"]
    assert state.peer is not None
    assert (state.key.device, state.peer.device) == (MAC, OTHER)


def test_a_store_that_went_back_is_told_the_place_of_every_live_flow(store: ReferenceStore) -> None:
    """It may hold them where they were before they moved."""
    store.feed(flow("a"), flow("b"), stats("b", 1, 2, 3)).flush()
    batch = store.feed(stats("b", 1, 2, 6)).take(300)
    assert batch.placed == set()
    assert batch.without_corrections().placed == {"b"}

    store.accountant.forget_counts()
    assert store.take(300).placed == {"a", "b"}
