"""A netifyd that needs no network: v4 and v5 streams of a described network with their exact truth.

For demos, tests and benchmarks. It imports nothing else of this package, so that what it says of a stream
is independent of how the agent reads one.
"""

from .endpoint import EndpointError
from .form import Form, frame
from .poster import PostError, post
from .server import serve
from .simulation import DEFAULT_START_MS, INTERVAL_S, Simulation
from .truth import FlowTotals, Truth

__all__ = [
    "DEFAULT_START_MS",
    "INTERVAL_S",
    "EndpointError",
    "FlowTotals",
    "Form",
    "PostError",
    "Simulation",
    "Truth",
    "frame",
    "post",
    "serve",
]
