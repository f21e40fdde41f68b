"""A netifyd that needs no network: v4 and v5 streams of a described network with their exact truth.

For demos, tests and benchmarks. It imports nothing else of this package, so that what it says of a stream
is independent of how the agent reads one.
"""

from .endpoint import EndpointError
from .form import Form, frame
from .server import serve
from .simulation import Simulation

__all__ = ["EndpointError", "Form", "Simulation", "frame", "serve"]
