"""How flows are written into Redis: JSON arrays, in the order of their fields."""

from __future__ import annotations

import json

from netify_agent.accounting.batch import FlowState
from netify_agent.netifyd.flow_record import Details, Key

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def encode(record: FlowState | Details) -> str:
    """A state, or what a flow is, as text."""
    return _encode(record)


def decode_state(text: str) -> FlowState:
    """Raises ValueError or TypeError for what is no state."""
    source, key, peer, *numbers = json.loads(text)
    return FlowState(source, Key(*key), Key(*peer) if peer else None, *numbers)


def decode_details(text: str) -> Details:
    """Raises ValueError or TypeError for what is none."""
    *told, risks = json.loads(text)
    return Details._make((*told, tuple(risks)))
