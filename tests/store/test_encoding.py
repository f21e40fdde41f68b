"""States of flows in Redis."""

from __future__ import annotations

import json

import pytest

from netify_agent.accounting.batch import FlowState
from netify_agent.netifyd.flow_record import Key
from netify_agent.store.encoding import decode_state, encode

KEY = Key("02:00:00:00:00:01", "netify.netflix", "HTTP/S", "br0", local=True)


@pytest.mark.parametrize(
    "key",
    [KEY, Key(None, 'a "quoted" \\ one', "line\nfeed \x00 and \x7f"), Key("zoë", "\u2028", "", "", False)],
)
@pytest.mark.parametrize("peer", [None, KEY])
def test_a_state_is_json_with_its_fields_in_order(key: Key, peer: Key | None) -> None:
    state = FlowState("unix:///run/netifyd.sock", key, peer, 1, 2, -1, 4, 5, 2**63, 7, 8, 9, 10, 60, 1, 0)
    assert json.loads(encode(state)) == json.loads(json.dumps(state))
    assert decode_state(encode(state)) == state
