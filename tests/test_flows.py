"""What the accounting tells of single flows: what they are, and which are over; each for the right one."""

from __future__ import annotations

from typing import Any

import pytest
from books import MAC, OTHER, OTHER_IP, T0, Books, flow, purge, stats, status

import netify_agent.ledger
from netify_agent.batch import Batch
from netify_agent.description import UNDESCRIBED, Key

NETFLIX, YOUTUBE = "netify.netflix", "netify.youtube"


@pytest.fixture
def books() -> Books:
    """Connected to a netifyd that tracked no flow when we came."""
    return Books().connect(status())


def named(digest: str, host: str, app: str = NETFLIX, **fields: Any) -> dict[str, Any]:
    return flow(digest, app, host_server_name=host, **fields)


def hosts(books: Books) -> dict[str, str | None]:
    return {digest: details.host for digest, details in books.details.items()}


def test_a_described_flow_is_told_once_and_its_counters_after_that(books: Books) -> None:
    first = books.feed(named("a", "x.example"), stats("a", 10, 20, 30)).flush()
    later = books.feed(stats("a", 1, 2, 33)).flush()

    assert first.details["a"].host == "x.example"
    assert (later.details, later.placed, later.ended) == ({}, set(), {})
    assert books.flows["a"].bytes_up == 11


def test_a_flow_that_ends_is_shown_with_its_last_counters(books: Books) -> None:
    books.feed(named("a", "x.example"), stats("a", 10, 20, 30)).flush()
    books.feed(purge("a", 1, 2, 33, at=T0 + 5)).flush()

    ended = books.ended["a"]
    assert (ended.bytes_up, ended.bytes_down, ended.last_seen) == (11, 22, T0 + 5)
    assert hosts(books) == {"a": "x.example"}


def test_a_flow_that_lives_within_one_interval_is_shown(books: Books) -> None:
    batch = books.feed(named("a", "x.example"), purge("a", 1, 2, 3)).flush()

    assert (batch.flows, batch.placed) == ({}, set())
    assert batch.ended["a"].key == Key(MAC, NETFLIX, "HTTP/S")
    assert batch.details["a"].host == "x.example"


def test_a_flow_that_was_never_described_is_shown_as_that(books: Books) -> None:
    books.feed(stats("a", 1, 2, 3), purge("b", 1, 2, 3)).flush()

    assert books.flows["a"].key == books.ended["b"].key == UNDESCRIBED
    assert hosts(books) == {}


def test_a_description_after_the_end_is_of_the_flow_that_ended(books: Books) -> None:
    books.feed(purge("a", 10, 20, 30)).flush()
    batch = books.feed(named("a", "x.example")).flush()

    assert batch.ended["a"].key == Key(MAC, NETFLIX, "HTTP/S")
    assert hosts(books) == {"a": "x.example"}


def test_a_refinement_is_told_and_moves_the_flow(books: Books) -> None:
    books.feed(named("a", "x.example", "Unknown"), stats("a", 10, 20, 30)).flush()
    batch = books.feed(named("a", "y.example", YOUTUBE)).flush()

    assert batch.placed == {"a"}
    assert hosts(books) == {"a": "y.example"}


def test_a_risk_that_changes_moves_the_flow(books: Books) -> None:
    risky = {"risks": {"ndpi_risk_score": 60, "risks": [16, 46]}}
    books.feed(flow("a"), stats("a", 10, 20, 30)).flush()
    assert books.feed(flow("a")).flush().placed == set()

    batch = books.feed(flow("a", **risky)).flush()
    assert batch.placed == {"a"}
    assert batch.details["a"].risks == (16, 46)
    assert books.flows["a"].risk == 60
    assert books.crash().feed(stats("a", 1, 2, 33)).flush().flows["a"] == books.flows["a"]
    assert books.flows["a"].risk == 60


def test_another_life_of_a_digest_takes_the_place_of_the_one_before(books: Books) -> None:
    books.feed(named("a", "x.example"), purge("a", 10, 20, 30)).flush()
    assert books.ended.keys() == {"a"}

    batch = books.feed(named("a", "y.example", born=T0 + 5), stats("a", 1, 2, 3, at=T0 + 6)).flush()
    assert batch.placed == {"a"}
    assert (books.ended, books.flows["a"].bytes_up) == ({}, 1)
    assert hosts(books) == {"a": "y.example"}


