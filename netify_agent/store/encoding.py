"""Encodes flow states and details for Redis: JSON arrays, in the order of their fields."""

from __future__ import annotations

import json

from netify_agent.accounting.batch import FlowState
from netify_agent.netifyd.flow_record import Details, Key

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def encode(record: FlowState | Details) -> str:
    """Return a state, or the details of a flow, as text."""
    return _encode(record)


def decode_state(text: str) -> FlowState:
    """Read a state. Raises ValueError or TypeError for anything else.

    A row that an older agent stored has three fields: its interface is unknown, and its bytes were not
    counted as local.
    """
    source, key, peer, *numbers = json.loads(text)
    return FlowState(source, Key(*key), Key(*peer) if peer else None, *numbers)


def decode_details(text: str) -> Details:
    """Read the details of a flow. Raises ValueError or TypeError for anything else."""
    *others, risks = json.loads(text)
    return Details._make((*others, tuple(risks)))
