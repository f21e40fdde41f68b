"""The appliance on a booted Debian. `make e2e` runs these; without it they are not even collected."""

from __future__ import annotations

import os
import signal
import subprocess
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


def _machine(path: Path, hostname: str = "gateway", network: Path | None = None) -> Iterator[Machine]:
    assert IMAGE is not None
    machine = Machine(Path(IMAGE), path / "root", hostname, network)
    try:
        machine.boot()
        yield machine
    finally:
        machine.remove()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A gateway of its own for each file of tests, with a netifyd that runs."""
    yield from _machine(tmp_path_factory.mktemp("machine"))


ADDRESSES = {"gateway": "192.0.2.1", "collector": "192.0.2.2"}  # RFC 5737


@pytest.fixture(scope="module")
def cable() -> Iterator[dict[str, Path]]:
    """The network namespaces of two machines, joined by a cable that nothing else is on."""
    names = {machine: f"netify-agent-e2e.{os.getpid()}.{machine}" for machine in ADDRESSES}
    try:
        for name in names.values():
            _ip("netns", "add", name)
        first, second = names.values()
        _ip("-n", first, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", second)
        for machine, name in names.items():
            _ip("-n", name, "address", "add", f"{ADDRESSES[machine]}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", name, "link", "set", device, "up")
        yield {machine: Path("/run/netns") / name for machine, name in names.items()}
    finally:
        for name in names.values():
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, cable: dict[str, Path]) -> Iterator[Machine]:
    """A gateway with a cable to :func:`collector`."""
    yield from _machine(tmp_path_factory.mktemp("gateway"), "gateway", cable["gateway"])


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory, cable: dict[str, Path]) -> Iterator[Machine]:
    """A machine with a cable to :func:`gateway`."""
    yield from _machine(tmp_path_factory.mktemp("collector"), "collector", cable["collector"])
