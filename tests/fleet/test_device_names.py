"""A collector names and groups devices as their gateway does."""

from __future__ import annotations

import json

from netify_agent.enrich import Directory
from netify_agent.fleet.device_names import CopiedDirectory, encode
from netify_agent.netifyd.flow_record import OTHER_DEVICE
from netify_agent.store.replica_source import Seen

LAPTOP, PHONE, TUNNEL = "02:00:00:00:00:01", "02:00:00:00:00:02", "10.8.0.2"


def new_directory(**settings: object) -> Directory:
    nothing = {"vendors": "", "hosts": (), "leases": (), "reverse_dns": False, "categories": "", "arp": ""}
    return Directory(**{**nothing, **settings})  # type: ignore[arg-type]


def copied(*texts: dict[str, str]) -> CopiedDirectory:
    found = CopiedDirectory(("kids", "vpn"), new_directory())
    for each in texts:
        found.load(each)
    return found


def test_the_collector_says_what_the_gateway_says() -> None:
    groups = {"kids": ["192.168.1.7/32"], "vpn": ["10.8.0.0/24"]}
    gateway = new_directory(given_names={LAPTOP: "Zoë's laptop", TUNNEL: "branch"}, groups=groups)
    seen = {
        LAPTOP: Seen(["192.168.1.5"], "laptop.local"),
        PHONE: Seen(["192.168.1.7", "192.168.1.9"], "phone"),
        TUNNEL: Seen([], None),
        OTHER_DEVICE: Seen([], None),
        "02:00:00:00:00:03": Seen([], None),
    }
    texts = encode(gateway, seen)
    assert texts.keys() == {LAPTOP, PHONE, TUNNEL}
    there = copied(texts)
    for device, (ips, hint) in seen.items():
        ips = ips or ([device] if device == TUNNEL else [])
        name = gateway.name(device, ips, hint)
        assert there.name(device, (), None) == there.name(device, ips, hint) == name
        assert there.groups(device, ips, name) == gateway.groups(device, ips, name)
    assert there.name(LAPTOP, (), None) == "Zoë's laptop"
    assert (there.members("kids"), there.members("vpn")) == ([PHONE], [TUNNEL])
    assert there.group_names == ("kids", "vpn")


def test_answers_are_outdated_by_new_names_only() -> None:
    there = copied({LAPTOP: '["a",[],null]'})
    before = there.generation
    there.load({LAPTOP: '["a",[],null]'})
    assert there.generation == before
    there.load({LAPTOP: '["b",["kids"],"ACME"]'})
    assert there.generation > before
    assert (there.name(LAPTOP, (), None), there.vendor(LAPTOP)) == ("b", "ACME")


def test_what_no_gateway_sends_is_left_out() -> None:
    wrong = ["", "{}", "[1,[],null]", '["a","kids",null]', '["a",[1],null]', '["a",[],{}]', "[" * 100_000]
    texts = {f"device-{number}": text for number, text in enumerate(wrong)}
    there = copied({**texts, LAPTOP: json.dumps(["a", [], None])})
    assert there.members("kids") == []
    assert [there.name(f"device-{number}", (), None) for number in range(len(wrong))] == [None] * len(wrong)
    assert there.name(LAPTOP, (), None) == "a"
