"""The appliance on a booted Debian. `make e2e` runs these; without it they are not even collected."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from machine import Machine

IMAGE = os.environ.get("NETIFY_AGENT_E2E")
collect_ignore_glob = [] if IMAGE else ["test_*.py"]

if IMAGE:  # being ended still takes the machines down
    signal.signal(signal.SIGTERM, signal.default_int_handler)

FIGURES: dict[str, str] = {}


@pytest.fixture(scope="session")
def figures() -> dict[str, str]:
    """Measurements, printed at the end."""
    return FIGURES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, value in FIGURES.items():
        terminalreporter.write_line(f"{name}: {value}")


def _machine(path: Path) -> Iterator[Machine]:
    assert IMAGE is not None
    machine = Machine(Path(IMAGE), path / "root")
    try:
        machine.boot()
        yield machine
    finally:
        machine.remove()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A gateway of its own for each file of tests, with a netifyd that runs."""
    yield from _machine(tmp_path_factory.mktemp("machine"))
