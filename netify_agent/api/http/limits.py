"""Limits on what clients of the web server may use: connections, time, memory."""

from __future__ import annotations

from dataclasses import dataclass

EVENT_CLIENTS = 16  # streams of /events at once: each holds a thread


@dataclass(frozen=True)
class WebLimits:
    """Limits of one server. Times are in seconds."""

    body_bytes: int = 16384  # of a request; only a collector needs one
    connections: int = 500  # fewer where the service may open few files
    event_clients: int = EVENT_CLIENTS
    idle_s: float = 15.0  # for a request to arrive, a silent connection, a client that takes no byte
    request_s: float = 60.0  # a handler that takes longer is stuck: every wait in one is far shorter
    untaken_bytes: int = 128 << 20  # of answers that clients have not taken yet, of all clients together
    handshake_s: float = 5.0  # for the TLS handshake
    stalled_s: float = 15.0  # for a TLS client to take the last 64 KiB of an answer


DEFAULT_LIMITS = WebLimits()