def test_another_life_that_is_not_described_yet_is_shown_as_the_one_before(books: Books) -> None:
    risky = {"risks": {"ndpi_risk_score": 60, "risks": [16]}}
    books.feed(named("a", "x.example", **risky), purge("a", 10, 20, 30)).flush()
    books.feed(stats("a", 1, 2, 3, at=T0 + 6)).flush()

    assert (books.ended, books.flows["a"].risk) == ({}, 60)
    assert hosts(books) == {"a": "x.example"}


def test_a_flow_that_was_let_go_is_shown_as_over_until_it_comes_back(books: Books) -> None:
    books = Books(max_flows=1).connect(status())
    books.feed(named("a", "x.example"), stats("a", 10, 20, 30), named("b", "y.example")).flush()
    assert (books.flows.keys(), books.ended.keys()) == ({"b"}, {"a"})

    books.feed(stats("a", 1, 2, 33)).flush()
    assert (books.flows.keys(), books.ended.keys()) == ({"a"}, {"b"})
    assert hosts(books) == {"a": "x.example", "b": "y.example"}


def test_a_flow_goes_on_as_what_it_was_under_a_digest_that_nothing_describes(books: Books) -> None:
    books.feed(named("a", "x.example", digest_prev=[]), stats("a", 10, 20, 30)).flush()
    batch = books.feed(stats("b", 1, 2, 33, digest_prev=["a"])).flush()

    assert (batch.replaced, batch.placed) == ({"b": ["a"]}, {"b"})
    assert hosts(books) == {"b": "x.example"}
    assert (books.flows.keys(), books.ended) == ({"b"}, {})


def test_the_same_within_one_interval_and_over_several_digests(books: Books) -> None:
    books.feed(named("a", "x.example", digest_prev=[]), stats("a", 10, 20, 30)).flush()
    books.feed(stats("b", 1, 2, 33, digest_prev=["a"]), named("c", "y.example", digest_prev=[]))
    batch = books.feed(
        stats("d", 0, 0, 33, digest_prev=["b"]), stats("e", 0, 0, 0, digest_prev=["c"])
    ).flush()

    assert batch.replaced == {"d": ["a"]}
    assert hosts(books) == {"d": "x.example", "e": "y.example"}


def test_a_flow_that_goes_back_to_an_earlier_digest_keeps_what_it_is(books: Books) -> None:
    books.feed(named("a", "x.example", digest_prev=[]), stats("a", 10, 20, 30)).flush()
    books.feed(stats("b", 1, 2, 33, digest_prev=["a"]), stats("a", 1, 2, 36, digest_prev=["b"]))
    batch = books.feed(stats("a", 1, 2, 39)).flush()

    assert batch.replaced == {}
    assert (books.flows.keys(), hosts(books)) == ({"a"}, {"a": "x.example"})


def test_a_flow_that_is_over_takes_its_place_along_to_its_new_digest(books: Books) -> None:
    books.feed(named("a", "x.example", digest_prev=[]), purge("a", 10, 20, 30)).flush()
    books.feed(named("b", "y.example", YOUTUBE, digest_prev=["a"])).flush()

    assert (books.flows, books.ended.keys()) == ({}, {"b"})
    assert hosts(books) == {"b": "y.example"}
    assert books.ended["b"].key.application == YOUTUBE

    books.feed(named("c", "x.example", digest_prev=[]), purge("c", 10, 20, 30))
    books.feed(named("d", "y.example", YOUTUBE, digest_prev=["c"])).flush()
    assert (books.flows, books.ended.keys(), books.details.keys()) == ({}, {"b", "d"}, {"b", "d"})


def test_two_entries_that_turn_out_to_be_one_flow_are_one(books: Books) -> None:
    risky = {"risks": {"ndpi_risk_score": 60, "risks": [16]}, "digest_prev": []}
    books.feed(named("a", "x.example", **risky), stats("a", 10, 20, 30), stats("b", 1, 2, 33)).flush()
    books.feed(stats("b", 1, 2, 36, digest_prev=["a"])).flush()
    assert (books.flows.keys(), books.ended, hosts(books)) == ({"b"}, {}, {"b": "x.example"})
    assert books.flows["b"].risk == 60

    books.feed(named("c", "y.example"), stats("c", 1, 2, 39)).flush()
    books.feed(stats("c", 1, 2, 42, digest_prev=["b"]), named("c", "y.example", digest_prev=["a", "b"]))
    books.feed(stats("c", 1, 2, 45)).flush()
    assert (books.flows.keys(), books.ended, hosts(books)) == ({"c"}, {}, {"c": "y.example"})

    books.feed(named("d", "better.example"), stats("d", 1, 2, 48), named("c", "z.example"))
    books.feed(stats("d", 1, 2, 51, digest_prev=["c"])).flush()
    assert (books.flows.keys(), books.ended, hosts(books)) == ({"d"}, {}, {"d": "better.example"})


