"""Fixtures of the tests of the daemon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from service_manager import ServiceManager


@pytest.fixture
def manager(directory: Path) -> Iterator[ServiceManager]:
    listening = ServiceManager(directory / "notify.sock")
    yield listening
    listening.close()
