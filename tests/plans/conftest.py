"""Fixtures of plans."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from plan_gateway import PlanGateway
from support import RedisServer


@pytest.fixture
def gateway_of(shared_redis: RedisServer, tmp_path: Path) -> Callable[[str, int], PlanGateway]:
    """Starts a gateway with a configuration at a moment, seconds since the epoch."""
    (tmp_path / "categories.json").write_text('{"application_tag_index": {"streaming-media": 7, "other": 8}}')
    return lambda text, at: PlanGateway(shared_redis.url, tmp_path, text, at)
