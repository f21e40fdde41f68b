"""The cache for values from the network."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from netify_agent.netifyd.memo import Memo


class Calls:
    """A function that counts its calls by value."""

    def __init__(self) -> None:
        self.count: Counter[Any] = Counter()

    def __call__(self, value: Any) -> str:
        self.count[value] += 1
        return repr(value)


@pytest.mark.parametrize("value", ["a", None, ("a", None), "x" * 8])
def test_a_result_is_computed_once(value: Any) -> None:
    calls = Calls()
    memo = Memo(calls, 10, 8)

    assert memo[value] == memo[value] == repr(value)
    assert calls.count[value] == 1


@pytest.mark.parametrize("value", ["x" * 9, ("a", "x" * 9), 1, True, 1.5])
def test_what_is_long_or_no_text_is_not_kept(value: Any) -> None:
    memo = Memo(Calls(), 10, 8)

    assert memo[value] == repr(value)
    assert len(memo) == 0


def test_its_size_is_bounded() -> None:
    memo = Memo(Calls(), 10, 8)
    for number in range(1000):
        assert memo[str(number)] == repr(str(number))
        assert len(memo) <= 10


@pytest.mark.parametrize("value", [[], {}, ("a", [])])
def test_a_value_without_a_hash_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        Memo(Calls(), 10, 8)[value]
