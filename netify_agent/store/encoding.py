"""Encodes flow states and details for Redis: JSON arrays, in the order of their fields."""

from __future__ import annotations

import json
from json.encoder import encode_basestring as quoted

from netify_agent.accounting.batch import FlowState
from netify_agent.netifyd.flow_record import Details, Key

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


# Not the module json, which takes twice as long: a flush encodes tens of thousands of states.
_KEY = "[%s,%s,%s,%s,%s]"
_STATE = "[%s,%s,%s" + ",%d" * (len(FlowState._fields) - 3) + "]"


def encode(record: FlowState | Details) -> str:
    """Return a state, or the details of a flow, as text."""
    if isinstance(record, FlowState):
        return _STATE % (quoted(record[0]), _encode_key(record[1]), _encode_key(record[2]), *record[3:])
    return _encode(record)


def _encode_key(key: Key | None) -> str:
    if key is None:
        return "null"
    device, application, protocol, interface, local = key
    return _KEY % (
        "null" if device is None else quoted(device),
        quoted(application),
        quoted(protocol),
        "null" if interface is None else quoted(interface),
        "true" if local else "false",
    )


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
