"""The risks that netifyd reports for a few flows, as measured.

Ids, scores and which protocols have them are those of netifyd 4.4.5 on recorded traffic. Chance is in the
flow's first digest, so that no other choice of the simulation depends on it. It knows nothing of the wire.
"""

from __future__ import annotations

from . import catalog as c
from .flow import Flow, Stage

_SCORES = {9: 10, 16: 50, 25: 100, 27: 100, 28: 50, 35: 50, 36: 100, 39: 100, 42: 10, 46: 10, 47: 10}

Chances = tuple[tuple[int, tuple[int, ...]], ...]  # number per 1,000 flows, and their risks
_WEB: Chances = ((40, (47,)), (30, (46,)), (12, (36,)), (6, (39,)), (2, (36, 27, 42)))
_ASKED: Chances = ((40, (46,)), (1, (27, 46)))
_CHANCES: dict[str, Chances] = {
    c.HTTPS.name: _WEB,
    c.PUSH_TLS.name: _WEB,
    c.QUIC.name: ((50, (46,)), (5, (16, 46))),
    c.TLS.name: ((40, (16, 35)), (40, (16, 46))),
    c.DNS.name: _ASKED,
    c.HTTP.name: ((40, (46,)), (5, (9,))),
    c.SSH.name: ((200, (25,)),),
    c.ICMP.name: ((100, (28, 46)), (100, (46,))),
    c.NONE.name: ((1000, (28, 46)),),
}


def risks_of(flow: Flow, stage: Stage) -> tuple[int, tuple[int, ...]]:
    """Return score and ids of the risks of ``flow`` that are known at ``stage``."""
    first = flow.digest_prev[0] if flow.digest_prev else flow.digest
    luck = int(first[:8], 16) % 1000
    for chance, ids in _CHANCES.get(stage.protocol.name, ()):
        if luck < chance:
            return sum(_SCORES[risk] for risk in ids), ids
        luck -= chance
    return 0, ()
