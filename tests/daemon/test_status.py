"""The one line for ``systemctl status``: near enough, and not new with each record."""

from __future__ import annotations

import pytest

from netify_agent.daemon.status import about


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0"), (9, "9"), (10, "10+"), (19, "10+"), (337, "300+"), (99_999, "90000+")]
)
def test_counts_are_rounded_down_to_their_first_digit(count: int, text: str) -> None:
    assert about(count) == text