def test_a_digest_that_an_earlier_life_had_does_not_show_that_one(books: Books) -> None:
    books.feed(named("a", "x.example", digest_prev=[]), stats("a", 10, 20, 30)).flush()
    books.feed(named("b", "old.example", born=T0 - 50), purge("b", 1, 2, 3, at=T0 - 40))
    books.feed(stats("a", 1, 2, 33, at=T0 + 4), stats("b", 1, 2, 36, at=T0 + 5, digest_prev=["a"])).flush()

    assert (books.flows.keys(), hosts(books)) == ({"b"}, {"b": "x.example"})


def test_flows_of_a_netifyd_that_restarted_are_over(books: Books) -> None:
    books.feed(named("a", "x.example"), stats("a", 10, 20, 30)).flush()
    books.connect(status(5, at=T0 + 60_000)).flush()

    assert (books.flows, books.ended.keys(), hosts(books)) == ({}, {"a"}, {"a": "x.example"})


def test_flows_of_a_netifyd_that_restarted_while_the_agent_was_away_are_over(books: Books) -> None:
    books.feed(named("a", "x.example"), stats("a", 10, 20, 30)).flush()
    books.crash(restore=False).connect(status(5, at=T0 + 60_000)).restore()
    books.flush()

    assert (books.flows, books.ended.keys(), hosts(books)) == ({}, {"a"}, {"a": "x.example"})


def test_a_flow_that_is_described_before_the_store_is_read_is_shown_once(books: Books) -> None:
    books.feed(named("a", "x.example", digest_prev=[]), stats("a", 10, 20, 30)).flush()
    for digest, previous in (("a", []), ("b", ["a"])):
        books.crash(restore=False).connect(status(160))
        books.feed(named(digest, "y.example", YOUTUBE, digest_prev=previous), stats(digest, 1, 2, 33))
        books.restore()
        books.flush()
        assert (books.flows.keys(), books.ended) == ({digest}, {})
        assert hosts(books) == {digest: "y.example"}


def test_what_waits_for_a_redis_that_is_away_is_bounded(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(netify_agent.ledger, "MAX_ENDED", 3)
    books.feed(named("z", "z.example", digest_prev=[])).flush()
    for number in range(20):
        first, second = f"a{number}", f"b{number}"
        books.feed(named(first, "x.example", digest_prev=[]), named(second, "y.example", digest_prev=[first]))
        books.feed(purge(second, 1, 2, 3))
    books.feed(named("b17", "late.example", digest_prev=["a17"]))
    batch = books.accountant.take(300)
    books.accountant.freeze()

    assert list(batch.ended) == ["b18", "b19", "b17"]
    assert batch.details.keys() == batch.ended.keys()
    assert (batch.flows, batch.placed, batch.replaced) == ({}, set(), {})


def test_both_sides_of_a_local_flow_are_told(books: Books) -> None:
    books.feed(flow("a", other_type="local", other_ip=OTHER_IP), stats("a", 10, 20, 30)).flush()

    state = books.flows["a"]
    assert state.peer is not None
    assert (state.key.device, state.peer.device) == (MAC, OTHER)


def test_a_store_that_went_back_is_told_the_place_of_every_live_flow(books: Books) -> None:
    """It may hold them where they were before they moved."""
    books.feed(flow("a"), flow("b"), stats("b", 1, 2, 3)).flush()
    batch: Batch = books.feed(stats("b", 1, 2, 6)).accountant.take(300)
    books.accountant.freeze()
    assert batch.placed == set()
    netify_agent.ledger.forget_corrections(batch)
    assert batch.placed == {"b"}

    books.accountant.dirty_all()
    assert books.accountant.take(300).placed == {"a", "b"}
