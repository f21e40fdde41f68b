"""Reads figures from pages and from the API, and compares them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from support import Daemon, eventually

ROWS = """(scope) => [...document.querySelectorAll(`${scope} tbody tr:not(.space)`)].map((row) => ({
    name: row.querySelector('.name').textContent,
    figures: [...row.querySelectorAll('data')]
        .filter((figure) => figure.offsetParent).map((figure) => Number(figure.value)),
    times: [...row.querySelectorAll('time')].map((time) => time.getAttribute('datetime'))}))"""
RANKING = """(place) => [...document.querySelectorAll('.ranking')[place].children].map((item) => [
    item.querySelector('.name').textContent,
    ...[...item.querySelectorAll('data')].map((figure) => Number(figure.value))])"""
STATS = """() => Object.fromEntries([...document.querySelectorAll('.stat')].map((stat) => [
    stat.querySelector('dt').innerText.replace(/(since) .+/, '$1'),
    [...stat.querySelectorAll('data')].map((figure) => Number(figure.value))]))"""
SUMS = "() => [...document.querySelectorAll('.readout data')].map((figure) => Number(figure.value))"


def wait_for_equal(shown: Callable[[], Any], expected: Callable[[], Any], what: str) -> None:
    """Wait until the page shows what the API answers; both change with every flush."""
    last: list[Any] = [None, None]

    def is_equal() -> bool:
        last[:] = [expected(), shown()]
        return bool(last[0] == last[1] and last[0])

    try:
        eventually(is_equal, what)
    except AssertionError:
        assert last[1] == last[0], what
        raise


def get(daemon: Daemon, path: str) -> Any:
    status, document = daemon.get(path)
    assert status == 200, document
    return document


def label(device: dict[str, Any]) -> str:
    return str(device["name"] or device["ip"] or device["mac"])


def rates(row: dict[str, Any]) -> list[int]:
    return [row["rate_down"], row["rate_up"]]


def sizes(row: dict[str, Any]) -> list[int]:
    return [row["bytes_down"], row["bytes_up"]]


def by_name(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["name"], row["figures"]))
