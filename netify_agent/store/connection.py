"""The one place that touches what redis-py keeps private (checked with 3.5.3 to 8.1)."""

from __future__ import annotations

import socket
from typing import Any


def socket_of(connection: Any) -> socket.socket:
    """The socket of a connected redis-py connection."""
    found: socket.socket = connection._sock
    return found
