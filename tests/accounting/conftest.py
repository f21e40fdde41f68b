"""The store of the accounting's tests."""

from __future__ import annotations

import pytest
from reference_store import ReferenceStore, status


@pytest.fixture
def store() -> ReferenceStore:
    """Connected to a netifyd that tracked no flow at the first status."""
    return ReferenceStore().connect(status())
